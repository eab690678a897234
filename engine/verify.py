"""`colpali-serve verify`: prove a checkpoint and compare it with what its card publishes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colpali_serve.engine.forward import embed_batch, grids, page_batch, query_batch
from colpali_serve.engine.loading import LoadedModel, load_model
from colpali_serve.engine.maxsim import Scores, maxsim
from colpali_serve.engine.query_forms import KNOWN_FORMS, QueryForm
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import ColPaliError, describe

_A4_AT_200_DPI = (1654, 2339)


@dataclass(frozen=True)
class PublishedExample:
    """Scores that a model card prints.

    Attributes:
        images: (colour, side in pixels) of each square image.
        queries: The queries.
        scores: (n_queries, n_images), computed in bfloat16 on CUDA.
        tolerance: Largest difference that rounding in bfloat16 explains.
    """

    images: tuple[tuple[str, int], ...]
    queries: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]
    tolerance: float = 0.25


EXAMPLES: Mapping[str, PublishedExample] = {
    "vidore/colpali-v1.2": PublishedExample(
        images=(("white", 32), ("black", 16)),
        queries=(
            "Is attention really all you need?",
            "Are Benjamin, Antoine, Merve, and Jo best friends?",
        ),
        scores=((6.0625, 6.4375), (9.7500, 9.5625)),
    ),
}
"""By hub id. Source: the checkpoints' model cards."""


@dataclass(frozen=True)
class Comparison:
    """A published example, computed here with one form of the query.

    Attributes:
        form: The text around the query.
        configured: Whether the service would use this form.
        scores: float32 (n_queries, n_images).
        difference: Largest absolute difference from the published scores.
    """

    form: QueryForm
    configured: bool
    scores: Scores
    difference: float


def compare(loaded: LoadedModel, example: PublishedExample) -> list[Comparison]:
    """Run a published example with every known form of the query, the configured one first."""
    images = [Image.new("RGB", (side, side), colour) for colour, side in example.images]
    pages = [embed_batch(loaded, page_batch(loaded, [image]))[0] for image in images]
    published: NDArray[np.float32] = np.array(example.scores, np.float32)
    forms = dict.fromkeys((loaded.form, QueryForm(), *KNOWN_FORMS.values()))
    comparisons = []
    for form in forms:
        batch = query_batch(replace(loaded, form=form), example.queries)
        scores = maxsim(embed_batch(loaded, batch), pages)
        difference = float(np.abs(scores - published).max())
        comparisons.append(Comparison(form, form == loaded.form, scores, difference))
    return comparisons


def main(argv: Sequence[str], examples: Mapping[str, PublishedExample] = EXAMPLES) -> int:
    """Run the command.

    Args:
        argv: Arguments behind `verify`.
        examples: Published scores by hub id.

    Returns:
        Exit status: 0 proved, 1 not proved or different from the published scores.
    """
    options = _parser().parse_args(argv)
    console = Console(highlight=False, soft_wrap=True)
    given = {key: value for key, value in vars(options).items() if value is not None}
    try:
        settings = EncoderSettings.from_environment(given)
        loaded = load_model(settings)
    except ColPaliError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"[red]not proved[/red]  {escape(describe(error))}"
        )
        return 1
    console.print(_facts(loaded, settings))
    example = examples.get(loaded.checkpoint.name)
    if example is None:
        console.print("published example: none is known for this checkpoint")
        return 0
    comparisons = compare(loaded, example)
    console.print(_comparison_table(comparisons, example))
    if comparisons[0].difference <= example.tolerance:
        console.print("[green]the published scores are reproduced[/green]")
        return 0
    best = min(comparisons, key=lambda entry: entry.difference)
    hint = "; no form of the query reproduces them"
    if best.difference <= example.tolerance:
        hint = f"; {escape(repr(best.form))} does: set query_prefix, query_suffix, query_newline"
    console.print(f"[red]the published scores are not reproduced[/red]{hint}")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="colpali-serve verify",
        description="Load a checkpoint as the service would, prove it, print its fingerprint, and "
        "compare it with the scores that its model card publishes, where it does.",
        epilog="example: colpali-serve verify vidore/colpali-v1.2 --device cuda",
    )
    parser.add_argument("model", help="folder, hub id, or a bundled checkpoint")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:<index>")
    parser.add_argument("--dtype", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--attention", help="auto, blocks, sdpa, eager or flash_attention_2")
    parser.add_argument("--revision", help="branch, tag or commit on the hub")
    parser.add_argument(
        "--offline", action="store_const", const=True, help="never ask the hub for files"
    )
    return parser


def _facts(loaded: LoadedModel, settings: EncoderSettings) -> Table:
    page = Image.new("RGB", _A4_AT_200_DPI, "white")
    batch = page_batch(loaded, [page])
    (columns, rows), (embedding,) = grids(loaded, batch, [page])[0], embed_batch(loaded, batch)
    checkpoint = loaded.checkpoint
    table = Table.grid(padding=(0, 2))
    facts = {
        "model": checkpoint.name,
        "family": loaded.family.name,
        "kind": f"adapter over {checkpoint.base.name}" if checkpoint.base else "full weights",
        "device, dtype": f"{loaded.device}, {str(loaded.dtype).removeprefix('torch.')}",
        "an A4 page": f"{len(embedding)} vectors of {embedding.shape[1]}, {columns}x{rows} patches",
        "margins of pages": "cut" if loaded.cuts_margins else "kept",
        "query form": repr(loaded.form),
        "query weights": repr(loaded.weights) if loaded.weights else "all tokens alike",
        "weights": "none missing, none unexpected, none without values",
        "probe": "all values finite, unit norm, queries the same alone and in a batch",
    }
    if checkpoint.is_adapter:
        facts["adapter"] = "changes the probe's embeddings"
    facts["fingerprint"] = loaded.fingerprint
    if settings.pool_factor > 1:
        facts["pool_factor"] = str(settings.pool_factor)
    for key, value in facts.items():
        table.add_row(key, escape(value))
    return table


def _comparison_table(comparisons: Sequence[Comparison], example: PublishedExample) -> Table:
    table = Table(title=f"published scores {[list(row) for row in example.scores]}")
    for heading in ("query form", "scores here", "largest difference"):
        table.add_column(heading)
    for entry in comparisons:
        mark = " (configured)" if entry.configured else ""
        scores = np.round(entry.scores, 4).tolist()
        table.add_row(
            escape(repr(entry.form)) + mark, escape(str(scores)), f"{entry.difference:.3f}"
        )
    return table
