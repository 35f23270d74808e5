"""One batch, many definitions: the table of docs/losses.md is what the functions give, and says how they differ."""

import re
from pathlib import Path

import numpy as np
import pytest

import hypercon as hc
from hypercon import losses

TABLE = (Path(__file__).parents[2] / "docs" / "losses.md").read_text()


def the_batch():
    """The batch of the table: 4 instances in 3 dimensions."""
    rng = np.random.default_rng(0)
    z1 = rng.normal(size=(4, 3))
    return z1, z1 + 0.5 * rng.normal(size=z1.shape)


ROWS = re.findall(r"^\| `([^`]+)` \|.*\| (-?[\d.]+) \|$", TABLE, re.MULTILINE)


def test_the_table_is_there():
    assert len(ROWS) >= 10


@pytest.mark.parametrize(("expression", "value"), ROWS)
def test_every_row_of_the_table_is_what_its_expression_gives(expression, value):
    z1, z2 = the_batch()
    names = vars(losses) | {"hc": hc, "np": np, "z1": z1, "z2": z2, "tau": 0.2, "y": np.arange(4)}
    assert f"{eval(expression, names):.4f}" == value


def test_definitions_that_determine_each_other_are_converted():
    z1, z2 = the_batch()
    forward, backward = losses.info_nce(z1, z2, temperature=0.2), losses.info_nce(z2, z1, temperature=0.2)
    assert losses.info_nce(z1, z2, temperature=0.2, symmetric=True) == pytest.approx((forward + backward) / 2)
    supervised = losses.sup_con(z1, z2, np.arange(4), temperature=0.2, base_temperature=0.07)
    assert losses.nt_xent(z1, z2, temperature=0.2) == pytest.approx(supervised * 0.07 / 0.2)


def test_definitions_that_differ_do_differ():
    values = {float(value) for _, value in ROWS}
    assert len(values) == len(ROWS)
