"""hypercon: the contrastive loss, laid open.

Start with `info_nce` and `explain`; `hypercon dilemma` at the command line is the main experiment.
"""

import importlib
from typing import TYPE_CHECKING, Any

from hypercon import autograd, data, errors, losses, metrics, nn, optim, training
from hypercon.autograd import *  # noqa: F403 - the engine's functions are the library's vocabulary
from hypercon.configuration import show_config
from hypercon.explain import Explanation, explain, explain_similarities
from hypercon.gradient_cache import backward_in_chunks
from hypercon.losses import info_nce, nt_xent
from hypercon.temperature import CosineTemperature, LearnedTemperature, Temperature
from hypercon.training import History, fit
from hypercon.version import __version__

if TYPE_CHECKING:
    from hypercon import coursework, testing

__all__ = [
    "CosineTemperature",
    "Explanation",
    "History",
    "LearnedTemperature",
    "Temperature",
    "__version__",
    "autograd",
    "backward_in_chunks",
    "coursework",
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
    "testing",
    "training",
]
__all__ += autograd.__all__


def __getattr__(name: str) -> Any:
    if name in ("coursework", "testing"):  # for those who check; whoever trains or measures does not wait for it
        return importlib.import_module(f"hypercon.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
