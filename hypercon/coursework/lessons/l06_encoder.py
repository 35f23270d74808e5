"""Lesson 06: a window of each image, a loss between its bounds, a step of Adam, and the nearest neighbour."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypercon.coursework.assignments.draws import lattice, unit
from hypercon.coursework.exercise import Arguments, Exercise

# --- what is drawn


def _images(rng: np.random.Generator, size: int) -> Arguments:
    height, width, side = size + 2, size + 4, 2
    images = rng.permutation(size * height * width).reshape(size, height, width) / 10
    tops, lefts = rng.integers(0, height - side + 1, (2, size))  # each would do as the other, so that an exchange shows
    return images, tops, lefts, side


def _progress(rng: np.random.Generator, size: int) -> Arguments:
    tau = float(rng.choice([0.1, 0.2, 0.4, 0.8]))
    return round(float(rng.uniform(0.3, 0.9)) * math.log(size), 2), size, tau


def _cold(rng: np.random.Generator) -> Arguments:
    return 2.0, 128, 1e-3


def _weights(rng: np.random.Generator, size: int) -> Arguments:
    w, g, m = (rng.integers(-99, 100, size) / 100 for _ in range(3))
    return w, g, m, rng.integers(1, 100, size) / 100, int(rng.integers(1, 6)), 0.5


def _started(rng: np.random.Generator) -> Arguments:
    w, g, *_ = _weights(rng, 3)
    return w, g, np.zeros(3), np.zeros(3), 1, 0.5


def _probe(rng: np.random.Generator, size: int) -> Arguments:
    """Rows of very different lengths, so that products without the sphere find another neighbour."""
    z = lattice(rng, (size + 2, 3)) * rng.choice([0.1, 1.0, 10.0], (size + 2, 1))
    test = lattice(rng, (size + 1, 3)) * rng.choice([0.1, 1.0, 10.0], (size + 1, 1))
    return z, rng.integers(0, 3, size + 2), test, rng.integers(0, 3, size + 1)


# --- the right answers, by another route: pixel by pixel, and number by number


def _windows(images: np.ndarray, tops: np.ndarray, lefts: np.ndarray, side: int) -> np.ndarray:
    parts = zip(images, tops, lefts, strict=True)
    return np.stack([image[top : top + side, left : left + side] for image, top, left in parts])


def _share(loss: float, count: int, temperature: float) -> float:
    """The floor through the similarities of a simplex's corners."""
    corners = np.eye(count) - 1 / count
    similarities = unit(corners) @ unit(corners).T / temperature
    floor = float(np.logaddexp.reduce(similarities[0]) - similarities[0, 0])
    return (math.log(count) - loss) / (math.log(count) - floor)


def _share_with_floor(loss: float, count: int, floor: float) -> float:
    return (math.log(count) - loss) / (math.log(count) - floor)


def _adam(w: Any, g: Any, m: Any, v: Any, number: int, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = []
    for weight, slope, mean, square in zip(w, g, m, v, strict=True):
        mean += 0.1 * (slope - mean)
        square += 0.001 * (slope * slope - square)
        long = math.sqrt(square / -math.expm1(number * math.log(0.999)))
        rows.append((weight - rate * mean / -math.expm1(number * math.log(0.9)) / (long + 1e-8), mean, square))
    moved, means, squares = np.array(rows).T
    return moved, means, squares


def _accuracy(z: np.ndarray, labels: np.ndarray, test_z: np.ndarray, test_labels: np.ndarray) -> float:
    """By distances on the sphere."""
    found = [labels[np.linalg.norm(unit(z) - row, axis=1).argmin()] for row in unit(test_z)]
    return float(np.mean(np.array(found) == test_labels))


# --- laws


def _each_its_own(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """another order of the images is another order of the windows"""
    images, tops, lefts, side = arguments
    order = rng.permutation(len(images))
    if not np.array_equal(answer(images[order], tops[order], lefts[order], side), answer(*arguments)[order]):
        return "the windows do not move along with their images"
    return None


def _between_its_bounds(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """it is 0 at chance, and linear in the loss"""
    _, count, tau = arguments
    if not math.isclose(float(answer(math.log(count), count, tau)), 0, abs_tol=1e-9):
        return f"the loss log {count} is chance, and the share of the way there is 0"
    near, far, middle = (float(answer(loss, count, tau)) for loss in (1.0, 0.5, 0.75))
    return None if math.isclose(near + far, 2 * middle, rel_tol=1e-6) else "half the loss is not half the way"


def _first_step(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """the first step is as long as the rate, whatever the gradient's length"""
    w, g, *_, rate = arguments
    g = np.where(g == 0, 0.5, g)
    moved = np.asarray(answer(w, g, np.zeros_like(w), np.zeros_like(w), 1, rate)[0])
    if not np.allclose(moved, w - rate * np.sign(g), atol=1e-5):
        return "from m = v = 0 the first step is not w - rate * sign(g)"
    return None


def _of_lengths(answer: Any, arguments: Arguments, rng: np.random.Generator) -> str | None:
    """the lengths of the rows play no role"""
    z, labels, test_z, test_labels = arguments
    longer = z * rng.uniform(0.1, 10, (len(z), 1)), test_z * rng.uniform(0.1, 10, (len(test_z), 1))
    if float(answer(longer[0], labels, longer[1], test_labels)) != float(answer(*arguments)):
        return "longer rows have other neighbours: put both onto the sphere"
    return None


# --- mistakes


def _without_correction(w: Any, g: Any, m: Any, v: Any, number: int, rate: float) -> Any:
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    return w - rate * m / (np.sqrt(v) + 1e-8), m, v


def _upwards(w: Any, g: Any, m: Any, v: Any, number: int, rate: float) -> Any:
    moved, m, v = _adam(w, g, m, v, number, rate)
    return 2 * w - moved, m, v


def _without_root(w: Any, g: Any, m: Any, v: Any, number: int, rate: float) -> Any:
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    return w - rate * (m / (1 - 0.9**number)) / (v / (1 - 0.999**number) + 1e-8), m, v


def _from_old_means(w: Any, g: Any, m: Any, v: Any, number: int, rate: float) -> Any:
    step = rate * (m / (1 - 0.9**number)) / (np.sqrt(v / (1 - 0.999**number)) + 1e-8)
    return w - step, 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2


def _corrected_means_kept(w: Any, g: Any, m: Any, v: Any, number: int, rate: float) -> Any:
    moved, m, v = _adam(w, g, m, v, number, rate)
    return moved, m / (1 - 0.9**number), v / (1 - 0.999**number)


EXERCISES = (
    Exercise(
        "06.1",
        "windows",
        _images,
        _windows,
        "The window of image i is images[i, tops[i] : tops[i] + side, lefts[i] : lefts[i] + side].",
        more_hints=(
            "Collect the windows in a list, and np.stack it.",
            "Without a loop: rows = tops[:, None] + np.arange(side), and index with three arrays that broadcast.",
        ),
        laws=(_each_its_own,),
        mistakes={
            "rows and columns are exchanged": lambda images, tops, lefts, side: _windows(
                images.transpose(0, 2, 1), tops, lefts, side
            ).transpose(0, 2, 1),
            "every image gets the window of the first": lambda images, tops, lefts, side: images[
                :, tops[0] : tops[0] + side, lefts[0] : lefts[0] + side
            ],
            "the windows are transposed": lambda images, tops, lefts, side: _windows(
                images, tops, lefts, side
            ).transpose(0, 2, 1),
        },
    ),
    Exercise(
        "06.2",
        "progress",
        _progress,
        _share,
        "(chance - loss) / (chance - floor). Chance is the log of the number of candidates.",
        more_hints=(
            "At the floor the positive has similarity 1 and each of the count - 1 others -1 / (count - 1).",
            "floor = np.log1p((count - 1) * np.exp(-count / (count - 1) / temperature))",
        ),
        extremes=(_cold,),
        laws=(_between_its_bounds,),
        mistakes={
            "the floor is taken for 0": lambda loss, count, tau: _share_with_floor(loss, count, 0.0),
            "negatives cannot all stand at -1: the least is -1 / (count - 1)": lambda loss, count, tau: (
                _share_with_floor(loss, count, math.log1p((count - 1) * math.exp(-2 / tau)))
            ),
            "negatives at right angles are not the best: the least is -1 / (count - 1)": lambda loss, count, tau: (
                _share_with_floor(loss, count, math.log1p((count - 1) * math.exp(-1 / tau)))
            ),
            "the share of the way that is left, not of the way that is done": lambda loss, count, tau: (
                1 - _share(loss, count, tau)
            ),
            "the temperature is missing in the floor": lambda loss, count, tau: _share(loss, count, 1.0),
            "the share of the chance level, without the floor": lambda loss, count, tau: loss / math.log(count),
        },
    ),
    Exercise(
        "06.3",
        "adam",
        _weights,
        _adam,
        "First the two means, then the step from the new means.",
        outputs=3,
        more_hints=(
            "Divide the new m by 1 - 0.9**number and the new v by 1 - 0.999**number; return them undivided.",
            "w - rate * (m / (1 - 0.9**number)) / (np.sqrt(v / (1 - 0.999**number)) + 1e-8), m, v",
        ),
        extremes=(_started,),
        laws=(_first_step,),
        mistakes={
            "the means are not corrected for their start at 0": _without_correction,
            "the step goes uphill": _upwards,
            "the root of v is missing": _without_root,
            "the step is made with the old means": _from_old_means,
            "the corrected means are returned: they would be corrected twice": _corrected_means_kept,
        },
    ),
    Exercise(
        "06.4",
        "neighbour_accuracy",
        _probe,
        _accuracy,
        "Similarities of all test rows with all rows of z: one matrix product. The largest in a row is the neighbour.",
        more_hints=(
            "A product of rows that are not on the sphere prefers long ones: divide z by its lengths.",
            "(labels[(test_z @ z.T).argmax(axis=1)] == test_labels).mean(), with rows of z of length 1",
        ),
        laws=(_of_lengths,),
        mistakes={
            "the rows are not put onto the sphere": lambda z, labels, test_z, test_labels: np.mean(
                labels[(test_z @ z.T).argmax(axis=1)] == test_labels
            ),
            "the least similar row is asked": lambda z, labels, test_z, test_labels: _accuracy(
                -z, labels, test_z, test_labels
            ),
            "a count where a share is meant": lambda z, labels, test_z, test_labels: (
                len(test_z) * _accuracy(z, labels, test_z, test_labels)
            ),
        },
        sizes=(2, 3, 5, 8, 13, 21),
    ),
)
