"""hypercon's own side, written as its users write it."""

import time

import numpy as np
from benchmarks.work import Work, step_results, two_losses, weights_of

import hypercon as hc
import hypercon.threads


class Peer:
    def rates(self):
        """Operations in products and exponentials a second, at the sizes of a loss, on this library's own threads."""
        lanes = hc.threads.cores()
        rng = np.random.default_rng(0)
        rows, columns = (rng.standard_normal((size, 128), dtype=np.float32) for size in (256, 1024))
        found = np.empty((lanes, 256, 1024), np.float32)
        numbers = np.zeros_like(found)

        def multiply(i):
            for _ in range(4):
                np.matmul(rows, columns.T, out=found[i])

        def exponentiate(i):
            for _ in range(4):
                np.exp(numbers[i], out=found[i])

        return [
            4 * lanes * count / _least(lambda work=work: hc.threads.run(work, lanes))
            for work, count in ((multiply, 2 * 256 * 1024 * 128), (exponentiate, 256 * 1024))
        ]

    def info_nce(self, inputs, *, temperature, symmetric, **_):
        return _gradients(inputs, lambda z1, z2: hc.info_nce(z1, z2, temperature=temperature, symmetric=symmetric))

    def nt_xent(self, inputs, *, temperature, **_):
        return _gradients(inputs, lambda z1, z2: hc.nt_xent(z1, z2, temperature=temperature))

    def uniformity(self, inputs, *, t, **_):
        return _gradients(inputs, lambda z: hc.losses.uniformity_loss(z, t=t))

    def chain(self, inputs, *, operations, **_):
        def chain(x):
            y = x
            for _ in range(operations // 2):
                y = y * 1.001
                y = y + x
            return y.sum()

        return _gradients(inputs, chain)

    def mlp_step(self, inputs, *, widths, **settings):
        rng = np.random.default_rng(0)
        net = hc.nn.Sequential(
            hc.nn.Linear(widths[0], widths[1], rng=rng), hc.nn.ReLU(), hc.nn.Linear(widths[1], widths[2], rng=rng)
        )
        return _step(net, inputs, **settings)

    def cnn_step(self, inputs, *, side, channels, kernels, dim, **settings):
        rng = np.random.default_rng(0)
        layers = []
        for before, after, stride in zip((channels, *kernels), kernels, (1, 2, 2), strict=False):
            layers += [hc.nn.Conv2d(before, after, stride=stride, rng=rng), hc.nn.BatchNorm(after), hc.nn.ReLU()]
        net = hc.nn.Sequential(*layers, hc.nn.GlobalAveragePool(), hc.nn.Linear(kernels[-1], dim, rng=rng))
        return _step(net, inputs, **settings)

    def training(
        self, inputs, *, batch, side, channels, kernels, dim, temperature, rate, window, brightness, noise, **_
    ):
        images = inputs["images"]
        rng = np.random.default_rng(0)
        encoder = hc.nn.cnn((channels, side, side), widths=kernels, dim=dim, rng=rng)
        _load(encoder, weights_of(inputs))
        optimizer = hc.optim.Adam(encoder.parameters(), rate)
        views = hc.data.Augmentation(scale=(window, 1.0), brightness=brightness, noise=noise)

        def fit(images, augment):
            return hc.fit(
                encoder, images, loss="nt_xent", temperature=temperature, optimizer=optimizer, epochs=1,
                batch_size=batch, augment=augment, rng=rng,
            )  # fmt: skip

        def step_without_views():
            # batches are drawn at random, but one batch of all images is the same set, and the loss knows no order
            return fit(images[:batch], hc.data.Augmentation()).losses[0]

        return Work(lambda: fit(images, views), lambda: two_losses(step_without_views))


def _least(run):
    """The seconds of the fastest of several calls."""
    seconds = []
    for _ in range(12):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _gradients(inputs, loss):
    leaves = {name: hc.tensor(value, requires_grad=True) for name, value in inputs.items()}

    def run():
        for leaf in leaves.values():
            leaf.grad = None
        value = loss(*leaves.values())
        value.backward()
        return value

    def results():
        return {"loss": np.array(float(run()))} | {name: leaf.grad.numpy() for name, leaf in leaves.items()}

    return Work(run, results)


def _step(net, inputs, *, temperature, rate, momentum, **_):
    _load(net, weights_of(inputs))
    optimizer = hc.optim.SGD(net.parameters(), rate, momentum=momentum)
    x = hc.tensor(inputs["x"])
    half = len(inputs["x"]) // 2

    def run():
        z = net(x)
        loss = hc.nt_xent(z[:half], z[half:], temperature=temperature)
        loss.backward()
        optimizer.step()
        return float(loss)

    names = list(weights_of(inputs))
    return Work(run, lambda: step_results(run, lambda: _weights(net, names)))


def _load(net, weights):
    for parameter, value in zip(net.parameters(), weights.values(), strict=True):
        parameter.data[...] = value


def _weights(net, names):
    return dict(zip(names, (parameter.data for parameter in net.parameters()), strict=True))
