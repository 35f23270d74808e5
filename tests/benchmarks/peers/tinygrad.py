"""tinygrad on the CPU, its kernels compiled and replayed by TinyJit. It needs clang or LLVM."""

import numpy as np
from benchmarks.work import Work
from tinygrad import Device, Tensor, TinyJit


class Peer:
    def __init__(self):
        Device[Device.DEFAULT]  # fails here and now if there is nothing to compile with

    def info_nce(self, inputs, *, temperature, symmetric, **_):
        positive = Tensor.arange(len(inputs["z1"]))

        def loss(z1, z2):
            logits = _on_sphere(z1) @ _on_sphere(z2).T / temperature
            there = logits.sparse_categorical_crossentropy(positive)
            return (there + logits.T.sparse_categorical_crossentropy(positive)) / 2 if symmetric else there

        return _gradients(inputs, loss)

    def nt_xent(self, inputs, *, temperature, **_):
        count = len(inputs["z1"])
        partner = (Tensor.arange(2 * count) + count) % (2 * count)
        itself = Tensor.eye(2 * count) * -1e9

        def loss(z1, z2):
            u = _on_sphere(z1.cat(z2))
            return (u @ u.T / temperature + itself).sparse_categorical_crossentropy(partner)

        return _gradients(inputs, loss)


def _on_sphere(z):
    return z / (z * z).sum(axis=1, keepdim=True).sqrt()


def _gradients(inputs, loss):
    leaves = {name: Tensor(value, requires_grad=True) for name, value in inputs.items()}

    @TinyJit
    def compiled():
        value = loss(*leaves.values())
        return [part.realize() for part in (value, *value.gradient(*leaves.values()))]

    def run():
        parts = compiled()
        parts[0].item()  # waits for the kernels
        return parts

    def results():
        value, *gradients = run()
        named = zip(leaves, gradients, strict=True)
        return {"loss": np.asarray(value.item())} | {name: gradient.numpy() for name, gradient in named}

    return Work(run, results)
