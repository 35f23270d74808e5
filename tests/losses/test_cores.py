"""Losses large enough to be spread over the cores: the same numbers, and nothing left changed, wherever they run.

What `hypercon.threads` promises of itself is in tests/test_threads.py; here it is held to it from outside.
"""

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import hypercon as hc
from hypercon import threads
from hypercon.losses.tiles import blocks

COUNT = 1024  # more than one block
LOSSES = {"one way": hc.info_nce, "symmetric": partial(hc.info_nce, symmetric=True), "nt_xent": hc.nt_xent}
losses = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def views(count=COUNT):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((count, 32), dtype=np.float32)
    return z, z + rng.standard_normal((count, 32), dtype=np.float32)


def value_and_gradients(loss):
    z1, z2 = (hc.tensor(z, requires_grad=True) for z in views())
    value = loss(z1, z2, temperature=0.1)
    value.backward()
    return [np.asarray(value.data), z1.grad.numpy(), z2.grad.numpy()]


def blas_threads():
    return {
        library["filepath"]: library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    }


def test_the_batch_is_large_enough_to_be_spread():
    assert blocks.FEW < COUNT


@losses
def test_one_core_and_two_give_the_same_to_a_millionth(loss, monkeypatch):
    found = []
    for cores in (1, 2):
        monkeypatch.setattr(threads, "cores", lambda cores=cores: cores)
        found.append(value_and_gradients(loss))
    for one, two in zip(*found, strict=True):
        assert np.abs(one - two).max() <= 1e-6 * np.abs(one).max()


@losses
@pytest.mark.parametrize("cores", [1, 2, 3])
def test_the_same_number_of_cores_gives_the_same_bits(loss, cores, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: cores)
    first = value_and_gradients(loss)
    for _ in range(4):
        for once, again in zip(first, value_and_gradients(loss), strict=True):
            np.testing.assert_array_equal(once, again)


@losses
@pytest.mark.parametrize("limit", [1, 2])
def test_blas_keeps_the_callers_threads(loss, limit, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    with threadpool_limits(limit, "blas"):
        before = blas_threads()
        value_and_gradients(loss)
        assert blas_threads() == before


SCRIPT = """
import zlib
import numpy as np
import hypercon as hc
from hypercon import threads
threads.cores = lambda: {cores}

def work(_):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((1024, 32), dtype=np.float32)
    z1, z2 = (hc.tensor(x, requires_grad=True) for x in (z, z + rng.standard_normal((1024, 32), dtype=np.float32)))
    loss = hc.info_nce(z1, z2, temperature=0.1)
    loss.backward()
    return float(loss), float(abs(z1.grad.numpy()).max()), zlib.crc32(z1.grad.numpy().tobytes())
"""


def run_script(body, cores=2, **environment):
    code = SCRIPT.format(cores=cores) + body
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, timeout=120, env=os.environ | environment,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return [tuple(map(float, line.split())) for line in ran.stdout.splitlines()]


def test_one_thread_by_the_environment_gives_the_same():
    body = "print(*work(0))"
    (usual,) = run_script(body)
    (one,) = run_script(body, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    np.testing.assert_allclose(one[:2], usual[:2], rtol=1e-6)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_it_works_in_a_pool_of_processes(method, tmp_path):
    """After the parent has used its threads, which a forked child does not inherit."""
    if method == "fork" and not hasattr(os, "fork"):
        pytest.skip("processes are not forked here")
    script = tmp_path / "pool.py"
    script.write_text(
        SCRIPT.format(cores=2)
        + f"""
if __name__ == "__main__":
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    print(*work(0))
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context({method!r})) as pool:
        for found in pool.map(work, range(4)):
            print(*found)
    print(*work(0))
"""
    )
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)], capture_output=True, text=True, timeout=120, env=os.environ
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert len(lines) == 6
    assert len(set(lines)) == 1


def test_threads_do_not_outnumber_the_cores():
    """The caller works too, so it needs one thread fewer than there are cores, however often it is called."""
    body = "import threading\nfor i in range(3):\n    work(i)\nprint(threading.active_count())"
    for cores in (1, 2, 4):
        ((count,),) = run_script(body, cores=cores)
        assert count <= cores
