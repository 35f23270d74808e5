"""Random views: each setting does what it says, and nothing else changes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercon.data import Augmentation, augmentation, load, mild
from hypercon.errors import DtypeError, InputError

drawn = settings(max_examples=25, deadline=None, derandomize=True)


def some_images(seed=0, shape=(6, 2, 9, 7)):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def same_image(count=64, shape=(1, 9, 7)):
    return np.repeat(some_images(shape=(1, *shape)), count, axis=0)


SETTINGS = {
    "shift": {"shift": 0.2},
    "scale": {"scale": (0.5, 0.9)},
    "rotation": {"rotation": 30.0},
    "flip": {"flip": True},
    "brightness": {"brightness": 0.2},
    "contrast": {"contrast": 0.5},
    "noise": {"noise": 0.1},
    "erase": {"erase": 0.5},
}
each_setting = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)


@st.composite
def augmentations(draw):
    smallest = draw(st.floats(0.2, 1.5))
    return Augmentation(
        shift=draw(st.floats(0, 0.5)),
        scale=(smallest, draw(st.floats(smallest, 2))),
        rotation=draw(st.floats(0, 180)),
        flip=draw(st.booleans()),
        brightness=draw(st.floats(0, 1)),
        contrast=draw(st.floats(0, 1)),
        noise=draw(st.floats(0, 1)),
        erase=draw(st.floats(0, 1)),
    )


# --- what holds for every view


def test_without_settings_a_view_is_the_image():
    images = some_images()
    view = Augmentation()(images, rng=np.random.default_rng(0))
    assert (view == images).all()
    assert view is not images
    assert not np.shares_memory(view, images)


def test_what_lies_outside_the_range_is_cut_off():
    images = np.array([-1.0, 0.25, 2.0]).reshape(1, 1, 1, 3)
    assert Augmentation()(images, rng=np.random.default_rng(0)).ravel().tolist() == [0, 0.25, 1]


@given(augmentations(), st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
@drawn
def test_any_view_keeps_shape_and_range_in_float32_and_leaves_the_image(augment, seed, dtype):
    images = some_images(seed).astype(dtype)
    images.setflags(write=False)
    view = augment(images, rng=np.random.default_rng(seed))
    assert view.shape == images.shape
    assert view.dtype == np.float32
    assert view.min() >= 0
    assert view.max() <= 1


@given(augmentations(), st.integers(0, 2**32 - 1))
@drawn
def test_the_same_generator_gives_the_same_bytes(augment, seed):
    images = some_images(seed)
    first, again = (augment(images, rng=np.random.default_rng(seed)) for _ in range(2))
    assert first.tobytes() == again.tobytes()


@each_setting
def test_every_image_and_both_views_get_draws_of_their_own(setting):
    one, other = Augmentation(**setting).two_views(same_image(), rng=np.random.default_rng(0))
    distinct = len({view.tobytes() for view in (*one, *other)})
    assert distinct == 2 if "flip" in setting else distinct > 40
    assert (one != other).any()


# --- what each setting does


def test_a_flip_mirrors_about_half_of_the_images():
    images = some_images(shape=(200, 2, 5, 4))
    views = Augmentation(flip=True)(images, rng=np.random.default_rng(0))
    mirrored = np.isclose(views, images[..., ::-1], atol=1e-6).all(axis=(1, 2, 3))
    untouched = np.isclose(views, images, atol=1e-6).all(axis=(1, 2, 3))
    assert (mirrored ^ untouched).all()
    assert 70 < mirrored.sum() < 130


@given(st.integers(-9, 9), st.integers(-7, 7))
@drawn
def test_a_shift_by_whole_pixels_moves_the_image_and_leaves_black_behind(down, right):
    images = some_images()
    count, _, height, width = images.shape
    centre = np.tile([-2 * down / height, -2 * right / width], (count, 1))
    views = augmentation._resample(images, np.tile(np.eye(2), (count, 1, 1)), centre)
    expected = np.roll(images, (down, right), axis=(2, 3))
    rows, columns = np.arange(height) - down, np.arange(width) - right
    expected[:, :, (rows < 0) | (rows >= height)] = 0
    expected[:, :, :, (columns < 0) | (columns >= width)] = 0
    np.testing.assert_allclose(views, expected, atol=3e-6)


@pytest.mark.parametrize("axis", [2, 3])
def test_a_shift_is_a_share_of_the_side_at_most(axis):
    images = np.zeros((500, 1, 20, 20), np.float32)
    images[:, :, 10, 10] = 1
    views = Augmentation(shift=0.2)(images, rng=np.random.default_rng(0))
    weight = views.sum(axis=(1, 5 - axis))
    moved = (weight * np.arange(20)).sum(axis=1) / weight.sum(axis=1) - 10
    assert np.abs(moved).max() <= 4 + 1e-4
    assert np.abs(moved).max() > 3.8
    assert abs(moved.mean()) < 0.3


@pytest.mark.parametrize(("turns", "angle"), [(1, 90), (2, 180), (3, 270)])
@pytest.mark.parametrize("shape", [(6, 6), (9, 5), (4, 8)])
def test_a_quarter_turn_is_one_for_images_of_any_shape(turns, angle, shape):
    images = some_images(shape=(2, 3, *shape))
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    matrix = np.tile([[cosine, -sine], [sine, cosine]], (2, 1, 1))
    views = augmentation._resample(images, matrix, np.zeros((2, 2)))
    side = min(shape)  # of the square in the middle, which a turn maps onto itself
    top, left = ((n - side) // 2 for n in shape)
    square = (..., slice(top, top + side), slice(left, left + side))
    np.testing.assert_allclose(views[square], np.rot90(images[square], -turns, axes=(2, 3)), atol=1e-5)


def test_a_rotation_is_an_angle_at_most():
    images = np.zeros((300, 1, 41, 21), np.float32)
    images[:, :, 10, 10] = 1  # ten pixels above the middle
    views = Augmentation(rotation=30)(images, rng=np.random.default_rng(0))[:, 0]
    weight = views.sum(axis=(1, 2))
    row = (views * np.arange(41)[:, None]).sum(axis=(1, 2)) / weight - 20
    column = (views * np.arange(21)).sum(axis=(1, 2)) / weight - 10
    np.testing.assert_allclose(np.hypot(row, column), 10, atol=0.5)
    angles = np.degrees(np.arctan2(column, -row))
    assert 28 < np.abs(angles).max() < 31


def test_a_view_that_is_turned_and_mirrored_is_not_sheared():
    matrix, _ = Augmentation(rotation=180, flip=True, scale=(0.5, 2))._window(200, np.random.default_rng(0))
    size = np.sqrt(np.abs(np.linalg.det(matrix)))
    np.testing.assert_allclose(matrix.transpose(0, 2, 1) @ matrix, size[:, None, None] ** 2 * np.eye(2), atol=1e-12)
    assert 70 < (np.linalg.det(matrix) < 0).sum() < 130


def test_a_smaller_window_is_enlarged_and_lies_inside_the_image():
    columns = np.broadcast_to(np.linspace(0.1, 0.9, 32, dtype=np.float32), (200, 1, 32, 32))
    views = Augmentation(scale=(0.5, 0.5))(columns, rng=np.random.default_rng(0))
    inner = views[:, :, 2:-2, 2:-2]
    slope = np.diff(inner, axis=3)
    np.testing.assert_allclose(slope, 0.5 * 0.8 / 31, atol=1e-5)  # half as steep, and nothing black in it
    assert inner.min() > 0.1
    assert inner.max() < 0.9
    assert np.ptp(inner[:, 0, 0, 0]) > 0.3  # anywhere inside


def test_brightness_adds_one_amount_to_an_image():
    images = np.full((300, 1, 4, 4), 0.5, np.float32) + 0.1 * some_images(shape=(300, 1, 4, 4))
    added = Augmentation(brightness=0.2)(images, rng=np.random.default_rng(0)) - images
    assert np.ptp(added, axis=(1, 2, 3)).max() < 1e-6
    assert -0.2 <= added.min() < -0.19
    assert 0.19 < added.max() <= 0.2 + 1e-6


def test_contrast_multiplies_the_distance_from_the_images_mean():
    images = 0.4 + 0.2 * some_images(shape=(300, 2, 4, 4))
    views = Augmentation(contrast=0.5)(images, rng=np.random.default_rng(0))
    np.testing.assert_allclose(views.mean(axis=(1, 2, 3)), images.mean(axis=(1, 2, 3)), atol=1e-6)
    gain = views.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    assert 0.5 <= gain.min() < 0.51
    assert 1.49 < gain.max() <= 1.5 + 1e-5


def test_noise_is_normal_with_the_given_deviation():
    images = np.full((50, 1, 20, 20), 0.5, np.float32)
    added = Augmentation(noise=0.05)(images, rng=np.random.default_rng(0)) - images
    assert added.mean() == pytest.approx(0, abs=1e-3)
    assert added.std() == pytest.approx(0.05, rel=0.02)


def test_erase_blackens_one_rectangle_in_half_of_the_images():
    views = Augmentation(erase=0.5)(np.ones((400, 3, 10, 8), np.float32), rng=np.random.default_rng(0))
    black = views == 0
    assert (black == black[:, :1]).all()  # in all channels alike
    touched = 0
    for image in black[:, 0]:
        rows, columns = image.any(axis=1), image.any(axis=0)
        assert (image == rows[:, None] & columns).all()
        for line, most in ((rows, 5), (columns, 4)):
            where = np.flatnonzero(line)
            assert len(where) == 0 or np.ptp(where) + 1 == len(where) <= most
        touched += image.any()
    assert 130 < touched < 230


def test_mild_views_stay_recognisable():
    images = load("fashion-mini").images[:100]
    one, other = mild(flip=False).two_views(images, rng=np.random.default_rng(0))
    flat = [views.reshape(100, -1) - views.mean(axis=(1, 2, 3))[:, None] for views in (one, other)]
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in flat)
    similarities = a @ b.T
    assert (similarities.argmax(axis=1) == np.arange(100)).mean() > 0.7
    assert mild(flip=True).flip
    assert not mild().flip


# --- refusals


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"shift": -0.1}, "shift got -0.1, expected 0 or more"),
        ({"rotation": math.nan}, "rotation got nan, expected a finite number"),
        ({"brightness": math.inf}, "brightness got inf"),
        ({"noise": -1}, "noise got -1"),
        ({"contrast": 1.1}, "contrast got 1.1, expected at most 1"),
        ({"erase": 2}, "erase got 2, expected at most 1"),
        ({"scale": (0, 1)}, r"scale got \(0, 1\), expected a range"),
        ({"scale": (1, 0.5)}, r"scale got \(1, 0.5\)"),
        ({"scale": (math.nan, 1)}, "scale got nan, expected a finite number"),
        ({"scale": (0.5, math.inf)}, "scale got inf"),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(InputError, match=message):
        Augmentation(**setting)


def test_images_must_have_four_axes_and_be_floats():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"images got shape \(8, 8\), expected \(N, C, H, W\)"):
        mild()(np.zeros((8, 8), np.float32), rng=rng)
    with pytest.raises(DtypeError, match=r"images got uint8, expected floats in \[0, 1\]"):
        mild()(np.zeros((2, 1, 8, 8), np.uint8), rng=rng)


@pytest.mark.parametrize("at_once", [1, 100, 10**6])
def test_how_many_images_are_resampled_at_a_time_changes_no_bit(at_once, monkeypatch):
    images = np.random.default_rng(0).random((9, 2, 6, 5), dtype=np.float32)
    view = Augmentation(shift=0.1, scale=(0.7, 1.0), rotation=20, flip=True)
    expected = view(images, rng=np.random.default_rng(1))
    monkeypatch.setattr(augmentation, "AT_ONCE", at_once)
    np.testing.assert_array_equal(view(images, rng=np.random.default_rng(1)), expected)
