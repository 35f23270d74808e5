# %% [markdown]
# # 02 The sphere: why embeddings have length one
#
# You will be able to
#
# - go back and forth between similarity, distance and angle, and through the normalisation with a gradient,
# - say how similar two random directions are in 128 dimensions,
# - give three reasons why contrastive losses work on directions alone.
#
# **Time** 20 minutes, with three exercises. **Prerequisites** lesson 01, dot products.

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np

import hypercon as hc
from hypercon.coursework import check, described
from hypercon.errors import TrainingError
from hypercon.palette import CURVES

# %% [markdown]
# ## First, a guess
#
# Two arrows point in random directions in 128 dimensions. **What is the angle between them? Of a million such pairs,
# how many are nearer than 60 degrees?** Write two numbers down before you read on.

# %% [markdown]
# ## The idea
#
# An encoder turns an image into a vector $h$, and the vector into a direction: $u = h/|h|$, a point of the unit sphere.
# All comparisons are made there. Similarity, distance and angle are then three words for one thing:
#
# $$s = u \cdot v = \cos\angle(u, v), \qquad |u - v|^2 = 2 - 2s.$$
#
# ## By hand
#
# $h = (3, 4)$ has length 5 and direction $u = (0.6, 0.8)$. With $v = (1, 0)$ the similarity is $s$ = 0.6, the angle
# 53.1 degrees, and the squared distance $0.4^2 + 0.8^2 = 0.8 = 2 - 2 \cdot 0.6$.

# %%
h, v = np.array([3.0, 4.0]), np.array([1.0, 0.0])
u = hc.normalize(h)
print(u, round(u @ v, 4), np.degrees(np.arccos(u @ v)).round(1), ((u - v) ** 2).sum().round(4))
# expected: [0.6 0.8] 0.6 53.1 0.8

# %% [markdown]
# ### Exercise 02.1
#
# Write the similarities of all rows of `x` with all rows of `y`, (N, M). Entries may be as large as 1e200 and as small
# as 1e-200; no row is zero.


# %%
def cosines(x, y):
    """The cosine of each row of x with each row of y."""

    # BEGIN SOLUTION
    def onto_sphere(rows):
        rows = rows / np.abs(rows).max(axis=1, keepdims=True)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return onto_sphere(x) @ onto_sphere(y).T
    # END SOLUTION


# %%
check("02.1", cosines)

# %% [markdown]
# ## Through the sphere, backwards
#
# Let $g$ be the gradient of some loss by $u$. What reaches $h$? A change of $h$ along itself does not change $u$, so
# the part of $g$ along $u$ is lost. What is left lies in the *tangent* plane, and is divided by the length:
#
# $$\bar h = \frac{g - (g \cdot u)\, u}{|h|}.$$
#
# By hand, with $h = (3, 4)$ and $g = (1, 0)$: $g \cdot u$ = 0.6, the tangent part is
# $(1, 0) - 0.6\,(0.6, 0.8) = (0.64, -0.48)$, and a fifth of it is $(0.128, -0.096)$. Autograd, asked for the gradient
# of $u \cdot g$, agrees:

# %%
print(hc.grad(lambda h: hc.sum(hc.normalize(h) * v))(h))
# expected: [0.128 -0.096]

# %% [markdown]
# ### Exercise 02.2
#
# Write the tangent part, row by row. Rows of `u` have length 1.


# %%
def tangent(g, u):
    """What is left of each row of g without its part along that row of u."""
    # BEGIN SOLUTION
    return g - (g * u).sum(axis=1, keepdims=True) * u
    # END SOLUTION


# %%
check("02.2", tangent)

# %% [markdown]
# ### Exercise 02.3
#
# On a sphere one walks along great circles. Take the step $v = -\text{rate} \cdot \text{tangent}(g, u)$ from $u$: turn
# by the angle $|v|$ towards $v$. A point whose step is 0 stays where it is.


# %%
def slide(g, u, rate):
    """Where each row of u comes to by one step downhill along the sphere."""
    # BEGIN SOLUTION
    v = -rate * tangent(g, u)
    angle = np.linalg.norm(v, axis=1, keepdims=True)
    return np.cos(angle) * u + np.sin(angle) * v / np.maximum(angle, 1e-300)
    # END SOLUTION


# %%
check("02.3", slide)

# %% [markdown]
# ## Reason one: what is near is no accident
#
# Now your guess. In $d$ dimensions the similarity of two random directions has mean 0 and standard deviation
# $1/\sqrt d$. We draw 20,000 pairs in each of four dimensions.

# %%
rng = np.random.default_rng(0)
drawn = {}
for dim in (2, 8, 32, 128):
    x, y = (hc.normalize(rng.normal(size=(20_000, dim))) for _ in range(2))
    s = drawn[dim] = (x * y).sum(axis=1)
    print(f"{dim}: std {s.std():.3f}, 1/sqrt(d) {dim**-0.5:.3f}, nearer than 60 degrees {(s > 0.5).mean():.2%}")
# expected: 2: std 0.705, 1/sqrt(d) 0.707, nearer than 60 degrees 33.66%
# expected: 8: std 0.354, 1/sqrt(d) 0.354, nearer than 60 degrees 8.51%
# expected: 32: std 0.178, 1/sqrt(d) 0.177, nearer than 60 degrees 0.22%
# expected: 128: std 0.088, 1/sqrt(d) 0.088, nearer than 60 degrees 0.00%

# %% [markdown]
# Twenty thousand are too few to see such a pair in 128 dimensions. The density of $s$ is proportional to
# $(1 - s^2)^{(d-3)/2}$, so we add that up instead.

# %%
s = np.linspace(-1, 1, 200_001)
density = (1 - s**2) ** ((128 - 3) / 2)
print(f"expected among a million: {1e6 * density[s > 0.5].sum() / density.sum():.4f}")
print(f"typical angle: 90 degrees, give or take {np.degrees(np.arcsin(128**-0.5)):.1f}")
# expected: expected among a million: 0.0008
# expected: typical angle: 90 degrees, give or take 5.1

# %% [markdown]
# Of a million pairs none, then; you would have to draw about a billion to see one. Similarity means something here: two
# embeddings at 0.5 did not get there by chance.

# %%
figure, axes = plt.subplots(figsize=(6.5, 3.2))
for (dim, s), colour, line in zip(drawn.items(), CURVES, ("-", "--", "-.", ":"), strict=True):
    heights, edges = np.histogram(s, bins=80, range=(-1, 1), density=True)
    axes.plot((edges[1:] + edges[:-1]) / 2, heights, line, color=colour, label=f"{dim} dimensions")
axes.set(xlabel="similarity of two random directions", ylabel="density", xlim=(-1, 1))
axes.legend()
described(figure, "Density of the similarity of two random directions. In 2 dimensions it is highest at -1 and 1, in 8 "
          "a wide hill around 0, in 32 and 128 ever narrower peaks at 0.")  # fmt: skip

# %% [markdown]
# **What you should see**: a peak at 0 that grows narrower with the dimension. In two dimensions it is a valley instead:
# nearly parallel and nearly opposite are the likeliest similarities. Pictures of embeddings on a circle mislead in just
# this.
#
# ## Reason two: a class is cut off by a plane
#
# A group of points that are near one another on the sphere fills a *cap*, and a plane cuts a cap off. So the question
# "is it this class?" has a linear answer. In flat space it need not: the middle of a crowd cannot be cut off by a line.
# Nine groups in the plane, and the same nine on a circle; for each group, the best line that can be found.


# %%
def best_cut(points, own):
    """How well one line can tell the own points from the others: the mean of both shares that it gets right."""
    best = 0.5
    for angle in np.radians(np.arange(0, 360, 5)):
        order = np.argsort(points @ [-np.cos(angle), -np.sin(angle)])
        right, wrong = np.cumsum(own[order]) / own.sum(), np.cumsum(~own[order]) / (~own).sum()
        best = max(best, ((right + 1 - wrong) / 2).max())
    return best


# %% [markdown]
# Ten points for each group:

# %%
groups = np.repeat(np.arange(9), 10)
grid = np.stack([groups // 3 - 1, groups % 3 - 1], axis=1) + 0.1 * rng.normal(size=(90, 2))
turn = 2 * np.pi * groups / 9
ring = hc.normalize(np.stack([np.cos(turn), np.sin(turn)], axis=1) + 0.05 * rng.normal(size=(90, 2)))
for name, points in (("in the plane", grid), ("on the circle", ring)):
    print(f"{name}:", *(f"{best_cut(points, groups == k):.2f}" for k in range(9)))
# expected: in the plane: 1.00 0.94 1.00 0.94 0.75 0.94 1.00 0.94 1.00
# expected: on the circle: 1.00 1.00 1.00 1.00 1.00 1.00 1.00 1.00 1.00

# %% [markdown]
# In the plane the corners can be cut off, the middle (the fifth) least of all. On the circle everyone can. Wang & Isola
# (2020, figure 2) give this as a reason why features on the sphere suit a linear classifier.
#
# ## Reason three: training has a brake
#
# The gradient stands at right angles to $h$, so a step can only make $h$ *longer*: by Pythagoras, its squared length
# grows by the square of the step. And a longer $h$ gets a smaller gradient, since that is divided by $|h|$. So a rate
# that is too large slows itself down. Below, 50 pairs of free vectors are trained with rates that differ by a factor of
# 10,000:

# %%
start = rng.normal(size=(50, 8))
for rate in (1.0, 100.0, 10_000.0):
    z1, z2 = start.copy(), start + 0.5 * np.random.default_rng(1).normal(size=start.shape)
    loss = hc.value_and_grad(lambda a, b: hc.info_nce(a, b, temperature=0.2), (0, 1))
    for _ in range(200):
        value, (g1, g2) = loss(z1, z2)
        z1, z2 = z1 - rate * g1, z2 - rate * g2
    print(f"rate {rate:g}: loss {value:.3f}, mean length {np.linalg.norm(z1, axis=1).mean():.1f}")
# expected: rate 1: loss 0.643, mean length 2.7
# roughly: rate 100: loss 0.551, mean length 3.7
# roughly: rate 10000: loss 0.582, mean length 147.5

# %% [markdown]
# The lengths take up what is too much. No length means anything here; no rate makes the loss infinite.
#
# ## Break it
#
# What if we leave the normalisation out, and compare vectors by plain dot products? Then there is a way to a small loss
# that teaches nothing: make all vectors longer. Here nothing changes but their length.

# %%
z1 = hc.normalize(rng.normal(size=(64, 16)))
z2 = hc.normalize(z1 + 0.05 * rng.normal(size=z1.shape))
for scale in (1, 3, 10):
    off = hc.info_nce(scale * z1, scale * z2, temperature=1.0, normalize=False)
    on = hc.info_nce(scale * z1, scale * z2, temperature=1.0)
    print(f"{scale} times as long: dot products {off:.3f}, on the sphere {on:.3f}")
# expected: 1 times as long: dot products 3.225, on the sphere 3.225
# expected: 3 times as long: dot products 0.085, on the sphere 3.225
# expected: 10 times as long: dot products 0.000, on the sphere 3.225

# %% [markdown]
# Both lengths multiply the similarity, so a length acts like $1/\sqrt\tau$: without the sphere, an encoder chooses its
# own temperature, and changes it as it likes.
#
# ## See it on images
#
# A small network without any normalisation layers learns from 8x8 digits by plain gradient descent, at learning rates
# from 0.01 to 100; once on the sphere, once with dot products. A rate that is too large ends in an error, which we
# catch.


# %%
train, test = hc.data.load("digits"), hc.data.load("digits", "test")
views = hc.data.mild(window=0.8)


def neighbours(rate, normalize):
    """The share of held-out digits whose nearest training digits are mostly of the same class."""
    rng = np.random.default_rng(0)
    first, last = hc.nn.Linear(64, 128, rng=rng), hc.nn.Linear(128, 32, rng=rng)
    net = hc.nn.Sequential(hc.nn.Flatten(), first, hc.nn.ReLU(), last)
    sgd = hc.optim.SGD(net.parameters(), rate)
    hc.fit(net, train.images, loss=lambda a, b: hc.info_nce(a, b, temperature=0.2, normalize=normalize),
           optimizer=sgd, epochs=5, batch_size=256, augment=views, rng=rng)  # fmt: skip
    with hc.no_grad():
        known, new = (net(hc.tensor(images)).data for images in (train.images, test.images))
    return hc.metrics.knn_accuracy(known, train.labels, new, test.labels)


# %% [markdown]
# Ten short trainings:

# %%
for normalize, name in ((True, "on the sphere"), (False, "dot products")):
    for rate in (0.01, 0.1, 1.0, 10.0, 100.0):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of overflow: that is the point
                result = f"{neighbours(rate, normalize):.0%}"
        except TrainingError:
            result = "no longer finite"
        print(f"{name}, rate {rate:g}: {result}")
# roughly: on the sphere, rate 0.01: 95%
# roughly: on the sphere, rate 0.1: 95%
# roughly: on the sphere, rate 1: 94%
# roughly: on the sphere, rate 10: 84%
# roughly: on the sphere, rate 100: 86%
# roughly: dot products, rate 0.01: 96%
# roughly: dot products, rate 0.1: no longer finite
# roughly: dot products, rate 1: no longer finite
# roughly: dot products, rate 10: no longer finite
# roughly: dot products, rate 100: no longer finite

# %% [markdown]
# On the sphere every rate ends well or fairly well. With dot products the one small rate does as well, and every larger
# one ends in nan. The sphere does not make the best result better; it makes it hard to get none.
#
# ## Test yourself
#
# <details><summary>1. Two embeddings have a squared distance of 0.5. What is their similarity?</summary>
#
# 2 - 2s = 0.5, so s = 0.75.
# </details>
#
# <details><summary>2. An encoder's outputs are all multiplied by 7. What happens to a loss on the sphere, and to its
# gradient by the outputs?</summary>
#
# The loss stays; the gradient is divided by 7.
# </details>
#
# <details><summary>3. How similar are random embeddings in 64 dimensions? What does a similarity of 0.3 say?</summary>
#
# 0, give or take 1/8. At 0.3 they are 2.4 standard deviations off: rare for one pair, common for the nearest of 500.
# </details>
#
# <details><summary>4. Why can plain gradient descent never shorten a vector that a loss takes only the direction
# of?</summary>
#
# The gradient is at right angles to the vector, so the step is one leg of a right triangle and the new vector its
# longest side.
# </details>
#
# <details><summary>5. Weight decay shortens all weights a little at each step. What does it do here?</summary>
#
# No direction changes, but the gradient grows as lengths shrink: it acts on the effective rate, not on the function.
# </details>
#
# ## Further reading
#
# - Wang & Isola, *Understanding Contrastive Representation Learning through Alignment and Uniformity on the
#   Hypersphere*, ICML 2020, arXiv 2005.10242: figure 2 and what is said of it.
# - Wang et al., *NormFace: L2 Hypersphere Embedding for Face Verification*, 2017, arXiv 1704.06369: what happens to
#   losses when features are normalised, and why a scale is needed then.
# - van Laarhoven, *L2 Regularization versus Batch and Weight Normalization*, 2017, arXiv 1706.05350: the brake, and
#   question 5.
#
# **Next** lesson 03: the loss that lives here, from three numbers.
