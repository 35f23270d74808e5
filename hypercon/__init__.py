"""hypercon: the contrastive loss, laid open.

Start with `info_nce` and `explain`; `hypercon dilemma` at the command line is the main experiment.
"""

from hypercon import autograd, data, errors, losses, metrics, nn, optim
from hypercon.autograd import *  # noqa: F403 - the engine's functions are the library's vocabulary
from hypercon.configuration import show_config
from hypercon.explain import Explanation, explain, explain_similarities
from hypercon.losses import info_nce, nt_xent
from hypercon.temperature import CosineTemperature, LearnedTemperature, Temperature
from hypercon.training import History, fit
from hypercon.version import __version__

__all__ = [
    "CosineTemperature",
    "Explanation",
    "History",
    "LearnedTemperature",
    "Temperature",
    "__version__",
    "autograd",
    "data",
    "errors",
    "explain",
    "explain_similarities",
    "fit",
    "info_nce",
    "losses",
    "metrics",
    "nn",
    "nt_xent",
    "optim",
    "show_config",
]
__all__ += autograd.__all__
