"""What ranks say to one another: sums and gatherings, shares of a batch, and what happens when one of them ends."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hypercon as hc
from hypercon.distributed import (
    Ranks,
    check_alike,
    executor,
    mpi,
    ranks_of_this_job,
    run_in_threads,
    share,
    sum_gradients,
    tours,
)
from hypercon.distributed.traffic import CountingRanks, bytes_of_statistics, bytes_of_sum, cost_of_loss
from hypercon.errors import InputError, RankError, TrainingError


@given(size=st.integers(1, 5), rows=st.lists(st.integers(0, 4), min_size=5, max_size=5), seed=st.integers(0, 99))
def test_gatherings_and_sums(size, rows, seed):
    rows = rows[:size]
    rng = np.random.default_rng(seed)
    blocks = [rng.standard_normal((count, 3)) for count in rows]
    whole = rng.standard_normal((size, sum(rows), 3))

    def on_a_rank(ranks):
        gathered = ranks.gather(blocks[ranks.rank], rows)
        return gathered, ranks.sum_parts(whole[ranks.rank], rows), ranks.sum(whole[ranks.rank])

    results = run_in_threads(size, on_a_rank)
    total = whole.sum(axis=0)
    for rank, (gathered, part, everything) in enumerate(results):
        for got, block in zip(gathered, blocks, strict=True):
            np.testing.assert_array_equal(got, block)
        start = sum(rows[:rank])
        np.testing.assert_allclose(part, total[start : start + rows[rank]], atol=1e-14)
        np.testing.assert_allclose(everything, total, atol=1e-14)
        np.testing.assert_array_equal(everything, results[0][2], err_msg="the same bits on all ranks")


def test_what_is_so_on_one_rank_is_known_to_all():
    assert run_in_threads(3, lambda ranks: ranks.any(ranks.rank == 1)) == [True] * 3
    assert run_in_threads(3, lambda ranks: ranks.any(False)) == [False] * 3


@given(count=st.integers(1, 40), size=st.integers(1, 6))
def test_every_row_belongs_to_one_rank_and_shares_are_equal_but_for_one_row(count, size):
    def on_a_rank(ranks):
        return share(count, ranks)

    if count < size:
        with pytest.raises(InputError, match=f"a batch of {count} cannot be shared by {size} ranks"):
            run_in_threads(size, on_a_rank)
        return
    shares = [range(count)[part] for part in run_in_threads(size, on_a_rank)]
    assert [i for part in shares for i in part] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_gradients_are_summed_in_one_message_for_each_dtype():
    def on_a_rank(ranks):
        ranks = CountingRanks(ranks)
        parameters = [hc.tensor(np.ones(shape, dtype), requires_grad=True) for shape, dtype in SHAPES]
        for parameter in parameters[:-1]:
            (parameter * float(ranks.rank + 1)).sum().backward()
        sum_gradients(parameters, ranks)
        assert parameters[-1].grad is None
        assert all((parameter.grad.data == 6).all() for parameter in parameters[:-1])
        assert all(parameter.grad.dtype == parameter.dtype for parameter in parameters[:-1])
        return ranks.messages

    SHAPES = [((2, 3), np.float32), ((4,), np.float32), ((), np.float64), ((5,), np.float32)]
    assert run_in_threads(3, on_a_rank) == [8, 8, 8]  # two sums, each of two passes to sum and two to tell


def test_what_must_be_alike_is_compared():
    run_in_threads(3, lambda ranks: check_alike("weights", [np.ones(3), np.zeros(2)], ranks))
    with pytest.raises(TrainingError, match="weights differ between rank 0 and rank 2: start every rank with the same"):
        run_in_threads(3, lambda ranks: check_alike("weights", [np.ones(3) + (ranks.rank == 2) * 1e-16 * 3], ranks))


def test_a_rank_that_fails_ends_the_others():
    def on_a_rank(ranks):
        if ranks.rank == 1:
            raise InputError("its disk is gone")
        return ranks.sum(np.zeros(4))

    with pytest.raises(InputError, match="its disk is gone") as caught:
        run_in_threads(3, on_a_rank)
    assert caught.value.__notes__ == ["on rank 1 of 3"]


def test_ranks_that_do_not_run_the_same_program_are_told_so():
    with pytest.raises(RankError, match="the ranks do not run the same program"):
        run_in_threads(2, lambda ranks: ranks.gather(np.zeros(2 + ranks.rank), [2, 2]))


def test_a_job_without_a_launcher_is_one_rank(monkeypatch):
    for name in mpi._SIZES:
        monkeypatch.delenv(name, raising=False)
    ranks_of_this_job.cache_clear()
    assert ranks_of_this_job().size == 1
    ranks_of_this_job.cache_clear()


def test_a_launcher_without_its_mpi_is_told(monkeypatch):
    ranks_of_this_job.cache_clear()
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(InputError, match=r"4 processes were started, and mpi4py cannot be loaded .*: pip install"):
        ranks_of_this_job()

    class OfAnotherMpi(Ranks):
        class mpi:  # noqa: N801 - as mpi4py calls it
            Get_library_version = staticmethod(lambda: "Open MPI v5\nand more")

    monkeypatch.setattr(mpi, "MpiRanks", OfAnotherMpi)
    with pytest.raises(InputError, match=r"takes each for a job of one: use the mpiexec of .* loads, Open MPI v5$"):
        ranks_of_this_job()
    refused = pytest.raises(InputError, match=r"4 processes run this program, .* mpiexec -n 4 python -m mpi4py.futures")
    with refused, executor():
        pass


def test_processes_take_independent_work():
    with executor(workers=2) as pool:
        assert list(pool.map(abs, [-1, 2, -3])) == [1, 2, 3]
    with pytest.raises(InputError, match="workers got 0"), executor(workers=0):
        pass


# --- bytes and messages


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("way", ["ring", "gather"])
@pytest.mark.parametrize("loss", ["info_nce", "both ways", "nt_xent"])
def test_the_bytes_of_a_loss_are_those_of_the_formula(size, way, loss):
    count, dim = 24, 5
    z = np.random.default_rng(0).standard_normal((2, count, dim)).astype(np.float32)

    def on_a_rank(ranks):
        ranks = CountingRanks(ranks)
        mine = [hc.tensor(view[share(count, ranks)], requires_grad=True) for view in z]
        if loss == "nt_xent":
            hc.distributed.nt_xent(*mine, temperature=0.2, ranks=ranks, way=way)
        else:
            both = loss == "both ways"
            hc.distributed.info_nce(*mine, temperature=0.2, ranks=ranks, symmetric=both, way=way)
        return ranks.bytes, ranks.messages

    cost = cost_of_loss(count, dim, size, way=way, symmetric=loss == "both ways", stacked=loss == "nt_xent")
    counted, messages = zip(*run_in_threads(size, on_a_rank), strict=True)
    if loss != "both ways":
        large = 2 * (size - 1) if way == "gather" else 3 * (size - 1) + (loss == "info_nce") if size > 1 else 0
        assert set(messages) == {large + 4 * (size - 1)}
    assert sum(counted) / size == pytest.approx(cost.bytes)
    assert max(counted) - min(counted) <= 16, "the one sum of a number cannot be shared"


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("loss", ["info_nce", "both ways", "nt_xent"])
def test_the_similarities_that_a_rank_makes_are_those_of_the_formula(size, loss, monkeypatch):
    count, dim, made = 24, 5, []
    logits = tours.Tours._logits

    def counting(*args):
        tile = logits(*args)
        made.append(tile.size)
        return tile

    monkeypatch.setattr(tours.Tours, "_logits", counting)
    z = np.random.default_rng(0).standard_normal((2, count, dim))

    def on_a_rank(ranks):
        mine = [hc.tensor(view[share(count, ranks)], requires_grad=True) for view in z]
        if loss == "nt_xent":
            return hc.distributed.nt_xent(*mine, temperature=0.2, ranks=ranks)
        return hc.distributed.info_nce(*mine, temperature=0.2, ranks=ranks, symmetric=loss == "both ways")

    run_in_threads(size, on_a_rank)
    cost = cost_of_loss(count, dim, size, way="gather", symmetric=loss == "both ways", stacked=loss == "nt_xent")
    assert sum(made) == cost.pairs * size
    products = 2 + (2 if loss != "nt_xent" else 1)  # made twice; used for the anchor, and elsewhere for the key
    assert cost.operations == cost.pairs * products * dim


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_bytes_of_gradients_and_statistics_are_those_of_the_formulas(size):
    def on_a_rank(ranks):
        ranks = CountingRanks(ranks)
        weights = hc.tensor(np.zeros((24, 12), np.float32), requires_grad=True)
        weights.sum().backward()
        sum_gradients([weights], ranks)
        of_gradients = ranks.bytes
        layer = hc.nn.Sequential(hc.nn.BatchNorm(12))
        with hc.distributed.synchronised(layer, ranks):
            (layer(hc.tensor(np.random.default_rng(ranks.rank).random((6, 12), np.float32))) ** 2).sum().backward()
        return of_gradients, ranks.bytes - of_gradients

    for of_gradients, of_statistics in run_in_threads(size, on_a_rank):
        assert of_gradients == bytes_of_sum(24 * 12, size)
        assert of_statistics == bytes_of_statistics(12, size)
