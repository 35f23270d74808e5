"""Batches of an epoch: every instance at most once, in an order that the generator decides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercon.data import batches
from hypercon.errors import InputError

drawn = settings(max_examples=25, deadline=None, derandomize=True)


@given(st.integers(2, 200), st.data())
@drawn
def test_full_batches_of_distinct_instances(count, data):
    size = data.draw(st.integers(2, count), label="batch_size")
    epoch = list(batches(count, size, rng=np.random.default_rng(0)))
    assert len(epoch) == count // size
    assert all(batch.shape == (size,) for batch in epoch)
    seen = np.concatenate(epoch)
    assert len(set(seen.tolist())) == len(seen)
    assert seen.min() >= 0
    assert seen.max() < count


def test_over_epochs_no_instance_is_left_out_for_good():
    rng = np.random.default_rng(0)
    seen = {int(i) for _ in range(20) for batch in batches(10, 4, rng=rng) for i in batch}
    assert seen == set(range(10))


def test_the_generator_decides_the_order():
    def epoch(rng):
        return [batch.tolist() for batch in batches(20, 5, rng=rng)]

    first, again, other = (epoch(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other
    rng = np.random.default_rng(1)
    assert epoch(rng) != epoch(rng)  # and each epoch has an order of its own


@pytest.mark.parametrize("size", [-1, 0, 1, 11])
def test_a_batch_size_that_cannot_be_is_refused_before_the_first_batch(size):
    expected = "2 to 10, the number of images" if size > 10 else "at least 2: a contrastive batch needs a negative"
    with pytest.raises(InputError, match=f"batch_size got {size}, expected {expected}"):
        batches(10, size, rng=np.random.default_rng(0))
