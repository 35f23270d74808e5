"""A trained encoder's loss laid open on held-out images, as a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hypercon.data import load_both, mild
from hypercon.errors import InputError
from hypercon.experiments.settings import plan_for
from hypercon.explain import Explanation, explain
from hypercon.nn import load_encoder
from hypercon.nn.encoders import check_images_for
from hypercon.runs.reading import ENCODER
from hypercon.validation import check_whole


def explain_checkpoint(
    checkpoint: str | Path,
    out: str | Path,
    *,
    data: str | None = None,
    index: int = 0,
    temperature: float | None = None,
    loss: str | None = None,
    count: int = 256,
    seed: int = 0,
) -> Explanation:
    """Write the page of a saved encoder: what its loss does to a held-out image.

    Parameters
    ----------
    checkpoint : path-like
        An encoder saved by ``hypercon dilemma`` or `hypercon.nn.save_encoder`, or a folder of ``hypercon train``.
    out : path-like
        The page.
    data, temperature, loss : optional
        Default: what the encoder was trained with, if its file says so.
    index : int, default 0
        Which held-out image is the first anchor.
    count : int, default 256
        How many held-out images make the batch; enough to contain ``index`` in any case.
    seed : int, default 0
        Of the views.

    Returns
    -------
    Explanation

    Raises
    ------
    InputError, DataError
        The file is no encoder, the images are not such as it takes, there is no such image, or it is not known what to
        explain.
    """
    checkpoint = _file_of(checkpoint)
    encoder, notes = load_encoder(checkpoint)
    trained = notes.get("settings", {}) if isinstance(notes.get("settings", {}), dict) else {}
    data = data or trained.get("data")
    temperature = temperature if temperature is not None else notes.get("temperature")
    for name, value, example in (("data", data, "digits"), ("temperature", temperature, "0.2")):
        if value is None:
            raise InputError(
                f"{name} got none, and {checkpoint} does not say what it was trained with: such as {example}"
            )
    _, test = load_both(str(data))
    check_images_for(encoder, test.images)
    index, count = check_whole(index, "index", least=0), check_whole(count, "count", least=2)
    if index >= len(test.images):
        raise InputError(f"index got {index}, expected 0 to {len(test.images) - 1}, the held-out images of {data}")
    some = slice(0, min(len(test.images), max(count, index + 1)))
    views = mild(flip=test.flip, window=trained.get("window") or plan_for(test).window)
    rng = np.random.default_rng(check_whole(seed, "seed", least=0))
    z1, z2 = (encoder.embed(view)[1] for view in views.two_views(test.images[some], rng=rng))
    labels = None if test.labels is None else test.labels[some]
    found = explain(z1, z2, temperature=temperature, labels=labels, loss=loss or trained.get("loss", "info_nce"))
    found.to_html(out, anchor=index, images=test.images[some], classes=test.classes)
    return found


def _file_of(checkpoint: str | Path) -> str | Path:
    """An encoder's file: of the folder of a run the one that stands there at the end."""
    if not Path(checkpoint).is_dir():
        return checkpoint
    encoder = Path(checkpoint) / ENCODER
    if not encoder.exists():
        raise InputError(
            f"checkpoint got {str(checkpoint)!r}, a folder without {ENCODER}, which hypercon train writes when it ends"
        )
    return encoder
