"""What is measured while a run trains, and what is noticed early: chance that is not left, dimensions that collapse."""

from __future__ import annotations

from typing import Any

import numpy as np

from hypercon import losses, metrics
from hypercon.data import Dataset
from hypercon.experiments.settings import NEIGHBOURS
from hypercon.nn import Encoder
from hypercon.runs.settings import Settings, generator, views_of

HELD_OUT, KNOWN = 2000, 5000  # images at most that are measured on, and that nearest neighbours are looked for among
PATIENCE = 3  # epochs at chance until it is said
NEAR_CHANCE = 0.05  # of the way from chance down to the floor
COLLAPSED = 0.1  # of the dimensions


class Watch:
    """Measures an encoder on held-out images, the same ones and the same views each time."""

    def __init__(self, settings: Settings, train: Dataset, test: Dataset) -> None:
        rng = generator(settings, "evaluation")
        some = np.sort(rng.permutation(len(test.images))[:HELD_OUT])
        self._images = test.images[some]
        self._views = views_of(settings, test).two_views(self._images, rng=rng)
        self._labels = None if test.labels is None else test.labels[some]
        known = np.sort(rng.permutation(len(train.images))[:KNOWN])
        self._known = train.images[known]
        self._known_labels = None if train.labels is None else train.labels[known]

    def measure(self, encoder: Encoder, temperature: float) -> tuple[dict[str, float], metrics.Diagnosis]:
        """Uniformity, alignment and rank of the held-out embeddings, and with labels what classes make of them; and the
        two views' diagnosis."""
        z = encoder.embed(self._images)[1]
        z1, z2 = (encoder.embed(view)[1] for view in self._views)
        found = {
            "uniformity": metrics.uniformity(z),
            "alignment": metrics.alignment(z1, z2),
            "effective_rank": metrics.effective_rank(z, centred=True),
        }
        if self._labels is not None and self._known_labels is not None:
            counts = np.bincount(self._labels)
            if counts.max() > 1 and np.count_nonzero(counts) > 1:
                found["tolerance_gap"] = metrics.tolerance_gap(z, self._labels)
            if len(self._known_labels) >= NEIGHBOURS:
                known = encoder.embed(self._known)[1]
                found["knn"] = metrics.knn_accuracy(known, self._known_labels, z, self._labels, k=NEIGHBOURS)
        paired = self._labels is not None and np.unique(self._labels, return_counts=True)[1].max() > 1
        judged = metrics.diagnose(z1, z2, self._labels if paired else None, temperature)
        return {name: float(value) for name, value in found.items()}, judged


def warnings_about(epochs: list[dict[str, Any]], settings: Settings) -> list[str]:
    """What looks wrong after an epoch, a sentence each, with what to try.

    Parameters
    ----------
    epochs : list of dict
        The records so far, the last with what was measured, if anything was.
    settings : Settings
    """
    told = []
    last = epochs[-1]
    chance = losses.chance(settings.loss, settings.batch_size)
    recent = epochs[-PATIENCE:]
    if len(recent) == PATIENCE and all(_at_chance(record, settings, chance) for record in recent):
        told.append(
            f"at chance for {PATIENCE} epochs (loss {last['loss']:.3f}, chance {chance:.3f}): the embeddings do not "
            f"tell images apart; try another rate, or milder views by a larger window"
        )
    rank = last.get("effective_rank")
    if rank is not None and rank < COLLAPSED * settings.dim:
        told.append(
            f"dimensionally collapsed: {rank:.0f} of {settings.dim} dimensions are filled; try a smaller temperature, "
            f"stronger views or a smaller rate"
        )
    return told


def _at_chance(record: dict[str, Any], settings: Settings, chance: float) -> bool:
    lowest = losses.floor(settings.loss, settings.batch_size, record["temperature"])
    return bool(record["loss"] > chance - NEAR_CHANCE * (chance - lowest))
