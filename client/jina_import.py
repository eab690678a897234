"""The import of jina, without what it does to the process on the side."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from typing import Any


def import_jina() -> Any:
    """Import jina and leave the process as it was.

    Jina replaces the handler of Ctrl-C, which asyncio needs for itself, the format of warnings and
    the filter of deprecations, and it reports each use to its makers.
    """
    os.environ.setdefault("JINA_OPTOUT_TELEMETRY", "1")
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    show = warnings.formatwarning
    with warnings.catch_warnings():
        # Outside of the main thread it warns that it could not replace the handler.
        warnings.simplefilter("ignore")
        try:
            import jina
        finally:
            warnings.formatwarning = show
            if in_main and handler is not None:
                signal.signal(signal.SIGINT, handler)
    return jina
