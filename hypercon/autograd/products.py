"""Products of large matrices on the CPU: by rows over the library's own threads, into memory that is used again.

BLAS has threads of its own, and they keep a core busy for milliseconds after a product, waiting for the next: a loss
whose blocks are on this library's pool then takes up to twice as long. So whatever is large enough to be spread is
spread here, and BLAS is held to one thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hypercon import memory, threads

MEDIUM = 2**20  # multiplications: below, BLAS itself stays on one thread
LARGE = 2**23  # from here a second thread saves more than the 50 microseconds that it takes to hand over


def product(x: Any, y: Any) -> Any:
    """``x @ y``, for whatever arrays."""
    if not (_is_matrix(x) and _is_matrix(y) and x.dtype == y.dtype and x.shape[1] == y.shape[0]):
        return x @ y
    work = x.size * y.shape[1]
    if work < MEDIUM:
        return x @ y
    out = memory.empty((x.shape[0], y.shape[1]), x.dtype)
    longer = 0 if out.shape[0] >= out.shape[1] else 1
    lanes = threads.lanes(out.shape[longer]) if work >= LARGE else 1
    share = -(-out.shape[longer] // lanes)

    def multiply(i: int) -> None:
        part = slice(i * share, (i + 1) * share)
        if longer == 0:
            np.matmul(x[part], y, out=out[part])
        else:
            np.matmul(x, y[:, part], out=out[:, part])

    if lanes > 1:
        threads.run(multiply, lanes)
    else:
        threads.run_small(multiply)
    return out


def _is_matrix(x: Any) -> bool:
    return type(x) is np.ndarray and x.ndim == 2 and x.dtype.kind == "f"
