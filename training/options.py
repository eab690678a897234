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
Threads = Annotated[int, typer.Option(help="Threads; 0 leaves it to torch.")]
