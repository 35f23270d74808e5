"""Random views of images, computed for a whole batch at once.

A contrastive loss is told only that two views come from one image. What the views leave unchanged is what the embedding
may keep, so the augmentation decides as much as the loss does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hypercon.errors import DtypeError, InputError
from hypercon.validation import check_flag, check_generator, check_images, check_number, check_positive

AT_ONCE = 2**15  # pixels that are resampled at a time: what is made of them on the way stays in the cache


@dataclass(frozen=True)
class Augmentation:
    """A random view of every image of a batch. Called with images and a generator; see also `two_views`.

    Every image gets draws of its own. Geometry is one affine resampling (bilinear, black outside), so nothing is
    blurred twice.

    Attributes
    ----------
    shift : float, default 0
        Largest shift in each direction, as a share of the side.
    scale : (float, float), default (1, 1)
        Range of the side of the window that is seen, as a share of the image's. A window smaller than the image lies
        anywhere inside it.
    rotation : float, default 0
        Largest angle in degrees, to both sides.
    flip : bool, default False
        Mirror left and right with probability 1/2. Only for classes that stay themselves: shoes do, digits do not.
    brightness : float, default 0
        Largest amount added to or taken from every pixel.
    contrast : float, default 0
        Pixels' distance from the image's mean is multiplied by up to 1 plus or minus this.
    noise : float, default 0
        Standard deviation of normal noise on every pixel.
    erase : float, default 0
        A rectangle of up to this share of each side is made black, with probability 1/2.

    Raises
    ------
    InputError, DtypeError
        A setting is out of its range, or no number.

    Examples
    --------
    >>> images = np.zeros((5, 1, 8, 8), np.float32)
    >>> view = Augmentation(shift=0.1, noise=0.05)
    >>> view(images, rng=np.random.default_rng(0)).shape
    (5, 1, 8, 8)
    """

    shift: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    rotation: float = 0.0
    flip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shift", "rotation", "brightness", "contrast", "noise", "erase"):
            value = check_number(getattr(self, name), name)
            if value < 0:
                raise InputError(f"{name} got {value:g}, expected 0 or more")
        for name in ("contrast", "erase"):
            if getattr(self, name) > 1:
                raise InputError(f"{name} got {getattr(self, name)}, expected at most 1")
        check_flag(self.flip, "flip")
        if not isinstance(self.scale, list | tuple) or len(self.scale) != 2:
            raise DtypeError(f"scale got {self.scale!r}, expected a range such as (0.75, 1.0)")
        smallest, largest = (check_number(side, "scale") for side in self.scale)
        if not 0 < smallest <= largest:
            raise InputError(f"scale got {self.scale}, expected a range such as (0.75, 1.0)")

    def __call__(self, images: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
        """One random view of each image.

        Parameters
        ----------
        images : ndarray, (N, C, H, W)
            In [0, 1].
        rng : numpy.random.Generator

        Returns
        -------
        ndarray, (N, C, H, W)
            float32 in [0, 1]; the images themselves are left as they are.

        Raises
        ------
        InputError, DtypeError
            The images have another shape, or are no floats.
        """
        images, rng = check_images(images), check_generator(rng)
        views = np.asarray(images, dtype=np.float32)
        if self.flip or self.shift or self.rotation or self.scale != (1.0, 1.0):
            views = _resample(views, *self._window(len(images), rng))
        if self.contrast:
            gain = _per_image(rng.uniform(1 - self.contrast, 1 + self.contrast, len(views)))
            mean = views.mean(axis=(1, 2, 3), keepdims=True)
            views = (views - mean) * gain + mean
        if self.brightness:
            views = views + _per_image(rng.uniform(-self.brightness, self.brightness, len(views)))
        if self.noise:
            views = views + np.float32(self.noise) * rng.standard_normal(views.shape, dtype=np.float32)
        if self.erase:
            views = np.where(self._erased(views.shape, rng), np.float32(0), views)
        return np.clip(views, 0, 1)

    def two_views(self, images: np.ndarray, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Two independent random views of each image: what a contrastive loss takes as a positive pair.

        Parameters
        ----------
        images : ndarray, (N, C, H, W)
        rng : numpy.random.Generator

        Returns
        -------
        pair of ndarray, (N, C, H, W) each
        """
        return self(images, rng=rng), self(images, rng=rng)

    def _window(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """For each image the matrix from view to image coordinates, and the window's centre.

        Coordinates are (row, column) in pixels from the middle, but the centre's run from -1 to 1 over the image.
        Shapes (N, 2, 2) and (N, 2).
        """
        size = rng.uniform(*self.scale, count)
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation, count))
        mirror = np.where(rng.random(count) < 0.5, -1.0, 1.0) if self.flip else np.ones(count)
        room = np.maximum(0, 1 - size)  # how far the window's centre may lie from the middle without leaving the image
        centre = rng.uniform(-1, 1, (count, 2)) * (room[:, None] + 2 * self.shift)
        cosine, sine = size * np.cos(angle), size * np.sin(angle)
        matrix = np.stack([np.stack([cosine, -sine * mirror], -1), np.stack([sine, cosine * mirror], -1)], axis=1)
        return matrix, centre

    def _erased(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Which pixels are blacked out, (N, 1, H, W)."""
        count, _, height, width = shape
        chosen = rng.random(count) < 0.5
        inside = []
        for side in (height, width):
            length = np.round(rng.uniform(0, self.erase, count) * side)
            start = np.floor(rng.random(count) * (side - length + 1))
            at = np.arange(side)
            inside.append((at >= start[:, None]) & (at < (start + length)[:, None]))
        rows, columns = inside
        return (chosen[:, None, None] & rows[:, :, None] & columns[:, None, :])[:, None]


def mild(*, flip: bool = False, window: float = 0.9) -> Augmentation:
    """Views under which an image stays recognisable as itself: windows of nearly its size, a little light and noise.

    Only then can a network tell instances apart, and the temperature decides what becomes of their neighbours. With
    strong crops a small network never gets there: views of one image lie as far apart as images of one class, a small
    temperature spends its push on that, and its embeddings come out less uniform instead of more.

    Parameters
    ----------
    flip : bool, default False
        Mirror left and right: only where the classes allow it.
    window : float, default 0.9
        Side of the smallest window, as a share of the image's.

    Returns
    -------
    Augmentation

    Raises
    ------
    InputError, DtypeError
        The window is no share of the side, or ``flip`` is neither True nor False.

    Examples
    --------
    >>> views = mild(flip=True, window=0.8)
    >>> one, other = views.two_views(np.zeros((5, 1, 8, 8), np.float32), rng=np.random.default_rng(0))
    >>> one.shape
    (5, 1, 8, 8)
    """
    share = check_positive(window, "window", "0.9")
    if share > 1:
        raise InputError(f"window got {share:g}, expected a share of the image's side such as 0.9")
    return Augmentation(scale=(share, 1.0), flip=flip, brightness=0.1, noise=0.03)


def _per_image(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, None, None, None]


def _resample(images: np.ndarray, matrix: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Each image read at ``matrix @ (row, column) + centre``, between the pixels bilinearly and black outside."""
    views = np.empty(images.shape, np.float32)
    at_once = max(1, AT_ONCE // max(1, images[:1].size))
    for first in range(0, len(images), at_once):
        here = slice(first, first + at_once)
        views[here] = _resampled(images[here], matrix[here], centre[here])
    return views


def _resampled(images: np.ndarray, matrix: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The same of a few images, in memory that stays in the cache."""
    count, channels, height, width = images.shape
    half = np.array([height, width]) / 2
    rows, columns = (np.arange(n) + 0.5 - n / 2 for n in (height, width))  # pixel centres: a turn is one in any shape
    at = []
    for axis in (0, 1):
        place = matrix[:, axis, 0, None, None] * rows[:, None] + matrix[:, axis, 1, None, None] * columns
        place += (centre[:, axis, None, None] + 1) * half[axis] - 0.5  # from the first pixel's centre
        # one black pixel is laid around the image; whatever lies further out reads there
        at.append(np.clip(place + 1, 0, images.shape[2 + axis] + 1).astype(np.float32))
    padded = np.zeros((count, height + 2, width + 2, channels), np.float32)
    padded[:, 1:-1, 1:-1] = images.transpose(0, 2, 3, 1)
    pixels = padded.reshape(-1, channels)
    top, left = (np.minimum(place.astype(np.int64), n) for place, n in zip(at, (height, width), strict=True))
    down, right = ((place - start.astype(np.float32))[..., None] for place, start in zip(at, (top, left), strict=True))
    corner = (np.arange(count)[:, None, None] * (height + 2) + top) * (width + 2) + left
    upper = pixels[corner] * (1 - right) + pixels[corner + 1] * right
    corner += width + 2
    lower = pixels[corner] * (1 - right) + pixels[corner + 1] * right
    return (upper * (1 - down) + lower * down).transpose(0, 3, 1, 2)
