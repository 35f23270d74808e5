"""Blocks over the cores: each exactly once, in an order that shows nowhere, with nothing left changed."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from hypercon import threads
from hypercon.errors import InputError

lanes = pytest.mark.parametrize("cores", [1, 2, 5])


def blas_threads():
    """Threads of the BLAS that NumPy computes with; SciPy, where another test has loaded it, brings one of its own."""
    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return [library["num_threads"] for library in blas if "scipy.libs" not in library["filepath"]]


@lanes
@pytest.mark.parametrize("blocks", [0, 1, 2, 7])
def test_every_block_is_done_exactly_once(monkeypatch, cores, blocks):
    monkeypatch.setattr(threads, "cores", lambda: cores)
    done = []
    threads.run(done.append, blocks)
    assert sorted(done) == list(range(blocks))


@lanes
def test_results_by_block_do_not_depend_on_who_finishes_first(monkeypatch, cores):
    monkeypatch.setattr(threads, "cores", lambda: cores)
    parts = [None] * 7

    def work(i):
        time.sleep(0.002 * (7 - i))  # the first blocks last longest
        parts[i] = 0.1 * i

    threads.run(work, 7)
    assert sum(parts) == sum(0.1 * i for i in range(7))


def test_on_one_core_the_work_stays_in_its_own_thread(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 1)
    seen = []
    threads.run(lambda i: seen.append((i, threading.current_thread())), 3)
    assert seen == [(i, threading.main_thread()) for i in range(3)]


@lanes
@pytest.mark.parametrize("bad", [0, 1, 4])
def test_an_exception_in_any_block_is_raised_here_when_the_others_have_stopped(monkeypatch, cores, bad):
    monkeypatch.setattr(threads, "cores", lambda: cores)
    running = set()

    def work(i):
        running.add(i)
        time.sleep(0.001)
        running.remove(i)
        if i == bad:
            raise ZeroDivisionError(f"block {i}")

    with pytest.raises(ZeroDivisionError, match=f"block {bad}"):
        threads.run(work, 5)
    assert not running


def test_blas_has_one_thread_during_the_work_and_its_own_again_after(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    during = []

    def work(i):
        during.extend(blas_threads())
        if i == 3:
            raise KeyError

    with threadpool_limits(2, "blas"):
        before = blas_threads()
        threads.run(lambda i: during.extend(blas_threads()), 2)
        assert blas_threads() == before
        with pytest.raises(KeyError):
            threads.run(work, 4)
        assert blas_threads() == before
    assert set(during) <= {1}


def test_the_cores_are_those_this_process_may_use():
    assert 1 <= threads.cores() <= os.cpu_count()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_child_makes_threads_of_its_own():
    script = """
import os, signal
from hypercon import threads
threads.cores = lambda: 2
threads.run(lambda i: None, 4)
child = os.fork()
if child == 0:
    signal.alarm(20)  # kills a child that waits for ever
    threads.run(lambda i: None, 4)
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""
    answer = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "0"


def test_callers_in_several_threads_take_turns_and_each_finds_its_blas_as_it_was(monkeypatch):
    """Never more busy threads than cores; and neither takes the other's one BLAS thread for the caller's setting."""
    monkeypatch.setattr(threads, "cores", lambda: 2)
    busy, most, during = set(), [], []

    def work(i):
        busy.add((threading.get_ident(), i))
        most.append(len(busy))
        during.extend(blas_threads())
        time.sleep(0.001)
        busy.discard((threading.get_ident(), i))

    def caller():
        for _ in range(10):
            threads.run(work, 4)

    with threadpool_limits(2, "blas"):
        before = blas_threads()
        callers = [threading.Thread(target=caller) for _ in range(3)]
        for thread in callers:
            thread.start()
        for thread in callers:
            thread.join()
        assert blas_threads() == before
    assert max(most) <= 2
    assert set(during) <= {1}


def test_after_a_run_any_thread_of_the_caller_can_set_its_blas(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    found = []

    def of_the_callers():
        with threadpool_limits(1, "blas"):
            found.extend(blas_threads())

    with threadpool_limits(2, "blas"):
        pass
    threads.run(lambda i: None, 2)
    thread = threading.Thread(target=of_the_callers)
    thread.start()
    thread.join()
    assert set(found) <= {1}


def test_a_run_inside_another_s_block_stays_in_its_thread(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    seen = []

    def outer(i):
        me = threading.get_ident()
        threads.run(lambda j: seen.append((i, j, threading.get_ident() == me)), 3)

    threads.run(outer, 2)
    assert sorted(seen) == [(i, j, True) for i in range(2) for j in range(3)]


def test_the_callers_settings_hold_in_every_lane():
    huge = np.full(8, 1e300)

    def overflow(i):
        seen.append(np.isinf(huge * huge).all())

    seen = []
    with np.errstate(over="ignore"):
        threads.run(overflow, 4, 2)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        threads.run(lambda i: None if i == 0 else overflow(i), 2, 2)
    assert seen == [True] * 4


@pytest.mark.skipif(threads._this_core() is None, reason="where a thread runs can't be told here")
def test_helpers_run_on_other_cores_than_the_caller_and_only_where_it_may(tmp_path):
    """In a process of its own, whose caller is moved from core to core."""
    script = """
import os, threading
from hypercon import threads
allowed = os.sched_getaffinity(0)
threads.set_threads(2)
meet = threading.Barrier(2)
threads.run(lambda i: meet.wait(), 2)
(helper,) = threads._helpers
for core in sorted(allowed):
    os.sched_setaffinity(0, {core})  # the caller alone can't leave it, so it is left as it is
    threads.run(lambda i: meet.wait(), 2)
    os.sched_setaffinity(0, allowed)
    here = threads._this_core()
    threads.run(lambda i: meet.wait(), 2)
    mine = os.sched_getaffinity(helper)
    assert mine == allowed - {here} or len(allowed) == 1, (here, mine)
    assert os.sched_getaffinity(0) == allowed
print("apart")
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert found.stdout == "apart\n", found.stderr


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HYPERCON_THREADS": "1"}, 1),
        ({"HYPERCON_THREADS": "3", "OMP_NUM_THREADS": "1"}, 3),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "2,1"}, 2),
        ({"OMP_NUM_THREADS": "many"}, None),
        ({}, None),
    ],
)
def test_the_environment_says_how_many_threads(environment, expected, monkeypatch):
    for name in ("HYPERCON_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert threads.cores() == (expected or threads._available())


def test_what_is_set_at_run_time_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("HYPERCON_THREADS", "2")
    threads.set_threads(1)
    try:
        assert threads.cores() == 1
    finally:
        threads.set_threads(None)
    assert threads.cores() == 2


@pytest.mark.parametrize("count", [0, -1, 1.0, True, "2"])
def test_a_number_of_threads_that_is_none_is_refused(count):
    with pytest.raises(InputError, match="count got"):
        threads.set_threads(count)


def test_an_environment_that_says_nonsense_is_refused(monkeypatch):
    monkeypatch.setenv("HYPERCON_THREADS", "all")
    with pytest.raises(InputError, match="HYPERCON_THREADS got 'all', expected a whole number"):
        threads.cores()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_child_forked_in_the_middle_of_a_run_has_its_blas_and_may_run(tmp_path):
    script = """
import os, signal, threading
from hypercon import threads
from threadpoolctl import threadpool_info
threads.cores = lambda: 2
before = [library["num_threads"] for library in threadpool_info()]
running, forked = threading.Event(), threading.Event()
def work(i):
    running.set()
    forked.wait()
thread = threading.Thread(target=threads.run, args=(work, 2))
thread.start()
running.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)  # kills a child that waits for ever
    threads.run(lambda i: None, 4)
    os._exit([library["num_threads"] for library in threadpool_info()] != before)
forked.set()
thread.join()
print(os.waitpid(child, 0)[1])
"""
    answer = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "0"
