"""HIPS autograd. It has no strided convolution, so it does not take part in networks of them."""

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad
from autograd.scipy.special import logsumexp
from benchmarks.work import Work, step_results, weights_of


class Peer:
    def info_nce(self, inputs, *, temperature, symmetric, **_):
        def loss(z1, z2):
            logits = anp.dot(_on_sphere(z1), _on_sphere(z2).T) / temperature
            there = anp.mean(logsumexp(logits, axis=1) - anp.diag(logits))
            if not symmetric:
                return there
            return (there + anp.mean(logsumexp(logits, axis=0) - anp.diag(logits))) / 2

        return _gradients(inputs, loss)

    def nt_xent(self, inputs, *, temperature, **_):
        return _gradients(inputs, _nt_xent(len(inputs["z1"]), temperature))

    def uniformity(self, inputs, *, t, **_):
        count = len(inputs["z"])

        def loss(z):
            u = _on_sphere(z)
            kernel = anp.exp(2 * t * anp.dot(u, u.T) - 2 * t)
            return anp.log((anp.sum(kernel) - anp.trace(kernel)) / (count * (count - 1)))

        return _gradients(inputs, loss)

    def chain(self, inputs, *, operations, **_):
        def chain(x):
            y = x
            for _ in range(operations // 2):
                y = y * 1.001
                y = y + x
            return anp.sum(y)

        return _gradients(inputs, chain)

    def mlp_step(self, inputs, *, temperature, rate, momentum, **_):
        x = inputs["x"]
        half = len(x) // 2
        loss_of = _nt_xent(half, np.float32(temperature))

        def loss(weights):
            z = anp.dot(anp.maximum(anp.dot(x, weights["w0"]) + weights["b0"], 0), weights["w1"]) + weights["b1"]
            return loss_of(z[:half], z[half:])

        gradient = value_and_grad(loss)
        weights = {name: value.copy() for name, value in weights_of(inputs).items()}
        velocity = {name: np.zeros_like(value) for name, value in weights.items()}

        def run():
            value, slopes = gradient(weights)
            for name, slope in slopes.items():
                velocity[name] = np.float32(momentum) * velocity[name] + slope
                weights[name] = weights[name] - np.float32(rate) * velocity[name]
            return float(value)

        return Work(run, lambda: step_results(run, lambda: weights))


def _nt_xent(count, temperature):
    itself = np.where(np.eye(2 * count, dtype=bool), np.float32(-np.inf), np.float32(0))
    anchors = np.arange(2 * count)
    partner = (anchors + count) % (2 * count)

    def loss(z1, z2):
        u = _on_sphere(anp.concatenate([z1, z2]))
        logits = anp.dot(u, u.T) / temperature + itself
        return anp.mean(logsumexp(logits, axis=1) - logits[anchors, partner])

    return loss


def _on_sphere(z):
    return z / anp.sqrt(anp.sum(z * z, axis=1, keepdims=True))


def _gradients(inputs, loss):
    gradient = value_and_grad(loss, argnum=tuple(range(len(inputs))))

    def run():
        return gradient(*inputs.values())

    def results():
        value, gradients = run()
        return {"loss": np.asarray(value)} | dict(zip(inputs, gradients, strict=True))

    return Work(run, results)
