"""What is drawn has the properties it promises, edges come when asked, and failures shrink to what matters."""

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import hypercon as hc
from hypercon.errors import InputError
from hypercon.testing import strategies
from hypercon.testing.layouts import LAYOUTS, laid_out

SEARCH = settings(max_examples=2000, derandomize=True, database=None)


def smallest(strategy, condition):
    """What a failure of ``not condition`` shrinks to."""
    return find(strategy, condition, settings=SEARCH)


# --- shapes, axes, layouts


@given(strategies.shapes(1, 3, min_side=2, max_side=5))
def test_shapes_keep_their_bounds(shape):
    assert 1 <= len(shape) <= 3
    assert all(2 <= n <= 5 for n in shape)


@pytest.mark.parametrize("condition", [lambda s: s == (), lambda s: 1 in s, lambda s: len(s) == 3])
def test_shapes_without_axes_and_with_axes_of_size_1_are_drawn(condition):
    smallest(strategies.shapes(), condition)


@given(st.data())
def test_axes_are_taken_by_numpy(data):
    shape = data.draw(strategies.shapes())
    axis = data.draw(strategies.axes(len(shape)))
    np.zeros(shape).sum(axis=axis)


def test_axes_come_in_every_kind():
    for kind in (
        lambda a: a is None,
        lambda a: a == -2,
        lambda a: a == (),
        lambda a: a == (1, 0),
        lambda a: a == (-1,),
    ):
        smallest(strategies.axes(2), kind)
    assert smallest(strategies.axes(1, allow_none=False, allow_tuple=False), lambda axis: True) == 0
    with pytest.raises(InputError, match="a 0-d array has no axis"):
        strategies.axes(0, allow_none=False, allow_tuple=False)


@given(strategies.shapes(), st.sampled_from(LAYOUTS))
def test_a_layout_changes_memory_and_no_number(shape, layout):
    x = np.arange(float(np.prod(shape))).reshape(shape)
    out = laid_out(x, layout)
    assert isinstance(out, np.ndarray)
    assert not np.shares_memory(out, x)
    np.testing.assert_array_equal(out, x)


def test_layouts_are_what_they_are_called():
    x = np.arange(24.0).reshape(2, 3, 4)
    assert laid_out(x, "F").flags.f_contiguous
    assert laid_out(x, "transposed").strides == (32, 64, 8)
    assert laid_out(x, "strided").strides == (768, 128, 16)
    assert max(laid_out(x, "reversed").strides) < 0
    assert laid_out(x[:1, :, :1], "broadcast").strides[0] == 0
    assert not laid_out(x, "broadcast").flags.writeable
    with pytest.raises(InputError, match="layout got 'D', expected one of C, F"):
        laid_out(x, "D")


# --- numbers


@given(strategies.arrays(low=0.2, high=2.0))
def test_a_lattice_neither_ties_nor_comes_near_zero(x):
    sizes = np.sort(np.abs(x), axis=None)
    assert (sizes >= 0.2).all()
    assert (np.diff(sizes) > 1.0 / max(1, x.size)).all()


@given(strategies.arrays(values="normal", positive=True, dtype=np.float32))
def test_normal_numbers_are_finite_and_of_the_dtype_asked(x):
    assert x.dtype == np.float32
    assert (x >= 0).all()
    assert np.isfinite(x).all()


def test_numbers_tie_and_vanish_where_edges_are_asked():
    drawn = strategies.arrays((3,), edges=True)
    assert len(np.unique(smallest(drawn, lambda x: len(np.unique(x)) < 3))) == 2
    smallest(drawn, lambda x: (x == 0).any())
    with pytest.raises(InputError, match="values got 'uniform', expected 'lattice' or 'normal'"):
        smallest(strategies.arrays(values="uniform"), lambda x: True)


# --- the sphere


@given(strategies.unit_rows(edges=True))
def test_unit_rows_are_unit(z):
    np.testing.assert_allclose((z * z).sum(axis=1), 1, rtol=1e-12)


def test_points_tie_repeat_and_oppose_where_edges_are_asked():
    drawn = strategies.unit_rows(edges=True, min_rows=3)
    for similarity in (1, -1):
        smallest(drawn, lambda z, s=similarity: abs(z[0] @ z[1] - s) < 1e-9)
    smallest(drawn, lambda z: abs(z[0] @ z[1] - z[0] @ z[2]) < 1e-12)


@given(strategies.embeddings(edges=True, max_rows=4, dtype=np.float32), strategies.temperatures(edges=True))
def test_losses_take_whatever_embeddings_and_temperatures_are_drawn(views, temperature):
    assert all(z.dtype == np.float32 and z.flags.owndata for z in views)
    assert np.isfinite(hc.info_nce(*views, temperature=temperature))
    assert np.isfinite(hc.nt_xent(*views, temperature=temperature))


EDGES = {
    "ties": lambda z1, z2: len(z2) > 2 and np.array_equal(z2[1], z2[2]) and not np.array_equal(z1[1], z1[2]),
    "duplicates": lambda z1, z2: np.array_equal(z1[0], z1[1]) and np.array_equal(z2[0], z2[1]),
    "antipodes": lambda z1, z2: np.array_equal(z2[1], -z1[0]),
    "equal views": lambda z1, z2: np.array_equal(z1, z2),
    "single negative": lambda z1, z2: len(z1) == 2,
}


@pytest.mark.parametrize("edge", EDGES.values(), ids=EDGES)
def test_embeddings_have_every_edge(edge):
    smallest(strategies.embeddings(edges=True), lambda views: edge(*views))
    smallest(strategies.embeddings(edges=True, normalize=True), lambda views: edge(*views))


@given(strategies.embeddings(min_rows=3, edges=True), strategies.similarity_matrices(min_rows=3, edges=True))
def test_an_edge_keeps_to_the_rows_asked(views, similarities):
    assert len(views[0]) >= 3
    assert len(similarities) >= 3


@given(strategies.similarity_matrices(edges=True))
def test_similarities_are_cosines(s):
    assert s.shape[0] == s.shape[1] >= 2
    assert (np.abs(s) <= 1).all()


@pytest.mark.parametrize(
    "edge",
    [
        lambda s: s[0, 1] == s[0, 2],
        lambda s: (s[0] == s[1]).all() and (s[:, 0] == s[:, 1]).all(),
        lambda s: s[0, 1] == -1,
        lambda s: s.min() == s.max(),
    ],
    ids=["ties", "duplicates", "antipodes", "all equal"],
)
def test_similarities_have_every_edge(edge):
    smallest(strategies.similarity_matrices(edges=True, min_rows=3), edge)


def test_temperatures_reach_the_ends_where_edges_are_asked():
    for end in (1e-3, 1e3):
        smallest(strategies.temperatures(edges=True), lambda t, end=end: t == end)
    assert smallest(strategies.temperatures(), lambda t: True) == 1.0


# --- shrinking


def forgets_an_axis(x):
    """A planted fault: a sum over the last axis that is right for arrays of one axis and for square ones."""
    return x.sum(axis=-1) if x.ndim < 2 else x.sum(axis=0)


def test_a_planted_fault_shrinks_to_the_smallest_shape_that_shows_it():
    def differs(x):
        right, wrong = x.sum(axis=-1), forgets_an_axis(x)
        return np.shape(right) != np.shape(wrong) or not np.allclose(right, wrong)

    x = smallest(strategies.arrays(strategies.shapes(1, 4)), differs)
    assert x.shape in {(1, 2), (2, 1)}
    assert x.flags.c_contiguous
    assert x.ravel().tolist() == [0.1, 3.0]


def test_a_fault_of_one_layout_shrinks_to_that_layout():
    x = smallest(strategies.arrays(), lambda x: not np.array_equal(x.ravel(order="K"), x.ravel()))
    assert sorted(x.shape) in ([1, 1, 2], [1, 2], [2], [2, 2])
    assert x.size <= 4


def test_a_fault_of_a_loss_shrinks_to_a_small_batch_without_an_edge():
    def forgets_the_last_negative(z1, z2):
        s = z1 @ z2.T
        s[0, -1] = -np.inf if len(s) > 2 else s[0, -1]
        return s

    z1, z2 = smallest(
        strategies.embeddings(edges=True), lambda views: not np.isfinite(forgets_the_last_negative(*views)).all()
    )
    assert z1.shape == (3, 2)
    assert not np.array_equal(z1, z2)
