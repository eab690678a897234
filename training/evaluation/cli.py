"""Command line of the evaluation: `python -m colpali_serve.training.evaluation`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from colpali_serve.training.console import reporting

_TRAINING = Path(__file__).resolve().parent.parent
_LISTS = _TRAINING / "sources"
_SOURCES = _LISTS / "evaluation.toml"
_QUERIES = Path(__file__).resolve().parent / "queries"

Sources = Annotated[Path, typer.Option(help="TOML file of packages and manuals.")]
Queries = Annotated[Path, typer.Option(help="Folder of the queries.")]
Work = Annotated[Path, typer.Option(help="Folder for what is fetched and made.")]

app = typer.Typer(
    name="evaluation",
    help="Measure how well a checkpoint finds pages.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _evaluation() -> None:
    """Measure how well a checkpoint finds pages."""


@app.command()
def real(
    checkpoint: Annotated[Path, typer.Option(help="Folder of the checkpoint.")],
    baseline: Annotated[Path | None, typer.Option(help="Another one, to compare with.")] = None,
    pages: Annotated[
        int | None, typer.Option(help="Take only so many pages, and write no results.", min=1)
    ] = None,
    sources: Sources = _SOURCES,
    queries: Queries = _QUERIES,
    work: Work = _TRAINING / ".work",
    results: Annotated[Path, typer.Option(help="Markdown file.")] = _TRAINING / "RESULTS.md",
) -> None:
    """Judge a checkpoint on real manuals, beside BM25 over their text.

    Packages, images and embeddings are kept, so that a run that was interrupted goes on where it
    stopped. All figures go into evaluation/real.json of the work folder.
    """
    from colpali_serve.training.evaluation import real as judge
    from colpali_serve.training.evaluation import report

    with reporting():
        page_set = judge.load_page_set(sources, work, pages, queries)
        systems = [judge.score_by_words(page_set)]
        systems.append(judge.score_by_checkpoint(page_set, checkpoint, work))
        if baseline is not None:
            other = judge.score_by_checkpoint(page_set, baseline, work)
            systems.append(replace(other, name=f"{other.name} (baseline)"))
        table = report.rows(page_set, systems)
        block = report.markdown(page_set, systems, table)
        typer.echo(block)
        if pages is None:
            figures = report.figures(page_set, systems, table)
            report.write_figures(work / "evaluation" / "real.json", figures)
            report.write_block(results, block)


@app.command()
def synthetic(
    checkpoint: Annotated[Path, typer.Option(help="Folder of the checkpoint.")],
    pages: Annotated[
        int | None, typer.Option(help="Draw about so many pages, and write no results.", min=1)
    ] = None,
    sources: Annotated[Path, typer.Option(help="Folder of the lists of packages.")] = _LISTS,
    work: Work = _TRAINING / ".work",
    results: Annotated[Path, typer.Option(help="Markdown file.")] = _TRAINING / "RESULTS.md",
) -> None:
    """Judge a checkpoint on drawn pages: unseen words and fonts, sizes of print, skew.

    Embeddings are kept, so that a run that was interrupted goes on where it stopped. All figures
    go into evaluation/synthetic.json of the work folder.
    """
    from colpali_serve.training.evaluation import report, synthetic_report
    from colpali_serve.training.evaluation import synthetic as judge

    with reporting():
        plan = judge.PLAN if pages is None else judge.PLAN.shrunk(pages)
        drawn = judge.load_set(work, sources, plan)
        systems = [judge.by_words(drawn), judge.by_checkpoint(drawn, checkpoint, work)]
        table = synthetic_report.rows(drawn, systems)
        block = synthetic_report.markdown(drawn, systems, table)
        typer.echo(block)
        if pages is None:
            figures = synthetic_report.figures(drawn, systems, table)
            report.write_figures(work / "evaluation" / "synthetic.json", figures)
            report.write_block(results, block, synthetic_report.BLOCK)


@app.command("queries")
def make_queries(
    sources: Sources = _SOURCES, queries: Queries = _QUERIES, work: Work = _TRAINING / ".work"
) -> None:
    """Make the queries of words and phrases anew, the same as long as the pages are."""
    from colpali_serve.training.evaluation import generated, manuals
    from colpali_serve.training.evaluation.query_sets import write_queries
    from colpali_serve.training.packages import fetch

    with reporting():
        packages = fetch(sources, work / "packages")
        found, _ = manuals.load_pages(manuals.read_manuals(sources), packages, work / "evaluation")
        for kind, make in (("words", generated.make_words), ("phrases", generated.make_phrases)):
            made = make(found)
            write_queries(kind, made, queries)
            typer.echo(f"{len(made)} {kind}")
