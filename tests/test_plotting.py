"""The picture of the dilemma: complete, without empty panels, and with nothing over anything else."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from hypercon.experiments import dilemma, measuring
from hypercon.explain import explain
from hypercon.plotting import _world_map, dilemma_figure

TEMPERATURES = (0.07, 0.2, 1.0, 2.0, 0.5, 0.02, 0.03, 0.1, 0.05)


def a_run(temperature, *, labelled=True, count=60, dim=8, among=(0.07,)):
    rng = np.random.default_rng(int(temperature * 100))
    z = rng.normal(size=(count, dim))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    labels = np.arange(count) % 3 if labelled else None
    e = explain(z, z + 0.1 * rng.normal(size=z.shape), temperature=temperature, labels=labels)
    scores = dict.fromkeys(["tolerance", "tolerance_gap", "knn_z", "knn_z_10", "linear_h", "linear_h_10"])
    if labelled:
        scores = {name: float(rng.uniform()) for name in scores}
    at = measuring.sharpnesses(dilemma.Settings(temperatures=among))
    record = {
        "uniformity": {t: float(rng.uniform(0.2, 1)) * float(t) for t in at},
        "uniformity_limit": {t: 1.9 * float(t) for t in at},
        "alignment": 0.2,
        "effective_negatives": float(e.effective_negatives.mean()),
        **scores,
    }
    return dilemma.Run(temperature, record, z, labels, rng.uniform(0.5, 1, count), e)


@functools.cache
def a_figure(count, labelled=True):
    runs = [a_run(tau, labelled=labelled, among=TEMPERATURES[:count]) for tau in TEMPERATURES[:count]]
    return dilemma_figure(runs, ("ant", "bee", "cat") if labelled else None, "made up")


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 6, 9])
def test_every_panel_is_drawn_and_nothing_overlaps_another(labelled, count):
    figure = a_figure(count, labelled=labelled)
    assert len(figure.axes) == 3 * count + 3
    assert all(ax.has_data() for ax in figure.axes)
    figure.canvas.draw()
    assert figure.get_figwidth() * figure.dpi >= 1600
    texts = [text for ax in figure.axes for text in (ax.title, ax._left_title, *ax.texts)] + figure.texts
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    boxes += [ax.get_legend().get_window_extent() for ax in figure.axes if ax.get_legend()]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:i])
    panels = [ax.get_window_extent() for ax in figure.axes]
    for i, panel in enumerate(panels):
        assert not any(panel.overlaps(other) for other in panels[:i])
        legends = [ax.get_legend().get_window_extent() for ax in figure.axes if ax.get_legend()]
        assert not any(panel.overlaps(legend) for legend in [*legends, *boxes[-len(figure.legends) :]])


@pytest.mark.parametrize("count", [1, 2, 3, 6, 9])
def test_no_two_lines_of_a_panel_look_alike_and_t_2_is_always_shown(count):
    uniformity, tolerance, accuracy = a_figure(count).axes[-3:]
    for ax, lines in ((uniformity, min(count + 1, 5)), (tolerance, 2), (accuracy, 4)):
        styles = {(line.get_color(), line.get_marker()) for line in ax.lines}
        assert len(styles) == len(ax.lines) == lines
    labels = [line.get_label() for line in uniformity.lines]
    assert "t = 2 (uniform: 3.80)" in labels
    coldest, warmest = min(TEMPERATURES[:count]), max(TEMPERATURES[:count])
    assert labels[-1].startswith(f"t = {max(2, 1 / (2 * coldest)):.3g} ")
    assert labels[0].startswith(f"t = {min(2, 1 / (2 * warmest)):.3g} ")


def test_a_long_name_of_a_file_is_cut_and_many_long_classes_take_two_rows():
    runs = [a_run(tau) for tau in (0.07, 0.2, 1.0)]
    classes = [f"a class with a long name, number {i}" for i in range(10)]
    figure = dilemma_figure(runs, classes, "x" * 200 + ".npz")
    figure.canvas.draw()
    for box in [text.get_window_extent() for text in figure.texts] + [x.get_window_extent() for x in figure.legends]:
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_more_classes_than_colours_are_drawn_in_one_colour_and_said_to_be():
    run = a_run(0.07)
    many = replace(run, labels=np.arange(len(run.labels)) % 11)
    figure = dilemma_figure([many], [str(i) for i in range(11)], "made up")
    assert any("Classes are not coloured: there are more than 10" in text.get_text() for text in figure.texts)
    assert len(figure.axes[0].collections) == 1


def test_every_histogram_reaches_the_same_height():
    figure = a_figure(3)
    for ax in figure.axes[3:6]:
        filled = [patch for patch in ax.patches if patch.get_fill()]
        assert [patch.get_data().values.max() for patch in filled] == [1.0] * 3


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
