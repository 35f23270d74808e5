"""MyGrad. A plain number would make its tensors float64, so every constant is a float32."""

import mygrad as mg
import numpy as np
from benchmarks.work import BATCH_NORM_EPS, Work, step_results, weights_of
from mygrad.nnet.layers import batchnorm, conv_nd
from mygrad.nnet.losses import softmax_crossentropy


class Peer:
    def info_nce(self, inputs, *, temperature, symmetric, **_):
        positive = np.arange(len(inputs["z1"]))

        def loss(z1, z2):
            logits = _on_sphere(z1) @ _on_sphere(z2).T / np.float32(temperature)
            there = softmax_crossentropy(logits, positive)
            return (there + softmax_crossentropy(logits.T, positive)) / np.float32(2) if symmetric else there

        return _gradients(inputs, loss)

    def nt_xent(self, inputs, *, temperature, **_):
        return _gradients(inputs, _nt_xent(len(inputs["z1"]), temperature))

    def uniformity(self, inputs, *, t, **_):
        count = len(inputs["z"])

        def loss(z):
            u = _on_sphere(z)
            kernel = mg.exp(np.float32(2 * t) * (u @ u.T) - np.float32(2 * t))
            others = kernel.sum() - np.float32(count)  # a point's kernel with itself is 1
            return mg.log(others / np.float32(count * (count - 1)))

        return _gradients(inputs, loss)

    def chain(self, inputs, *, operations, **_):
        def chain(x):
            y = x
            for _ in range(operations // 2):
                y = y * np.float32(1.001)
                y = y + x
            return y.sum()

        return _gradients(inputs, chain)

    def mlp_step(self, inputs, **settings):
        def net(weights, x):
            return mg.nnet.relu(x @ weights["w0"] + weights["b0"]) @ weights["w1"] + weights["b1"]

        return _step(net, inputs, **settings)

    def cnn_step(self, inputs, *, kernels, **settings):
        def net(weights, x):
            for i, stride in zip(range(len(kernels)), (1, 2, 2), strict=False):
                if stride == 1:
                    x = conv_nd(x, weights[f"kernels{i}"], stride=1, padding=1)
                else:
                    x = conv_nd(_padded_before(x), weights[f"kernels{i}"], stride=stride)
                gain, shift = weights[f"scale{i}"], weights[f"shift{i}"]
                x = mg.nnet.relu(batchnorm(x, gamma=gain, beta=shift, eps=BATCH_NORM_EPS))
            return mg.mean(x, axis=(2, 3)) @ weights["w"] + weights["b"]

        return _step(net, inputs, **settings)


def _padded_before(x):
    """A row of zeros above and a column to the left: MyGrad refuses the pixels that a stride of 2 would not read."""
    count, channels, height, width = x.shape
    x = mg.concatenate([np.zeros((count, channels, 1, width), x.dtype), x], axis=2)
    return mg.concatenate([np.zeros((count, channels, height + 1, 1), x.dtype), x], axis=3)


def _nt_xent(count, temperature):
    itself = np.where(np.eye(2 * count, dtype=bool), np.float32(-1e9), np.float32(0))
    partner = (np.arange(2 * count) + count) % (2 * count)

    def loss(z1, z2):
        u = _on_sphere(mg.concatenate([z1, z2]))
        return softmax_crossentropy(u @ u.T / np.float32(temperature) + itself, partner)

    return loss


def _on_sphere(z):
    return z / mg.sqrt(mg.sum(z * z, axis=1, keepdims=True))


def _gradients(inputs, loss):
    leaves = {name: mg.tensor(value) for name, value in inputs.items()}

    def run():
        value = loss(*leaves.values())
        value.backward()
        return value

    def results():
        return {"loss": run().data} | {name: leaf.grad for name, leaf in leaves.items()}

    return Work(run, results)


def _step(net, inputs, *, temperature, rate, momentum, **_):
    x = inputs["x"]
    half = len(x) // 2
    loss_of = _nt_xent(half, temperature)
    weights = {name: mg.tensor(value) for name, value in weights_of(inputs).items()}
    velocity = {name: np.zeros_like(value.data) for name, value in weights.items()}

    def run():
        z = net(weights, x)
        loss = loss_of(z[:half], z[half:])
        loss.backward()
        for name, weight in weights.items():
            velocity[name] *= np.float32(momentum)
            velocity[name] += weight.grad
            weight.data -= np.float32(rate) * velocity[name]
        return float(loss)

    return Work(run, lambda: step_results(run, lambda: {name: weight.data for name, weight in weights.items()}))
