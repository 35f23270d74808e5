"""The properties of a contrastive loss, held against anyone's function: start at check.py."""

from hypercon.testing.contrastive.check import check_contrastive_loss
from hypercon.testing.contrastive.report import LossPropertyError, Report, Result

__all__ = ["LossPropertyError", "Report", "Result", "check_contrastive_loss"]
