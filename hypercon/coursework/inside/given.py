"""What assignments may take from ``hypercon``: each names, in `Assignment.allows`, what of this it lets through."""

from __future__ import annotations

import numpy as np


def normalize(x: np.ndarray) -> np.ndarray:
    """Rows onto the unit sphere."""
    peak = np.abs(x).max(axis=1, keepdims=True)
    scaled = x / np.where(peak > 0, peak, 1)
    length = np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    return scaled / np.where(length > 0, length, 1)
