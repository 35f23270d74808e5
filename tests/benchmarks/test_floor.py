"""What a piece of work cannot do without, counted by doing it."""

import numpy as np
import pytest

from benchmarks import work
from benchmarks.floor import Rates, floor
from benchmarks.rows import ROWS

PRODUCTS, EXPONENTIALS = Rates(1.0, np.inf), Rates(np.inf, 1.0)


class Counting(np.ndarray):
    """Arrays whose products are counted: two operations for each multiplication."""

    operations = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **settings):
        plain = [x.view(np.ndarray) if isinstance(x, Counting) else x for x in inputs]
        found = getattr(ufunc, method)(*plain, **settings)
        if ufunc is np.matmul:
            Counting.operations += 2 * found.size * plain[0].shape[-1]
        return found.view(Counting) if isinstance(found, np.ndarray) else found


def test_two_views_take_three_products_and_an_exponential_for_each_pair():
    a, b = (np.ones((4, 3)).view(Counting) for _ in range(2))
    Counting.operations = 0
    similarities = a @ b.T
    _ = similarities @ b, similarities.T @ a
    settings = {"count": 4, "dim": 3}
    assert floor("info_nce", settings, PRODUCTS) == Counting.operations
    assert floor("info_nce", settings, EXPONENTIALS) == similarities.size


def test_a_symmetric_matrix_takes_half_of_itself_and_one_whole_product():
    z = np.ones((8, 3)).view(Counting)
    Counting.operations = 0
    similarities = z @ z.T
    expected = Counting.operations / 2
    Counting.operations = 0
    _ = similarities @ z
    expected += Counting.operations
    assert floor("nt_xent", {"count": 4, "dim": 3}, PRODUCTS) == expected
    assert floor("uniformity", {"count": 8, "dim": 3}, PRODUCTS) == expected
    assert floor("nt_xent", {"count": 4, "dim": 3}, EXPONENTIALS) == similarities.size / 2


def test_a_layer_takes_a_product_forward_and_two_backward_but_the_first():
    x, w, v = (np.ones(shape).view(Counting) for shape in ((8, 5), (5, 4), (4, 3)))
    Counting.operations = 0
    h = x @ w
    z = h @ v
    _ = h.T @ z, z @ v.T, x.T @ h
    loss = floor("nt_xent", {"count": 4, "dim": 3}, PRODUCTS)
    assert floor("mlp_step", {"count": 8, "widths": (5, 4, 3)}, PRODUCTS) == Counting.operations + loss


def test_a_convolution_is_the_product_of_its_columns():
    settings = {"count": 8, "side": 6, "channels": 2, "kernels": (3, 4), "dim": 5}
    first = 2 * (3 * 18) * (8 * 36)  # kernels, each of 2 x 9 numbers, at 8 x 6 x 6 places
    second = 2 * (4 * 27) * (8 * 9)
    expected = 2 * first + 3 * second + 6 * 8 * 4 * 5 + floor("nt_xent", {"count": 4, "dim": 5}, PRODUCTS)
    assert floor("cnn_step", settings, PRODUCTS) == expected


@pytest.mark.parametrize("row", [row for row in ROWS if row.error_target is None], ids=lambda row: row.name)
def test_every_row_has_a_floor_or_is_something_else(row):
    found = floor(row.work, row.settings, Rates(1e11, 1e9))
    assert (found is None) == (row.work in ("training", "chain"))
    assert found is None or found > 0
    assert row.work in work.INPUTS
