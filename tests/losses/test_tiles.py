"""The tiled route: the plain formulas to the last digits, whatever the division into blocks, in linear memory."""

import tracemalloc

import numpy as np
import pytest

import hypercon as hc
from hypercon import threads
from hypercon.losses import info_nce, nt_xent, tiles
from hypercon.losses.infonce import from_definition
from hypercon.testing import GradientError, gradcheck

LOSSES = {
    "info_nce": (info_nce, lambda a, b, t: from_definition(a, b, temperature=t)),
    "nt_xent": (nt_xent, lambda a, b, t: from_definition(a, b, temperature=t, loss="nt_xent")),
    "symmetric": (
        lambda a, b, temperature: info_nce(a, b, temperature=temperature, symmetric=True),
        lambda a, b, t: (from_definition(a, b, temperature=t) + from_definition(b, a, temperature=t)) / 2,
    ),
}
each = pytest.mark.parametrize("name", LOSSES)


def views(count, dim=8, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(count, dim))
    return z.astype(dtype), (z + 0.8 * rng.normal(size=z.shape)).astype(dtype)


def both_routes(name, z1, z2, tau):
    """(loss, gradients) of the tiled route and of the definition, through autograd."""
    tiled, plain = LOSSES[name]
    return (
        hc.value_and_grad(lambda a, b, t: tiled(a, b, temperature=t), (0, 1, 2))(z1, z2, z1.dtype.type(tau)),
        hc.value_and_grad(plain, (0, 1, 2))(z1, z2, z1.dtype.type(tau)),
    )


@pytest.fixture
def small_blocks(monkeypatch):
    """Division into blocks of 7 rows, which fits no batch, from the first row on."""
    monkeypatch.setattr(tiles.blocks, "_rows", lambda count, size: 7)


@each
@pytest.mark.parametrize("count", [2, 6, 7, 8, 50])
@pytest.mark.parametrize("tau", [0.001, 0.05, 1.0, 100.0])
def test_blocks_give_what_the_definition_gives(name, count, tau, small_blocks):
    (loss, gradients), (expected, by_definition) = both_routes(name, *views(count), tau)
    assert loss == pytest.approx(expected, rel=1e-12, abs=1e-12)
    for g, e in zip(gradients, by_definition, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-12 * max(1, np.abs(e).max()))


@each
def test_a_batch_of_many_blocks_agrees_in_float32(name):
    z1, z2 = views(1500, dim=16, dtype=np.float32)
    (loss, gradients), _ = both_routes(name, z1, z2, 0.1)
    _, (expected, by_definition) = both_routes(name, z1.astype(float), z2.astype(float), 0.1)
    assert loss == pytest.approx(expected, rel=1e-6)
    for g, e in zip(gradients, by_definition, strict=True):
        assert g.dtype == np.float32
        np.testing.assert_allclose(g, e, rtol=0, atol=2e-6 * np.abs(e).max())


@each
def test_the_same_cores_give_the_same_bits(name, monkeypatch):
    z1, z2 = views(1500, dtype=np.float32)
    monkeypatch.setattr(threads, "cores", lambda: 2)
    first, again = (both_routes(name, z1, z2, 0.1)[0][1] for _ in range(2))
    for g, h in zip(first, again, strict=True):
        np.testing.assert_array_equal(g, h)


@each
@pytest.mark.parametrize("cores", [1, 2, 5])
def test_the_number_of_cores_changes_rounding_at_most(name, cores, monkeypatch, small_blocks):
    monkeypatch.setattr(threads, "cores", lambda: cores)
    (_, gradients), (_, by_definition) = both_routes(name, *views(40), 0.1)
    for g, e in zip(gradients, by_definition, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-13)


@each
@pytest.mark.parametrize("length", [1e-3, 1.0, 40.0])
def test_embeddings_off_the_sphere_neither_overflow_nor_vanish(name, length, small_blocks):
    z1, z2 = (length * z for z in views(20))
    tiled = {
        "info_nce": lambda a, b: info_nce(a, b, temperature=0.5, normalize=False),
        "nt_xent": lambda a, b: nt_xent(a, b, temperature=0.5, normalize=False),
        "symmetric": lambda a, b: info_nce(a, b, temperature=0.5, symmetric=True, normalize=False),
    }[name]
    value, gradients = hc.value_and_grad(tiled, (0, 1))(z1, z2)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradients)
    if name != "symmetric":
        expected = from_definition(z1, z2, temperature=0.5, loss=name, normalize=False)
        assert value == pytest.approx(expected, rel=1e-12, abs=1e-300)


@each
def test_second_order_goes_through_blocks_too(name, small_blocks):
    gradcheck(lambda a, b: LOSSES[name][0](a, b, temperature=0.4), *views(9, dim=3))


FAULTS = {
    "loss": lambda found: found._replace(loss=found.loss * 1.001),
    "anchors": lambda found: found._replace(by_anchors=found.by_anchors * 1.001),
    "candidates": lambda found: found._replace(by_candidates=found.by_candidates * 1.001),
    "the last block left out": lambda found: found._replace(
        by_anchors=np.where(np.arange(len(found.by_anchors))[:, None] < 7, found.by_anchors, 0)
    ),
    "temperature": lambda found: found._replace(by_temperature=found.by_temperature * 1.001),
    "swapped": lambda found: found._replace(by_anchors=found.by_candidates, by_candidates=found.by_anchors),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_planted_in_the_tiles_is_caught(fault, monkeypatch, small_blocks):
    right = tiles.one_way
    monkeypatch.setattr(tiles, "one_way", lambda *args, **settings: fault(right(*args, **settings)))
    with pytest.raises(GradientError):
        gradcheck(lambda a, b, t: info_nce(a, b, temperature=t), *views(9, dim=3), 0.4)


def test_memory_grows_with_the_batch_and_not_with_its_square():
    peaks = []
    for count in (2000, 4000):
        z1, z2 = (hc.tensor(z, requires_grad=True) for z in views(count, dim=32, dtype=np.float32))
        tracemalloc.start()
        info_nce(z1, z2, temperature=0.1).backward()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    matrix = 4000 * 4000 * 4
    assert peaks[1] < matrix / 2
    assert peaks[1] < 2.2 * peaks[0]
