"""The command line as ``python -m colpali_serve.client.cli``."""

from __future__ import annotations

from colpali_serve.client.cli import main

if __name__ == "__main__":
    main()
