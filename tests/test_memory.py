"""Memory that is used again: never while anything can still read it, and not more of it than a bound."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hypercon import memory
from hypercon.backend import xp

SIZE = memory.LEAST // 8


@pytest.fixture(autouse=True)
def clean():
    memory.clear()
    yield
    memory.clear()


def address(array):
    return array.__array_interface__["data"][0]


def test_it_is_an_ordinary_array_of_that_shape_and_dtype():
    x = memory.empty((SIZE // 4, 4), np.float32)
    assert type(x) is np.ndarray
    assert xp(x) is np
    assert (x.shape, x.dtype, x.flags.writeable, x.flags.c_contiguous) == ((SIZE // 4, 4), np.float32, True, True)


def test_what_died_is_used_again():
    x = memory.empty((SIZE,), np.float64)
    first = address(x)
    del x
    assert memory.idle() == 8 * SIZE
    assert address(memory.empty((SIZE // 2, 4), np.float32)) == first


@pytest.mark.parametrize("view", [lambda x: x[3:], lambda x: x.reshape(4, -1).T, lambda x: x.view(np.int64)])
def test_a_view_keeps_the_memory_from_being_used_again(view):
    x = memory.empty((SIZE,), np.float64)
    x[...] = 7
    kept, x = view(x), None
    other = memory.empty((SIZE,), np.float64)
    assert not np.shares_memory(kept, other)
    other[...] = 0
    assert (kept.view(np.float64) == 7).all()


def test_nothing_waits_for_the_cyclic_collector():
    gc.disable()
    try:
        for _ in range(5):
            memory.empty((SIZE,), np.float64)[...] = 1
        assert memory.idle() == 8 * SIZE
    finally:
        gc.enable()


def test_small_arrays_are_numpys():
    del (x := [memory.empty((4,), np.float64)])[:]
    assert x == []
    assert memory.idle() == 0


def test_what_lies_idle_is_bounded_and_the_sizes_last_used_stay(monkeypatch):
    monkeypatch.setattr(memory, "KEPT", 8 * 3 * SIZE)
    alive = [memory.empty((SIZE + i,), np.float64) for i in range(6)]
    last = address(alive[-1])
    while alive:
        alive.pop(0)
    assert 0 < memory.idle() <= 8 * 3 * SIZE
    assert address(memory.empty((SIZE + 5,), np.float64)) == last


def test_clear_gives_everything_back():
    memory.empty((SIZE,), np.float64)
    assert memory.idle()
    memory.clear()
    assert memory.idle() == 0


def test_results_that_somebody_collects_neither_fill_the_shelf_nor_slow_it_down(monkeypatch):
    monkeypatch.setattr(memory, "KEPT", 8 * 100 * SIZE)
    collected = [memory.empty((SIZE,), np.float64) for _ in range(150)]
    for i, array in enumerate(collected):
        array[...] = i
    for _ in range(3):
        memory.empty((SIZE + 1,), np.float64)[...] = -1
        memory.empty((SIZE,), np.float64)[...] = -1
    assert [float(array[0]) for array in collected] == [float(i) for i in range(150)]
    assert sum(size * len(pieces) for size, pieces in memory._shelf.items()) <= memory.KEPT


def test_threads_never_share_a_piece():
    def write(mark):
        for _ in range(200):
            mine = [memory.empty((SIZE,), np.float64) for _ in range(3)]
            for i, array in enumerate(mine):
                array[...] = 10 * mark + i
            assert [float(array.min()) for array in mine] == [10 * mark, 10 * mark + 1, 10 * mark + 2]
            assert [float(array.max()) for array in mine] == [10 * mark, 10 * mark + 1, 10 * mark + 2]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))


def test_a_copy_is_the_same_values_elsewhere():
    x = np.arange(2.0 * SIZE).reshape(2, -1).T
    y = memory.copy(x)
    assert (y == x).all()
    assert not np.shares_memory(x, y)
    assert y.flags.c_contiguous
