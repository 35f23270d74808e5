# %% [markdown]
# # 10 Beyond InfoNCE, and what to check first
#
# InfoNCE asks which of N candidates is the positive. One can ask otherwise: of each pair, whether it belongs together;
# of each dimension, whether it says something new; of each class, who is in it. This lesson puts the alternatives
# beside each other, shows what uniformity cannot see, and ends with what to look at before you believe a result.
#
# You will be able to
#
# - say how SigLIP, the spectral loss, Barlow Twins and VICReg push, and write two of them;
# - find an embedding that has lost dimensions, though its uniformity is fine;
# - check a contrastive result in ten minutes, from the loss value to the baseline.
#
# **Time** 25 minutes, with four exercises. **Prerequisites** lessons 03 (InfoNCE), 05 (uniformity) and 08 (the push).

# %% [markdown]
# ## First, a guess
#
# 1. A negative has similarity -0.2 to the anchor. InfoNCE pushes it a little further. What does a loss do that contains
#    the *square* of its similarity?
# 2. An embedding in 64 dimensions uses only 16 of them, evenly; the other 48 are 0. How much of its uniformity at t = 2
#    does it lose: a tenth, a half, three quarters?
# 3. Two views of an image should agree. Train for that alone, without any negatives. What do you get?

# %%
import matplotlib.pyplot as plt
import numpy as np

import hypercon as hc
from hypercon.coursework import check, described
from hypercon.palette import CURVES

# %% [markdown]
# ## Pair by pair: SigLIP
#
# A softmax compares candidates, so every anchor needs all of them at once. SigLIP (Zhai et al. 2023) asks of each of
# the N x N pairs alone: a positive, yes or no? With $y_{ij} = 1$ on the diagonal and $-1$ elsewhere,
#
# $$L = -\frac1N \sum_{ij} \log \sigma\big(y_{ij}\,(a\, s_{ij} + b)\big), \qquad \sigma(x) = \frac1{1 + e^{-x}},$$
#
# where the scale $a = 10$ is an inverse temperature, and the bias $b = -10$ says at first that no pair belongs
# together, since nearly none does.
#
# ## By hand
#
# An anchor with its positive at 0.6 and negatives at 0.6 and 0.2. The logits $10 s - 10$ are $-4$, $-4$ and $-8$. The
# positive costs $\log(1 + e^{4}) = 4.018$, the negatives $\log(1 + e^{-4}) = 0.018$ and $\log(1 + e^{-8}) = 0.0003$.
# Nearly all of the loss is the positive's, until it comes near 1.

# %%
logits = 10 * np.array([0.6, 0.6, 0.2]) - 10
costs = np.log1p(np.exp(np.array([-1, 1, 1]) * logits))
print(f"positive {costs[0]:.3f}, negatives {costs[1]:.3f} and {costs[2]:.4f}, together {costs.sum():.3f}")
# expected: positive 4.018, negatives 0.018 and 0.0003, together 4.037

# %% [markdown]
# ### Exercise 10.1
#
# Write SigLIP for an (N, N) matrix of similarities, so that it holds at a scale of 1,000. The sum is divided by N, not
# by the number of pairs.


# %%
def siglip(similarities, scale, bias):
    """The sigmoid loss of a batch."""
    # BEGIN SOLUTION
    logits = scale * similarities + bias
    signs = 2 * np.eye(len(logits)) - 1
    return np.logaddexp(0, -signs * logits).sum() / len(logits)
    # END SOLUTION


# %%
check("10.1", siglip)

# %% [markdown]
# ## Whom does each loss push?
#
# The *spectral* loss (HaoChen et al. 2021) is $-2\, \text{mean}_i\, s_{ii} + \text{mean}_{i \ne j}\, s_{ij}^2$, a
# matrix factorisation in disguise: its best embedding is spanned by the leading eigenvectors of the graph of who is a
# view of whom. Its push on a negative is $2 s$. The next cell draws the push of four losses over the similarity of the
# negative, each in units of its push at 1.

# %%
s = np.linspace(-1, 1, 101)
sigmoid = 1 / (1 + np.exp(10 - 10 * s))
pushes = {"InfoNCE at 0.2": np.exp(s / 0.2), "SigLIP": sigmoid, "spectral": 2 * s, "simple": np.ones_like(s)}
figure, ax = plt.subplots(figsize=(6.5, 3.5))
for (name, push), colour, line in zip(pushes.items(), CURVES, ("-", "--", "-.", ":"), strict=True):
    ax.plot(s, push / push[-1], line, color=colour, label=name)
ax.axhline(0, color="0.7", linewidth=1, zorder=0)
ax.set(xlabel="similarity of the negative", ylabel="push, relative to that at 1")
ax.legend()
described(
    figure, "InfoNCE and SigLIP rise steeply near 1; the spectral line goes through 0 and is negative left of it."
)

# %% [markdown]
# **What you should see.** InfoNCE and SigLIP push the near ones alone. The spectral line crosses 0: *a negative at
# $-0.2$ is pulled back*, since the loss wants strangers at right angles, not at opposite ends. The simple loss does not
# look at all. (One thing the picture does not show: SigLIP's push on a pair is the same whoever else is in the batch.)
#
# ## Columns instead of rows
#
# A batch of embeddings is a matrix Z with a row for each image and a column for each dimension. Contrastive losses keep
# rows apart. *Barlow Twins* and *VICReg* keep columns apart: each dimension should vary, and none should repeat
# another. They need no negatives.
#
# Barlow Twins (Zbontar et al. 2021) standardises every column of both views over the batch, takes their correlations
# $C_{de} = \frac1N \sum_i \hat z^{(1)}_{id}\, \hat z^{(2)}_{ie}$, and wants the identity:
# $L = \sum_d (1 - C_{dd})^2 + \lambda \sum_{d \ne e} C_{de}^2$.
#
# ### Exercise 10.2
#
# Write it. The standard deviation of a column is that over the batch, divided by N.


# %%
def barlow_twins(z1, z2, weight):
    """How far the correlations of two views are from the identity."""
    # BEGIN SOLUTION
    a, b = ((z - z.mean(axis=0)) / z.std(axis=0) for z in (z1, z2))
    correlation = a.T @ b / len(z1)
    own = np.eye(len(correlation), dtype=bool)
    return ((1 - correlation[own]) ** 2).sum() + weight * (correlation[~own] ** 2).sum()
    # END SOLUTION


# %%
check("10.2", barlow_twins)

# %% [markdown]
# The two families are closer than they look. What rows have in common with other rows and what columns have in common
# with other columns differ by lengths alone (Garrido et al. 2023):
#
# $$\sum_{i \ne j} (ZZ^\top)_{ij}^2 - \sum_{d \ne e} (Z^\top Z)_{de}^2
# = \sum_d |z_{\cdot d}|^4 - \sum_i |z_{i \cdot}|^4 .$$
#
# The next cell checks it on a random matrix.

# %%
z = np.random.default_rng(0).normal(size=(50, 8))
rows, columns = ((m**2).sum() - (np.diag(m) ** 2).sum() for m in (z @ z.T, z.T @ z))
lengths = ((z**2).sum(axis=0) ** 2).sum() - ((z**2).sum(axis=1) ** 2).sum()
print(f"difference of the two sides below 1e-9: {abs(rows - columns - lengths) < 1e-9}")
# expected: difference of the two sides below 1e-9: True

# %% [markdown]
# With rows of length 1 and columns of equal length the right side is a constant: to decorrelate dimensions *is* to
# spread images, as the spectral loss does.
#
# ## What uniformity cannot see
#
# Now the second guess. The next cell spreads 2,000 points evenly over a sphere in k dimensions, and pads them with
# zeros to 64. The *effective rank* counts the dimensions that are used.

# %%
rng = np.random.default_rng(0)
for k in (64, 32, 16, 8):
    z = np.zeros((2000, 64))
    z[:, :k] = rng.normal(size=(2000, k))
    print(f"{k} of 64: uniformity {hc.metrics.uniformity(z):.2f}, effective rank {hc.metrics.effective_rank(z):.1f}")
# expected: 64 of 64: uniformity 3.88, effective rank 63.7
# expected: 32 of 64: uniformity 3.75, effective rank 31.9
# expected: 16 of 64: uniformity 3.51, effective rank 16.0
# expected: 8 of 64: uniformity 3.08, effective rank 8.0

# %% [markdown]
# A tenth. Three quarters of the dimensions are gone, and uniformity falls from 3.88 to 3.51. In high dimensions a
# random pair is nearly at right angles anyway, and the kernel sees little else. This is **dimensional collapse** (Jing
# et al. 2022): the embedding has not collapsed to a point, but to a flat.
#
# ### Exercise 10.3
#
# The effective rank is $\exp(-\sum_k p_k \log p_k)$, where $p_k$ is the share of the k-th singular value of Z in their
# sum. Write it for `z` as it is, without centring or normalising. A singular value of 0 counts for nothing.


# %%
def effective_rank(z):
    """The number of dimensions that are used evenly."""
    # BEGIN SOLUTION
    values = np.linalg.svd(z, compute_uv=False)
    shares = values / values.sum()
    shares = shares[shares > 1e-15]
    return np.exp(-(shares * np.log(shares)).sum())
    # END SOLUTION


# %%
check("10.3", effective_rank)

# %% [markdown]
# ## Four encoders
#
# The same images and views, four losses. VICReg looks at columns and needs no sphere, so there the head's last layer is
# left out.

# %%
train, test = hc.data.load("digits"), hc.data.load("digits", "test")
views = hc.data.mild(window=0.8)


def trained(loss, left_out=0):
    """An encoder after 60 steps, without the last layers of its head, as a function of images."""
    encoder = hc.nn.mlp(train.images.shape[1:], widths=(128, 128), dim=32, rng=np.random.default_rng(0))
    layers = encoder.head.layers[: len(encoder.head.layers) - left_out]
    encoder = hc.nn.Encoder(encoder.backbone, hc.nn.Sequential(*layers), {})
    optimizer = hc.optim.Adam(encoder.parameters(), hc.optim.cosine(3e-3, 60))
    settings = {"epochs": 12, "batch_size": 256, "augment": views, "rng": np.random.default_rng(1)}
    hc.fit(encoder, train.images, loss=loss, optimizer=optimizer, **settings)
    return lambda images: encoder.embed(images)[1]


# %% [markdown]
# Each is measured on held-out images, on z and with ten labels a class.


# %%
def report(name, rows):
    """Print what a researcher would want to know of rows of numbers, made of images by ``rows``."""
    known, z, accuracies = rows(train.images), rows(test.images), []
    for draw in range(10):
        few = hc.metrics.few_labels(train.labels, 10, rng=np.random.default_rng(draw))
        accuracies.append(hc.metrics.knn_accuracy(known[few], train.labels[few], z, test.labels))
    uniformity, gap = hc.metrics.uniformity(z), hc.metrics.tolerance_gap(z, test.labels)
    rank = hc.metrics.effective_rank(z)
    print(f"{name:<9} uniformity {uniformity:.2f} gap {gap:.2f} rank {rank:.0f} accuracy {np.mean(accuracies):.2f}")


# %% [markdown]
# Beside them stand the two that every table should have: the pixels, and an encoder that has not been trained.

# %%
report("pixels", lambda images: images.reshape(len(images), -1))
untrained = hc.nn.mlp(train.images.shape[1:], widths=(128, 128), dim=32, rng=np.random.default_rng(0))
report("untrained", lambda images: untrained.embed(images)[1])
# roughly: pixels    uniformity 1.17 gap 0.15 rank 29 accuracy 0.89
# roughly: untrained uniformity 0.49 gap 0.05 rank 14 accuracy 0.74

# %% [markdown]
# Now the four losses.

# %%
report("InfoNCE", trained(lambda a, b: hc.info_nce(a, b, temperature=0.2)))
report("SigLIP", trained(hc.losses.siglip))
report("spectral", trained(hc.losses.spectral))
report("VICReg", trained(hc.losses.vicreg, left_out=1))
# roughly: InfoNCE   uniformity 3.34 gap 0.39 rank 26 accuracy 0.85
# roughly: SigLIP    uniformity 3.28 gap 0.38 rank 25 accuracy 0.82
# roughly: spectral  uniformity 2.61 gap 0.72 rank 17 accuracy 0.82
# roughly: VICReg    uniformity 1.93 gap 0.71 rank 14 accuracy 0.72

# %% [markdown]
# Read across. The spectral loss keeps classes together and uses half of the dimensions; InfoNCE spreads and uses most
# of them; in so few steps VICReg is not done. And none of the four beats the pixels on these clean images, which a
# table without the first line would not tell you (lesson 06 has the images on which they do).
#
# ## Labels as positives
#
# With labels the dilemma of lesson 07 is gone: nothing of the own class needs to be pushed. *SupCon* (Khosla et al.
# 2020) takes every candidate of the anchor's class for a positive, and averages over them **outside** of the logarithm.
#
# ### Exercise 10.4
#
# Write the loss of one anchor: the mean of $-\log\big(e^{s_k/\tau} / \sum_j e^{s_j/\tau}\big)$ over the candidates k of
# its class, the sum going over all candidates. `similarities` are those of the candidates, and `own` is True where a
# candidate is of the anchor's class. It must hold at a temperature of 0.001.


# %%
def sup_con(similarities, own, temperature):
    """The supervised loss of one anchor."""
    # BEGIN SOLUTION
    logits = similarities / temperature
    log_mass = np.log(np.exp(logits - logits.max()).sum()) + logits.max()
    return (log_mass - logits[own]).mean()
    # END SOLUTION


# %%
check("10.4", sup_con)

# %% [markdown]
# With one candidate of the own class it is InfoNCE, and for a batch in which all labels differ it is NT-Xent:

# %%
z1, z2 = np.random.default_rng(0).normal(size=(2, 6, 4))
alone = hc.losses.sup_con(z1, z2, np.arange(6), temperature=0.2)
print(f"{abs(alone - hc.nt_xent(z1, z2, temperature=0.2)) < 1e-12}")
# expected: True

# %% [markdown]
# ## Break it: agreement alone
#
# The third guess. The next cell trains a plain network, whose head does not standardise, for alignment alone: the mean
# squared distance of two views. Then it adds the uniformity of lesson 05.

# %%
for name, loss in (("agreement alone", hc.losses.alignment_loss), ("with uniformity", hc.losses.align_uniform)):
    nn, rng = hc.nn, np.random.default_rng(0)
    layers = [nn.Linear(64, 128, rng=rng), nn.ReLU(), nn.Linear(128, 32, rng=rng), nn.Normalize()]
    encoder = nn.Sequential(nn.Flatten(), *layers)
    optimizer = hc.optim.Adam(encoder.parameters(), hc.optim.cosine(3e-3, 60))
    settings = {"epochs": 12, "batch_size": 256, "augment": views, "rng": np.random.default_rng(1)}
    history = hc.fit(encoder, train.images, loss=loss, optimizer=optimizer, **settings)
    z = encoder(hc.tensor(test.images)).data
    print(f"{name}: loss {history.final_loss():.2f}, mean similarity of two images {(z @ z.T).mean():.2f}")
# roughly: agreement alone: loss 0.00, mean similarity of two images 1.00
# roughly: with uniformity: loss -2.80, mean similarity of two images 0.04

# %% [markdown]
# Views agree perfectly if everything is the same. All images have gone to one point, and the loss is as good as 0.
# Every method needs something against that: negatives, a uniformity or variance term, or a head that standardises.
#
# ## What a researcher checks first
#
# 1. **The loss, between chance and floor.** Which definition, which batch size, which temperature? (Lessons 03 and 06.)
# 2. **The gradient, not only the value.** Against finite differences, and on several ranks against one. (Lesson 09.)
# 3. **The views.** Look at them. (Lesson 06.)
# 4. **Collapse.** Uniformity with its t, effective rank, the standard deviation of columns.
# 5. **The offset.** The length of the mean embedding; the gap beside the tolerance. (Lesson 07.)
# 6. **Baselines.** Pixels, and the untrained encoder, through the same probe.
# 7. **The probe.** On z or on h, with how many labels? Easy probes hide differences.
# 8. **Seeds.** An order that holds for one seed is an anecdote.
#
# The second is a call. Here is a loss as it is often written, without a shift before exp. The next cell holds it
# against what InfoNCE must satisfy at every temperature.


# %%
def often_written(z1, z2, temperature):
    """InfoNCE without a shift."""
    u, v = hc.normalize(z1), hc.normalize(z2)
    mass = hc.exp(u @ v.T / temperature)
    return -hc.log(hc.diagonal(mass) / mass.sum(axis=1)).mean()


found = hc.testing.check_contrastive_loss(often_written, cases=4)
print("failed:", *(result.name for result in found.failures))
# expected: failed: stability

# %% [markdown]
# `print(found)` has the smallest input on which each property failed. `hc.info_nce` in its place passes all.
#
# **Experiment.** Add a line to the table of encoders for `hc.losses.barlow_twins`, and one for SigLIP with `bias=0.0`.
# Which of the eight checks would have caught the latter?
#
# ## Summary
#
# - SigLIP judges pairs, the spectral loss squares them, Barlow Twins and VICReg look at columns; all must keep an
#   embedding from shrinking to a point.
# - Uniformity hardly notices lost dimensions. The effective rank does.
# - A result is a value with its bounds, a tested gradient, two baselines, and several seeds.
#
# ## Test yourself
#
# <details><summary>1. Why can SigLIP be computed in tiles without keeping anything between them?</summary>
#
# Its loss is a sum over pairs. There is no denominator that a row has to agree on.
# </details>
#
# <details><summary>2. What does the bias of SigLIP do at the start?</summary>
#
# Of N x N pairs only N belong together. Without the bias the many negatives dominate the first steps; with it every
# pair starts as a confident no, and the gradient comes from the positives.
# </details>
#
# <details><summary>3. An encoder has uniformity 3.7 in 512 dimensions. Is it fine?</summary>
#
# Perhaps not. It is what 27 dimensions reach, if they are used evenly. Look at the effective rank.
# </details>
#
# <details><summary>4. How do Barlow Twins and VICReg get by without negatives?</summary>
#
# They look at columns. A collapsed embedding has columns without variance, or all alike, and both are punished.
# </details>
#
# <details><summary>5. A paper reports 2 points over InfoNCE at temperature 0.07. What do you ask?</summary>
#
# What InfoNCE does at its own best temperature, over how many seeds, and under which probe.
# </details>
#
# ## Further reading
#
# - Zhai et al. 2023, *Sigmoid Loss for Language Image Pre-Training*, arXiv 2303.15343.
# - HaoChen et al. 2021, *Provable Guarantees for Self-Supervised Deep Learning with Spectral Contrastive Loss*, arXiv
#   2106.04156.
# - Zbontar et al. 2021, *Barlow Twins*, arXiv 2103.03230; Bardes et al. 2022, *VICReg*, arXiv 2105.04906.
# - Garrido et al. 2023, *On the Duality Between Contrastive and Non-Contrastive Self-Supervised Learning*, arXiv
#   2206.02574, and *RankMe*, arXiv 2210.02885.
# - Jing et al. 2022, *Understanding Dimensional Collapse in Contrastive Self-Supervised Learning*, arXiv 2110.09348.
#
# **Next** your own data: `hypercon dilemma --data FILE.npz`, and `hypercon reproduce` for the claims of both papers.
#
# The number in answer 3:

# %%
print(f"{-hc.metrics.uniformity_floor(27):.1f}")
# expected: 3.7
