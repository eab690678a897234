"""Command line of colpali-serve.

Each command imports what it needs when it runs, so that `--help` is quick.
"""

from __future__ import annotations

import typer

from colpali_serve.client.cli.demo import demo
from colpali_serve.client.cli.embed import embed
from colpali_serve.client.cli.heatmap import heatmap
from colpali_serve.client.cli.profile import profile
from colpali_serve.client.cli.rank import rank
from colpali_serve.client.cli.serve import serve
from colpali_serve.client.cli.verify import verify

app = typer.Typer(
    name="colpali-serve",
    help="Find pages by what they show: serve a ColPali-family model, and use the service.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    # An unexpected error shows Python's own traceback, which people can search for.
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.command()(demo)
app.command()(embed)
app.command()(rank)
app.command()(heatmap)
app.command()(profile)
# Everything after `verify` is for the verification itself, its --help included.
app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(verify)


def main() -> None:
    """Run the command that the command line names."""
    app()
