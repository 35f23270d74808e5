"""Embeddings as the metrics take them: checked, on the host, in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np

from hypercon.autograd.ops import raw
from hypercon.backend import to_host
from hypercon.losses.common import onto_sphere
from hypercon.validation import check_embeddings, check_views


def rows_of(z: Any, name: str = "z", *, directions: bool = True, least: int = 2) -> np.ndarray:
    """Checked rows as they are, (N, D)."""
    return to_host(raw(check_embeddings(z, name, directions=directions, least=least))).astype(np.float64)


def directions_of(z: Any, name: str = "z") -> np.ndarray:
    """Checked rows at unit length, (N, D)."""
    return onto_sphere(rows_of(z, name))


def pair_of_views(z1: Any, z2: Any) -> tuple[np.ndarray, np.ndarray]:
    """Checked views of one batch at unit length, (N, D) each."""
    z1, z2 = check_views(z1, z2, directions=True)
    return directions_of(z1, "z1"), directions_of(z2, "z2")


def pair_count(count: int) -> int:
    """How many ordered pairs i != j there are."""
    return count * (count - 1)
