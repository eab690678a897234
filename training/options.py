"""Options that several commands of training have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Work = Annotated[Path, typer.Option(help="Folder for what is fetched and made.")]
Sources = Annotated[Path, typer.Option(help="Folder of the lists of packages.")]
Workers = Annotated[int, typer.Option(help="Processes that draw pages.", min=1)]
Pages = Annotated[int, typer.Option(help="Pages to train on.", min=1)]
Seed = Annotated[int, typer.Option(help="Of everything by chance.")]
Steps = Annotated[int, typer.Option(help="Batches of queries.", min=1)]
Rate = Annotated[float, typer.Option(help="Learning rate at first.")]
Asked = Annotated[int, typer.Option("--texts", help="Questions without a page.")]
Threads = Annotated[int, typer.Option(help="Threads; 0 leaves it to torch.")]
