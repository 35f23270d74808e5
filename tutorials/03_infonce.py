# %% [markdown]
# # 03 InfoNCE by hand, and who is pushed
#
# You will be able to
#
# - compute the loss of one anchor from three numbers, on paper,
# - say how the loss shares its push among the negatives, and what the temperature does to the shares,
# - write the gradient of a batch in one line, and hold it against the library's.
#
# **Time** 25 minutes, with four exercises. **Prerequisites** the softmax; lesson 01 for what a gradient is.
#
# Work from top to bottom. `check("03.1", your_function)` tells you, property by property, whether an exercise is done.

# %%
import matplotlib.pyplot as plt
import numpy as np

import hypercon as hc
from hypercon.coursework import check, described
from hypercon.palette import CURVES

# %% [markdown]
# ## First, a guess
#
# An image has been turned into a point on the unit sphere, the *anchor*. Another view of the same image is its
# *positive*, with similarity 0.8. Two other images are its *negatives*: one looks like it, with similarity 0.6, one
# does not, with 0.2. Training pulls the positive nearer and pushes the negatives away. At a temperature of 0.2, 88 % of
# the push falls on the first negative.
#
# **Halve the temperature. What share does the first negative receive now?** Write a number down before you read on.

# %% [markdown]
# ## The idea
#
# InfoNCE asks a question with one right answer: *which of the candidates is the positive?* It answers with a softmax
# over similarities, and the loss is minus the logarithm of the probability that the right answer receives.
#
# $$L = -\log P_+, \qquad P_+ = \frac{e^{s_+/\tau}}{e^{s_+/\tau} + \sum_k e^{s_k/\tau}}$$
#
# Here $s_+$ is the similarity of the positive, $s_k$ that of negative $k$: cosines, between -1 and 1. The temperature
# $\tau$ says how much a difference of similarities counts (van den Oord et al. 2018, eq. 4; Wang & Liu 2021, eq. 1).
#
# ## By hand
#
# Three similarities, 0.8, 0.6 and 0.2, at $\tau = 0.2$. Divided by the temperature they are 4, 3 and 1.
#
# | | $s$ | $s/\tau$ | $e^{s/\tau}$ | share of the sum |
# | --- | --- | --- | --- | --- |
# | positive | 0.8 | 4 | 54.60 | 0.7054 |
# | first negative | 0.6 | 3 | 20.09 | 0.2595 |
# | second negative | 0.2 | 1 | 2.72 | 0.0351 |
# | sum | | | 77.40 | 1 |
#
# So $P_+$ = 0.7054, and the loss is $-\log 0.7054 = 0.3490$. The same in code:

# %%
mass = np.exp(np.array([0.8, 0.6, 0.2]) / 0.2)
probabilities = mass / mass.sum()
print(mass.round(2), mass.sum().round(2))
# expected: [54.6 20.09 2.72] 77.4
print(probabilities.round(4), (-np.log(probabilities[0])).round(4))
# expected: [0.7054 0.2595 0.0351] 0.349

# %% [markdown]
# With three candidates that cannot be told apart, each would have probability 1/3, and the loss would be its *chance*
# level, $\log 3$ = 1.0986. A loss is judged by how far it lies below that, not by whether it is near 0. The library
# knows the chance level of each of its losses:

# %%
print(f"{np.log(3):.4f} {hc.losses.chance('info_nce', 3):.4f}")
# expected: 1.0986 1.0986

# %% [markdown]
# ### Exercise 03.1
#
# Write the loss of one anchor, as the formula reads. `positive` is one number, `negatives` an array.


# %%
def loss_of_anchor(positive, negatives, temperature):
    """Minus the logarithm of the positive's probability."""
    # BEGIN SOLUTION
    mass = np.exp(positive / temperature) + np.exp(negatives / temperature).sum()
    return -np.log(np.exp(positive / temperature) / mass)
    # END SOLUTION


# %%
check("03.1", loss_of_anchor)

# %% [markdown]
# ## The gradient, and who is pushed
#
# Written as $L = \log(e^{s_+/\tau} + \sum_k e^{s_k/\tau}) - s_+/\tau$, the loss is differentiated in one line (Wang &
# Liu 2021, eq. 4):
#
# $$\frac{\partial L}{\partial s_+} = -\frac{1 - P_+}{\tau}, \qquad
# \frac{\partial L}{\partial s_k} = \frac{P_k}{\tau}.$$
#
# The positive is pulled, every negative is pushed, and the two balance: $1 - P_+$ is the sum of the $P_k$. Our three
# numbers give $-0.2946/0.2 = -1.473$ for the positive, and $1.2975$ and $0.1756$ for the negatives. A finite difference
# knows no formula, so it may judge:

# %%
s, tau, step = np.array([0.8, 0.6, 0.2]), 0.2, 1e-6
by_formula = (np.exp(s / tau) / np.exp(s / tau).sum() - [1, 0, 0]) / tau
by_difference = []
for k in range(3):
    up, down = s + step * np.eye(3)[k], s - step * np.eye(3)[k]
    by_difference.append((loss_of_anchor(up[0], up[1:], tau) - loss_of_anchor(down[0], down[1:], tau)) / (2 * step))
print(by_formula.round(4))
# expected: [-1.4731 1.2975 0.1756]
print(np.abs(by_formula - by_difference).max() < 1e-8, abs(by_formula.sum()) < 1e-12)
# expected: True True

# %% [markdown]
# Two questions come apart here. *How much* is pushed at all? That is $1 - P_+$, the **coupling**, up to the factor
# $1/\tau$: it dies away when the positive has won. And *who* receives the push? That is a softmax over the negatives
# alone (eq. 5), the **hardness**:
#
# $$r_k = \frac{\partial L/\partial s_k}{|\partial L/\partial s_+|} = \frac{e^{s_k/\tau}}{\sum_{k'} e^{s_{k'}/\tau}}.$$
#
# The positive has gone from the formula. Do not mix $r$ with $P$: $r$ sums to 1 over the negatives, $P$ over all
# candidates.
#
# ### Exercise 03.2
#
# Write the shares of the push, one number for each negative. `positive` is handed in too; what will you do with it?


# %%
def hardness(positive, negatives, temperature):
    """The share of the push that each negative receives."""
    # BEGIN SOLUTION
    mass = np.exp(negatives / temperature)
    return mass / mass.sum()
    # END SOLUTION


# %%
check("03.2", hardness)

# %% [markdown]
# Now your guess. Halving the temperature doubles every difference in the exponent, so the odds of the first negative
# over the second are squared: from $e^2$ = 7.4 to $e^4$ = 54.6.

# %%
for tau in (0.2, 0.1):
    print(tau, hardness(0.8, np.array([0.6, 0.2]), tau).round(3))
# expected: 0.2 [0.881 0.119]
# expected: 0.1 [0.982 0.018]

# %% [markdown]
# Two negatives are few. Here are 100, with similarities spread evenly over [-1, 1], and the share each receives.

# %%
negatives = np.linspace(-1, 1, 100)
figure, axes = plt.subplots(figsize=(6.5, 3.4))
for tau, colour, line in zip((0.07, 0.2, 0.5, 1.0), CURVES, ("-", "--", "-.", ":"), strict=True):
    axes.semilogy(negatives, hardness(0.9, negatives, tau), line, color=colour, label=f"temperature {tau:g}")
axes.axhline(1 / 100, color="0.7", linewidth=1, zorder=0)
axes.set(xlabel="similarity to the anchor", ylabel="share of the push", ylim=(1e-6, 1))
axes.legend(loc="lower right")
described(figure, "Share of the push over similarity, one line for each temperature, logarithmic: the smaller the "
          "temperature, the steeper the line; at 1 all shares are within a factor of 8.")  # fmt: skip

# %% [markdown]
# **What you should see** (Wang & Liu's figure 3, with a logarithmic axis): straight lines of slope $1/\tau$. At 0.07
# the few most similar negatives share nearly all of the push. At 1 everyone receives about the same, near the grey line
# at 1/100. The picture does not show how *much* is pushed, which is $(1 - P_+)/\tau$. It shows how far the push
# reaches.

# %%
for tau in (0.07, 0.2, 1.0):
    shares = hardness(0.9, negatives, tau)
    print(
        tau,
        f"the ten hardest receive {shares[-10:].sum():.1%}, the hardest / the easiest = {shares[-1] / shares[0]:.3g}",
    )
# expected: 0.07 the ten hardest receive 94.4%, the hardest / the easiest = 2.56e+12
# expected: 0.2 the ten hardest receive 63.6%, the hardest / the easiest = 2.2e+04
# expected: 1.0 the ten hardest receive 21.1%, the hardest / the easiest = 7.39

# %% [markdown]
# ## A batch
#
# With N images in a batch, every image is an anchor in turn, and the other N - 1 are its negatives. Row i of the (N, N)
# matrix of similarities belongs to anchor i; its positive stands on the diagonal. The loss is the mean over rows.
#
# ### Exercise 03.3
#
# Write it without loops, and so that it holds at a temperature of 0.001.


# %%
def info_nce(similarities, temperature):
    """The mean loss over the rows of an (N, N) matrix of similarities."""
    # BEGIN SOLUTION
    logits = similarities / temperature
    peak = logits.max(axis=1)
    log_mass = np.log(np.exp(logits - peak[:, None]).sum(axis=1)) + peak
    return (log_mass - np.diag(logits)).mean()
    # END SOLUTION


# %%
check("03.3", info_nce)

# %% [markdown]
# ### Exercise 03.4
#
# And its gradient: what the loss changes by when one entry of the matrix changes. Use the two formulas above; a mean
# over N anchors adds one factor.


# %%
def gradient(similarities, temperature):
    """dL/ds_ij, of the shape of the similarities."""
    # BEGIN SOLUTION
    logits = similarities / temperature
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return (shares - np.eye(len(logits))) / (len(logits) * temperature)
    # END SOLUTION


# %%
check("03.4", gradient)

# %% [markdown]
# ## The library's
#
# `hc.info_nce` takes the embeddings and puts them onto the sphere itself. `hc.explain` lays the loss open: among much
# else, it holds the gradient that you have just written. On 200 random embeddings, yours and the library's:

# %%
rng = np.random.default_rng(0)
z1 = rng.normal(size=(200, 16))
z2 = z1 + 0.5 * rng.normal(size=z1.shape)
e = hc.explain(z1, z2, temperature=0.2)
s = hc.normalize(z1) @ hc.normalize(z2).T
print(abs(info_nce(s, 0.2) - hc.info_nce(z1, z2, temperature=0.2)) < 1e-12)
# expected: True
print(np.abs(gradient(s, 0.2) - e.grad_similarities).max() < 1e-12)
# expected: True

# %% [markdown]
# The chain rule takes it from the similarities to the embeddings: $s_{ij} = u_i \cdot v_j$ on the unit sphere, so
# $\partial L/\partial u_i = \sum_j (\partial L/\partial s_{ij})\, v_j$. An anchor moves by a weighted sum of
# candidates: towards its positive, away from its negatives in proportion to their hardness.

# %%
u, v = hc.normalize(z1), hc.normalize(z2)
by_autograd = hc.grad(lambda u: hc.info_nce(u, v, temperature=0.2, normalize=False))(u)
print(np.abs(by_autograd - gradient(s, 0.2) @ v).max() < 1e-12)
# expected: True

# %% [markdown]
# ## Break it
#
# Why the fuss about 0.001? Because the formula as it reads takes `exp(0.8 / 0.001)`, and no float64 is larger than
# $e^{709.8}$. The loss below should be about 0: the positive leads by 0.2, which is 200 temperatures.

# %%
with np.errstate(all="ignore"):
    mass = np.exp(np.array([0.8, 0.6, 0.2]) / 0.001)
    print("as it reads:", -np.log(mass[0] / mass.sum()))
# expected: as it reads: nan
matrix = np.array([[0.8, 0.6, 0.2], [0.6, 0.8, 0.2], [0.2, 0.6, 0.8]])
print("stable:", f"{info_nce(matrix, 0.001):.4f}")
# expected: stable: 0.0000

# %% [markdown]
# In training this nan would have gone into the gradient, and from there into every weight. In float32, where most
# training is done, a similarity of 1 overflows at any temperature below 0.0113:

# %%
for kind in ("float64", "float32"):
    largest = np.log(np.finfo(kind).max)
    print(f"{kind}: exp overflows beyond {largest:.1f}; at similarity 1 below a temperature of {1 / largest:.4f}")
# expected: float64: exp overflows beyond 709.8; at similarity 1 below a temperature of 0.0014
# expected: float32: exp overflows beyond 88.7; at similarity 1 below a temperature of 0.0113

# %% [markdown]
# ## See it on images
#
# An encoder learns from 8x8 pictures of digits, for a few seconds. Labels are not used in training. Watch the loss
# against its chance level: 256 candidates, $\log 256$ = 5.5452. Below lies its **floor**, where positives coincide and
# the N images stand as far from each other as N points can, at the corners of a regular simplex, at similarity
# $-1/(N-1)$ (it needs N - 1 dimensions, so that an encoder of fewer stays above):
#
# $$L \ge \log\left(1 + (N-1)\, e^{-\frac{N}{N-1}/\tau}\right),$$
#
# which is 0.988 for N = 256 at $\tau = 0.2$. How far a loss lies below chance, $\log N - L$, is a **bound in nats** on
# the information that the two views share: on average over batches they share at least so much (van den Oord et al.
# 2018, section 2.3). It cannot exceed $\log N$.

# %%
train, test = hc.data.load("digits"), hc.data.load("digits", "test")
rng = np.random.default_rng(0)
encoder = hc.nn.mlp(train.images.shape[1:], rng=rng)
views = hc.data.mild(window=0.8)
adam = hc.optim.Adam(encoder.parameters(), 2e-3)
history = hc.fit(encoder, train.images, loss="info_nce", temperature=0.2, optimizer=adam,
                 epochs=8, batch_size=256, augment=views, rng=rng)  # fmt: skip
z1, z2 = (encoder.embed(view)[1] for view in views.two_views(test.images[:256], rng=rng))
e = hc.explain(z1, z2, temperature=0.2, labels=test.labels[:256])
print(f"loss {e.loss:.2f}, chance {e.chance:.4f}, floor {e.floor:.3f}")
# roughly: loss 2.23, chance 5.5452, floor 0.988

# %% [markdown]
# The page below shows one of these images as the anchor, and every other as a dot at its similarity; the area of a dot
# is its share of the push. **Move the temperature** and watch the push gather on the nearest few. Blue dots are of the
# anchor's own class: the loss cannot know, and pushes them all the same. Lesson 08 is about them.

# %%
e

# %% [markdown]
# ## Test yourself
#
# <details><summary>1. All similarities of an anchor grow by 0.1. What happens to its loss?</summary>
#
# Nothing: only differences count. `check` asked your function for exactly this.
# </details>
#
# <details><summary>2. A batch of 128 has had a loss of 4.85 for a hundred epochs. Is it training?</summary>
#
# No. Chance is log 128 = 4.852: the encoder does not tell the candidates apart.
# </details>
#
# <details><summary>3. The positive of an anchor wins clearly, so that the coupling is 0.001. Do the shares of its
# negatives change?</summary>
#
# No. The shares r do not know the positive. All pushes, and the pull, are small together.
# </details>
#
# <details><summary>4. What is the sum of a row of the gradient with respect to the similarities, and why?</summary>
#
# It is 0. The pull is the sum of the pushes, since the probabilities sum to 1. (Also: adding a number to a whole row
# changes nothing, which is question 1.)
# </details>
#
# <details><summary>5. With two negatives at 0.6 and 0.2, at which temperature does the first receive three quarters of
# the push?</summary>
#
# Its odds must be 3, so 0.4 / tau = log 3, and tau = 0.364.
# </details>
#
# ## Further reading
#
# - Wang & Liu, *Understanding the Behaviour of Contrastive Loss*, CVPR 2021, arXiv 2012.09740: equations 1 to 5 are
#   this lesson.
# - van den Oord, Li & Vinyals, *Representation Learning with Contrastive Predictive Coding*, 2018, arXiv 1807.03748:
#   where the loss comes from, and why log N - L is a bound on mutual information.
# - Yeh et al., *Decoupled Contrastive Learning*, ECCV 2022, arXiv 2110.06848: what happens without the coupling.
#
# **Next** lesson 04: what the temperature does, from one end to the other.
#
# The numbers in answers 2 and 5:

# %%
print(f"{np.log(128):.3f} {0.4 / np.log(3):.3f}")
# expected: 4.852 0.364
