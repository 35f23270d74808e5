"""Blocks over the cores: each exactly once, in an order that shows nowhere, with nothing left changed."""

import os
import subprocess
import sys
import threading
import time

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from hypercon import threads

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
