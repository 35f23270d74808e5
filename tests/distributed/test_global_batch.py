"""The loss of the global batch: one step over ranks is that step in one process, and known faults are not."""

import contextlib
import tracemalloc

import global_batch
import numpy as np
import pytest
from global_batch import Step, deviations
from hypothesis import given
from hypothesis import strategies as st

import hypercon as hc
from hypercon import distributed
from hypercon.distributed import run_in_threads, share, statistics, sum_gradients, tours, visits
from hypercon.errors import DtypeError, GraphError, InputError

LOSSES = ("info_nce", "both ways", "nt_xent")


def worst(size, step, **faults):
    """The largest deviation of any rank in anything."""
    return max(max(found.values()) for found in run_in_threads(size, lambda ranks: deviations(ranks, step, **faults)))


@given(
    size=st.integers(1, 4),
    count=st.integers(4, 13),
    loss=st.sampled_from(LOSSES),
    way=st.sampled_from(("ring", "gather")),
    network=st.sampled_from(("mlp", "cnn")),
    seed=st.integers(0, 99),
)
def test_loss_every_gradient_and_all_statistics_are_those_of_one_process(size, count, loss, way, network, seed):
    assert worst(size, Step(count, loss, way, network, seed=seed)) < 1e-12


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("way", ["ring", "gather"])
@pytest.mark.parametrize("temperature", [0.0005, 0.002, 0.01, 100.0])
def test_so_it_is_at_temperatures_where_exponentials_leave_their_range(loss, way, temperature):
    rng = np.random.default_rng(0)
    z1, z2 = rng.standard_normal((2, 9, 4))
    for dtype, size in ((np.float64, 3), (np.float32, 2)):
        views = z1.astype(dtype), z2.astype(dtype)
        one = [hc.tensor(z, requires_grad=True) for z in views]
        value = global_batch.whole(loss, *one, temperature)
        value.backward()

        def on_a_rank(ranks, views=views):
            mine = [hc.tensor(z[share(9, ranks)], requires_grad=True) for z in views]
            found = global_batch.over_ranks(Step(loss=loss, way=way), *mine, temperature, ranks)
            found.backward()
            return float(found), [z.grad.data for z in mine]

        results = run_in_threads(size, on_a_rank)
        largest = 1 / temperature + 10
        tolerance = 100 * np.finfo(dtype).eps
        assert all(abs(found - float(value)) < tolerance * largest for found, _ in results)
        for view in (0, 1):
            joined = np.concatenate([gradients[view] for _, gradients in results])
            np.testing.assert_allclose(joined, one[view].grad.data, atol=tolerance * largest**2, rtol=0)


# --- planted faults


def mean_of_gradients(parameters, ranks):
    """What data-parallel tools do by default: 1/W of the gradient, under a value that is right."""
    sum_gradients(parameters, ranks)
    for parameter in parameters:
        parameter.grad.data /= ranks.size


def no_sum(parameters, ranks):
    """Every rank goes its own way."""


def own_negatives(step, z1, z2, temperature, ranks):
    """The mean of the ranks' own losses."""
    return global_batch.whole(step.loss, z1, z2, temperature) / ranks.size


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_mean_of_gradients_instead_of_their_sum_is_caught_though_the_value_is_right(size, loss):
    found = run_in_threads(size, lambda ranks: deviations(ranks, Step(loss=loss), mean_of_gradients))
    for of_a_rank in found:
        assert of_a_rank["loss"] < 1e-12
        assert all(deviation > 1e-6 for name, deviation in of_a_rank.items() if name.endswith("weight"))


@pytest.mark.parametrize("fault", [{"sum_gradients": no_sum}, {"loss_over": own_negatives}])
def test_what_forgets_the_other_ranks_is_caught(fault):
    assert worst(3, Step(), **fault) > 1e-3


def keys_without_gradient(self, work, width=None, along=None):
    """A gathering that no derivative goes back through: each rank keeps what it found for its own keys."""
    ranks, rows = self.ranks, self.rows
    room = None if width is None else np.zeros((sum(rows), width))
    rooms = [None] * ranks.size if room is None else ranks.parts(room, rows)
    beside = [None] * ranks.size if along is None else ranks.gather(along, rows)
    for owner in range(ranks.size):
        work(owner, self.keys[owner], rooms[owner], beside[owner])
    if width == 1:
        return ranks.sum_parts(room, rows)
    return rooms[ranks.rank]


@pytest.mark.parametrize("loss", ["info_nce", "both ways"])
def test_a_gathering_without_a_gradient_is_caught(loss, monkeypatch):
    assert worst(3, Step(loss=loss, way="gather")) < 1e-12
    monkeypatch.setattr(visits.Gathered, "tour", keys_without_gradient)
    found = run_in_threads(3, lambda ranks: deviations(ranks, Step(loss=loss, way="gather")))
    assert all(of_a_rank["loss"] < 1e-12 for of_a_rank in found), "the value says nothing"
    assert max(max(of_a_rank.values()) for of_a_rank in found) > 1e-3


@pytest.mark.parametrize("way", ["ring", "gather"])
def test_rows_of_nt_xent_that_are_pushed_as_anchors_alone_are_caught(way, monkeypatch):
    pushes = tours.Tours.pushes

    def as_anchors(self, shift, push, along, *, on_keys):
        return pushes(self, shift, push, None, on_keys=on_keys)

    monkeypatch.setattr(tours.Tours, "pushes", as_anchors)
    found = run_in_threads(3, lambda ranks: deviations(ranks, Step(loss="nt_xent", way=way)))
    assert all(of_a_rank["loss"] < 1e-12 for of_a_rank in found), "the value says nothing"
    assert max(max(of_a_rank.values()) for of_a_rank in found) > 1e-3


def test_a_ring_whose_gradients_stop_one_rank_from_home_is_caught(monkeypatch):
    tour = visits.Ring.tour

    def short(self, work, width=None, along=None):
        room = tour(self, work, width, along)
        return room if width in (None, 1) else self.ranks.pass_on(room, room.shape)

    monkeypatch.setattr(visits.Ring, "tour", short)
    assert worst(2, Step(count=8)) > 1e-3


def test_own_statistics_are_caught(monkeypatch):
    monkeypatch.setattr(global_batch, "synchronised", lambda encoder, ranks: contextlib.nullcontext())
    assert worst(2, Step()) > 1e-3


def test_a_mean_of_means_is_caught_where_ranks_have_different_numbers_of_rows(monkeypatch):
    exact = statistics.global_moments

    def mean_of_means(x, ranks):
        _, _, count = exact(x, ranks)
        means = np.concatenate(ranks.gather(x.mean(axis=(0, *range(2, x.ndim)))[None], [1] * ranks.size))
        _, var, _ = exact(x, ranks)
        return means.mean(axis=0), var, count

    monkeypatch.setattr(statistics, "global_moments", mean_of_means)
    assert worst(2, Step(count=12)) < 1e-12
    assert worst(2, Step(count=11)) > 1e-4


def test_statistics_whose_gradient_stays_at_home_are_caught(monkeypatch):
    def forward_alone(x, gamma, beta, *, eps, moments, count, ranks):
        return hc.batch_norm(x, gamma, beta, eps=eps, moments=moments)

    monkeypatch.setattr(statistics, "_batch_norm", forward_alone)
    found = run_in_threads(2, lambda ranks: deviations(ranks, Step()))
    assert all(of_a_rank["loss"] < 1e-12 for of_a_rank in found), "the value says nothing"
    assert max(max(of_a_rank.values()) for of_a_rank in found) > 1e-3


# --- on a device


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("way", ["ring", "gather"])
@pytest.mark.parametrize("temperature", [0.2, 0.002])
def test_on_a_device_it_is_the_same(loss, way, temperature, device):
    z = np.random.default_rng(0).standard_normal((2, 7, 4)).astype(np.float32)

    def on_a_rank(ranks, put):
        mine = [hc.tensor(put(view[share(7, ranks)]), requires_grad=True) for view in z]
        value = global_batch.over_ranks(Step(loss=loss, way=way), *mine, temperature, ranks)
        value.backward()
        return [value.data, *(view.grad.data for view in mine)]

    expected = run_in_threads(2, lambda ranks: on_a_rank(ranks, np.array))
    for got, wanted in zip(run_in_threads(2, lambda ranks: on_a_rank(ranks, device.put)), expected, strict=True):
        for array, values in zip(got, wanted, strict=True):
            device.check(array, values)


# --- what is held, and what is refused


def test_the_ring_holds_a_block_where_gathering_holds_all():
    """Growth of memory on all four ranks together, beside their embeddings: N/W x D a few times, against N x D."""
    rows, dim, size = 1024, 512, 4
    z = np.random.default_rng(0).standard_normal((2, rows, dim)).astype(np.float32)

    def peak(way):
        def on_a_rank(ranks):
            mine = share(rows, ranks)
            return distributed.info_nce(z[0][mine], z[1][mine], temperature=0.2, ranks=ranks, way=way, normalize=False)

        tracemalloc.start()
        values = run_in_threads(size, on_a_rank)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest, values[0]

    (ring, one), (gathered, other) = peak("ring"), peak("gather")
    assert one == pytest.approx(other, abs=1e-4)
    everything, tiles = rows * dim * 4, size * 3 * 256 * 256 * 4
    assert gathered > size * everything
    assert ring < 4 * everything + tiles


def test_memory_decides_the_way(monkeypatch):
    chosen = []
    for way in (visits.Ring, visits.Gathered):
        tour = way.tour
        monkeypatch.setattr(way, "tour", lambda self, *a, tour=tour: (chosen.append(type(self)), tour(self, *a))[1])
    z = np.random.default_rng(0).standard_normal((2, 64, 32))
    for memory, expected in ((2 * 2 * 64 * 32 * 8, visits.Gathered), (2 * 2 * 64 * 32 * 8 - 1, visits.Ring)):
        chosen.clear()
        run_in_threads(
            2,
            lambda ranks, memory=memory: distributed.info_nce(
                *(view[share(64, ranks)] for view in z), temperature=1.0, ranks=ranks, memory=memory
            ),
        )
        assert set(chosen) == {expected}


def test_there_is_no_second_derivative():
    z = hc.tensor(np.eye(4), requires_grad=True)
    value = distributed.nt_xent(z, z, temperature=1.0, ranks=distributed.Ranks())
    with pytest.raises(GraphError, match="a loss over ranks has no second derivative"):
        value.backward(create_graph=True)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"ranks": 4}, DtypeError, "ranks got int"),
        ({"way": "tree"}, InputError, "way got 'tree', expected one of auto, gather, ring"),
        ({"z2": np.ones((2, 4))}, InputError, "expected one shape"),
        ({"z1": np.ones((1, 4)), "z2": np.ones((1, 4))}, InputError, "the global batch has one row"),
        ({"temperature": 0.0}, InputError, "temperature got 0"),
        ({"temperature": [0.1, 0.2, 0.3]}, DtypeError, "temperature got"),
    ],
)
def test_bad_calls_are_refused(changed, error, message):
    good = {"z1": np.eye(3, 4), "z2": np.eye(3, 4), "temperature": 0.2, "ranks": distributed.Ranks()}
    with pytest.raises(error, match=message):
        distributed.info_nce(**(good | changed))
    if "one row" in message:
        with pytest.raises(InputError, match="the global batch has one instance"):
            distributed.nt_xent(**(good | changed))


def test_ranks_with_embeddings_of_different_widths_are_refused_on_all():
    def on_a_rank(ranks):
        with pytest.raises(InputError, match="3 numbers of 8 bytes, 4 numbers of 8 bytes wide"):
            distributed.nt_xent(np.eye(3 + ranks.rank), np.eye(3 + ranks.rank), temperature=1.0, ranks=ranks)
        return True

    assert run_in_threads(2, on_a_rank) == [True, True]
