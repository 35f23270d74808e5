"""Layers and encoders."""

from hypercon.nn.encoders import Encoder, build, cnn, mlp, projection_head
from hypercon.nn.layers import (
    BatchNorm,
    Conv2d,
    Flatten,
    GlobalAveragePool,
    Linear,
    MaxPool2d,
    Module,
    Normalize,
    ReLU,
    Sequential,
)
from hypercon.nn.momentum import MomentumEncoder
from hypercon.nn.saving import load_encoder, load_weights, save_encoder, save_weights

__all__ = [
    "BatchNorm",
    "Conv2d",
    "Encoder",
    "Flatten",
    "GlobalAveragePool",
    "Linear",
    "MaxPool2d",
    "Module",
    "MomentumEncoder",
    "Normalize",
    "ReLU",
    "Sequential",
    "build",
    "cnn",
    "load_encoder",
    "load_weights",
    "mlp",
    "projection_head",
    "save_encoder",
    "save_weights",
]
