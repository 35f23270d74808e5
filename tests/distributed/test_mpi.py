"""Real processes under mpiexec; run with -m mpi."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.mpi

HERE = Path(__file__).parent
BESIDE = Path(sys.executable).with_name("mpiexec")  # that of the MPI which mpi4py of this environment loads
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")


def mpiexec(count, program, *before):
    """A finished run of a program of on_mpi.py."""
    if MPIEXEC is None:
        pytest.skip("there is no mpiexec")
    pytest.importorskip("mpi4py")
    paths = [str(HERE.parent), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [MPIEXEC, "-n", str(count), sys.executable, *before, str(HERE / "on_mpi.py"), program],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "HYPERCON_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_loss_and_every_gradient_are_those_of_one_process(count):
    ran = mpiexec(count, "property_holds")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["ranks"] == count
    assert found["worst"] < 1e-12


def test_the_mean_of_gradients_is_caught():
    found = json.loads(mpiexec(2, "mean_is_caught").stdout)
    assert found["loss"] < 1e-12, "the value says nothing"
    assert found["worst"] > 1e-3


def test_training_over_ranks_is_training_in_one_process():
    one, three = (json.loads(mpiexec(count, "trains").stdout)["losses"] for count in (1, 3))
    assert len(one) == 8
    assert three == pytest.approx(one, abs=1e-4)


def test_an_error_on_one_rank_ends_the_job_and_names_the_rank():
    began = time.monotonic()
    ran = mpiexec(3, "one_fails")
    assert ran.returncode == 2
    assert "hypercon: rank 2 of 3 failed, and the job ends: the disk is gone" in ran.stderr
    assert time.monotonic() - began < 60, "the others do not wait for ever"


def test_an_error_on_all_ranks_is_told_once():
    ran = mpiexec(3, "all_fail")
    assert ran.returncode != 0
    assert ran.stderr.count("InputError: batch_size got 1, expected at least 2") == 1


def test_a_killed_rank_ends_the_job():
    ran = mpiexec(3, "one_is_killed")
    assert ran.returncode != 0
    assert "signal 9" in ran.stdout + ran.stderr


def test_a_killed_rank_leaves_a_run_that_goes_on_with_another_number_of_ranks(tmp_path):
    command = ["-m", "hypercon", "train", "--data", "digits", "--temperature", "0.2", "--epochs", "8"]
    command += ["--checkpoint-every", "0", "--out", str(tmp_path / "run")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([MPIEXEC, "-n", "3", sys.executable, *command], **quiet) as started:
        while not list((tmp_path / "run" / "checkpoints").glob("*.npz")):
            assert started.poll() is None
            time.sleep(0.05)
        found = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=True)
        os.kill(int(found.stdout.split()[-1]), signal.SIGKILL)
        assert started.wait(60) != 0
    assert not (tmp_path / "run" / "encoder.npz").exists()
    resumed = [sys.executable, "-m", "hypercon", "train", "--resume", "--out", str(tmp_path / "run")]
    ran = subprocess.run([MPIEXEC, "-n", "2", *resumed], capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "run" / "encoder.npz").exists()
    assert ran.stdout.count("written to") == 1


def test_work_is_handed_out_to_the_processes_of_a_cluster():
    ran = mpiexec(3, "hands_out_work", "-m", "mpi4py.futures")
    assert json.loads(ran.stdout) == [0, 1, 4, 9, 16]


def test_work_is_not_done_by_every_process_over_again():
    ran = mpiexec(2, "hands_out_work")
    assert ran.returncode != 0
    assert "start it with mpiexec -n 2 python -m mpi4py.futures" in ran.stderr
