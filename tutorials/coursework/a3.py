# %% [markdown]
# # Assignment 3: the sphere and its measures
#
# Where embeddings live, and how to say what they do there. Rows of `x` and `z` are embeddings, none of them zero, and
# not yet normalised. Check as you go: `hypercon check a3.py`. Inputs are never written to.

# %%
import numpy as np

# %% [markdown]
# ## 3.1 Onto the sphere
#
# Rows of length 1. Entries may be as large as 1e200 and as small as 1e-200. float32 in, float32 out.


# %%
def normalize(x):
    """Each row divided by its length."""
    # BEGIN SOLUTION
    scaled = x / np.abs(x).max(axis=1, keepdims=True)
    return scaled / np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    # END SOLUTION


# %% [markdown]
# ## 3.2 And its gradient
#
# `g` is the gradient with respect to the normalised rows. Return that with respect to `x`.


# %%
def normalize_gradient(g, x):
    """The gradient that reaches the rows before they are normalised."""
    # BEGIN SOLUTION
    length = np.sqrt((x * x).sum(axis=1, keepdims=True))
    u = x / length
    return (g - u * (u * g).sum(axis=1, keepdims=True)) / length
    # END SOLUTION


# %% [markdown]
# ## 3.3 Uniformity
#
#     -log mean_{i != j} exp(-t |z_i - z_j|^2)
#
# of the normalised rows: higher is more even. `t` may be 2,000.


# %%
def uniformity(z, t):
    """How evenly the rows cover the sphere."""
    # BEGIN SOLUTION
    u = normalize(z)
    exponents = (t * (2 * u @ u.T - 2))[~np.eye(len(u), dtype=bool)]
    return -(np.log(np.exp(exponents - exponents.max()).mean()) + exponents.max())
    # END SOLUTION


# %% [markdown]
# ## 3.4 How much uniformity there can be
#
# What 3.3 tends to for many points spread evenly over the sphere in `dim` dimensions, 2 to 64. Six digits are asked
# for.


# %%
def uniformity_bound(dim, t):
    """The uniformity of the uniform distribution."""
    # BEGIN SOLUTION
    angles = (np.arange(4000) + 0.5) * np.pi / 4000
    density = np.sin(angles) ** (dim - 2)
    return -np.log((density * np.exp(-t * (2 - 2 * np.cos(angles)))).sum() / density.sum())
    # END SOLUTION


# %% [markdown]
# ## 3.5 Tolerance
#
# The mean similarity (cosine) of two different embeddings of the same class.


# %%
def tolerance(z, labels):
    """The mean over pairs i != j with the same label."""
    # BEGIN SOLUTION
    u = normalize(z)
    pairs = (labels[:, None] == labels) & ~np.eye(len(u), dtype=bool)
    return (u @ u.T)[pairs].mean()
    # END SOLUTION


# %% [markdown]
# ## 3.6 How many negatives count
#
# Row i of `similarities` belongs to anchor i, whose positive stands on the diagonal. The weight of negative j is
# `exp(s_ij / tau)` over the sum of these over all negatives. Return the entropy of the weights of each anchor, in
# nats; temperatures go down to 0.001. float32 in, float32 out.


# %%
def weights_entropy(similarities, temperature):
    """(N,), each between 0 and log(N - 1)."""
    # BEGIN SOLUTION
    count = len(similarities)
    logits = similarities[~np.eye(count, dtype=bool)].reshape(count, count - 1) / temperature
    logits = logits - logits.max(axis=1, keepdims=True)
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -(weights * np.log(np.where(weights > 0, weights, 1))).sum(axis=1)
    # END SOLUTION


# %% [markdown]
# ## 3.7 The two limits of the temperature
#
# Of InfoNCE, for similarities as in 3.6. Cold: the limit of tau L as tau tends to 0. Hot: what remains of L as tau
# grows, `mean_i (mean_{j != i} s_ij - s_ii)`. Return both, `(cold, hot)`.


# %%
def temperature_limits(similarities):
    """Two numbers."""
    # BEGIN SOLUTION
    own = np.diag(similarities)
    others = similarities[~np.eye(len(own), dtype=bool)].reshape(len(own), -1)
    cold = np.maximum(others.max(axis=1) - own, 0).mean()
    return cold, (others.mean(axis=1) - own).mean()
    # END SOLUTION
