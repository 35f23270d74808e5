"""Long training in a folder of its own: what was asked for, what happened, pictures, and checkpoints to go on from."""

from hypercon.runs.reading import Run, read_run
from hypercon.runs.settings import Settings
from hypercon.runs.training import summary, train

__all__ = ["Run", "Settings", "read_run", "summary", "train"]
