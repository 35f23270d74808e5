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
from hypercon.nn.saving import load_encoder, save_encoder

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
    "mlp",
    "projection_head",
    "save_encoder",
]
