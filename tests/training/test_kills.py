"""A training that is killed, at any moment and as often as one likes, ends with the bits of one that never was."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import killed_training
import numpy as np
import pytest

from hypercon.training import read_checkpoint

SCRIPT = Path(killed_training.__file__)
# a moment of a write, and at which of its occurrences: what is removed and renamed in a write differs in number
MOMENTS = {
    "before the temporary file": 3,
    "with an empty temporary file": 4,
    "half written": 60,
    "before it is on the disk": 7,
    "when it is on the disk": 9,
    "before it has its name": 5,
    "when it has its name": 6,
    "before the oldest is removed": 2,
    "when the oldest is removed": 3,
}


def start(folder, out, *moment):
    command = [sys.executable, str(SCRIPT), str(folder), str(out), *map(str, moment)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def end_of(process):
    """A process's exit status, once it has ended."""
    print(process.communicate(timeout=300)[1])
    return process.returncode


def check_bits(out):
    """Are the weights in ``out`` those of a training in one go?"""
    encoder, temperature, _ = killed_training.train()
    expected = killed_training.weights(encoder, temperature)
    with np.load(out, allow_pickle=False) as found:
        assert set(found) == set(expected)
        for name, value in expected.items():
            assert found[name].tobytes() == value.tobytes(), name


@pytest.mark.parametrize("moment", [pytest.param(m, marks=() if "half" in m else pytest.mark.slow) for m in MOMENTS])
def test_a_kill_at_any_moment_of_a_write_changes_no_bit_of_the_end(moment, tmp_path):
    folder, out = tmp_path / "checkpoints", tmp_path / "weights.npz"
    killed = start(folder, out, moment, MOMENTS[moment])
    assert end_of(killed) == -signal.SIGKILL
    assert not out.exists()
    kept = sorted(folder.glob("checkpoint-*.npz"))
    assert len(kept) in (1, 2, 3)
    for path in kept:
        read_checkpoint(path)  # each one whole
    assert end_of(start(folder, out)) == 0
    check_bits(out)
    assert sorted(path.name for path in folder.iterdir()) == [
        f"checkpoint-{killed_training.STEPS - 1:09d}.npz",
        f"checkpoint-{killed_training.STEPS:09d}.npz",
    ]


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_at_random_moments_change_no_bit_of_the_end(kills, tmp_path):
    folder, out = tmp_path / "checkpoints", tmp_path / "weights.npz"
    chance = random.Random(kills)
    done = inside = 0
    newest = 0
    while done < kills:
        process = start(folder, out)
        before = newest
        while process.poll() is None:  # wait until it trains, then a moment that nobody chose
            steps = [int(path.stem.partition("-")[2]) for path in folder.glob("checkpoint-*.npz")]
            newest = max(steps, default=0)
            if newest > before:
                break
            time.sleep(0.001)
        if done % 2:  # every other kill comes inside a write
            while process.poll() is None and not list(folder.glob(".checkpoint-*.part")):
                time.sleep(0.0005)
        else:
            time.sleep(chance.uniform(0, 0.02))
        process.kill()
        if end_of(process) == -signal.SIGKILL:
            done += 1
            inside += bool(list(folder.glob(".checkpoint-*.part")))
        if out.exists():  # it came to its end: from the start again, and kill it somewhere else
            check_bits(out)
            for path in [*folder.iterdir(), out]:
                path.unlink()
            newest = 0
    print(f"{kills} kills, {inside} of them inside a write")
    assert end_of(start(folder, out)) == 0
    check_bits(out)
