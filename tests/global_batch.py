"""One step over ranks held against the same step in one process: what the tests in threads and under MPI both compute.

Every rank computes both and gives back how far they lie apart, in float64: in the loss, in every parameter's gradient,
the temperature's included, and in the running statistics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import hypercon as hc
from hypercon import distributed
from hypercon.distributed import share, sum_gradients, synchronised


@dataclass(frozen=True)
class Step:
    """What is computed."""

    count: int = 11
    loss: str = "info_nce"  # or "both ways", "nt_xent"
    way: str = "ring"
    network: str = "mlp"  # or "cnn"
    temperature: float = 0.2
    seed: int = 0


def deviations(ranks, step=Step(), sum_gradients=sum_gradients, loss_over=None):
    """By name, the largest deviation of this rank's results from those of one process."""
    rng = np.random.default_rng(step.seed)
    shape = (1, 6, 6) if step.network == "cnn" else (1, 3, 3)
    views = rng.random((2, step.count, *shape))
    encoder, temperature = network(step, shape), hc.tensor(step.temperature, requires_grad=True)
    parameters = [*encoder.parameters(), temperature]
    start = encoder.state()

    z = encoder(hc.tensor(np.concatenate(views)))
    expected = whole(step.loss, z[: step.count], z[step.count :], temperature)
    expected.backward()
    gradients, state = [p.grad.data for p in parameters], encoder.state()

    encoder.load_state(start)
    for parameter in parameters:
        parameter.grad = None
    mine = share(step.count, ranks)
    with synchronised(encoder, ranks):
        z = encoder(hc.tensor(np.concatenate([view[mine] for view in views])))
        half = mine.stop - mine.start
        value = (loss_over or over_ranks)(step, z[:half], z[half:], temperature, ranks)
        value.backward()
    sum_gradients(parameters, ranks)
    names = [name for name, _ in encoder.named_parameters()] + ["temperature"]
    found = {"loss": abs(float(value) - float(expected))}
    for name, parameter, gradient in zip(names, parameters, gradients, strict=True):
        found[name] = float(np.abs(parameter.grad.data - gradient).max())
    for name, array in encoder.state().items():
        if "running" in name:
            found[name] = float(np.abs(array - state[name]).max())
    return found


def network(step, shape):
    """An encoder in float64, buffers too, with batch normalisation inside and at its end."""
    rng = np.random.default_rng(step.seed + 1)
    made = (
        hc.nn.cnn(shape, widths=(3, 4), strides=(1, 2), dim=4, rng=rng)
        if step.network == "cnn"
        else hc.nn.mlp(shape, widths=(7,), dim=4, rng=rng)
    )
    for parameter in made.parameters():
        parameter.data = parameter.data.astype(np.float64)
    for _, module in made.modules():
        for name in module.buffers:
            setattr(module, name, getattr(module, name).astype(np.float64))
    return made


def whole(loss, z1, z2, temperature):
    if loss == "nt_xent":
        return hc.nt_xent(z1, z2, temperature=temperature)
    return hc.info_nce(z1, z2, temperature=temperature, symmetric=loss == "both ways")


def over_ranks(step, z1, z2, temperature, ranks):
    if step.loss == "nt_xent":
        return distributed.nt_xent(z1, z2, temperature=temperature, ranks=ranks, way=step.way)
    both = step.loss == "both ways"
    return distributed.info_nce(z1, z2, temperature=temperature, ranks=ranks, symmetric=both, way=step.way)
