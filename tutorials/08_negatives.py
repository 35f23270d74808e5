# %% [markdown]
# # 08 Whom to push: hard and false negatives
#
# A contrastive loss is, in the end, a rule for whom to push and how hard. Here are five other rules than InfoNCE, and
# what they make of the same images: one without any hardness, one that cuts, one that hardens, one that corrects for
# false negatives, and one that does not tire. You write four of them.
#
# You will be able to
#
# - say of a loss how it shares its push, and how hard it pushes altogether;
# - repair the simple loss with nothing but a cut, and say why that works;
# - recognise false negatives, and say what debiasing and hardness do to them.
#
# **Time** 25 minutes, with four exercises. **Prerequisites** lessons 03 (coupling and hardness), 05 (uniformity) and 07
# (false negatives).

# %% [markdown]
# ## First, a guess
#
# 1. The *simple loss* pushes all negatives alike: minus the similarity of the positive, plus the mean similarity of the
#    negatives. Will embeddings trained with it be more or less evenly spread than with InfoNCE?
# 2. Now it may push only the 25 nearest of 255 negatives, still all alike. Better, worse, or the same?
# 3. Of the single nearest negative of an image of a digit: how often does it show the same digit?

# %%
import matplotlib.pyplot as plt
import numpy as np

import hypercon as hc
from hypercon.coursework import check, described
from hypercon.palette import CURVES, INK

# %% [markdown]
# ## The idea
#
# Almost every loss of this family has the gradient of lesson 03, with another *factor* $c$ and other *shares* $r_k$:
#
# $$\frac{\partial L}{\partial s_+} = -\frac{c}{\tau}, \qquad
# \frac{\partial L}{\partial s_k} = \frac{c}{\tau}\, r_k, \qquad \sum_k r_k = 1.$$
#
# The shares say **whom**, the factor says **how hard**.
#
# ## By hand
#
# One anchor at $\tau = 0.5$. Its positive is at 0.9, its negatives at 0.8, 0.3 and 0.1. Then $e^{s/\tau}$ is 6.05 for
# the positive, and 4.95, 1.82 and 1.22 for the negatives, 8.00 in all. InfoNCE shares its push as 4.95 : 1.82 : 1.22,
# with the factor $1 - P_+ = 8.00 / 14.05 = 0.57$. The next cell has five rules beside each other; the last doubles
# every exponent.

# %%
positive, negatives, tau = 0.9, np.array([0.8, 0.3, 0.1]), 0.5
mass, hardened = np.exp(negatives / tau), np.exp(2 * negatives / tau)
coupling = mass.sum() / (mass.sum() + np.exp(positive / tau))
rules = (
    ("simple", 1.0, np.ones(3)),
    ("hard simple", 1.0, np.array([1.0, 0.0, 0.0])),
    ("InfoNCE", coupling, mass),
    ("DCL", 1.0, mass),
    ("hardened", coupling, hardened),
)

# %% [markdown]
# Their factors and shares:

# %%
for name, factor, weights in rules:
    print(f"{name:<12} factor {factor:.2f}   shares", *(f"{share:.2f}" for share in weights / weights.sum()))
# expected: simple       factor 1.00   shares 0.33 0.33 0.33
# expected: hard simple  factor 1.00   shares 1.00 0.00 0.00
# expected: InfoNCE      factor 0.57   shares 0.62 0.23 0.15
# expected: DCL          factor 1.00   shares 0.62 0.23 0.15
# expected: hardened     factor 0.57   shares 0.84 0.11 0.05

# %% [markdown]
# ## A loss without hardness, and a cut
#
# The simple loss is what InfoNCE tends to as $\tau \to \infty$ (lesson 04). Its push does not care who is near.
# Wang & Liu (2021, eq. 8 and 9) repair it, and InfoNCE at a high temperature too, by letting it push only the k nearest
# negatives of each anchor.
#
# ### Exercise 08.1
#
# Write the shares of a hard InfoNCE: a softmax over the `k` most similar negatives of each anchor, and 0 elsewhere.
# `similarities` is (N, N) with the positives on the diagonal. No two negatives of an anchor are equal. It must hold at
# a temperature of 0.001.


# %%
def hard_shares(similarities, temperature, k):
    """How each anchor shares its push, (N, N)."""
    # BEGIN SOLUTION
    negatives = np.where(np.eye(len(similarities), dtype=bool), -np.inf, similarities)
    cut = -np.sort(-negatives, axis=1)[:, k - 1 : k]
    logits = np.where(negatives >= cut, negatives, -np.inf) / temperature
    mass = np.exp(logits - logits.max(axis=1, keepdims=True))
    return mass / mass.sum(axis=1, keepdims=True)
    # END SOLUTION


# %%
check("08.1", hard_shares)

# %% [markdown]
# ## Four encoders
#
# The next cell trains an encoder on digits with a given loss, and measures it: uniformity at t = 2, the tolerance gap,
# and the accuracy of five neighbours with ten labels a class.

# %%
train, test = hc.data.load("digits"), hc.data.load("digits", "test")
views = hc.data.mild(window=0.8)


def trained(loss):
    """An encoder trained with a loss of two views."""
    encoder = hc.nn.mlp(train.images.shape[1:], widths=(128, 128), dim=32, rng=np.random.default_rng(0))
    optimizer = hc.optim.Adam(encoder.parameters(), hc.optim.cosine(3e-3, 60))
    settings = {"epochs": 12, "batch_size": 256, "augment": views, "rng": np.random.default_rng(1)}
    hc.fit(encoder, train.images, loss=loss, optimizer=optimizer, **settings)
    return encoder


# %% [markdown]
# The measures have a line of their own for each loss.


# %%
def report(name, encoder):
    """Print how evenly it spreads, how it keeps classes, and what it is worth with ten labels a class."""
    known, z = encoder.embed(train.images)[1], encoder.embed(test.images)[1]
    accuracies = []
    for draw in range(10):
        few = hc.metrics.few_labels(train.labels, 10, rng=np.random.default_rng(draw))
        accuracies.append(hc.metrics.knn_accuracy(known[few], train.labels[few], z, test.labels))
    uniformity, gap = hc.metrics.uniformity(z), hc.metrics.tolerance_gap(z, test.labels)
    print(f"{name:<18} uniformity {uniformity:.2f}   gap {gap:.2f}   accuracy {np.mean(accuracies):.2f}")


# %% [markdown]
# Two losses without a cut, and the same two with one.

# %%
report("simple", trained(hc.losses.simple_loss))
report("hard simple", trained(lambda z1, z2: hc.losses.hard_simple(z1, z2, k=25)))
report("InfoNCE at 1", trained(lambda z1, z2: hc.info_nce(z1, z2, temperature=1.0)))
report("hard InfoNCE at 1", trained(lambda z1, z2: hc.losses.hard_info_nce(z1, z2, temperature=1.0, k=25)))
# roughly: simple             uniformity 2.00   gap 0.75   accuracy 0.77
# roughly: hard simple        uniformity 3.51   gap 0.28   accuracy 0.84
# roughly: InfoNCE at 1       uniformity 2.64   gap 0.70   accuracy 0.82
# roughly: hard InfoNCE at 1  uniformity 3.51   gap 0.27   accuracy 0.83

# %% [markdown]
# The simple loss spreads worst and serves worst. A mean of similarities is as low as it can be once the embeddings have
# mean 0, and two clumps at opposite ends have that. **The cut alone makes up for it**: pushing only the nearest 25
# spreads the embedding as evenly as a small temperature would, without any softmax. It does the same to InfoNCE at 1,
# where the cut decides and the temperature hardly matters any more. But look at the gap: what the cut gains in
# uniformity it takes from the classes.
#
# ## False negatives
#
# Why? Look at who the nearest are. The next cell ranks the negatives of every held-out image, by an encoder trained
# with NT-Xent at 0.2, and counts how often the k-th nearest shows the anchor's own digit.

# %%
encoder = trained(lambda z1, z2: hc.nt_xent(z1, z2, temperature=0.2))
first, second = (encoder.embed(view)[1] for view in views.two_views(test.images, rng=np.random.default_rng(2)))
negatives = np.where(np.eye(len(first), dtype=bool), -np.inf, first @ second.T)
ranked = np.argsort(-negatives, axis=1)[:, :-1]
own = (test.labels[ranked] == test.labels[:, None]).mean(axis=0)
print(f"the nearest: {own[0]:.2f}, the 25th: {own[24]:.2f}, the 250th: {own[249]:.2f}, all: {own.mean():.2f}")
# roughly: the nearest: 0.90, the 25th: 0.52, the 250th: 0.04, all: 0.10

# %% [markdown]
# Drawn over the rank, against the share that the own class has among all negatives:

# %%
figure, ax = plt.subplots(figsize=(6.5, 3.3))
ax.semilogx(np.arange(1, len(own) + 1), own, color=CURVES[0])
ax.axhline(own.mean(), color=INK, linestyle=":", label="among all negatives")
ax.set(xlabel="rank of the negative, nearest first", ylabel="share that shows the anchor's digit", ylim=(0, 1))
ax.legend()
described(figure, "A falling curve: nine in ten of the nearest show the anchor's digit, few beyond rank 100.")

# %% [markdown]
# **What you should see.** Of the nearest negatives nine in ten are false, and of the 25th nearest still one in two.
# (There are about 50 images of each digit among these 500.) *The better the encoder, the falser its hard negatives.*
#
# ## Debiasing: subtract what cannot be seen
#
# Nobody knows which negatives are false, but perhaps how many: a share $\rho$, such as a tenth. Then a sum over true
# negatives can be estimated from two that can be computed (Chuang et al. 2020). All K negatives are a mixture, of
# $\rho K$ false ones, which look like the positive, and $(1 - \rho) K$ true ones. So estimate the true ones, scaled up
# to K, by
#
# $$G = \frac{1}{1 - \rho}\Big(\sum_k e^{s_k/\tau} - \rho K e^{s_+/\tau}\Big), \quad\text{but no less than}\quad
# K e^{-1/\tau},$$
#
# below which no sum of K such terms can lie. For the three numbers above and $\rho = 0.1$:
# $G = (8.00 - 0.3 \cdot 6.05) / 0.9 = 6.87$.
#
# ### Exercise 08.2
#
# Write the debiased loss of one anchor, $-\log\big(e^{s_+/\tau} / (e^{s_+/\tau} + G)\big)$.


# %%
def debiased(positive, negatives, temperature, prior):
    """The loss of one anchor, with the expected false negatives taken out."""
    # BEGIN SOLUTION
    count, found = len(negatives), np.exp(positive / temperature)
    corrected = (np.exp(negatives / temperature).sum() - count * prior * found) / (1 - prior)
    return np.log(found + max(corrected, count * np.exp(-1 / temperature))) - positive / temperature
    # END SOLUTION


# %%
check("08.2", debiased)

# %% [markdown]
# Does it help? NT-Xent at 0.2, once as it is and once debiased for one false negative in ten.

# %%
report("NT-Xent", encoder)
report("debiased", trained(lambda z1, z2: hc.losses.debiased(z1, z2, temperature=0.2, class_prior=0.1)))
# roughly: NT-Xent            uniformity 3.35   gap 0.39   accuracy 0.85
# roughly: debiased           uniformity 2.93   gap 0.58   accuracy 0.84

# %% [markdown]
# The classes stay closer together: the gap is half as large again. Uniformity pays for it, and the accuracy with few
# labels has hardly changed. On digits, debiasing moves you along the dilemma of lesson 07 rather than out of it.
#
# ## Hardening, once more
#
# HCL (Robinson et al. 2021) goes the other way as well: it weights each negative by $e^{\beta s_k/\tau}$ before it is
# summed, and debiases the result. What does the weight do to the shares?
#
# ### Exercise 08.3
#
# Multiply $e^{s_k/\tau}$ by the weight $w_k = e^{\beta s_k/\tau} / \text{mean}_j\, e^{\beta s_j/\tau}$, and return the
# shares of the push, taking the weights as constants. It must hold at a temperature of 0.001.


# %%
def hardened_shares(negatives, temperature, beta):
    """How one anchor shares its push among weighted negatives."""
    # BEGIN SOLUTION
    logits = (1 + beta) * negatives / temperature
    mass = np.exp(logits - logits.max())
    return mass / mass.sum()
    # END SOLUTION


# %%
check("08.3", hardened_shares)

# %% [markdown]
# If your solution has one softmax, you have seen it: the mean cancels, and the shares are those of InfoNCE at the
# temperature $\tau / (1 + \beta)$. The next cell holds them against each other.

# %%
s = np.array([0.8, 0.3, 0.1])
print(hardened_shares(s, 0.5, 1.0).round(3), hardened_shares(s, 0.25, 0.0).round(3))
# expected: [0.836 0.113 0.051] [0.836 0.113 0.051]

# %% [markdown]
# $\beta$ is thus a second temperature, for the shares alone: the factor $c$ still belongs to $\tau$. (The authors' code
# lets the gradient through the weights too, which sharpens them further.)
#
# ## Break it: as hard as it goes
#
# Hard is good, so harder is better? The next cell trains with $\tau = 0.5$ and $\beta = 4$.

# %%
report("HCL, beta 4", trained(lambda z1, z2: hc.losses.hcl(z1, z2, temperature=0.5, beta=4.0)))
# roughly: HCL, beta 4        uniformity 3.60   gap 0.16   accuracy 0.66

# %% [markdown]
# It spreads more evenly than anything before, and is worth the least. The push goes to the nearest negatives, these are
# the false ones, and the classes are driven apart: less than half of NT-Xent's gap is left. **Hardness without
# knowledge of the classes is hardness against the classes.** When a paper reports a gain from hard negatives, ask how
# it keeps false ones out.
#
# ## DCL: a push that does not tire
#
# So far the shares. The factor of InfoNCE is $c = 1 - P_+$. In a small batch the positive wins easily, $c$ becomes
# small, and the anchor learns little from any of its negatives. The next cell looks at the mean factor over a batch,
# for batches of different sizes out of the same embeddings.

# %%
for count in (4, 16, 64, 256):
    e = hc.explain(first[:count], second[:count], temperature=0.2)
    print(f"batch {count:<4} mean factor {e.coupling.mean():.2f}")
# roughly: batch 4    mean factor 0.09
# roughly: batch 16   mean factor 0.32
# roughly: batch 64   mean factor 0.67
# roughly: batch 256  mean factor 0.90

# %% [markdown]
# DCL (Yeh et al. 2022) takes the positive out of the denominator, which makes $c = 1$ whatever the batch:
#
# $$L = \frac1N \sum_i \Big( -\frac{s_{ii}}{\tau} + \log \sum_{k \ne i} e^{s_{ik}/\tau} \Big).$$
#
# ### Exercise 08.4
#
# Write it for an (N, N) matrix of similarities, so that it holds at a temperature of 0.001.


# %%
def decoupled(similarities, temperature):
    """The mean loss, with the negatives alone in the denominator."""
    # BEGIN SOLUTION
    logits = similarities / temperature
    negatives = np.where(np.eye(len(logits), dtype=bool), -np.inf, logits)
    peak = negatives.max(axis=1)
    log_mass = np.log(np.exp(negatives - peak[:, None]).sum(axis=1)) + peak
    return (log_mass - np.diag(logits)).mean()
    # END SOLUTION


# %%
check("08.4", decoupled)

# %% [markdown]
# DCL has no floor at 0: it goes on falling as positives come closer, so its value does not say how far it is. And the
# name is taken twice: an older repository calls the *debiased* loss DCL. When a table says DCL, look which.
#
# ## Play: whom does it push?
#
# The page below lays InfoNCE open on the encoder trained above. **Move the temperature**: at 0.07 the push falls on
# blue dots, of the anchor's own digit; towards 1 it reaches everyone.

# %%
hc.explain(first[:64], second[:64], temperature=0.2, labels=test.labels[:64])

# %% [markdown]
# **Experiment.** How many negatives should a hard loss keep? Train `hard_simple` with k = 1, 5, 25, 100 and 255, and
# report each. Where does the accuracy peak? (k = 255 is the simple loss.) Then repeat `debiased` with a
# `class_prior` of 0.3: what does it cost to expect too many false negatives?
#
# ## Summary
#
# - A loss is known by its shares, which say whom it pushes, and by its factor, which says how hard.
# - A cut, a small temperature and a weight do the same kind of thing: they move the push to the nearest.
# - The nearest negatives of a good encoder are mostly false. Hardness spreads them, debiasing spares them.
# - The factor of InfoNCE dies in small batches; that of DCL does not.
#
# ## Test yourself
#
# <details><summary>1. Why does the simple loss not spread embeddings evenly?</summary>
#
# Its push on each negative is the same wherever that lies. It is satisfied once the mean of the embeddings is 0, and
# clumps on opposite sides have that.
# </details>
#
# <details><summary>2. A hard InfoNCE keeps all N - 1 negatives. What is it?</summary>
#
# InfoNCE.
# </details>
#
# <details><summary>3. Why does debiasing use the positive's similarity?</summary>
#
# False negatives are images of the anchor's class, and the positive is the one image of which that is known. It stands
# for all of them.
# </details>
#
# <details><summary>4. At which temperature does InfoNCE share its push as HCL does at 0.5 with beta = 1?</summary>
#
# 0.5 / (1 + 1) = 0.25, if the weights are taken as constants.
# </details>
#
# <details><summary>5. Where would you expect DCL to help most?</summary>
#
# In small batches, where the factor of InfoNCE is far below 1. With 256 images it was 0.9 at this temperature.
# </details>
#
# ## Further reading
#
# - Wang & Liu 2021, arXiv 2012.09740, section 4.3: the hard losses, on four data sets.
# - Chuang et al. 2020, *Debiased Contrastive Learning*, arXiv 2007.00224.
# - Robinson et al. 2021, *Contrastive Learning with Hard Negative Samples*, arXiv 2010.04592.
# - Yeh et al. 2022, *Decoupled Contrastive Learning*, arXiv 2110.06848.
# - `docs/losses.md`: all of them on one batch, and which is a special case of which.
#
# **Next** lesson 09: more negatives than memory.
#
# The number in answer 4:

# %%
print(f"{0.5 / (1 + 1)}")
# expected: 0.25
