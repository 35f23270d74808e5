"""What is measured of a trained encoder, and what its picture needs: everything on held-out images.

A sharpness t of uniformity belongs to every temperature, 1 / (2 temperature), and each encoder is measured at all of
them. So a record depends on the other temperatures, though the encoder does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hypercon import metrics
from hypercon.data import Dataset
from hypercon.experiments.settings import NEIGHBOURS, Settings, generator, views_of
from hypercon.explain import Explanation, explain
from hypercon.nn import Encoder

LABELLED = (
    "tolerance",
    "tolerance_gap",
    "knn_z",
    "knn_h",
    "knn_z_10",
    "linear_h",
    "linear_h_10",
    "false_negative_share",
)


@dataclass(frozen=True)
class Run:
    """One temperature's encoder as the picture needs it; ``record`` is its entry in results.json."""

    temperature: float
    record: dict[str, Any]
    z: np.ndarray  # held-out embeddings, (M, D)
    labels: np.ndarray | None
    positives: np.ndarray  # similarities of the two views of each held-out image, (M,)
    explanation: Explanation = field(repr=False)


def sharpnesses(settings: Settings) -> dict[str, float]:
    """The t at which uniformity is measured: 2, as is usual, and that of each temperature to three digits."""
    names = {f"{t:.3g}" for t in (2.0, *(1 / (2 * tau) for tau in settings.temperatures))}
    return {name: float(name) for name in sorted(names, key=float)}


def measure(encoder: Encoder, train: Dataset, test: Dataset, settings: Settings, temperature: float) -> dict[str, Any]:
    """Everything that results.json says of a trained encoder beside its training."""
    h, z = encoder.embed(test.images)
    z1, z2 = _two_views(encoder, test, settings)
    explanation = _explain_held_out(z1, z2, test, settings, temperature)
    record: dict[str, Any] = {
        "uniformity": {name: metrics.uniformity(z, t) for name, t in sharpnesses(settings).items()},
        "uniformity_limit": {
            name: -metrics.uniformity_floor(z.shape[1], t) for name, t in sharpnesses(settings).items()
        },
        "alignment": metrics.alignment(z1, z2),
        "entropy": float(explanation.entropy.mean()),
        "effective_negatives": float(explanation.effective_negatives.mean()),
    }
    record |= dict.fromkeys(LABELLED)
    if train.labels is None or test.labels is None:
        return record
    train_h, train_z = encoder.embed(train.images)
    rng = generator(settings, "evaluation")
    few = [
        metrics.few_labels(train.labels, 10, rng=rng) for _ in range(5)
    ]  # the draw of ten matters: five are averaged

    def neighbours(known: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> float:
        return metrics.knn_accuracy(known, labels, asked, test.labels, k=NEIGHBOURS)

    record["tolerance"] = metrics.tolerance(z, test.labels)
    record["tolerance_gap"] = metrics.tolerance_gap(z, test.labels)
    record["knn_z"] = neighbours(train_z, train.labels, z)
    record["knn_h"] = neighbours(train_h, train.labels, h)
    record["knn_z_10"] = _mean(neighbours(train_z[i], train.labels[i], z) for i in few)
    record["linear_h"] = metrics.linear_probe(train_h, train.labels, h, test.labels)
    record["linear_h_10"] = _mean(metrics.linear_probe(train_h[i], train.labels[i], h, test.labels) for i in few)
    assert explanation.false_negative_share is not None
    record["false_negative_share"] = float(explanation.false_negative_share.mean())
    return record


def run_for_picture(
    encoder: Encoder, record: dict[str, Any], test: Dataset, settings: Settings, temperature: float
) -> Run:
    """The embeddings and similarities that are drawn beside the record."""
    z1, z2 = _two_views(encoder, test, settings)
    return Run(
        temperature=temperature,
        record=record,
        z=encoder.embed(test.images)[1],
        labels=test.labels,
        positives=(z1 * z2).sum(axis=1),
        explanation=_explain_held_out(z1, z2, test, settings, temperature),
    )


def _two_views(encoder: Encoder, test: Dataset, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    views = views_of(settings, test).two_views(test.images, rng=generator(settings, "evaluation"))
    z1, z2 = (encoder.embed(view)[1] for view in views)
    return z1, z2


def _explain_held_out(
    z1: np.ndarray, z2: np.ndarray, test: Dataset, settings: Settings, temperature: float
) -> Explanation:
    """The loss laid open on as many held-out images as a training batch has, or all where there are fewer."""
    some = generator(settings, "evaluation").permutation(len(z1))[: settings.batch_size]
    labels = None if test.labels is None else test.labels[some]
    return explain(z1[some], z2[some], temperature=temperature, labels=labels, loss=settings.loss)


def _mean(values: Iterator[float]) -> float:
    return float(np.mean(list(values)))
