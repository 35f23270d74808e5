"""Data sets: what ships is whole and balanced; one's own file is brought into one form or refused with a reason."""

import os

import numpy as np
import pytest

from hypercon.data import NAMES, Dataset, datasets, load, load_both
from hypercon.errors import DataError, InputError

# --- what ships


@pytest.mark.parametrize(
    ("name", "image", "train", "test", "first"),
    [("digits", (1, 8, 8), 1297, 500, "0"), ("fashion-mini", (1, 28, 28), 6000, 1000, "T-shirt")],
)
def test_what_ships(name, image, train, test, first):
    parts = load_both(name)
    assert [len(part) for part in parts] == [train, test]
    for part in parts:
        assert part.name == name
        assert part.images.shape == (len(part), *image)
        assert part.images.dtype == np.float32
        assert part.images.min() == 0
        assert part.images.max() == 1
        assert part.labels.dtype == np.int64
        assert part.labels.shape == (len(part),)
        assert len(part.classes) == 10
        assert part.classes[0] == first
    counts = np.bincount(parts[0].labels)
    assert counts.max() - counts.min() <= (0 if name == "fashion-mini" else 10)
    assert np.bincount(parts[1].labels).tolist() == [test // 10] * 10
    assert parts[0].flip is parts[1].flip is (name == "fashion-mini")


@pytest.mark.parametrize("name", NAMES)
def test_no_image_is_in_both_parts(name):
    train, test = ({image.tobytes() for image in part.images} for part in load_both(name))
    assert not train & test


def test_one_part_is_the_same_as_both():
    for mine, theirs in zip((load("digits"), load("digits", "test")), load_both("digits"), strict=True):
        assert (mine.images == theirs.images).all()
        assert (mine.labels == theirs.labels).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_or_missing_file_is_noticed(name, monkeypatch, tmp_path):
    content = bytearray((datasets._FILES / f"{name}.npz").read_bytes())
    content[len(content) // 2] ^= 1
    monkeypatch.setattr(datasets, "_FILES", tmp_path)
    for write in (False, True):
        if write:
            (tmp_path / f"{name}.npz").write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: the installed file is missing or damaged: reinstall"):
            load(name)


def test_unknown_names_and_parts_are_refused():
    with pytest.raises(DataError, match="data got 'imagenet', expected digits, fashion-mini, mnist"):
        load("imagenet")
    with pytest.raises(InputError, match='split got \'validation\', expected "train" or "test"'):
        load("digits", "validation")
    with pytest.raises(DataError, match="data got 'imagenet', expected digits, fashion-mini, mnist"):
        load_both("imagenet")


# --- one's own file


@pytest.fixture
def save(tmp_path):
    """Writes arrays into a file and gives its path."""

    def write(**arrays):
        np.savez(tmp_path / "own.npz", **arrays)
        return tmp_path / "own.npz"

    return write


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


PIXELS = pixels(20, 5, 4, 3)
LABELS = np.arange(20) % 4


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_any_accepted_form_becomes_float32_with_channels_first(save, channels, dtype):
    images = pixels(20, 5, 4) if channels is None else pixels(20, 5, 4, channels)
    expected = images / np.float32(255) if dtype == np.uint8 else (images / 255).astype(dtype)
    path = save(images=images if dtype == np.uint8 else expected, test_images=images[:7])
    train, test = load_both(path)
    last = expected[..., None] if channels is None else expected
    np.testing.assert_array_equal(train.images, last.astype(np.float32).transpose(0, 3, 1, 2))
    for part in (train, test):
        assert part.images.dtype == np.float32
        assert part.images.flags.c_contiguous
        assert part.images.shape[1:] == (channels or 1, 5, 4)
        assert (part.name, part.labels, part.classes, part.flip) == ("own.npz", None, None, False)


@pytest.mark.parametrize(
    ("labels", "test_labels", "classes"),
    [
        ([10, 30, 20, 10], [30, 10], ("10", "20", "30")),
        (np.array([1, 0, 1, 0], np.uint8), np.array([1, 2], np.uint8), ("0", "1", "2")),
        (["shoe", "hat", "hat", "shoe"], ["hat", "hat"], ("hat", "shoe")),
    ],
)
def test_labels_are_numbered_from_zero_and_named(save, labels, test_labels, classes):
    train, test = load_both(save(images=PIXELS[:4], labels=labels, test_images=PIXELS[4:6], test_labels=test_labels))
    for part, given in ((train, labels), (test, test_labels)):
        assert part.classes == classes
        assert part.labels.dtype == np.int64
        assert [part.classes[number] for number in part.labels] == [str(label) for label in given]


def test_without_a_test_part_a_tenth_is_held_out_by_the_seed(save):
    path = save(images=PIXELS, labels=LABELS)
    train, test = load_both(path)
    assert (len(train), len(test)) == (18, 2)
    whole = {image.tobytes(): label for image, label in zip(as_floats(PIXELS), LABELS, strict=True)}
    for part in (train, test):
        for image, label in zip(part.images, part.labels, strict=True):
            assert whole.pop(image.tobytes()) == label
    assert not whole

    def held_out(seed):
        return load_both(path, seed=seed)[1].images.tobytes()

    assert held_out(1) == held_out(1)
    assert len({held_out(seed) for seed in range(5)}) > 1


def as_floats(images):
    return (images / np.float32(255)).transpose(0, 3, 1, 2)


def test_at_least_one_image_is_held_out(save):
    train, test = load_both(save(images=PIXELS[:2]))
    assert (len(train), len(test)) == (1, 1)


def test_a_path_may_be_text_and_have_any_suffix(save):
    path = save(images=PIXELS)
    other = path.rename(path.with_suffix(".data"))
    for data in (other, str(other)):
        train, _ = load_both(data)
        assert isinstance(train, Dataset)
        assert train.name == "own.data"


def test_one_part_of_a_file_is_loaded_as_of_what_ships(save):
    path = save(images=PIXELS, labels=LABELS)
    for seed in (0, 1):
        for part, split in zip(load_both(path, seed=seed), ("train", "test"), strict=True):
            assert (load(path, split, seed=seed).images == part.images).all()
            assert (load(str(path), split, seed=seed).labels == part.labels).all()


def test_a_data_set_shows_its_size_and_classes_when_printed(save):
    assert repr(load("digits", "test")) == (
        "Dataset 'digits': 500 images of 1 x 8 x 8 (C x H x W), float32; 10 classes (0, 1, 2, ..., 9)"
    )
    path = save(images=PIXELS, labels=["cat", "dog"] * 10)
    assert repr(load(path)).endswith("18 images of 3 x 5 x 4 (C x H x W), float32; 2 classes (cat, dog)")
    assert repr(load(save(images=PIXELS))).endswith("no labels")


class Trap:
    """Unpickled, it would leave a folder behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_is_unpickled(save, tmp_path):
    trap = np.array([Trap(tmp_path / "sprung")], dtype=object)
    with pytest.raises(DataError, match=r"not an .npz file of plain arrays \(it holds Python objects\)"):
        load_both(save(images=PIXELS, labels=trap))
    assert not (tmp_path / "sprung").exists()


def changed(value, at=(3, 0, 0, 0)):
    images = PIXELS / 255
    images[at] = value
    return images


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": PIXELS}, r"no array named images \(it has pictures\)"),
        ({}, r"no array named images \(it has none\)"),
        ({"images": PIXELS[:0]}, r"images has shape \(0, 5, 4, 3\), expected \(N, H, W\)"),
        ({"images": PIXELS[:1]}, "one image and no test_images; expected at least two"),
        ({"images": PIXELS[:, 0, 0]}, r"images has shape \(20, 3\)"),
        ({"images": PIXELS[None]}, r"images has shape \(1, 20, 5, 4, 3\)"),
        ({"images": pixels(20, 3, 9, 8)}, r"images has shape \(20, 3, 9, 8\), channels first"),
        ({"images": pixels(20, 1, 9, 8)}, r"images has shape \(20, 1, 9, 8\), channels first"),
        ({"images": changed(np.nan)}, "images 3 has pixels that are nan or infinite"),
        ({"images": changed(np.inf)}, "images 3 has pixels that are nan or infinite"),
        ({"images": changed(1.5)}, "images range from 0 to 1.5, expected floats from 0 to 1"),
        ({"images": changed(-0.5)}, "images range from -0.5 to 1"),
        ({"images": PIXELS.astype(float)}, "images range from 0 to 255"),
        ({"images": PIXELS.astype(np.int64)}, "images has dtype int64, expected uint8 or floats"),
        ({"images": PIXELS > 9}, "images has dtype bool"),
        ({"images": PIXELS * 1j}, "images has dtype complex128"),
        ({"images": PIXELS.astype(str)}, "images has dtype <U3"),
        ({"images": PIXELS, "labels": LABELS[:19]}, r"labels has shape \(19,\), expected \(20,\)"),
        ({"images": PIXELS, "labels": LABELS[:, None]}, r"labels has shape \(20, 1\), expected \(20,\)"),
        ({"images": PIXELS, "labels": LABELS / 2}, "labels has dtype float64, expected whole numbers or names"),
        ({"images": PIXELS, "labels": 0 * LABELS}, "labels name one class, expected at least two"),
        ({"images": PIXELS, "test_labels": LABELS}, "test_labels without test_images"),
        ({"images": PIXELS, "test_images": PIXELS[:0]}, r"test_images has shape \(0, 5, 4, 3\)"),
        ({"images": PIXELS, "test_images": PIXELS[:, :4]}, "test_images are 4x4x3 but images are 5x4x3"),
        ({"images": PIXELS, "test_images": PIXELS[..., 0]}, "test_images are 5x4x1 but images are 5x4x3"),
        ({"images": PIXELS, "test_images": changed(np.nan)}, "test_images 3 has pixels that are nan"),
        ({"images": PIXELS, "labels": LABELS, "test_images": PIXELS}, "labels for one part only"),
        ({"images": PIXELS, "test_images": PIXELS, "test_labels": LABELS}, "labels for one part only"),
        (
            {"images": PIXELS, "labels": LABELS, "test_images": PIXELS, "test_labels": LABELS[1:]},
            r"test_labels has shape \(19,\), expected \(20,\)",
        ),
        (
            {"images": PIXELS, "labels": LABELS, "test_images": PIXELS, "test_labels": LABELS.astype(str)},
            "names for one part and whole numbers for the other",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(save, arrays, message):
    path = save(**arrays)
    with pytest.raises(DataError, match=message) as caught:
        load_both(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x89PNG", b"a,b\n1,2\n"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"not an \.npz file of plain arrays"):
        load_both(tmp_path / "own.npz")


def test_a_path_without_a_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"own\.npz: no such file"):
        load_both(tmp_path / "own.npz")
