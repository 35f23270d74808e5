"""What `mpiexec` runs in the tests: one of the programs below, by name."""

import json
import os
import signal
import sys

import numpy as np
from global_batch import Step, deviations

import hypercon as hc
from hypercon.distributed import check_alike, executor, ranks_of_this_job, sum_gradients, together
from hypercon.errors import InputError


def property_holds(ranks):
    """The largest deviation from one process, over losses, ways and networks."""
    worst = {}
    for loss in ("info_nce", "both ways", "nt_xent"):
        for way in ("ring", "gather"):
            for network, count in (("mlp", 11), ("cnn", 8)):
                found = deviations(ranks, Step(loss=loss, way=way, network=network, count=count))
                worst[f"{loss}, {way}, {network}"] = max(found.values())
    told = ranks.gather(np.array([max(worst.values())]), [1] * ranks.size)
    if ranks.rank == 0:
        print(json.dumps({"ranks": ranks.size, "worst": max(float(t[0]) for t in told)}))


def mean_is_caught(ranks):
    """The deviation when gradients are averaged."""

    def mean_of_gradients(parameters, ranks):
        sum_gradients(parameters, ranks)
        for parameter in parameters:
            parameter.grad.data /= ranks.size

    found = deviations(ranks, sum_gradients=mean_of_gradients)
    if ranks.rank == 0:
        print(json.dumps({"ranks": ranks.size, "worst": max(found.values()), "loss": found["loss"]}))


def one_fails(ranks):
    with together(ranks):
        if ranks.rank == ranks.size - 1:
            raise InputError("the disk is gone")
        ranks.sum(np.zeros(3))


def all_fail(ranks):
    with together(ranks):
        raise InputError("batch_size got 1, expected at least 2")


def one_is_killed(ranks):
    for step in range(100):
        if ranks.rank == ranks.size - 1 and step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        ranks.sum(np.zeros(3))


def trains(ranks):
    """Two epochs of digits; every rank ends with one set of weights."""
    images = hc.data.load("digits").images[:200]
    rng = np.random.default_rng(0)
    encoder = hc.nn.mlp(images.shape[1:], widths=(32,), dim=8, rng=rng)
    history = hc.fit(
        encoder,
        images,
        loss="nt_xent",
        temperature=0.2,
        optimizer=hc.optim.Adam(encoder.parameters(), 1e-3),
        epochs=2,
        batch_size=50,
        augment=hc.data.mild(),
        rng=rng,
        ranks=ranks,
        progress=True,
    )
    check_alike("the weights", list(encoder.state().values()), ranks)
    if ranks.rank == 0:
        print(json.dumps({"losses": history.losses}))


def square(x):
    return x * x


def hands_out_work(ranks):
    with executor() as pool:
        print(json.dumps(list(pool.map(square, range(5)))))


if __name__ == "__main__":
    program = globals()[sys.argv[1]]
    program(None if program is hands_out_work else ranks_of_this_job())
