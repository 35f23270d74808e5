"""Training: the loop, its history, and checkpoints from which it goes on as if it had never stopped."""

from hypercon.training.checkpoint import Checkpoint, read_checkpoint
from hypercon.training.history import History
from hypercon.training.keeping import newest_checkpoint
from hypercon.training.loop import TwoViews, fit

__all__ = ["Checkpoint", "History", "TwoViews", "fit", "newest_checkpoint", "read_checkpoint"]
