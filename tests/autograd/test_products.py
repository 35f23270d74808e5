"""Large products are spread over threads, and are what NumPy's are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercon import threads
from hypercon.autograd import products

SIDES = st.sampled_from([1, 3, 64, 257, 1024])


def matrix(rng, rows, columns, dtype, layout):
    made = {
        "rows": lambda: rng.standard_normal((rows, columns)),
        "columns": lambda: rng.standard_normal((columns, rows)).T,
        "every other": lambda: rng.standard_normal((rows, 2 * columns))[:, ::2],
    }[layout]()
    return made if layout == "every other" and dtype == np.float64 else made.astype(dtype, order="K")


@settings(max_examples=150, deadline=None)
@given(
    SIDES, SIDES, SIDES, st.sampled_from([np.float32, np.float64]),
    *[st.sampled_from(["rows", "columns", "every other"])] * 2, st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_it_is_numpys_product(rows, inner, columns, dtype, left, right, seed):
    rng = np.random.default_rng(seed)
    x, y = matrix(rng, rows, inner, dtype, left), matrix(rng, inner, columns, dtype, right)
    found, expected = products.product(x, y), x.astype(np.float64) @ y.astype(np.float64)
    assert found.dtype == dtype
    assert found.shape == expected.shape
    scale = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(y, axis=0)
    assert (np.abs(found - expected) <= 4 * np.finfo(dtype).eps * np.sqrt(inner) * scale + 1e-300).all()


@pytest.mark.parametrize("shape", [(1024, 512, 128), (128, 512, 1024), (300, 300, 300)])
def test_the_same_number_of_threads_gives_the_same_bits_in_memory_of_its_own(shape):
    rows, inner, columns = shape
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((rows, inner)), rng.standard_normal((inner, columns))
    first, again = products.product(x, y), products.product(x, y)
    assert (first == again).all()
    assert not np.shares_memory(first, again)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.ones((2, 1024, 64)), np.ones((64, 512))),
        (np.ones((1024, 64)), np.ones(64)),
        (np.ones((1024, 64), np.float32), np.ones((64, 512))),
        (np.ones((1024, 64), int), np.ones((64, 512), int)),
    ],
)
def test_stacks_vectors_and_mixtures_are_numpys_own(x, y):
    found = products.product(x, y)
    assert found.dtype == (x @ y).dtype
    assert (found == x @ y).all()


def test_lanes_share_the_work(monkeypatch):
    blocks = []
    monkeypatch.setattr(threads, "run", lambda work, count: [(blocks.append(i), work(i)) for i in range(count)])
    monkeypatch.setattr(threads, "cores", lambda: 2)
    x = np.ones((1024, 64), np.float32)
    assert (products.product(x, x.T) == 64).all()
    assert blocks == [0, 1]
