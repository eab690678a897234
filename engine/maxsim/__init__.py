"""MaxSim: exact scores of ragged queries and pages, on what the machine is fastest with."""

from colpali_serve.engine.maxsim.arithmetic import Precision
from colpali_serve.engine.maxsim.backends import BACKENDS, BackendName, Scores
from colpali_serve.engine.maxsim.forms import Page, Rows, rows_of
from colpali_serve.engine.maxsim.ranking import rank
from colpali_serve.engine.maxsim.scorer import Ranking, Scorer, maxsim
from colpali_serve.engine.maxsim.store import Contents, PageStore, Resident

__all__ = [
    "BACKENDS",
    "BackendName",
    "Contents",
    "Page",
    "PageStore",
    "Precision",
    "Ranking",
    "Resident",
    "Rows",
    "Scorer",
    "Scores",
    "maxsim",
    "rank",
    "rows_of",
]
