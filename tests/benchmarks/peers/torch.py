"""PyTorch on the CPU: eager, as its users write it, or the same through torch.compile."""

import torch
from benchmarks.work import BATCH_NORM_EPS, Work, step_results, two_losses, weights_of
from torch import nn
from torch.nn import functional


class Peer:
    def __init__(self, compiled=False):
        self.prepare = torch.compile if compiled else lambda function: function

    def threads(self):
        blas = "MKL" if torch.backends.mkl.is_available() else "another BLAS"
        return f"{blas}, {torch.get_num_threads()} thread(s)"

    def info_nce(self, inputs, *, temperature, symmetric, **_):
        positive = torch.arange(len(inputs["z1"]))

        def loss(z1, z2):
            logits = functional.normalize(z1) @ functional.normalize(z2).T / temperature
            there = functional.cross_entropy(logits, positive)
            return (there + functional.cross_entropy(logits.T, positive)) / 2 if symmetric else there

        return self._gradients(inputs, loss)

    def nt_xent(self, inputs, *, temperature, **_):
        return self._gradients(inputs, _nt_xent(len(inputs["z1"]), temperature))

    def uniformity(self, inputs, *, t, **_):
        count = len(inputs["z"])

        def loss(z):
            u = functional.normalize(z)
            kernel = (2 * t * (u @ u.T) - 2 * t).exp()
            return ((kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))).log()

        return self._gradients(inputs, loss)

    def chain(self, inputs, *, operations, **_):
        def chain(x):
            y = x
            for _ in range(operations // 2):
                y = y * 1.001
                y = y + x
            return y.sum()

        return self._gradients(inputs, chain)

    def mlp_step(self, inputs, *, widths, **settings):
        return self._step(
            nn.Sequential(nn.Linear(widths[0], widths[1]), nn.ReLU(), nn.Linear(widths[1], widths[2])),
            inputs,
            **settings,
        )

    def cnn_step(self, inputs, *, channels, kernels, dim, **settings):
        net = nn.Sequential(*_convolutions(channels, kernels), nn.Linear(kernels[-1], dim))
        return self._step(net, inputs, **settings)

    def training(self, inputs, *, channels, kernels, dim, **settings):
        """The faster of both memory layouts, which differ from machine to machine."""
        import time

        fastest, best = None, float("inf")
        for layout in (torch.contiguous_format, torch.channels_last):
            work = self._training(inputs, channels, kernels, dim, layout, **settings)
            results = work.results()
            work.run()
            start = time.perf_counter()
            work.run()
            if (seconds := time.perf_counter() - start) < best:
                fastest, best = Work(work.run, lambda results=results: results), seconds
        return fastest

    def _gradients(self, inputs, loss):
        leaves = {name: torch.from_numpy(value).requires_grad_() for name, value in inputs.items()}
        prepared = self.prepare(loss)

        def run():
            for leaf in leaves.values():
                leaf.grad = None
            value = prepared(*leaves.values())
            value.backward()
            return value

        def results():
            return {"loss": run().detach().numpy()} | {name: leaf.grad.numpy() for name, leaf in leaves.items()}

        return Work(run, results)

    def _step(self, net, inputs, *, temperature, rate, momentum, **_):
        _load(net, weights_of(inputs))
        optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=momentum)
        x = torch.from_numpy(inputs["x"])
        half = len(x) // 2
        loss_of = _nt_xent(half, temperature)

        def loss(x):
            z = net(x)
            return loss_of(z[:half], z[half:])

        run = _stepper(self.prepare(loss), optimizer, x)
        names = list(weights_of(inputs))
        return Work(run, lambda: step_results(run, lambda: _weights(net, names)))

    def _training(
        self, inputs, channels, kernels, dim, layout, *, batch, temperature, rate, window, brightness, noise, **_
    ):
        features = kernels[-1]
        net = nn.Sequential(
            *_convolutions(channels, kernels),
            nn.Linear(features, features, bias=False), nn.BatchNorm1d(features), nn.ReLU(),
            nn.Linear(features, dim, bias=False), nn.BatchNorm1d(dim, affine=False),
        )  # fmt: skip
        _load(net, weights_of(inputs))
        net = net.to(memory_format=layout)
        optimizer = torch.optim.Adam(net.parameters(), lr=rate, fused=True)
        images = torch.from_numpy(inputs["images"])
        loss_of = _nt_xent(batch, temperature)

        def loss(views):
            z = net(views)
            return loss_of(z[:batch], z[batch:])

        prepared = self.prepare(loss)

        def view(images):
            count = len(images)
            size = torch.empty(count).uniform_(window, 1)
            centre = (1 - size)[:, None] * torch.empty(count, 2).uniform_(-1, 1)
            placed = torch.zeros(count, 2, 3)
            placed[:, 0, 0] = placed[:, 1, 1] = size
            placed[:, :, 2] = centre
            grid = functional.affine_grid(placed, images.shape, align_corners=False)
            seen = functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            seen += torch.empty(count, 1, 1, 1).uniform_(-brightness, brightness)
            return seen.add_(torch.randn_like(seen), alpha=noise).clamp_(0, 1)

        def run():
            total = 0.0
            order = torch.randperm(len(images))
            for start in range(0, len(images) - batch + 1, batch):
                chosen = images[order[start : start + batch]]
                views = torch.cat([view(chosen), view(chosen)]).to(memory_format=layout)
                total += _stepper(prepared, optimizer, views)()
            return total

        first = torch.cat([images[:batch], images[:batch]]).to(memory_format=layout)
        step = _stepper(prepared, optimizer, first)
        return Work(run, lambda: two_losses(step))


def _nt_xent(count, temperature):
    partner = (torch.arange(2 * count) + count) % (2 * count)

    def loss(z1, z2):
        u = functional.normalize(torch.cat([z1, z2]))
        logits = u @ u.T / temperature
        logits.fill_diagonal_(-torch.inf)
        return functional.cross_entropy(logits, partner)

    return loss


def _convolutions(channels, kernels):
    layers = []
    for before, after, stride in zip((channels, *kernels), kernels, (1, 2, 2), strict=False):
        layers += [
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after, eps=BATCH_NORM_EPS),
            nn.ReLU(),
        ]
    return [*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def _stepper(loss, optimizer, x):
    def run():
        optimizer.zero_grad(set_to_none=True)
        value = loss(x)
        value.backward()
        optimizer.step()
        return value.item()

    return run


def _load(net, weights):
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), weights.values(), strict=True):
            value = torch.tensor(value)
            parameter.copy_(value.T if value.ndim == 2 else value)


def _weights(net, names):
    values = (parameter.detach() for parameter in net.parameters())
    return {
        name: (value.T if value.ndim == 2 else value).contiguous().numpy()
        for name, value in zip(names, values, strict=True)
    }
