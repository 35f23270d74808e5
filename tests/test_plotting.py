"""The picture of the dilemma: complete, without empty panels, and with nothing over anything else."""

import numpy as np
import pytest

from hypercon.experiments import dilemma
from hypercon.explain import explain
from hypercon.plotting import _world_map, dilemma_figure


def a_run(temperature, *, labelled=True, count=60, dim=8):
    rng = np.random.default_rng(int(temperature * 100))
    z = rng.normal(size=(count, dim))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    labels = np.arange(count) % 3 if labelled else None
    e = explain(z, z + 0.1 * rng.normal(size=z.shape), temperature=temperature, labels=labels)
    scores = dict.fromkeys(["tolerance", "tolerance_gap", "knn_z", "knn_z_10", "linear_h", "linear_h_10"])
    if labelled:
        scores = {name: float(rng.uniform()) for name in scores}
    record = {
        "uniformity": {"2": float(rng.uniform(1, 3)), "7.14": float(rng.uniform(3, 9))},
        "uniformity_floor": {"2": -3.9, "7.14": -12.7},
        "alignment": 0.2,
        "effective_negatives": float(e.effective_negatives.mean()),
        **scores,
    }
    return dilemma.Run(temperature, record, z, labels, rng.uniform(0.5, 1, count), e)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_panel_is_drawn_and_no_text_overlaps_another(labelled, count):
    runs = [a_run(tau, labelled=labelled) for tau in (0.07, 0.2, 1.0, 2.0, 0.5)[:count]]
    figure = dilemma_figure(runs, ("ant", "bee", "cat") if labelled else None, "made up")
    assert len(figure.axes) == 3 * count + 3
    assert all(ax.has_data() for ax in figure.axes)
    figure.canvas.draw()
    assert figure.get_figwidth() * figure.dpi >= 1600
    titles = [ax.title for ax in figure.axes] + figure.texts
    boxes = [text.get_window_extent() for text in titles if text.get_text()]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_columns_are_in_the_order_of_the_temperatures():
    figure = dilemma_figure([a_run(1.0), a_run(0.07)], None, "made up")
    assert [ax.get_title() for ax in figure.axes[:2]] == ["temperature 0.07", "temperature 1"]


def test_the_map_shows_directions_in_the_three_leading_axes():
    rng = np.random.default_rng(0)
    three = rng.normal(size=(200, 3)) * (3, 2, 1)
    three -= three.mean(axis=0)
    rotation, _ = np.linalg.qr(rng.normal(size=(10, 10)))
    longitude, latitude, share = _world_map(np.pad(three, ((0, 0), (0, 7))) @ rotation)
    assert share == pytest.approx(1)
    height = np.sort(np.abs(np.sin(latitude)))
    _, _, axes = np.linalg.svd(three, full_matrices=False)
    expected = np.abs(three @ axes[2]) / np.linalg.norm(three, axis=1)
    np.testing.assert_allclose(height, np.sort(expected), atol=1e-9)
    assert np.abs(longitude).max() <= np.pi


def test_an_embedding_in_two_dimensions_lies_on_the_equator():
    angle = np.linspace(0, 6, 50)
    _, latitude, share = _world_map(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    np.testing.assert_allclose(latitude, 0, atol=1e-12)
    assert share == pytest.approx(1)
