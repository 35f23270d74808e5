"""Encoders: a backbone whose features h are kept, and a projection head that puts z on the sphere for the loss."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from hypercon.autograd import no_grad, tensor
from hypercon.backend import to_host
from hypercon.errors import DtypeError, InputError
from hypercon.nn.layers import (
    BatchNorm,
    Conv2d,
    Flatten,
    GlobalAveragePool,
    Linear,
    Module,
    Normalize,
    ReLU,
    Sequential,
    check_module,
)
from hypercon.validation import check_images, check_pixels, check_sizes, check_whole


class Encoder(Module):
    """Images to unit vectors: ``z = head(backbone(x))``.

    Printed, it shows its layers and how many parameters they have.

    Attributes
    ----------
    backbone : Module
        Images to features h, which classifiers use afterwards.
    head : Module
        Features to z on the unit sphere, which the loss sees.
    recipe : dict
        The name and arguments that `build` makes the same architecture from.
    """

    def __init__(self, backbone: Module, head: Module, recipe: dict[str, Any]) -> None:
        if not isinstance(recipe, dict):
            raise DtypeError(f"recipe got {type(recipe).__name__}, expected a dictionary: {{}} for one of your own")
        self.backbone = check_module(backbone, "backbone")
        self.head = check_module(head, "head")
        self.recipe = recipe

    def sizes(self) -> str:
        return f"images {tuple(self.recipe['shape'])}" if "shape" in self.recipe else ""

    def __call__(self, x: Any) -> Any:
        return self.head(self.backbone(x))

    def embed(self, images: np.ndarray, *, batch_size: int = 500) -> tuple[np.ndarray, np.ndarray]:
        """Features and embeddings of images, in evaluation mode and without recording.

        Parameters
        ----------
        images : ndarray, (N, C, H, W)
            Floats in [0, 1].
        batch_size : int, default 500
            Images at a time; it changes memory, not results.

        Returns
        -------
        h : ndarray, (N, F)
        z : ndarray, (N, D)
            Rows of length 1.

        Raises
        ------
        InputError, DtypeError
            The images are not what the encoder takes.
        """
        images = check_images_for(self, images)
        batch_size = check_whole(batch_size, "batch_size", least=1)
        modes = [(module, module.training) for _, module in self.modules()]  # a part may be frozen: each its own
        self.eval()
        try:
            with no_grad():
                parts = []
                for start in range(0, len(images), batch_size):
                    h = self.backbone(tensor(images[start : start + batch_size], device=self.device))
                    parts.append((to_host(h.data), to_host(self.head(h).data)))
        finally:
            for module, mode in modes:
                module.training = mode
        h, z = (np.concatenate(part) for part in zip(*parts, strict=True))
        return h, z


def check_images_for(encoder: Module, images: Any) -> np.ndarray:
    """Images with pixels from 0 to 1, of the size that the encoder was made for where its recipe tells."""
    images = check_images(images)
    recipe = encoder.recipe if isinstance(encoder, Encoder) else {}
    made_for = tuple(recipe.get("shape", ()))
    if recipe.get("name") == "mlp" and images.shape[1:] != made_for:
        raise InputError(
            f"images got shape {images.shape}, expected (N, {', '.join(map(str, made_for))}): "
            f"that is the size the encoder was made for"
        )
    if recipe.get("name") == "cnn" and images.shape[1] != made_for[0]:
        raise InputError(
            f"images got shape {images.shape}, with {images.shape[1]} channel(s), expected {made_for[0]}, "
            f"for which the encoder was made"
        )
    check_pixels(images)
    return images


def mlp(
    shape: Sequence[int], *, widths: Sequence[int] = (256, 256), dim: int = 64, rng: np.random.Generator
) -> Encoder:
    """A multilayer perceptron for small images.

    Parameters
    ----------
    shape : (C, H, W)
        Of one image.
    widths : sequence of int, default (256, 256)
        Of the hidden layers; the last is that of h.
    dim : int, default 64
        D, of the embedding z.
    rng : numpy.random.Generator

    Returns
    -------
    Encoder

    Examples
    --------
    >>> encoder = mlp((1, 8, 8), rng=np.random.default_rng(0))
    >>> h, z = encoder.embed(np.zeros((3, 1, 8, 8), np.float32))
    >>> h.shape, z.shape
    ((3, 256), (3, 64))
    """
    shape, widths = _check_shape(shape), check_sizes(widths, "widths")
    layers: list[Module] = [Flatten()]
    inputs = int(np.prod(shape))
    for width in widths:
        layers += [Linear(inputs, width, bias=False, rng=rng), BatchNorm(width), ReLU()]
        inputs = width
    recipe = {"name": "mlp", "shape": list(shape), "widths": list(widths), "dim": dim}
    return Encoder(Sequential(*layers), projection_head(inputs, dim, rng=rng), recipe)


def cnn(
    shape: Sequence[int],
    *,
    widths: Sequence[int] = (32, 64, 128),
    strides: Sequence[int] = (1, 2, 2),
    dim: int = 64,
    rng: np.random.Generator,
) -> Encoder:
    """A small convolutional network: 3x3 convolutions with batch normalisation and ReLU, then the average over the
    image.

    Parameters
    ----------
    shape : (C, H, W)
        Of one image.
    widths : sequence of int, default (32, 64, 128)
        Kernels of each convolution; the last is the width of h.
    strides : sequence of int, default (1, 2, 2)
        Of each convolution.
    dim : int, default 64
        D, of the embedding z.
    rng : numpy.random.Generator

    Returns
    -------
    Encoder

    Examples
    --------
    >>> encoder = cnn((1, 28, 28), widths=(8, 16), strides=(2, 2), rng=np.random.default_rng(0))
    >>> encoder.embed(np.zeros((3, 1, 28, 28), np.float32))[1].shape
    (3, 64)
    """
    shape = _check_shape(shape)
    widths, strides = check_sizes(widths, "widths"), check_sizes(strides, "strides", example="(1, 2, 2)")
    if len(widths) != len(strides):
        raise InputError(
            f"widths and strides got {len(widths)} and {len(strides)} numbers, expected one stride for each width"
        )
    layers: list[Module] = []
    channels = shape[0]
    for width, stride in zip(widths, strides, strict=True):
        layers += [Conv2d(channels, width, stride=stride, rng=rng), BatchNorm(width), ReLU()]
        channels = width
    layers.append(GlobalAveragePool())
    recipe = {"name": "cnn", "shape": list(shape), "widths": list(widths), "strides": list(strides), "dim": dim}
    return Encoder(Sequential(*layers), projection_head(channels, dim, rng=rng), recipe)


def projection_head(features: int, dim: int, *, rng: np.random.Generator) -> Sequential:
    """Two layers onto the sphere, ending in batch normalisation without scale and shift.

    That end centres the embeddings. Without it a small ReLU network starts with all of them in a narrow cone, where a
    small temperature spends its gradient, and the small-temperature half of every curve comes out reversed.

    Parameters
    ----------
    features : int
        Width of h.
    dim : int
        D, of the embedding z, at least 2.
    rng : numpy.random.Generator
    """
    features = check_whole(features, "features", least=1)
    dim = check_whole(dim, "dim", least=2, why="the sphere needs a direction to turn to")
    return Sequential(
        Linear(features, features, bias=False, rng=rng),
        BatchNorm(features),
        ReLU(),
        Linear(features, dim, bias=False, rng=rng),
        BatchNorm(dim, affine=False),
        Normalize(),
    )


def build(recipe: dict[str, Any], *, rng: np.random.Generator) -> Encoder:
    """The encoder that a recipe describes, freshly initialised.

    Parameters
    ----------
    recipe : dict
        ``name``, ``"mlp"`` or ``"cnn"``; ``shape``; and what else that function takes.
    rng : numpy.random.Generator

    Raises
    ------
    InputError, DtypeError
        The recipe is none, or holds what its function does not take.

    Examples
    --------
    >>> encoder = mlp((1, 8, 8), widths=(32,), rng=np.random.default_rng(0))
    >>> build(encoder.recipe, rng=np.random.default_rng(1)).recipe == encoder.recipe
    True
    """
    if not isinstance(recipe, dict):
        raise DtypeError(f"recipe got {type(recipe).__name__}, expected a dictionary such as encoder.recipe")
    makers = {"mlp": mlp, "cnn": cnn}
    name, arguments = recipe.get("name"), {key: value for key, value in recipe.items() if key != "name"}
    if not isinstance(name, str) or name not in makers:
        raise InputError(f"encoder recipe got name {name!r}, expected one of {', '.join(makers)}")
    known = {"shape", "widths", "dim"} | ({"strides"} if name == "cnn" else set())
    if "shape" not in arguments or arguments.keys() - known:
        raise InputError(
            f"encoder recipe for {name} got {', '.join(arguments) or 'nothing'}, expected shape, and of "
            f"{', '.join(sorted(known))} what differs from the defaults"
        )
    return makers[name](arguments.pop("shape"), **arguments, rng=rng)


def count_weights(recipe: dict[str, Any]) -> int:
    """How many numbers the matrices and kernels of a recipe's encoder hold, counted without making any.

    Raises
    ------
    InputError, DtypeError
        The recipe holds something else than sizes.
    """
    maker = cnn if recipe.get("name") == "cnn" else mlp
    defaults = inspect.signature(maker).parameters
    shape = _check_shape(recipe.get("shape"))
    widths = check_sizes(recipe.get("widths", defaults["widths"].default), "widths")
    dim = check_whole(recipe.get("dim", defaults["dim"].default), "dim", least=1)
    first, kernel = (shape[0], 9) if maker is cnn else (prod(shape), 1)
    backbone = sum(kernel * inputs * outputs for inputs, outputs in pairwise((first, *widths)))
    return backbone + widths[-1] * (widths[-1] + dim)


def _check_shape(shape: Any) -> tuple[int, ...]:
    """Of one image."""
    if not isinstance(shape, list | tuple) or len(shape) != 3:
        batch = ": images.shape[1:]" if isinstance(shape, tuple) and len(shape) == 4 else ""
        raise InputError(f"shape got {shape!r}, expected (C, H, W), that of one image{batch}")
    return check_sizes(shape, "shape")
