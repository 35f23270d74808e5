"""No measure holds a matrix of all pairs: the memory that each needs above its input."""

import tracemalloc

import numpy as np
import pytest

from hypercon import metrics

LABELS = np.arange(50_000) % 10
MEASURES = {
    "uniformity": lambda z: metrics.uniformity(z),
    "uniformity with self-pairs": lambda z: metrics.uniformity(z, self_pairs=True),
    "uniformity_spectrum": lambda z: metrics.uniformity_spectrum(z, [2.0]),
    "spectrum_against_floor": lambda z: metrics.spectrum_against_floor(z, [2.0]),
    "uniformity_by_class": lambda z: metrics.uniformity_by_class(z, LABELS[: len(z)]),
    "alignment": lambda z: metrics.alignment(z, z[::-1]),
    "alignment_by_class": lambda z: metrics.alignment_by_class(z, z[::-1], LABELS[: len(z)]),
    "tolerance": lambda z: metrics.tolerance(z, LABELS[: len(z)]),
    "tolerance_gap": lambda z: metrics.tolerance_gap(z, LABELS[: len(z)]),
    "tolerance_by_class": lambda z: metrics.tolerance_by_class(z, LABELS[: len(z)]),
    "mean_similarity": lambda z: metrics.mean_similarity(z),
    "effective_rank": lambda z: metrics.effective_rank(z),
    "wasserstein_uniformity": lambda z: metrics.wasserstein_uniformity(z),
    "contrastive_accuracy": lambda z: metrics.contrastive_accuracy(z, z[::-1]),
    "knn_accuracy": lambda z: metrics.knn_accuracy(z, LABELS[: len(z)]),
    "linear_probe": lambda z: metrics.linear_probe(z, LABELS[: len(z)], z, LABELS[: len(z)], decay=1.0),
    "diagnose": lambda z: metrics.diagnose(z, z[::-1], LABELS[: len(z)], 0.2),
}


def test_every_measure_is_held_to_its_memory():
    aside = {"Diagnosis", "Reading", "Spectrum", "few_labels", "uniformity_floor", "uniformity_noise"}
    conversions = {"with_self_pairs", "without_self_pairs"}
    assert set(metrics.__all__) - aside - conversions == set(MEASURES) - {"uniformity with self-pairs"}


def peak(measure, count):
    """MiB that a measure of (count, 128) float32 embeddings holds at most, above them."""
    z = np.random.default_rng(0).normal(size=(count, 128)).astype(np.float32)
    tracemalloc.start()
    try:
        MEASURES[measure](z)
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("measure", MEASURES)
def test_six_thousand_points_need_less_than_half_of_a_matrix_of_their_pairs(measure):
    assert peak(measure, 6000) < 6000**2 * 8 / 2**20 / 2  # of doubles, in which they compute


@pytest.mark.slow
@pytest.mark.parametrize("measure", MEASURES)
def test_fifty_thousand_points_need_less_than_500_mb(measure):
    needed = peak(measure, 50_000)
    print(f"{measure}: {needed:.0f} MiB", flush=True)
    assert needed * 2**20 < 500e6
