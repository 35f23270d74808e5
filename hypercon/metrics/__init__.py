"""Measures of an embedding: how it lies on the sphere, and what it is worth to a simple classifier."""

from hypercon.metrics.probes import few_labels, knn_accuracy, linear_probe
from hypercon.metrics.rank import effective_rank, wasserstein_uniformity
from hypercon.metrics.sphere import (
    alignment,
    tolerance,
    tolerance_gap,
    uniformity,
    uniformity_floor,
    uniformity_spectrum,
)

__all__ = [
    "alignment",
    "effective_rank",
    "few_labels",
    "knn_accuracy",
    "linear_probe",
    "tolerance",
    "tolerance_gap",
    "uniformity",
    "uniformity_floor",
    "uniformity_spectrum",
    "wasserstein_uniformity",
]
