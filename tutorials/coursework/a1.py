# %% [markdown]
# # Assignment 1: autograd
#
# You write the pieces that reverse-mode differentiation is made of, as functions on NumPy arrays. `g` is always the
# gradient of some scalar with respect to the result; you return its gradient with respect to the inputs.
#
# Check as you go: `hypercon check a1.py`. float32 inputs give float32 results, and inputs are never written to.

# %%
import numpy as np

# %% [markdown]
# ## 1.1 Topological order
#
# Nodes have the numbers 0 to `count - 1`. Each row of `edges` is (input, output). Return all nodes, an array of
# `count` whole numbers, so that each stands after all of its inputs. Graphs may be 3,000 nodes deep.


# %%
def topological_order(count, edges):
    """Every node after its inputs."""
    # BEGIN SOLUTION
    missing = [0] * count
    outputs = [[] for _ in range(count)]
    for source, target in edges:
        missing[target] += 1
        outputs[source].append(target)
    ready = [node for node in range(count) if missing[node] == 0]
    order = []
    while ready:
        node = ready.pop()
        order.append(node)
        for target in outputs[node]:
            missing[target] -= 1
            if missing[target] == 0:
                ready.append(target)
    return np.array(order)
    # END SOLUTION


# %% [markdown]
# ## 1.2 Broadcasting undone
#
# An array of shape `shape` was broadcast, and `g` is the gradient of what came out. Return the gradient of the array.


# %%
def unbroadcast(g, shape):
    """The gradient of an array that was broadcast from ``shape`` to ``g.shape``."""
    # BEGIN SOLUTION
    added = g.ndim - len(shape)
    summed = g.sum(axis=tuple(range(added)))
    stretched = tuple(i for i, side in enumerate(shape) if side == 1)
    return summed.sum(axis=stretched, keepdims=True)
    # END SOLUTION


# %% [markdown]
# ## 1.3 A product, entry by entry
#
# For `x * y`, where NumPy broadcasts: return both gradients as a tuple.


# %%
def mul_backward(g, x, y):
    """The gradients of ``x * y``."""
    # BEGIN SOLUTION
    return unbroadcast(g * y, x.shape), unbroadcast(g * x, y.shape)
    # END SOLUTION


# %% [markdown]
# ## 1.4 A matrix product
#
# For `x @ y`, of matrices or of stacks of matrices of one length.


# %%
def matmul_backward(g, x, y):
    """The gradients of ``x @ y``."""
    # BEGIN SOLUTION
    return g @ np.swapaxes(y, -1, -2), np.swapaxes(x, -1, -2) @ g
    # END SOLUTION


# %% [markdown]
# ## 1.5 exp
#
# From here on, return the value and the gradient: `(value, gradient)`.


# %%
def exp_with_gradient(g, x):
    """``exp(x)``, and g times its derivative."""
    # BEGIN SOLUTION
    value = np.exp(x)
    return value, g * value
    # END SOLUTION


# %% [markdown]
# ## 1.6 logsumexp
#
# `log(sum(exp(x)))` along `axis`, which is gone in the value. It must hold for entries of 1,000 and of -1,000, and for
# entries of minus infinity, which count for nothing.


# %%
def logsumexp_with_gradient(g, x, axis):
    """The value, and the gradient: a softmax times g."""
    # BEGIN SOLUTION
    peak = x.max(axis=axis, keepdims=True)
    shares = np.exp(x - peak)
    mass = shares.sum(axis=axis, keepdims=True)
    value = (np.log(mass) + peak).squeeze(axis)
    return value, shares / mass * np.expand_dims(g, axis)
    # END SOLUTION


# %% [markdown]
# ## 1.7 max, with ties
#
# The largest entry along `axis`. Where several are largest, they share the gradient equally.


# %%
def max_with_gradient(g, x, axis):
    """The value, and the gradient, which ties share."""
    # BEGIN SOLUTION
    value = x.max(axis=axis)
    winners = (x == np.expand_dims(value, axis)).astype(x.dtype)
    return value, winners / winners.sum(axis=axis, keepdims=True) * np.expand_dims(g, axis)
    # END SOLUTION
