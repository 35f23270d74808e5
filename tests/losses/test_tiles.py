"""The tiled route: the plain formulas to the last digits, whatever the division into blocks, in linear memory."""

import importlib
import math
import threading
import tracemalloc

import numpy as np
import pytest

import hypercon as hc
from hypercon import losses, threads
from hypercon.errors import InputError
from hypercon.losses import tiles
from hypercon.losses.infonce import info_nce_beside
from hypercon.losses.tiles import blocks
from hypercon.testing import GradientError, gradcheck

# --- the formulas, as they are written in papers, composed of small operations


def column(tau):
    return hc.reshape(tau, (-1, 1)) if tau.ndim else tau


def softmax_loss(s, tau, positive, left_out=None):
    """The mean of -log softmax(s / tau) at the positives; ``left_out`` are no candidates."""
    logits = s / column(tau)
    if left_out is not None:
        logits = hc.where(left_out, -math.inf, logits)
    return -hc.where(positive, hc.log_softmax(logits, axis=1), 0.0).sum() / len(positive)


def hard(s, k):
    """The k largest of every row, and ties; -inf where the positive stands."""
    negatives = np.where(np.eye(len(s)), -np.inf, s)
    return negatives >= np.sort(negatives, axis=1)[:, -k][:, None]


def one_way(u, v, tau):
    return softmax_loss(u @ v.T, tau, np.eye(len(u), dtype=bool))


def both_ways(u, v, tau):
    return (one_way(u, v, tau) + one_way(v, u, tau)) / 2


def stacked(u, v, tau):
    z, itself = hc.concatenate([u, v]), np.eye(2 * len(u), dtype=bool)
    tau = hc.concatenate([tau, tau]) if tau.ndim else tau
    return softmax_loss(z @ z.T, tau, np.roll(itself, len(u), axis=1), itself)


def beside(u, v, tau):
    """Positives are the candidates turned by one, negatives all candidates: what a queue of keys gives."""
    own = (u * hc.concatenate([v[-1:], v[:-1]])).sum(axis=1, keepdims=True)
    s = hc.concatenate([own, u @ v.T], axis=1)
    return softmax_loss(s, tau, np.arange(s.shape[1]) == np.zeros((len(u), 1)))


def hardest(u, v, tau):
    s = u @ v.T
    kept = hard(s.data, K(u))
    return softmax_loss(s, tau, np.eye(len(u), dtype=bool), ~kept & ~np.eye(len(u), dtype=bool))


def nearest(u, v, tau):
    s = u @ v.T
    kept = hard(s.data, K(u))
    means = hc.where(kept, s, 0.0).sum(axis=1) / kept.sum(axis=1)
    return (means - hc.where(np.eye(len(u), dtype=bool), s, 0.0).sum(axis=1)).mean()


def potential(u, v, tau, on_sphere=True):
    squares = (u * u).sum(axis=1, keepdims=True)
    exponents = (u @ u.T - 1) / tau if on_sphere else -(squares + squares.T - 2 * (u @ u.T)) / (2 * tau)
    pairs = hc.where(np.eye(len(u), dtype=bool), -math.inf, exponents)
    return hc.logsumexp(pairs) - math.log(len(u) * (len(u) - 1))


def K(u):
    return max(1, len(u) // 3)


# --- the same in tiles: (u, v, tau) to the loss and its derivatives by all three, None where there is none


def in_tiles_beside(u, v, tau, **options):
    found = tiles.one_way(u, v, tau, positives=np.roll(v, 1, axis=0), **options)
    if not options.get("gradient", True):
        return found.loss, None, None, None
    return found.loss, found.by_anchors, found.by_candidates + np.roll(found.by_positives, -1, axis=0), found[3]


def in_tiles_stacked(u, v, tau, **options):
    found = tiles.stacked(np.concatenate([u, v]), np.concatenate([tau, tau]) if tau.ndim else tau, **options)
    if not options.get("gradient", True):
        return found.loss, None, None, None
    by_tau = found.by_temperature.reshape(2, -1).sum(axis=0) if tau.ndim else found.by_temperature
    return found.loss, *np.split(found.by_anchors, 2), by_tau


def in_tiles_potential(on_sphere):
    def call(u, v, tau, **options):
        return tiles.potential(u, 1 / (2 * float(tau)), on_sphere=on_sphere, **options)[:2]

    return call


CASES = {
    "one way": (one_way, lambda u, v, t, **o: tiles.one_way(u, v, t, **o)[:4]),
    "both ways": (both_ways, lambda u, v, t, **o: tiles.both_ways(u, v, t, **o)[:4]),
    "stacked": (stacked, in_tiles_stacked),
    "positives beside": (beside, in_tiles_beside),
    "hardest": (hardest, lambda u, v, t, **o: tiles.one_way(u, v, t, k=K(u), **o)[:4]),
    "nearest": (nearest, lambda u, v, t, **o: tiles.nearest(u, v, K(u), **o)[:3]),
    "potential": (potential, in_tiles_potential(True)),
    "potential off the sphere": (lambda u, v, t: potential(u, v, t, False), in_tiles_potential(False)),
}
each = pytest.mark.parametrize("name", CASES)
WITH_A_VECTOR = ["one way", "both ways", "stacked", "positives beside", "hardest"]
BOTH = [("float64", 1e-12), ("float32", 1e-6)]


def views(count, dim=8, dtype=np.float64, seed=0, length=1.0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(count, dim))
    z1, z2 = (length * hc.normalize(x) for x in (z, z + 0.8 * rng.normal(size=z.shape)))
    return z1.astype(dtype), z2.astype(dtype)


def from_the_formula(name, u, v, tau):
    """The loss and its derivatives in float64, by autograd through the composed formula."""
    leaves = [hc.tensor(np.asarray(x, np.float64), requires_grad=True) for x in (u, v, tau)]
    loss = CASES[name][0](*leaves)
    loss.backward()
    return [loss.item(), *[np.zeros(x.shape) if x.grad is None else x.grad.data for x in leaves]]


def check(name, u, v, tau, rel, **options):
    """Does the tiled route give what the formula gives, to ``rel`` of the largest entry?"""
    tau = np.asarray(tau)
    found = CASES[name][1](u, v, tau, **options)
    expected = from_the_formula(name, u, v, tau)
    assert found[0] == pytest.approx(expected[0], rel=rel, abs=rel * min(1, float(10 / tau.min())))
    for got, wanted, x in zip(found[1:], expected[1:], (u, v, tau), strict=False):
        # an entry is a sum of terms of up to |x| / tau / N; where they cancel, their rounding remains
        terms = max(np.abs(u).max(), np.abs(v).max()) / float(tau.min()) / len(u)
        scale = max(np.abs(wanted).max(), terms if x is not tau else terms / float(tau.min()))
        assert np.shape(got) == np.shape(wanted)
        np.testing.assert_allclose(got, wanted, rtol=0, atol=rel * scale)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks and tiles that fit no batch, from the first row on."""
    for name, value in {"FEW": 0, "ROWS": 7, "LEAST_ROWS": 2, "WIDTH": 5, "SIDE": 6}.items():
        monkeypatch.setattr(blocks, name, value)


# --- the same numbers


@each
@pytest.mark.parametrize("count", [2, 3, 7, 8, 50])
@pytest.mark.parametrize("tau", [0.001, 0.05, 1.0, 1000.0])
def test_blocks_give_what_the_formula_gives(name, count, tau, small_blocks):
    check(name, *views(count), tau, 1e-12)


@pytest.mark.parametrize("name", WITH_A_VECTOR)
@pytest.mark.parametrize("count", [2, 7, 50])
def test_each_anchor_may_have_a_temperature_of_its_own(name, count, small_blocks):
    check(name, *views(count), np.random.default_rng(1).uniform(0.05, 2.0, count), 1e-12)


@each
@pytest.mark.parametrize(("tau", "rel"), [(1.0, 1e-6), (0.07, 3e-6), (0.001, 1e-4)])
def test_many_blocks_agree_in_single_precision(name, tau, rel):
    """To the rounding of a similarity, 6e-8, as 1 / tau multiplies it in the exponential."""
    check(name, *views(1500, dim=16, dtype=np.float32), tau, rel)


@each
@pytest.mark.parametrize(("dtype", "rel"), BOTH)
@pytest.mark.parametrize("length", [1e-3, 1.0, 40.0])
def test_embeddings_off_the_sphere_neither_overflow_nor_vanish(name, dtype, rel, length, small_blocks):
    if name == "potential" and length != 1.0:
        pytest.skip("it is told that they are on the sphere")
    check(name, *views(20, dtype=dtype, length=length), 0.5, rel * max(1, length**2 / 10))


@each
def test_a_value_alone_is_the_value_with_its_gradient(name, small_blocks):
    u, v = views(20)
    found = CASES[name][1](u, v, np.asarray(0.3), gradient=False)
    assert found[0] == pytest.approx(CASES[name][1](u, v, np.asarray(0.3))[0], rel=1e-14)
    assert all(g is None for g in found[1:])


def test_fixed_candidates_have_no_gradient_and_change_no_other(small_blocks):
    u, v = views(20)
    free, fixed = (tiles.one_way(u, v, 0.3, positives=v[::-1], fixed=fixed) for fixed in (False, True))
    assert fixed.by_candidates is None
    for name in ("by_anchors", "by_positives", "by_temperature"):
        np.testing.assert_array_equal(getattr(free, name), getattr(fixed, name))


def test_half_precision_is_computed_in_single():
    u, v = views(9, dtype=np.float16)
    found = tiles.one_way(u, v, 0.1)
    assert found.by_anchors.dtype == np.float32
    assert found.loss == tiles.one_way(u.astype(np.float32), v.astype(np.float32), 0.1).loss


@pytest.mark.parametrize("k", [1, 2, 3])
def test_what_ties_with_the_k_th_is_kept(k, small_blocks):
    u = np.eye(9)
    candidates = np.ones((9, 9)) + 2 * np.eye(9)  # all negatives of an anchor are equally near
    assert tiles.one_way(u, candidates, 0.7, k=k).loss == pytest.approx(math.log1p(8 * math.exp(-2 / 0.7)), rel=1e-12)
    assert tiles.nearest(u, candidates, k).loss == pytest.approx(-2.0, rel=1e-12)


# --- extremes


PUBLIC = {
    "info_nce": lambda a, b, **o: hc.info_nce(a, b, temperature=0.1, **o),
    "symmetric": lambda a, b, **o: hc.info_nce(a, b, temperature=0.1, symmetric=True, **o),
    "nt_xent": lambda a, b, **o: hc.nt_xent(a, b, temperature=0.1, **o),
    "hard_info_nce": lambda a, b, **o: losses.hard_info_nce(a, b, temperature=0.1, k=1, **o),
    "hard_simple": lambda a, b, **o: losses.hard_simple(a, b, k=1, **o),
    "uniformity": lambda a, b, **o: losses.uniformity_loss(a, **o),
}
every_loss = pytest.mark.parametrize("name", PUBLIC)


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [2, 3, 700])
def test_all_points_in_one_place_cost_chance_and_have_no_gradient_exactly(name, dtype, count):
    chance = {"nt_xent": math.log(2 * count - 1), "hard_simple": 0.0, "uniformity": 0.0}.get(name, math.log(count))
    z = np.tile(np.random.default_rng(0).normal(size=5), (count, 1)).astype(dtype)
    loss, gradients = hc.value_and_grad(PUBLIC[name], (0, 1))(z, z)
    assert loss == dtype(chance)
    for g in gradients:
        np.testing.assert_array_equal(g, np.zeros_like(z))


def test_a_tiny_loss_keeps_its_digits():
    """Positives at similarity 1 and negatives at -0.5 or so: a softmax in float32 would return 0."""
    rng = np.random.default_rng(0)
    z = hc.normalize(rng.normal(size=(256, 128)))
    tau = 0.02
    for loss in (
        lambda a, b: hc.info_nce(a, b, temperature=tau),
        lambda a, b: hc.info_nce(a, b, temperature=tau, symmetric=True),
        lambda a, b: hc.nt_xent(a, b, temperature=tau),
    ):
        value, gradients = hc.value_and_grad(loss, (0, 1))(z.astype(np.float32), z.astype(np.float32))
        expected, wanted = hc.value_and_grad(loss, (0, 1))(*[z.astype(np.float32).astype(float)] * 2)
        assert 0 < expected < 1e-12
        assert value == pytest.approx(expected, rel=1e-5)
        for g, w in zip(gradients, wanted, strict=True):
            np.testing.assert_allclose(g, w, rtol=0, atol=1e-5 * np.abs(w).max())


@pytest.mark.parametrize("name", ["one way", "both ways", "stacked", "potential"])
def test_the_common_shift_holds_for_any_batch_where_it_is_taken(name, monkeypatch):
    """At a temperature of 1/75 in float32 no row needs a maximum of its own, nor does the shift subtract anything."""
    u, v = views(700, dtype=np.float32)
    assert blocks.shift(u, v, 75.0) == 0
    assert blocks.shift(u, v, 1000.0) > 900
    with np.errstate(all="raise", under="ignore"):
        check(name, u, v, 1 / 75, 1e-5)
        check(name, u, -u, 1 / 75, 1e-5)


# --- derivatives


@each
def test_gradients_and_second_derivatives_by_differences(name, small_blocks):
    public = {
        "one way": lambda a, b, t: hc.info_nce(a, b, temperature=t),
        "both ways": lambda a, b, t: hc.info_nce(a, b, temperature=t, symmetric=True),
        "stacked": lambda a, b, t: hc.nt_xent(a, b, temperature=t),
        "positives beside": lambda a, b, t: info_nce_beside(a, b, b * 0.5 + 1, t, gradient=True, fixed=False),
        "hardest": lambda a, b, t: losses.hard_info_nce(a, b, temperature=t, k=3),
        "nearest": lambda a, b, t: losses.hard_simple(a, b, k=3) + 0 * t,
        "potential": lambda a, b, t: losses.uniformity_loss(a) + 0 * t + 0 * b.sum(),
        "potential off the sphere": lambda a, b, t: losses.uniformity_loss(a, normalize=False) + 0 * t + 0 * b.sum(),
    }[name]
    gradcheck(lambda a, b, t: 3 * public(a, b, t), *views(9, dim=3), 0.4)


@pytest.mark.parametrize("name", WITH_A_VECTOR)
def test_plain_rules_know_temperatures_of_each_anchor(name):
    """What a GPU and a second derivative take, by differences."""
    primitives = {
        "one way": lambda a, b, t: losses.infonce._info_nce(a, b, t, symmetric=False),
        "both ways": lambda a, b, t: losses.infonce._info_nce(a, b, t, symmetric=True),
        "stacked": lambda a, b, t: losses.infonce._nt_xent(hc.concatenate([a, b]), hc.concatenate([t, t + 0.1])),
        "positives beside": lambda a, b, t: info_nce_beside(a, b, b * 0.5 + 1, t, gradient=True, fixed=False),
        "hardest": lambda a, b, t: losses.hard._hard_info_nce(a, b, t, k=2),
    }
    gradcheck(primitives[name], *views(7, dim=3), np.linspace(0.3, 0.9, 7))


def broken(find):
    """``find`` with results spoiled one at a time, each in one way."""

    def spoilt(**changes):
        def call(*args, **settings):
            found = find(*args, **settings)
            for field, change in changes.items():
                old = getattr(found, field)
                found = found._replace(**{field: None if old is None else change(old)})
            return found

        return call

    def last_block_lost(g):
        return np.where(np.arange(len(g))[:, None] < 7, g, 0)

    yield "loss", spoilt(loss=lambda value: value * 1.001)
    yield "anchors", spoilt(by_anchors=lambda g: g * 1.001)
    yield "the last block", spoilt(by_anchors=last_block_lost)
    if find in (tiles.one_way, tiles.both_ways, tiles.nearest):
        yield "candidates", spoilt(by_candidates=lambda g: g * 1.001)
    if find in (tiles.one_way, tiles.both_ways, tiles.stacked):
        yield "temperature", spoilt(by_temperature=lambda g: g * 1.001)


FAULTS = [
    pytest.param(function, fault, id=f"{function.__name__}: {name}")
    for function in (tiles.one_way, tiles.both_ways, tiles.stacked, tiles.nearest, tiles.potential)
    for name, fault in broken(function)
]


@pytest.mark.parametrize(("function", "fault"), FAULTS)
def test_a_fault_planted_in_what_tiles_return_is_caught(function, fault, monkeypatch, small_blocks):
    call = {
        "one_way": lambda a, b, t: hc.info_nce(a, b, temperature=t),
        "both_ways": lambda a, b, t: hc.info_nce(a, b, temperature=t, symmetric=True),
        "stacked": lambda a, b, t: hc.nt_xent(a, b, temperature=t),
        "nearest": lambda a, b, t: losses.hard_simple(a, b, k=3) + 0 * t,
        "potential": lambda a, b, t: losses.uniformity_loss(a) + 0 * t + 0 * b.sum(),
    }[function.__name__]
    monkeypatch.setattr(tiles, function.__name__, fault)
    with pytest.raises(GradientError):
        gradcheck(call, *views(9, dim=3), 0.4)


INNER = {
    "nothing is left out": ("fill_diagonal", lambda tile, offset, value: None),
    "a coupling of 1": ("settle", lambda *args: (blocks.settle(*args)[0], np.ones_like(blocks.settle(*args)[1]))),
    "the positive's logit is 0": ("settle", lambda negatives, by, positives: blocks.settle(negatives, by, 0.0)),
}


@pytest.mark.parametrize("fault", INNER)
@pytest.mark.parametrize(
    ("name", "file"), [("one way", "one_direction"), ("both ways", "two_directions"), ("stacked", "stacked_views")]
)
def test_a_fault_planted_inside_the_blocks_is_caught(name, file, fault, monkeypatch, small_blocks):
    monkeypatch.setattr(importlib.import_module(f"hypercon.losses.tiles.{file}"), *INNER[fault])
    with pytest.raises(AssertionError):
        check(name, *views(20), 0.3, 1e-9)


# --- threads


@each
def test_the_same_cores_give_the_same_bits(name, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    u, v = views(1500, dtype=np.float32)
    first, again = (CASES[name][1](u, v, np.asarray(0.1)) for _ in range(2))
    for g, h in zip(first, again, strict=True):
        np.testing.assert_array_equal(g, h)


@each
@pytest.mark.parametrize("cores", [1, 2, 5])
def test_the_number_of_cores_changes_rounding_at_most(name, cores, monkeypatch, small_blocks):
    monkeypatch.setattr(threads, "cores", lambda: cores)
    check(name, *views(40), 0.1, 1e-12)


def test_two_threads_at_once_do_not_share_working_memory():
    u, v = views(900, dtype=np.float32)
    expected = [CASES[name][1](u, v, np.asarray(0.1)) for name in ("one way", "stacked")]
    wrong = []

    def work(i):
        for _ in range(5):
            found = CASES[("one way", "stacked")[i]][1](u, v, np.asarray(0.1))
            wrong.extend(g for g, e in zip(found, expected[i], strict=True) if not np.array_equal(g, e))

    workers = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


# --- memory


@each
@pytest.mark.parametrize("memory", [30_000, 60_000, 150_000, 10**6])
def test_a_budget_changes_the_division_and_nothing_else(name, memory, monkeypatch):
    for constant, value in {"FEW": 0, "ROWS": 16, "SIDE": 32, "WIDTH": 64, "LEAST_ROWS": 4}.items():
        monkeypatch.setattr(blocks, constant, value)
    monkeypatch.setattr(threads, "cores", lambda: 2)
    check(name, *views(100), 0.2, 1e-12, memory=memory)


@every_loss
def test_a_batch_that_does_not_fit_is_refused_with_what_it_needs(name):
    z1, z2 = views(100)
    with pytest.raises(InputError, match=r"memory got 1000 bytes, expected at least \d+ for .*smaller batch"):
        PUBLIC[name](z1, z2, memory=1000)
    assert PUBLIC[name](z1, z2, memory=10**6) == pytest.approx(PUBLIC[name](z1, z2), rel=1e-12)


@every_loss
@pytest.mark.parametrize("memory", ["1 GB", "", 0, -1, 1.5, math.nan, None, [1]])
def test_a_budget_is_auto_or_a_number_of_bytes(name, memory):
    with pytest.raises(hc.errors.HyperconError, match="memory got"):
        PUBLIC[name](*views(4), memory=memory)


def peak(work):
    """The most bytes that arrays took during the call, what is kept between calls included."""
    scratch = importlib.import_module("hypercon.losses.tiles.scratch")
    scratch._idle.clear()
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@each
def test_working_memory_stays_within_the_budget(name):
    count, dim, memory = 2000, 8, 6 * 2**20
    u, v = views(count, dim, np.float32)
    results_and_vectors = 40 * count * dim * 4
    found = peak(lambda: CASES[name][1](u, v, np.asarray(0.1), memory=memory))
    assert found < memory + results_and_vectors + 2**20


@every_loss
def test_memory_grows_with_the_batch_and_not_with_its_square(name):
    count = 3000
    z1, z2 = (hc.tensor(z, requires_grad=True) for z in views(count, dim=16, dtype=np.float32))
    used = peak(lambda: PUBLIC[name](z1, z2, memory=8 * 2**20).backward())
    assert used < count * count * 4 / 2


def test_what_is_kept_between_calls_is_bounded():
    scratch = importlib.import_module("hypercon.losses.tiles.scratch")
    scratch._idle.clear()
    mine = scratch.Scratch()
    for name, size in (("a", 300), ("b", 200), ("c", 100)):
        mine.array(name, (size,), np.uint8)
    mine.shrink(350)
    assert list(mine._memory) == ["b", "c"]
    with scratch.scratch() as outer, scratch.scratch() as inner:
        assert outer is not inner
    assert len(scratch._idle) == 1
