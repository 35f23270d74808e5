"""A short training to be stopped, or killed in a process of its own: ``killed_training.py FOLDER OUT [MOMENT N]``.

It keeps checkpoints in FOLDER after every step, goes on from what is there, and writes the final weights to OUT. With a
moment of a write, it kills itself when it comes to that moment for the N-th time.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np

import hypercon as hc

EPOCHS, STEPS = 3, 18


def train(checkpoint=None, *, resume=None, epochs=EPOCHS, seed=0, **settings):
    """The training; gives encoder, temperature and history."""
    rng = np.random.default_rng(seed)
    images = hc.data.load("digits").images[:200]
    encoder = hc.nn.mlp(images.shape[1:], widths=(24, 16), dim=8, rng=rng)
    temperature = hc.LearnedTemperature(0.2)
    optimizer = hc.optim.Adam([*encoder.parameters(), *temperature.parameters()], hc.optim.cosine(2e-3, STEPS))
    defaults = {
        "loss": "nt_xent",
        "temperature": temperature,
        "optimizer": optimizer,
        "epochs": epochs,
        "batch_size": 32,
        "augment": hc.data.mild(),
        "rng": rng,
        "checkpoint": checkpoint,
        "resume": checkpoint is not None if resume is None else resume,
        "checkpoint_every": 3600,
    }
    history = hc.fit(encoder, images, **(defaults | settings))
    return encoder, temperature, history


def weights(encoder, temperature):
    """Every bit that was trained."""
    return {**encoder.state(), "temperature": temperature.log_scale.data}


def _kill_at(moment, number):
    """Be killed when a write comes to a moment for the N-th time: before or after one of the calls it consists of."""
    module, name, when = {
        "before the temporary file": (tempfile, "mkstemp", "before"),
        "with an empty temporary file": (tempfile, "mkstemp", "after"),
        "half written": (np.lib.format, "write_array", "after"),
        "before it is on the disk": (os, "fsync", "before"),
        "when it is on the disk": (os, "fsync", "after"),
        "before it has its name": (Path, "replace", "before"),
        "when it has its name": (Path, "replace", "after"),
        "before the oldest is removed": (Path, "unlink", "before"),
        "when the oldest is removed": (Path, "unlink", "after"),
    }[moment]
    original, calls = getattr(module, name), []

    def called(*arguments, **options):
        calls.append(1)
        if len(calls) == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **options)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(module, name, called)


if __name__ == "__main__":
    folder, out, *rest = sys.argv[1:]
    if rest:
        _kill_at(rest[0], int(rest[1]))
    trained, tau, _ = train(folder, checkpoint_every=0)
    np.savez(out, **weights(trained, tau))
