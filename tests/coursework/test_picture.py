"""A picture in a notebook has an alternative text, and is shown once."""

import re

import matplotlib
import pytest

from hypercon.coursework import described
from hypercon.errors import InputError

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def test_it_shows_an_image_with_its_text_and_closes_the_figure():
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    shown = described(figure, 'a line that "rises" & ends')._repr_html_()
    assert re.search(r'alt="a line that &quot;rises&quot; &amp; ends" src="data:image/png;base64,\w+', shown)
    assert figure.number not in plt.get_fignums()


def test_it_does_not_go_without_a_text():
    figure, _ = plt.subplots()
    with pytest.raises(InputError, match="text got nothing"):
        described(figure, " ")
    plt.close(figure)
