"""Layers: modules that hold parameters and call the engine's functions on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hypercon.autograd import Tensor, batch_norm, conv2d, max_pool2d, mean, normalize, relu, reshape, tensor
from hypercon.autograd.normalization import channel_moments
from hypercon.backend import resolve_device, to_device, to_host
from hypercon.errors import InputError


class Module:
    """Something with parameters that maps tensors to tensors.

    A subclass sets tensors and modules as attributes and defines ``__call__``. Arrays named in ``buffers`` are part of
    the state without being trained.

    Examples
    --------
    >>> layer = Linear(3, 2, rng=np.random.default_rng(0))
    >>> sorted(layer.state())
    ['bias', 'weight']
    """

    training = True
    buffers: tuple[str, ...] = ()

    def __call__(self, x: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, x)")

    def children(self) -> Iterator[tuple[str, Module]]:
        """The modules among the attributes, by name, and those in lists, by position."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list | tuple):
                for i, item in enumerate(value):
                    if isinstance(item, Module):
                        yield f"{name}.{i}", item

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Every trained tensor with its path, depth first."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                yield prefix + name, value
        for name, child in self.children():
            yield from child.named_parameters(f"{prefix}{name}.")

    def parameters(self) -> list[Tensor]:
        """Every trained tensor."""
        return [parameter for _, parameter in self.named_parameters()]

    def modules(self) -> Iterator[tuple[str, Module]]:
        """This module and all below it, each with its path."""
        yield "", self
        for name, child in self.children():
            for path, module in child.modules():
                yield f"{name}.{path}".rstrip("."), module

    def train(self, on: bool = True) -> Module:
        """Set training mode (batch statistics are taken) or evaluation mode (the running ones are used)."""
        for _, module in self.modules():
            module.training = on
        return self

    def eval(self) -> Module:
        """Set evaluation mode."""
        return self.train(False)

    def to(self, device: str) -> Module:
        """Move every parameter and buffer to a device, in place."""
        device = resolve_device(device)
        for parameter in self.parameters():
            parameter.data = to_device(parameter.data, device)
            parameter.grad = None
        for _, module in self.modules():
            for name in module.buffers:
                setattr(module, name, to_device(getattr(module, name), device))
        return self

    @property
    def device(self) -> str:
        """Where the parameters lie."""
        return self.parameters()[0].device

    def zero_grad(self) -> None:
        """Forget the gradients of the last step."""
        for parameter in self.parameters():
            parameter.grad = None

    def state(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers, by path, on the host."""
        state = {path: np.array(to_host(p.data)) for path, p in self.named_parameters()}
        for path, module in self.modules():
            for name in module.buffers:
                state[f"{path}.{name}".lstrip(".")] = np.array(to_host(getattr(module, name)))
        return state

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `state` gave; names, shapes and dtypes must agree, or nothing is changed."""
        mine = self.state()
        if missing := sorted(mine.keys() ^ state.keys()):
            raise InputError(
                f"load_state: {missing[0]!r} and {len(missing) - 1} other names are not in both: another encoder?"
            )
        for path, value in mine.items():
            if state[path].shape != value.shape or state[path].dtype != value.dtype:
                raise InputError(
                    f"load_state: {path!r} has {state[path].dtype} {state[path].shape}, "
                    f"expected {value.dtype} {value.shape}"
                )
        for path, parameter in self.named_parameters():
            parameter.data[...] = to_device(state[path], parameter.device)
        for path, module in self.modules():
            for name in module.buffers:
                getattr(module, name)[...] = to_device(state[f"{path}.{name}".lstrip(".")], self.device)


class Sequential(Module):
    """Modules one after the other.

    Examples
    --------
    >>> net = Sequential(Linear(4, 8, rng=np.random.default_rng(0)), ReLU())
    >>> net(tensor(np.zeros((2, 4), np.float32))).shape
    (2, 8)
    """

    def __init__(self, *layers: Module) -> None:
        self.layers = list(layers)

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


class Linear(Module):
    """``x @ weight + bias`` with weight (inputs, outputs), started after He et al. 2015 for ReLU networks.

    Parameters
    ----------
    inputs, outputs : int
    bias : bool, default True
        Leave it out before a `BatchNorm`, which removes it.
    rng : numpy.random.Generator
    """

    def __init__(self, inputs: int, outputs: int, *, rng: np.random.Generator, bias: bool = True) -> None:
        self.weight = _he_normal((inputs, outputs), inputs, rng)
        self.bias = tensor(np.zeros(outputs, np.float32), requires_grad=True) if bias else None

    def __call__(self, x: Any) -> Any:
        y = x @ self.weight
        return y if self.bias is None else y + self.bias


class Conv2d(Module):
    """Convolution of (N, C, H, W) images, without bias: a `BatchNorm` follows.

    Parameters
    ----------
    channels, kernels : int
        Channels in and out.
    size : int, default 3
        Side of the kernel.
    stride : int, default 1
    rng : numpy.random.Generator

    Notes
    -----
    The image is padded by ``size // 2``, so that stride 1 keeps its size.
    """

    def __init__(
        self, channels: int, kernels: int, size: int = 3, *, rng: np.random.Generator, stride: int = 1
    ) -> None:
        self.weight = _he_normal((kernels, channels, size, size), channels * size * size, rng)
        self.stride = stride
        self.padding = size // 2

    def __call__(self, x: Any) -> Any:
        return conv2d(x, self.weight, stride=self.stride, padding=self.padding)


class BatchNorm(Module):
    """Batch normalisation of (N, C, ...) with running statistics for evaluation (Ioffe & Szegedy 2015).

    Parameters
    ----------
    channels : int
    affine : bool, default True
        Learn a scale and a shift for each channel. Without, the output is centred: what the end of a projection head
        needs, so that embeddings start all around the sphere and not in a narrow cone.
    momentum : float, default 0.1
        Weight of the newest batch in the running statistics.
    eps : float, default 1e-5
    """

    buffers = ("running_mean", "running_var")

    def __init__(self, channels: int, *, affine: bool = True, momentum: float = 0.1, eps: float = 1e-5) -> None:
        self.scale = tensor(np.ones(channels, np.float32), requires_grad=True) if affine else None
        self.shift = tensor(np.zeros(channels, np.float32), requires_grad=True) if affine else None
        self.running_mean = np.zeros(channels, np.float32)
        self.running_var = np.ones(channels, np.float32)
        self.momentum = momentum
        self.eps = eps

    def __call__(self, x: Any) -> Any:
        scale = 1.0 if self.scale is None else self.scale
        shift = 0.0 if self.shift is None else self.shift
        if self.training:
            data = x.data if isinstance(x, Tensor) else x
            mean, var = channel_moments(data)
            count = data.size // data.shape[1]
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_var += self.momentum * (var * (count / max(count - 1, 1)) - self.running_var)
            return batch_norm(x, scale, shift, eps=self.eps, moments=(mean, var))
        # by now the statistics are constants: the whole layer is one scale and one shift
        shape = (1, -1, *([1] * (x.ndim - 2)))
        gain = (self.running_var + self.eps) ** -0.5 * scale
        return x * reshape(gain, shape) + reshape(shift - self.running_mean * gain, shape)


class ReLU(Module):
    """max(x, 0)."""

    def __call__(self, x: Any) -> Any:
        return relu(x)


class Flatten(Module):
    """All axes but the first made one."""

    def __call__(self, x: Any) -> Any:
        return reshape(x, (x.shape[0], -1))


class GlobalAveragePool(Module):
    """The mean over height and width: (N, C, H, W) to (N, C)."""

    def __call__(self, x: Any) -> Any:
        return mean(x, axis=(2, 3))


class MaxPool2d(Module):
    """The largest value of each tile of ``size`` x ``size``."""

    def __init__(self, size: int = 2) -> None:
        self.size = size

    def __call__(self, x: Any) -> Any:
        return max_pool2d(x, self.size)


class Normalize(Module):
    """Rows onto the unit sphere."""

    def __call__(self, x: Any) -> Any:
        return normalize(x)


def _he_normal(shape: tuple[int, ...], fan_in: int, rng: np.random.Generator) -> Tensor:
    values = rng.standard_normal(shape) * np.sqrt(2 / fan_in)
    return tensor(values.astype(np.float32), requires_grad=True)
