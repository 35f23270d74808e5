# %% [markdown]
# # Assignment 4: an encoder from parts
#
# You build a small encoder and its gradient, train it without a label, and say what its loss curve says. Then the judge
# sends your program photographs of a scene that nobody has seen before, and takes back nothing but your parameters.
#
# All parameters are one vector `theta`: W1, b1, W2 and b2, one after the other, row by row. `sizes` is (inputs, hidden,
# outputs). Check as you go: `hypercon check a4.py`. Inputs are never written to.

# %%
import numpy as np

# %% [markdown]
# The scene: six kinds of things on 8 x 8 pixels, each thing photographed twice. The light is stronger than the thing,
# and the two photographs of one thing have only the thing in common.


# %%
# GIVEN
def pictures(rng, count):
    """First photographs, second photographs, kinds: (N, 64), (N, 64), (N,)."""
    along = np.cos(np.pi * np.arange(3)[:, None] * (np.arange(8) + 0.5) / 8)
    lights = np.einsum("kab,ai,bj->kij", rng.normal(size=(6, 3, 3)), along, along).reshape(6, -1)
    lights *= 8 / np.linalg.norm(lights, axis=1, keepdims=True)
    kinds = rng.permutation(np.arange(count) % 6)
    things = rng.normal(size=(6, 64))[kinds] + 0.5 * rng.normal(size=(count, 64))
    views = []
    for _ in range(2):
        light = 1.8 * rng.normal(size=(count, 6)) @ lights
        views.append(np.tanh((things + light + 0.1 * rng.normal(size=things.shape)) / 2))
    return views[0], views[1], kinds


# %% [markdown]
# ## 4.1 A dense layer
#
# For `y = x @ weight + bias`: the gradients of `x`, `weight` and `bias` from `g`, that of `y`.


# %%
def dense_backward(g, x, weight):
    """Three gradients as a tuple."""
    # BEGIN SOLUTION
    return g @ weight.T, x.T @ g, g.sum(axis=0)
    # END SOLUTION


# %% [markdown]
# ## 4.2 The encoder
#
# A dense layer, ReLU, a dense layer, and rows onto the sphere.


# %%
def embed(theta, x, sizes):
    """Embeddings of length 1, (N, outputs)."""
    # BEGIN SOLUTION
    return forward(theta, x, sizes)[-1]
    # END SOLUTION


# BEGIN SOLUTION
def cut(theta, sizes):
    inputs, hidden, outputs = sizes
    ends = np.cumsum([inputs * hidden, hidden, hidden * outputs])
    w1, b1, w2, b2 = np.split(theta, ends)
    return w1.reshape(inputs, hidden), b1, w2.reshape(hidden, outputs), b2


def forward(theta, x, sizes):
    w1, b1, w2, b2 = cut(theta, sizes)
    activations = np.maximum(x @ w1 + b1, 0)
    z = activations @ w2 + b2
    length = np.sqrt((z * z).sum(axis=1, keepdims=True))
    return activations, length, z / length


def backward(g, theta, x, sizes):
    w1, _, w2, _ = cut(theta, sizes)
    activations, length, u = forward(theta, x, sizes)
    g = (g - u * (u * g).sum(axis=1, keepdims=True)) / length
    g, g_w2, g_b2 = dense_backward(g, activations, w2)
    _, g_w1, g_b1 = dense_backward(g * (activations > 0), x, w1)
    return np.concatenate([g_w1.ravel(), g_b1, g_w2.ravel(), g_b2])


# END SOLUTION

# %% [markdown]
# ## 4.3 The loss and its gradient
#
# InfoNCE of the two views' embeddings, as in assignment 2, and its gradient with respect to `theta`.


# %%
def loss_and_gradient(theta, first, second, sizes, temperature):
    """A number, and a vector as long as ``theta``."""
    # BEGIN SOLUTION
    u, v = embed(theta, first, sizes), embed(theta, second, sizes)
    logits = u @ v.T / temperature
    peak = logits.max(axis=1, keepdims=True)
    shares = np.exp(logits - peak)
    mass = shares.sum(axis=1, keepdims=True)
    loss = (np.log(mass) + peak)[:, 0] - np.diag(logits)
    slope = (shares / mass - np.eye(len(u))) / (len(u) * temperature)
    gradient = backward(slope @ v, theta, first, sizes) + backward(slope.T @ u, theta, second, sizes)
    return loss.mean(), gradient
    # END SOLUTION


# %% [markdown]
# ## 4.4 One step of Adam
#
# With beta 0.9 and 0.999 and 1e-8 beside the root. `count` is the number of this step, from 1 on. Return the new
# parameters and both new moments, these uncorrected.


# %%
def adam_step(theta, gradient, first_moment, second_moment, count, rate):
    """(theta, first moment, second moment) after the step."""
    # BEGIN SOLUTION
    first_moment = 0.9 * first_moment + 0.1 * gradient
    second_moment = 0.999 * second_moment + 0.001 * gradient**2
    mean = first_moment / (1 - 0.9**count)
    square = second_moment / (1 - 0.999**count)
    return theta - rate * mean / (np.sqrt(square) + 1e-8), first_moment, second_moment
    # END SOLUTION


# %% [markdown]
# ## 4.5 Training
#
# `first` and `second` are 384 pairs of photographs. Draw whatever is random from NumPy's generator of that seed; take
# batches of 64 pairs, and a temperature of 0.5. Return the losses of all steps, (steps,), and the last parameters.
#
# The judge embeds both these photographs and 256 others of the same scene with your parameters, and looks whether the
# five nearest neighbours of the others say what they are. Pixels reach about 45 %, an encoder that was not trained
# 35 %; 85 % are asked for, on two scenes. You have 20 seconds for each; one is enough. The losses must be those of
# your parameters: the judge measures them again.


# %%
def train(first, second, sizes, seed):
    """(losses, theta)."""
    # BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    inputs, hidden, outputs = sizes
    w1 = rng.normal(size=(inputs, hidden)) * np.sqrt(2 / inputs)
    w2 = rng.normal(size=(hidden, outputs)) * np.sqrt(1 / hidden)
    theta = np.concatenate([w1.ravel(), np.zeros(hidden), w2.ravel(), np.zeros(outputs)])
    moments = np.zeros_like(theta), np.zeros_like(theta)
    losses = []
    for count in range(1, 301):
        rows = rng.choice(len(first), 64, replace=False)
        loss, gradient = loss_and_gradient(theta, first[rows], second[rows], sizes, 0.5)
        theta, *moments = adam_step(theta, gradient, *moments, count, 0.003)
        losses.append(loss)
    return np.array(losses), theta
    # END SOLUTION


# %% [markdown]
# ## 4.6 What the curve says
#
# A loss means nothing without its two levels. *Chance* is the loss when all embeddings are alike. The *floor* is the
# least there can be: the two views of each instance in one place, and the instances a regular simplex, whose vertices
# have cosines of -1 / (N - 1). Return, for the losses of batches of `batch` instances:
#
# 1. chance;
# 2. the floor;
# 3. which share of the way from chance to the floor the mean of the last tenth of the losses has come (a tenth rounded
#    down; there are at least 10 losses);
# 4. the first step, counted from 0, whose loss has come more than half of the way, or the number of losses if none has.


# %%
def landmarks(losses, batch, temperature):
    """(chance, floor, share, step)."""
    # BEGIN SOLUTION
    chance = np.log(batch)
    floor = np.log(1 + (batch - 1) * np.exp(-batch / (batch - 1) / temperature))
    share = (chance - losses) / (chance - floor)
    half = np.flatnonzero(share > 0.5)
    return chance, floor, share[-(len(losses) // 10) :].mean(), half[0] if len(half) else len(losses)
    # END SOLUTION


# %% [markdown]
# ## To be written, and read by your teacher
#
# Draw your curve with its two levels, and explain it in five sentences. Where does it begin, and why there? Why does
# it not reach the floor, although nearly every photograph is next to its own kind: how many of the 63 negatives of an
# anchor are of its kind, and what would the loss be if the encoder saw the kinds alone?
#
# BEGIN SOLUTION
# It begins near log 64 = 4.16, as an encoder that was not trained sees no difference that lasts through the light.
# The floor is a simplex of 64 points, and in 16 dimensions no more than 17 points have cosines that are all equal and
# negative. Of 63 negatives about 10 are of the anchor's kind. If kinds were all that is seen, the best would be a
# simplex of six points, with cosines of -1/5 between kinds: log(11 + 53 exp(-1.2 / 0.5)) = 2.8. It ends near 2.77: it
# sees the kinds, and little else.
# END SOLUTION
