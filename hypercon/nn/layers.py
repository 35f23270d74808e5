"""Layers: modules that hold parameters and call the engine's functions on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hypercon.autograd import Tensor, batch_norm, conv2d, max_pool2d, mean, normalize, reshape, tensor
from hypercon.autograd import relu as positive_part
from hypercon.autograd.normalization import channel_moments
from hypercon.backend import resolve_device, to_device, to_host
from hypercon.errors import DtypeError, InputError
from hypercon.validation import check_flag, check_generator, check_number, check_whole


class Module:
    """Something with parameters that maps tensors to tensors.

    A subclass sets tensors and modules as attributes and defines ``__call__``. Arrays named in ``buffers`` are part of
    the state without being trained. Printed, a module shows what it is made of; `sizes` is what a layer says of itself.

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

    def sizes(self) -> str:
        """What stands between the brackets when the layer is printed."""
        return ""

    def __repr__(self) -> str:
        lines = self._drawn("")
        if len(lines) > 1:
            count = sum(int(np.prod(parameter.shape)) for parameter in self.parameters())
            lines[0] += f": {count:,} parameters"
        return "\n".join(lines)

    def _drawn(self, indent: str) -> list[str]:
        """A line for this module, and indented below it those of its parts."""
        parts = list(self.children())
        lines = [f"{type(self).__name__}({self.sizes()})" if self.sizes() or not parts else type(self).__name__]
        for name, part in parts:
            first, *rest = part._drawn(f"{indent}  ")
            lines += [f"{indent}  {name.removeprefix('layers.')}: {first}", *rest]
        return lines

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
        on = check_flag(on, "on")
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
        parameters = self.parameters()
        if not parameters:
            raise InputError(f"{type(self).__name__} has no parameters, and so no device of its own")
        return parameters[0].device

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

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave; names, shapes and dtypes must agree, or nothing is changed."""
        mine = self.state()
        if not isinstance(state, dict):
            raise DtypeError(f"load_state got {type(state).__name__}, expected a dictionary such as module.state()")
        if missing := sorted(mine.keys() ^ state.keys()):
            raise InputError(
                f"load_state: {missing[0]!r} and {len(missing) - 1} other names are not in both: another encoder?"
            )
        for path, value in mine.items():
            theirs = state[path]
            if not isinstance(theirs, np.ndarray):
                raise DtypeError(f"load_state: {path!r} is a {type(theirs).__name__}, expected a NumPy array")
            if theirs.shape != value.shape or theirs.dtype != value.dtype:
                raise InputError(
                    f"load_state: {path!r} has {theirs.dtype} {theirs.shape}, expected {value.dtype} {value.shape}"
                )
        for path, parameter in self.named_parameters():
            parameter.data[...] = to_device(state[path], parameter.device)
        for path, module in self.modules():
            for name in module.buffers:
                getattr(module, name)[...] = to_device(state[f"{path}.{name}".lstrip(".")], self.device)


class Sequential(Module):
    """Modules one after the other; a `ReLU` right behind a `BatchNorm` is computed with it, in one go.

    Examples
    --------
    >>> net = Sequential(Linear(4, 8, rng=np.random.default_rng(0)), ReLU())
    >>> net(tensor(np.zeros((2, 4), np.float32))).shape
    (2, 8)
    """

    def __init__(self, *layers: Module) -> None:
        self.layers = [check_module(layer, f"layer {i} of Sequential") for i, layer in enumerate(layers)]

    def __call__(self, x: Any) -> Any:
        layers = iter(zip(self.layers, [*self.layers[1:], None], strict=True))
        for layer, behind in layers:
            if type(layer) is BatchNorm and type(behind) is ReLU:  # and nothing derived from them, which may do more
                x = layer.with_relu(x)
                next(layers)
            else:
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
        inputs, outputs = check_whole(inputs, "inputs", least=1), check_whole(outputs, "outputs", least=1)
        self.weight = _he_normal((inputs, outputs), inputs, rng)
        self.bias = tensor(np.zeros(outputs, np.float32), requires_grad=True) if check_flag(bias, "bias") else None

    def sizes(self) -> str:
        inputs, outputs = self.weight.shape
        return f"{inputs}, {outputs}" + ("" if self.bias is not None else ", bias=False")

    def __call__(self, x: Any) -> Any:
        _check_axes(self, x, "(N, inputs)", None, -1, self.weight.shape[0])
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
        channels, kernels, size, stride = (
            check_whole(value, name, least=1)
            for value, name in ((channels, "channels"), (kernels, "kernels"), (size, "size"), (stride, "stride"))
        )
        self.weight = _he_normal((kernels, channels, size, size), channels * size * size, rng)
        self.stride = stride
        self.padding = size // 2

    def sizes(self) -> str:
        kernels, channels, size, _ = self.weight.shape
        return f"{channels}, {kernels}, {size}" + (f", stride={self.stride}" if self.stride > 1 else "")

    def __call__(self, x: Any) -> Any:
        _check_axes(self, x, "(N, channels, H, W)", 4, 1, self.weight.shape[1])
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
        channels, affine = check_whole(channels, "channels", least=1), check_flag(affine, "affine")
        momentum, eps = float(check_number(momentum, "momentum")), float(check_number(eps, "eps"))
        if not 0 < momentum <= 1:
            raise InputError(f"momentum got {momentum:g}, expected 0 < momentum <= 1")
        if eps < 0:
            raise InputError(f"eps got {eps:g}, expected 0 or more")
        self.scale = tensor(np.ones(channels, np.float32), requires_grad=True) if affine else None
        self.shift = tensor(np.zeros(channels, np.float32), requires_grad=True) if affine else None
        self.running_mean = np.zeros(channels, np.float32)
        self.running_var = np.ones(channels, np.float32)
        self.momentum = momentum
        self.eps = eps

    def sizes(self) -> str:
        return f"{len(self.running_mean)}" + ("" if self.scale is not None else ", affine=False")

    def __call__(self, x: Any) -> Any:
        return self._normalized(x, relu=False)

    def with_relu(self, x: Any) -> Any:
        """The same with a `ReLU` behind it, as one operation."""
        return self._normalized(x, relu=True)

    def _normalized(self, x: Any, *, relu: bool) -> Any:
        _check_axes(self, x, "(N, channels, ...)", None, 1, len(self.running_mean))
        scale = 1.0 if self.scale is None else self.scale
        shift = 0.0 if self.shift is None else self.shift
        if self.training:
            data = x.data if isinstance(x, Tensor) else x
            mean, var = channel_moments(data)
            count = data.size // data.shape[1]
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_var += self.momentum * (var * (count / max(count - 1, 1)) - self.running_var)
            return batch_norm(x, scale, shift, eps=self.eps, moments=(mean, var), relu=relu)
        # by now the statistics are constants: the whole layer is one scale and one shift
        shape = (1, -1, *([1] * (x.ndim - 2)))
        gain = (self.running_var + self.eps) ** -0.5 * scale
        y = x * reshape(gain, shape) + reshape(shift - self.running_mean * gain, shape)
        return positive_part(y) if relu else y


class ReLU(Module):
    """max(x, 0)."""

    def __call__(self, x: Any) -> Any:
        return positive_part(x)


class Flatten(Module):
    """All axes but the first made one."""

    def __call__(self, x: Any) -> Any:
        _check_axes(self, x, "(N, ...)", None)
        return reshape(x, (x.shape[0], -1))


class GlobalAveragePool(Module):
    """The mean over height and width: (N, C, H, W) to (N, C)."""

    def __call__(self, x: Any) -> Any:
        _check_axes(self, x, "(N, C, H, W)", 4)
        return mean(x, axis=(2, 3))


class MaxPool2d(Module):
    """The largest value of each tile of ``size`` x ``size``."""

    def __init__(self, size: int = 2) -> None:
        self.size = check_whole(size, "size", least=1)

    def sizes(self) -> str:
        return f"{self.size}"

    def __call__(self, x: Any) -> Any:
        _check_axes(self, x, "(N, C, H, W)", 4)
        return max_pool2d(x, self.size)


class Normalize(Module):
    """Rows onto the unit sphere."""

    def __call__(self, x: Any) -> Any:
        return normalize(x)


def check_module(part: Any, name: str) -> Module:
    """A module, and neither a function nor the class of one."""
    if isinstance(part, type):
        raise DtypeError(f"{name} got the class {part.__name__}, expected a Module: make one with {part.__name__}(...)")
    if not isinstance(part, Module):
        raise DtypeError(f"{name} got {type(part).__name__}, expected a Module such as ReLU()")
    return part


def _check_axes(
    layer: Module, x: Any, expected: str, axes: int | None, at: int | None = None, width: int | None = None
) -> None:
    """Refuse what a layer has no meaning for, in the layer's words; ``width`` is what its axis ``at`` must have."""
    if not hasattr(x, "shape"):
        raise DtypeError(f"{type(layer).__name__} got {type(x).__name__}, expected a tensor {expected}")
    fits = len(x.shape) == axes if axes is not None else len(x.shape) >= 2
    if not fits or (at is not None and x.shape[at] != width):
        where = "" if width is None else f", axis {at} of length {width}"
        raise InputError(f"{type(layer).__name__} got shape {tuple(x.shape)}, expected {expected}{where}")


def _he_normal(shape: tuple[int, ...], fan_in: int, rng: np.random.Generator) -> Tensor:
    values = check_generator(rng).standard_normal(shape) * np.sqrt(2 / fan_in)
    return tensor(values.astype(np.float32), requires_grad=True)
