"""Measures of an embedding: how it lies on the sphere, and what it is worth to a simple classifier."""

from hypercon.metrics.alignment import alignment, alignment_by_class
from hypercon.metrics.classes import mean_similarity, tolerance, tolerance_by_class, tolerance_gap
from hypercon.metrics.diagnosis import Diagnosis, Reading, diagnose
from hypercon.metrics.probes import few_labels, knn_accuracy, linear_probe
from hypercon.metrics.rank import effective_rank, wasserstein_uniformity
from hypercon.metrics.retrieval import contrastive_accuracy
from hypercon.metrics.uniformity import (
    Spectrum,
    spectrum_against_floor,
    uniformity,
    uniformity_by_class,
    uniformity_floor,
    uniformity_noise,
    uniformity_spectrum,
    with_self_pairs,
    without_self_pairs,
)

__all__ = [
    "Diagnosis",
    "Reading",
    "Spectrum",
    "alignment",
    "alignment_by_class",
    "contrastive_accuracy",
    "diagnose",
    "effective_rank",
    "few_labels",
    "knn_accuracy",
    "linear_probe",
    "mean_similarity",
    "spectrum_against_floor",
    "tolerance",
    "tolerance_by_class",
    "tolerance_gap",
    "uniformity",
    "uniformity_by_class",
    "uniformity_floor",
    "uniformity_noise",
    "uniformity_spectrum",
    "wasserstein_uniformity",
    "with_self_pairs",
    "without_self_pairs",
]
