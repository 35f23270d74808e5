# %% [markdown]
# # Assignment 5: write the properties
#
# This time the loss is written, and you write the tests. Forty losses are wrong in one way each, as losses are in
# homework and in published code; others are right, computed by different routes. You earn a point for every wrong one
# that your tests find, and nothing at all if they fail a right one.
#
# Each function whose name begins with `test_` receives the loss:
#
#     info_nce(z1, z2, temperature=0.5)      # a float
#
# with two arrays (N, D) of at most 128 rows and 4,096 entries, and one temperature for all. It is the mean over i of
# `-log( exp(s_ii / tau) / sum_j exp(s_ij / tau) )`, with `s_ij` the cosine of `z1[i]` and `z2[j]`; it is right at any
# temperature above 0, and raises `ValueError` for any other, for views of different shapes, and for entries that are
# not finite. Rows of zeros are not asked for.
#
# The library's texts about the loss, above all assignment 2, say which laws it obeys. Hypothesis finds the inputs; a
# law worth writing down holds for all of them. Its examples are the same for every loss and in every run, twenty for
# each test; all tests together have 20 seconds for one loss. Results agree to about nine digits: leave room for rounding.
#
# Check as you go: `hypercon check a5.py` tries your tests on some of the losses.

# %%
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

# %% [markdown]
# Views to try a law on, and temperatures.

# %%
# GIVEN
temperatures = st.sampled_from([0.05, 0.1, 0.3, 0.5, 1.0, 2.0])


# GIVEN
@st.composite
def views(draw, least=2, most=6):
    """Two views of a few instances, entries of size 1."""
    count, dim = draw(st.integers(least, most)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    return rng.normal(size=(count, dim)), rng.normal(size=(count, dim))


# %% [markdown]
# An example of the form, which finds nothing yet. Yours follow in the sections below; write as many as you like.


# %%
# GIVEN
@given(pair=views(), temperature=temperatures)
def test_it_is_a_number(info_nce, pair, temperature):
    z1, z2 = pair
    assert np.isfinite(info_nce(z1, z2, temperature=temperature))


# %% [markdown]
# ## 5.1 The sphere
#
# What may happen to the rows without any effect on the loss, and what may not?

# %%
# BEGIN SOLUTION


@given(pair=views(), temperature=temperatures, seed=st.integers(0, 1000))
def test_lengths_play_no_role(info_nce, pair, temperature, seed):
    z1, z2 = pair
    factors = np.random.default_rng(seed).uniform(0.1, 10, (2, len(z1), 1))
    other = info_nce(z1 * factors[0], z2 * factors[1], temperature=temperature)
    assert np.isclose(info_nce(z1, z2, temperature=temperature), other)


@given(pair=views(), temperature=temperatures, seed=st.integers(0, 1000))
def test_rotations_play_no_role(info_nce, pair, temperature, seed):
    z1, z2 = pair
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(z1.shape[1],) * 2))[0]
    other = info_nce(z1 @ turn, z2 @ turn, temperature=temperature)
    assert np.isclose(info_nce(z1, z2, temperature=temperature), other)


def test_half_a_turn_is_not_nothing(info_nce):
    z = np.eye(3)
    assert info_nce(z, -z, temperature=0.5) > info_nce(z, z, temperature=0.5) + 1


# END SOLUTION

# %% [markdown]
# ## 5.2 The temperature
#
# A few batches can be computed by hand at any temperature.

# %%
# BEGIN SOLUTION


def test_right_angles_by_hand(info_nce):
    for count in (1, 2, 5, 8):
        z = np.eye(8)[:count]
        for tau in (0.03, 0.1, 0.3, 1.0, 1.5, 4.0):
            assert np.isclose(info_nce(z, z, temperature=tau), np.log1p((count - 1) * np.exp(-1 / tau)))


def test_what_is_no_temperature_is_refused(info_nce):
    for temperature in (0.0, -0.5, -1.0):
        assert refuses(info_nce, np.eye(3), np.eye(3), temperature)


def refuses(info_nce, z1, z2, temperature):
    try:
        info_nce(z1, z2, temperature=temperature)
    except ValueError:
        return True
    return False


# END SOLUTION

# %% [markdown]
# ## 5.3 The candidates
#
# Every candidate of an anchor counts once, the positive among them, whatever its place.

# %%
# BEGIN SOLUTION


@given(pair=views(), temperature=temperatures)
def test_order_plays_no_role(info_nce, pair, temperature):
    z1, z2 = pair
    same = info_nce(z1[::-1].copy(), z2[::-1].copy(), temperature=temperature)
    assert np.isclose(info_nce(z1, z2, temperature=temperature), same)


def test_the_other_candidate_by_hand(info_nce):
    """Positives at right angles, and the other candidate onto the anchor, opposite to it, or like the positive."""
    z1 = np.eye(2)
    for tau in (0.05, 0.3, 1.0, 2.0):
        for other, cosine in ((z1[::-1], 1.0), (-z1[::-1], -1.0)):
            assert np.isclose(info_nce(z1, other.copy(), temperature=tau), np.log1p(np.exp(cosine / tau)))
        assert np.isclose(info_nce(z1, np.ones((2, 2)), temperature=tau), np.log(2))


@given(pair=views(), temperature=temperatures)
def test_repeated_candidates_add_the_logarithm_of_2(info_nce, pair, temperature):
    z1, z2 = (np.concatenate([z, z]) for z in pair)
    assert np.isclose(info_nce(z1, z2, temperature=temperature), info_nce(*pair, temperature=temperature) + np.log(2))


@given(pair=views(), temperature=temperatures)
def test_the_definition(info_nce, pair, temperature):
    assert np.isclose(info_nce(*pair, temperature=temperature), definition(*pair, temperature))


def definition(z1, z2, temperature):
    total = 0.0
    for a, positive in zip(z1, z2, strict=True):
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in [positive, *z2]]
        total += np.log(sum(np.exp(c / temperature) for c in cosines[1:])) - cosines[0] / temperature
    return total / len(z1)


# END SOLUTION

# %% [markdown]
# ## 5.4 The mean
#
# Of what, over how many, and before or after the logarithm?

# %%
# BEGIN SOLUTION


def test_the_views_are_not_exchangeable(info_nce):
    """Both anchors near the first candidate: exchanged, one anchor has both near, and the other none."""
    z1 = np.array([[1.0, 0.0], [1.0, 0.1]])
    z2 = np.array([[1.0, 0.0], [0.0, 1.0]])
    there, back = info_nce(z1, z2, temperature=0.5), info_nce(z2, z1, temperature=0.5)
    assert np.isclose(there, definition(z1, z2, 0.5))
    assert abs(there - back) > 0.01


@given(pair=views(), temperature=temperatures)
def test_it_is_not_negative(info_nce, pair, temperature):
    assert info_nce(*pair, temperature=temperature) > -1e-9


# END SOLUTION

# %% [markdown]
# ## 5.5 Numbers
#
# Small temperatures, large losses, many digits, and what is no number.

# %%
# BEGIN SOLUTION


def test_small_temperatures(info_nce):
    """Positives opposite, and another candidate in the anchor's place: the loss is 2 / tau."""
    temperature = 1e-3
    z = np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert np.isclose(info_nce(z, -z, temperature=temperature), 2 / temperature)
    mixed = np.array([[1.0, 0.0], [0.0, 1.0], [-0.6, -0.8]])
    hard = mixed[[1, 0, 2]]
    assert np.isclose(info_nce(mixed, hard, temperature=temperature), (1 + 1 + 0) / 3 / temperature, rtol=1e-3)
    right = np.array([[1.0, 0.0], [0.8, 0.6]])  # all is far from the second anchor, and its positive least so
    assert np.isclose(info_nce(z, right, temperature=temperature), 0, atol=1e-6)


def test_entries_that_are_no_numbers_are_refused(info_nce):
    z = np.eye(3)
    assert refuses(info_nce, np.where(z == 1, np.nan, z), z, 0.5)
    assert refuses(info_nce, z, np.where(z == 1, np.inf, z), 0.5)


# END SOLUTION
