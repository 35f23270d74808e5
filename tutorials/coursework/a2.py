# %% [markdown]
# # Assignment 2: InfoNCE and its gradient
#
# From the definition to a form that holds at any temperature, its gradient by hand, and two variants that you will not
# find in the library. Rows of `z1` and `z2` are embeddings, not yet normalised; row i of both is the same instance.
#
#     L = mean_i  -log( exp(s_ii / tau) / sum_j exp(s_ij / tau) ),    s_ij = cos(z1_i, z2_j)
#
# Check as you go: `hypercon check a2.py`. Inputs are never written to.

# %%
import numpy as np

# BEGIN SOLUTION


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def log_mass(logits):
    peak = logits.max(axis=1, keepdims=True)
    return (np.log(np.exp(logits - peak).sum(axis=1, keepdims=True)) + peak)[:, 0]


# END SOLUTION

# %% [markdown]
# ## 2.1 As the definition reads
#
# Two loops, one number. Temperatures are between 0.2 and 1 here.


# %%
def info_nce_naive(z1, z2, temperature):
    """The mean loss, in loops."""
    # BEGIN SOLUTION
    total = 0.0
    for i, a in enumerate(unit(z1)):
        terms = [np.exp(a @ b / temperature) for b in unit(z2)]
        total -= np.log(terms[i] / sum(terms))
    return total / len(z1)
    # END SOLUTION


# %% [markdown]
# ## 2.2 Without loops, and stable
#
# The same number at a temperature of 0.001, where exp overflows.


# %%
def info_nce(z1, z2, temperature):
    """The mean loss, at any temperature."""
    # BEGIN SOLUTION
    logits = unit(z1) @ unit(z2).T / temperature
    return (log_mass(logits) - np.diag(logits)).mean()
    # END SOLUTION


# %% [markdown]
# ## 2.3 Its gradient
#
# With respect to `z1` and to `z2`, through the normalisation. float32 in, float32 out.


# %%
def info_nce_gradient(z1, z2, temperature):
    """Both gradients, each of the shape of its input."""
    # BEGIN SOLUTION
    u, v = unit(z1), unit(z2)
    logits = u @ v.T / temperature
    shares = np.exp(logits - log_mass(logits)[:, None])
    slope = (shares - np.eye(len(u), dtype=u.dtype)) / (len(u) * temperature)

    def through(g, w, z):
        return (g - w * (w * g).sum(axis=1, keepdims=True)) / np.linalg.norm(z, axis=1, keepdims=True)

    return through(slope @ v, u, z1), through(slope.T @ u, v, z2)
    # END SOLUTION


# %% [markdown]
# ## 2.4 A temperature for each anchor
#
# `temperatures` has one number for each row of `z1`; some are as small as 0.001.


# %%
def info_nce_per_sample(z1, z2, temperatures):
    """The mean loss where anchor i has its own temperature."""
    # BEGIN SOLUTION
    logits = unit(z1) @ unit(z2).T / temperatures[:, None]
    return (log_mass(logits) - np.diag(logits)).mean()
    # END SOLUTION


# %% [markdown]
# ## 2.5 What the temperatures would rather be
#
# The gradient of 2.4 with respect to `temperatures`.


# %%
def temperature_gradient(z1, z2, temperatures):
    """One number for each anchor."""
    # BEGIN SOLUTION
    s = unit(z1) @ unit(z2).T
    logits = s / temperatures[:, None]
    shares = np.exp(logits - log_mass(logits)[:, None])
    return (np.diag(s) - (shares * s).sum(axis=1)) / (len(s) * temperatures**2)
    # END SOLUTION


# %% [markdown]
# ## 2.6 Weighted negatives
#
# Negative j of anchor i counts `weights[i, j]` times, which may be 0. The diagonal of `weights` means nothing: the
# positive counts once. It must hold at a temperature of 0.001.


# %%
def info_nce_weighted(z1, z2, temperature, weights):
    """The mean loss with weights on the negatives."""
    # BEGIN SOLUTION
    logits = unit(z1) @ unit(z2).T / temperature
    counts = np.where(np.eye(len(logits), dtype=bool), 1.0, weights)
    with np.errstate(divide="ignore"):
        return (log_mass(logits + np.log(counts)) - np.diag(logits)).mean()
    # END SOLUTION


# %% [markdown]
# ## 2.7 Its gradient
#
# With respect to the similarities: `similarities[i, j]` is s_ij, and the loss is that of 2.6.


# %%
def weighted_gradient(similarities, temperature, weights):
    """dL/ds_ij, (N, N)."""
    # BEGIN SOLUTION
    own = np.eye(len(similarities), dtype=bool)
    logits = similarities / temperature
    with np.errstate(divide="ignore"):
        weighted = logits + np.log(np.where(own, np.ones_like(weights), weights))
    shares = np.exp(weighted - log_mass(weighted)[:, None])
    return (shares - own) / (len(own) * np.asarray(temperature, similarities.dtype))
    # END SOLUTION
