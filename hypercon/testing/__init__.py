"""Checks for people who write operations and losses: the same that hypercon's own tests use.

`gradcheck` and `check_contrastive_loss` need NumPy alone. ``hypercon.testing.strategies`` needs Hypothesis and is
imported when it is first asked for.
"""

import importlib
from typing import Any

from hypercon.testing.contrastive import LossPropertyError, Report, Result, check_contrastive_loss
from hypercon.testing.gradcheck import GradientError, gradcheck

__all__ = [
    "GradientError",
    "LossPropertyError",
    "Report",
    "Result",
    "check_contrastive_loss",
    "gradcheck",
    "strategies",
]


def __getattr__(name: str) -> Any:
    if name == "strategies":
        return importlib.import_module("hypercon.testing.strategies")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
