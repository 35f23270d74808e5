"""Images: data sets that ship, images of one's own, random views of them, and batches."""

from hypercon.data.augmentation import Augmentation, mild
from hypercon.data.batching import batches
from hypercon.data.datasets import NAMES, Dataset, load, load_both

__all__ = ["NAMES", "Augmentation", "Dataset", "batches", "load", "load_both", "mild"]
