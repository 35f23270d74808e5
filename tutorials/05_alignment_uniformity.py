# %% [markdown]
# # 05 Alignment and uniformity: two forces on a sphere
#
# You will be able to
#
# - measure what a contrastive loss asks for as two numbers, and say how low each can get,
# - watch free points find the even spread by themselves,
# - say why the place of a logarithm, inside or outside a mean, decides what is learned.
#
# **Time** 25 minutes, with four exercises. **Prerequisites** lessons 03 and 04.

# %%
import matplotlib.pyplot as plt
import numpy as np

import hypercon as hc
from hypercon.coursework import check, described
from hypercon.explain.motion import moving_points
from hypercon.palette import CURVES

# %% [markdown]
# ## First, a guess
#
# Four points are free to move on a sphere, and push one another apart. **Where do they come to rest? What is the
# similarity of any two of them then?** Draw it, and write a number down before you read on.

# %% [markdown]
# ## The idea
#
# Wang & Isola (2020) take the contrastive loss apart into two wishes.
#
# - **Alignment**: the two views of an instance shall be near. $\;\mathrm{E}\,|z_i - z_i'|^2$, at least 0.
# - **Uniformity**: all instances together shall cover the sphere evenly. Let points repel one another with the
#   potential $e^{-t\,d^2}$, where $d$ is their distance; the even spread has the smallest mean potential, and its
#   logarithm is
#
# $$L_{\text{uniform}} = \log \, \mathrm{E}_{i \ne j}\, e^{-t\,|z_i - z_j|^2}.$$
#
# Either alone is easy: put all points in one place, or scatter them at random. To have both, an encoder must tell
# instances apart and their views not. That takes some knowledge of images.
#
# ## By hand
#
# Three points on the circle, at 0, 90 and 180 degrees. Their squared distances are 2, 2 and 4, as $d^2 = 2 - 2s$. At
# $t = 1$ the potentials are $e^{-2}$ = 0.1353, twice, and $e^{-4}$ = 0.0183. The mean is 0.0963, and its logarithm
# -2.340.

# %%
angles = np.radians([0, 90, 180])
three = np.stack([np.cos(angles), np.sin(angles)], axis=1)
potentials = np.exp(-np.array([2.0, 2.0, 4.0]))
print(f"{potentials.mean():.4f} {np.log(potentials.mean()):.3f} {hc.losses.uniformity_loss(three, t=1):.3f}")
# expected: 0.0963 -2.340 -2.340

# %% [markdown]
# ### Exercise 05.1
#
# Write the alignment of two views. Rows are on the sphere already.


# %%
def alignment(z1, z2):
    """The mean squared distance of the two views of an instance."""
    # BEGIN SOLUTION
    return ((z1 - z2) ** 2).sum(axis=1).mean()
    # END SOLUTION


# %%
check("05.1", alignment)

# %% [markdown]
# ### Exercise 05.2
#
# Write the uniformity loss, over all pairs $i \ne j$, so that it holds at $t = 400$.


# %%
def uniformity_loss(z, t):
    """The logarithm of the mean potential of two different points."""
    # BEGIN SOLUTION
    exponents = (-t * (2 - 2 * z @ z.T))[~np.eye(len(z), dtype=bool)]
    peak = exponents.max()
    return np.log(np.exp(exponents - peak).mean()) + peak
    # END SOLUTION


# %%
check("05.2", uniformity_loss)

# %% [markdown]
# ## How low can it get?
#
# For infinitely many points the even spread is best, and its potential can be computed. In three dimensions that is
# school mathematics, by Archimedes' theorem: the similarity of two random points of the sphere is uniform in [-1, 1].
#
# ### Exercise 05.3
#
# Write the floor of the uniformity loss in three dimensions. It must hold for $t = 2000$.


# %%
def sphere_floor(t):
    """log of the mean of exp(-t (2 - 2 s)) over s in [-1, 1]."""
    # BEGIN SOLUTION
    return np.log1p(-np.exp(-4 * t)) - np.log(4 * t)
    # END SOLUTION


# %%
check("05.3", sphere_floor)

# %% [markdown]
# The library has it for every dimension. At $t = 2$ the floor is -2.08 in three dimensions and -3.875 in 64; it falls
# towards $-2t$ = -4, where all distances are $\sqrt 2$.

# %%
print(f"{sphere_floor(2):.4f} {hc.metrics.uniformity_floor(3):.4f}")
# expected: -2.0798 -2.0798
print(*(f"{dim}: {hc.metrics.uniformity_floor(dim):.3f}" for dim in (2, 3, 8, 64, 512)))
# expected: 2: -1.575 3: -2.080 8: -3.083 64: -3.875 512: -3.984

# %% [markdown]
# Our three points had -2.340 at $t = 1$, on the circle, whose floor is -1.176 there. How did they get below? The floor
# is for infinitely many points, some of which are arbitrarily near. A few points, each compared with the others only,
# do better. So compare with the floor where N is much larger than the dimension:
#

# %%
for count in (3, 30, 300):
    angles = 2 * np.pi * np.arange(count) / count
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    print(f"{count} points, evenly: {uniformity_loss(ring, 1):.3f}, floor {hc.metrics.uniformity_floor(2, t=1):.3f}")
# expected: 3 points, evenly: -3.000, floor -1.176
# expected: 30 points, evenly: -1.256, floor -1.176
# expected: 300 points, evenly: -1.184, floor -1.176

# %% [markdown]
# ## Free points
#
# No encoder and no images: the points themselves are the parameters. Each step follows the gradient, and puts them back
# onto the sphere.


# %%
def settle(z, loss, rate, steps=300):
    """Gradient descent on free points: every moment, and the loss at each."""
    moments, losses = [z], []
    for _ in range(steps):
        value, slope = hc.value_and_grad(loss)(z)
        losses.append(float(value))
        z = hc.normalize(z - rate * len(z) * slope)
        moments.append(z)
    return np.array(moments), [*losses, float(loss(z))]


rng = np.random.default_rng(0)
moments, losses = settle(hc.normalize(rng.normal(size=(4, 3))), lambda z: hc.losses.uniformity_loss(z, t=2), 0.05)
print((moments[-1] @ moments[-1].T).round(3)[0])
# expected: [1. -0.333 -0.333 -0.333]

# %% [markdown]
# A tetrahedron: any two of them have the similarity -1/3. In general N points in at least N - 1 dimensions end as a
# *simplex*, with similarities $-1/(N-1)$; that is where the floor of lesson 03 comes from. Now sixty points, which
# start in a heap:

# %%
heap = hc.normalize(np.array([1.0, 0, 0]) + 0.3 * rng.normal(size=(60, 3)))
moments, losses = settle(heap, lambda z: hc.losses.uniformity_loss(z, t=2), 0.15, steps=240)
print(f"from {losses[0]:.3f} to {losses[-1]:.3f}; the floor of infinitely many is {sphere_floor(2):.3f}")
# expected: from -0.518 to -2.206; the floor of infinitely many is -2.080
moving_points(moments, "Sixty free points start in a heap, push one another apart, and cover the sphere evenly.",
              values={"uniformity loss": losses})  # fmt: skip

# %% [markdown]
# Press *play*, and turn the sphere. On the circle a protractor is enough: the gaps between eight neighbours become 360
# / 8 = 45 degrees.

# %%
start = rng.uniform(0, 2, size=8)
around = np.stack([np.cos(start), np.sin(start)], axis=1)
moments, losses = settle(around, lambda z: hc.losses.uniformity_loss(z, t=2), 0.1)
places = np.sort(np.degrees(np.arctan2(*moments[-1].T)))
print(np.diff([*places, places[0] + 360]).round(1))
# expected: [45. 45. 45. 45. 45. 45. 45. 45.]

# %% [markdown]
# ## Break it
#
# Must it be a potential with an exponential? Would it not do to make the mean *similarity* small? Try: half of all
# points at one pole, half at the other.

# %%
poles = np.repeat([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]], 50, axis=0)
even = hc.normalize(np.random.default_rng(1).normal(size=(100, 3)))
for name, z in (("two heaps", poles), ("at random", even)):
    off = ~np.eye(100, dtype=bool)
    print(f"{name}: mean similarity {(z @ z.T)[off].mean():.3f}, uniformity loss {uniformity_loss(z, 2):.3f}")
# expected: two heaps: mean similarity -0.010, uniformity loss -0.703
# expected: at random: mean similarity 0.022, uniformity loss -2.024

# %% [markdown]
# The mean similarity is smallest for any points whose mean is 0, and two heaps are such points: they are as good as it
# gets. Only a potential that punishes nearness more than it rewards distance sees that they have collapsed. The simple
# loss of lesson 04 is of the bad kind.
#
# ## Back to the contrastive loss
#
# With many negatives, InfoNCE tends to (Wang & Isola 2020, theorem 1, up to $\log N$)
#
# $$-\frac{1}{\tau}\,\mathrm{E}\, z \cdot z' \;+\; \mathrm{E}_i \log \mathrm{E}_j\, e^{z_i \cdot z_j/\tau}:$$
#
# alignment, and a potential. It is the same potential, since $e^{-t\,d^2} = e^{-2t}\, e^{2t\,s}$: a temperature $\tau$
# is $t = 1/(2\tau)$. A temperature of 0.25 is the usual $t = 2$; one of 0.07 is $t = 7.1$, and looks at a much finer
# scale.
#
# But the logarithm stands *inside* the mean over anchors here, and outside in $L_{\text{uniform}}$.
#
# ### Exercise 05.4
#
# Write both, for a matrix of similarities of N points with one another; leave out the diagonal. Return `(inside,
# outside)`.


# %%
def both_logs(similarities, temperature):
    """E_i log E_j exp(s / tau), and log E_i E_j exp(s / tau)."""
    # BEGIN SOLUTION
    n = len(similarities)
    others = similarities[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    potentials = np.exp(others / temperature).mean(axis=1)
    return np.log(potentials).mean(), np.log(potentials.mean())
    # END SOLUTION


# %%
check("05.4", both_logs)

# %% [markdown]
# By Jensen's inequality the inside one is never larger; both agree where every point has the same potential. Where they
# differ, they differ in whom they care for. Nine points in a heap, and one far away:

# %%
crowd = hc.normalize(np.array([1.0, 0, 0]) + 0.1 * np.random.default_rng(2).normal(size=(10, 3)))
crowd[9] = [-1, 0, 0]
inside, outside = both_logs(crowd @ crowd.T, 0.25)
print(f"inside {inside:.3f}, outside {outside:.3f}")
# expected: inside 3.031, outside 3.703

# %% [markdown]
# How strongly does the lone point feel each of the two? Autograd tells, along the sphere:

# %%
own = -1e9 * np.eye(10)  # leaves out the diagonal
terms = {
    "inside": lambda z: hc.mean(hc.logsumexp(z @ z.T / 0.25 + own, axis=1)),
    "outside": lambda z: hc.logsumexp(z @ z.T / 0.25 + own),
}
for name, term in terms.items():
    g = hc.grad(term)(crowd)
    lengths = np.linalg.norm(g - crowd * (g * crowd).sum(axis=1, keepdims=True), axis=1)
    print(f"{name}: the lone point feels {lengths[9] / lengths[:9].mean():.4f} of what one in the heap feels")
# expected: inside: the lone point feels 0.2840 of what one in the heap feels
# expected: outside: the lone point feels 0.0002 of what one in the heap feels

# %% [markdown]
# With the logarithm inside, every anchor has one vote: the lone point's own term counts as much as any other. Outside,
# an anchor counts in proportion to its potential, so the crowded ones decide, and the lone one hardly feels a thing.
#
# ## See it on images
#
# An encoder is trained on both wishes without any InfoNCE, and on either alone. It is judged by its neighbours: the
# share of held-out digits whose nearest training digits are mostly of the same class.

# %%
train, test = hc.data.load("digits"), hc.data.load("digits", "test")
views = hc.data.mild(window=0.8)


def trained(loss):
    rng = np.random.default_rng(0)
    encoder = hc.nn.mlp(train.images.shape[1:], rng=rng)
    if loss is not None:
        adam = hc.optim.Adam(encoder.parameters(), 2e-3)
        hc.fit(encoder, train.images, loss=loss, optimizer=adam, epochs=4, batch_size=256, augment=views, rng=rng)
    return encoder


# %% [markdown]
# Four losses, and no training at all, to compare with. Digits are easy: even an untrained encoder has good neighbours.

# %%
losses = {
    "untrained": None,
    "both": lambda a, b: hc.losses.align_uniform(a, b),
    "info_nce": lambda a, b: hc.info_nce(a, b, temperature=0.25),
    "alignment alone": lambda a, b: hc.losses.alignment_loss(a, b),
    "uniformity alone": lambda a, b: hc.losses.uniformity_loss(a) + hc.losses.uniformity_loss(b),
}
found = {}
for name, loss in losses.items():
    encoder = trained(loss)
    z1, z2 = (encoder.embed(view)[1] for view in views.two_views(test.images, rng=np.random.default_rng(1)))
    known, new = encoder.embed(train.images)[1], encoder.embed(test.images)[1]
    accuracy = hc.metrics.knn_accuracy(known, train.labels, new, test.labels)
    found[name] = hc.metrics.alignment(z1, z2), hc.losses.uniformity_loss(z1), accuracy

# %% [markdown]
# What each has become:

# %%
for name, (a, u, accuracy) in found.items():
    print(f"{name}: alignment {a:.2f}, uniformity loss {u:.2f}, neighbours {accuracy:.1%}")
# roughly: untrained: alignment 0.15, uniformity loss -0.75, neighbours 95.4%
# roughly: both: alignment 0.43, uniformity loss -3.55, neighbours 97.4%
# roughly: info_nce: alignment 0.26, uniformity loss -3.22, neighbours 97.0%
# roughly: alignment alone: alignment 0.10, uniformity loss -2.21, neighbours 92.6%
# roughly: uniformity alone: alignment 1.11, uniformity loss -3.51, neighbours 94.8%

# %% [markdown]
# As a picture: lower and further left is better, and no corner can be had alone.

# %%
figure, axes = plt.subplots(figsize=(5.6, 3.6))
for (name, (a, u, accuracy)), colour, marker in zip(found.items(), ("0.4", *CURVES), "xos^D", strict=True):
    axes.plot(a, u, marker, color=colour, markersize=9, label=f"{name}: {accuracy:.1%}")
axes.axhline(hc.metrics.uniformity_floor(64), color="0.6", linestyle="--", linewidth=1)
axes.set(xlabel="alignment (squared distance of views)", ylabel="uniformity loss, t = 2")
axes.legend(title="neighbours of the same class")
described(figure, "Uniformity loss over alignment. Untrained is at the top left, alignment alone below it, uniformity "
          "alone far right; both and info_nce lie low and to the left, near the floor.")  # fmt: skip

# %% [markdown]
# **What you should see**: *alignment alone* furthest left and *uniformity alone* far to the right, both with neighbours
# no better than without any training. The two that wish for both lie below and between, and their neighbours are the
# best. With 500 digits and one run half a percent means nothing. Alignment alone would put all points in one place, had
# this encoder no batch normalisation at its end, which forbids it.
#
# ## Test yourself
#
# <details><summary>1. All embeddings coincide. What are alignment and the uniformity loss?</summary>
#
# 0, the best there is, and 0, the worst there is.
# </details>
#
# <details><summary>2. A batch of 16 in 64 dimensions has a uniformity loss below the floor. A bug?</summary>
#
# No. The floor is for infinitely many points, and a mean over pairs of different points can be below it.
# </details>
#
# <details><summary>3. Which t belongs to a temperature of 0.1?</summary>
#
# 1 / (2 x 0.1) = 5. Measured at t = 2, an encoder trained at 0.1 is judged at a scale that it was not trained at.
# </details>
#
# <details><summary>4. Why can a finite data set not be perfectly aligned and perfectly uniform at once?</summary>
#
# Perfectly aligned, they are N points, and N points are not a uniform distribution.
# </details>
#
# <details><summary>5. Is minus the mean similarity of all pairs a good uniformity loss?</summary>
#
# No. Two heaps at opposite poles are optimal for it.
# </details>
#
# ## Further reading
#
# - Wang & Isola, *Understanding Contrastive Representation Learning through Alignment and Uniformity on the
#   Hypersphere*, ICML 2020, arXiv 2005.10242: section 4, with theorem 1.
# - Borodachov, Hardin & Saff, *Discrete Energy on Rectifiable Sets*, Springer 2019: where repelling points come to
#   rest.
# - Fang et al., *Rethinking the Uniformity Metric in Self-Supervised Learning*, ICLR 2024, arXiv 2403.00642: what this
#   measure does not see; here `hc.metrics.wasserstein_uniformity`.
#
# **Next** lesson 06: an encoder trained from end to end.
