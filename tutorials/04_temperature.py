# %% [markdown]
# # 04 The temperature, from one end to the other
#
# You will be able to
#
# - say how many negatives really count at a given temperature, as a number,
# - name the two losses that InfoNCE turns into when the temperature goes to 0 and to infinity,
# - spot three mistakes that are made when temperatures are compared.
#
# **Time** 25 minutes, with four exercises. **Prerequisites** lesson 03: the loss, its gradient, and the shares $r$ of
# the push.

# %%
import matplotlib.pyplot as plt
import numpy as np

import hypercon as hc
from hypercon.coursework import check, described
from hypercon.palette import CURVES

# %% [markdown]
# ## First, a guess
#
# An anchor has 100 negatives, whose similarities are spread evenly over [-1, 1]. **At a temperature of 0.07, how many
# of the 100 share the push, in effect?** And at 1? Write two numbers down before you read on.

# %% [markdown]
# ## The idea
#
# The push on an anchor is shared by $r_k \propto e^{s_k/\tau}$. How many take part *in effect* is asked in many fields,
# and the answer is everywhere the same: the exponential of the entropy.
#
# $$H = -\sum_k r_k \log r_k, \qquad \text{effective negatives} = e^{H}$$
#
# If m negatives share equally and the others receive nothing, $e^H$ = m. In between it counts in fractions.
#
# ## By hand
#
# Three negatives at 0.6, 0.4 and 0, at $\tau = 0.2$. Divided by the temperature they are 3, 2 and 0.
#
# | $s$ | $e^{s/\tau}$ | $r$ | $-r \log r$ |
# | --- | --- | --- | --- |
# | 0.6 | 20.09 | 0.7054 | 0.2462 |
# | 0.4 | 7.39 | 0.2595 | 0.3501 |
# | 0 | 1 | 0.0351 | 0.1176 |
# | sum | 28.47 | 1 | 0.7139 |
#
# So $e^{0.7139}$ = 2.04 of the three negatives count. In code:

# %%
r = np.exp(np.array([0.6, 0.4, 0.0]) / 0.2)
r /= r.sum()
print(r.round(4), (-r * np.log(r)).round(4))
# expected: [0.7054 0.2595 0.0351] [0.2462 0.3501 0.1176]
print(f"{-(r * np.log(r)).sum():.4f} {np.exp(-(r * np.log(r)).sum()):.2f}")
# expected: 0.7139 2.04

# %% [markdown]
# ### Exercise 04.1
#
# Write it for one anchor, so that it holds at a temperature of 0.001.


# %%
def effective_negatives(negatives, temperature):
    """exp of the entropy of the shares: between 1 and the number of negatives."""
    # BEGIN SOLUTION
    logits = (negatives - negatives.max()) / temperature
    log_shares = logits - np.log(np.exp(logits).sum())
    return np.exp(-(np.exp(log_shares) * log_shares).sum())
    # END SOLUTION


# %%
check("04.1", effective_negatives)

# %% [markdown]
# Now your guess. For a small temperature there is a rule of thumb: negatives with a density of 50 per unit of
# similarity count $50\, e\, \tau$, since $r$ is then an exponential distribution with mean $\tau$, whose entropy is
# $1 + \log \tau$.

# %%
negatives = np.linspace(-1, 1, 100)
for tau in (0.07, 0.2, 1.0):
    print(f"{tau}: {effective_negatives(negatives, tau):.1f} of 100; rule of thumb {50 * np.e * tau:.1f}")
# expected: 0.07: 9.5 of 100; rule of thumb 9.5
# expected: 0.2: 26.9 of 100; rule of thumb 27.2
# expected: 1.0: 85.7 of 100; rule of thumb 135.9

# %% [markdown]
# At 1 the rule fails: there are not that many. To see all of it, we draw two anchors. The second has 90 negatives at
# about 0 and ten near duplicates at about 0.9.

# %%
duplicates = np.concatenate([np.linspace(-0.2, 0.2, 90), np.linspace(0.88, 0.92, 10)])
taus = np.geomspace(0.005, 10, 60)
figure, axes = plt.subplots(figsize=(6.5, 3.4))
for s, name, colour, line in (
    (negatives, "spread evenly", CURVES[0], "-"),
    (duplicates, "ten near 0.9", CURVES[1], "--"),
):
    axes.loglog(taus, [effective_negatives(s, tau) for tau in taus], line, color=colour, label=name)
axes.set(xlabel="temperature", ylabel="effective negatives", ylim=(0.9, 130))
axes.legend()
described(figure, "Effective negatives over the temperature, both logarithmic. Both curves rise to 100. One "
          "rises steadily; the second has a step at 10 between temperatures 0.03 and 0.12.")  # fmt: skip

# %% [markdown]
# **What you should see**: both curves never fall. The even spread rises in a straight line until the supply is
# exhausted. The other stops at ten, the number of its near duplicates, between about 0.03 and 0.12: there the
# temperature tells the ten from the rest, but not from one another. No temperature is right by itself; it is right for
# *these* similarities.
#
# ## Why the curve never falls
#
# With $\beta = 1/\tau$, the shares are $r \propto e^{\beta s}$, and a short calculation gives
# $dH/d\beta = -\beta\, \mathrm{Var}_r(s)$: the variance of the similarities, weighted by the shares. A variance is not
# negative, and with $d\beta/d\tau = -1/\tau^2$ the entropy can only rise with the temperature (Wang & Liu 2021, below
# eq. 5).
#
# ### Exercise 04.2
#
# Write $dH/d\tau$. The check differentiates the entropy numerically and knows no formula.


# %%
def entropy_slope(negatives, temperature):
    """The derivative of the entropy by the temperature."""
    # BEGIN SOLUTION
    r = np.exp((negatives - negatives.max()) / temperature)
    r /= r.sum()
    variance = (r * negatives**2).sum() - (r * negatives).sum() ** 2
    return variance / temperature**3
    # END SOLUTION


# %%
check("04.2", entropy_slope)

# %% [markdown]
# ## The cold end
#
# As $\tau$ falls, only the hardest negative $s_{\max}$ is left in the sum, and
#
# $$\tau L \;\to\; \max(s_{\max} - s_+,\, 0)$$
#
# (Wang & Liu 2021, eq. 6): a triplet loss without a margin. An anchor whose positive leads teaches nothing any more,
# and of the others only one negative teaches.
#
# ### Exercise 04.3
#
# Write the limit for a batch, as a mean over anchors. Positives stand on the diagonal.


# %%
def cold_limit(similarities):
    """What tau L tends to as tau tends to 0."""
    # BEGIN SOLUTION
    positives = np.diag(similarities)
    others = np.where(np.eye(len(similarities), dtype=bool), -np.inf, similarities)
    return np.maximum(others.max(axis=1) - positives, 0).mean()
    # END SOLUTION


# %%
check("04.3", cold_limit)

# %% [markdown]
# ## The hot end
#
# As $\tau$ grows, all exponents are small, and $e^x \approx 1 + x$ gives, with N candidates,
#
# $$L \;\approx\; \log N + \frac{1}{\tau}\Big(\frac{1}{N}\sum_j s_j - s_+\Big)$$
#
# (eq. 7; the sum is over all candidates, the positive included). Up to constants this is *minus the positive plus the
# mean*: every negative is pushed alike. Wang & Liu call it the simple loss; it does not know what is hard.
#
# ### Exercise 04.4
#
# Write this, averaged over the anchors of a batch.


# %%
def hot_limit(similarities, temperature):
    """What the loss is for a large temperature, but for terms of order 1 / tau^2."""
    # BEGIN SOLUTION
    gap = similarities.mean(axis=1) - np.diag(similarities)
    return np.log(len(similarities)) + gap.mean() / temperature
    # END SOLUTION


# %%
check("04.4", hot_limit)

# %% [markdown]
# Both limits against the loss itself, on 64 pairs that are half learned. The error of the hot one shrinks like
# $1/\tau^2$: multiplied by that it stays the same. That of the cold one vanishes as soon as the temperature is well
# below the differences between similarities.

# %%
rng = np.random.default_rng(0)
z1 = rng.normal(size=(64, 16))
z2 = z1 + 1.5 * rng.normal(size=z1.shape)
s = hc.normalize(z1) @ hc.normalize(z2).T
for tau in (0.1, 0.01, 0.001):
    print(f"tau {tau}: tau L is {tau * hc.info_nce(z1, z2, temperature=tau):.5f}, its limit {cold_limit(s):.5f}")
for tau in (1.0, 10.0, 100.0):
    error = hc.info_nce(z1, z2, temperature=tau) - hot_limit(s, tau)
    print(f"tau {tau:g}: error of the hot limit {error:.7f}, times tau^2 {error * tau**2:.4f}")
# expected: tau 0.1: tau L is 0.23696, its limit 0.13525
# expected: tau 0.01: tau L is 0.13579, its limit 0.13525
# expected: tau 0.001: tau L is 0.13525, its limit 0.13525
# expected: tau 1: error of the hot limit 0.0326316, times tau^2 0.0326
# expected: tau 10: error of the hot limit 0.0003258, times tau^2 0.0326
# expected: tau 100: error of the hot limit 0.0000033, times tau^2 0.0326

# %% [markdown]
# The library has both: `hc.losses.triplet_limit` is the cold one, `hc.losses.first_order_limit` the hot one.

# %%
print(abs(hc.losses.triplet_limit(z1, z2) - cold_limit(s)) < 1e-12)
# expected: True
print(abs(hc.losses.first_order_limit(z1, z2, temperature=10) - hot_limit(s, 10)) < 1e-12)
# expected: True

# %% [markdown]
# ## Break it
#
# Three ways to be misled by a temperature. **First: comparing losses.** The embeddings below never change, and yet the
# loss falls by a third when only the temperature falls. Compare a loss with its own chance and floor, never with a loss
# at another temperature.

# %%
for tau in (1.0, 0.2, 0.1):
    e = hc.explain(z1, z2, temperature=tau)
    print(f"tau {tau}: loss {e.loss:.3f} between floor {e.floor:.3f} and chance {e.chance:.3f}")
# expected: tau 1.0: loss 3.733 between floor 3.170 and chance 4.159
# expected: tau 0.2: loss 2.655 between floor 0.331 and chance 4.159
# expected: tau 0.1: loss 2.370 between floor 0.002 and chance 4.159

# %% [markdown]
# **Second: learning it without a bound.** $\partial L/\partial\tau$ is positive when positives lead, so gradient
# descent cools for ever: the loss goes to 0, and nothing has been learned but to be sure of oneself. CLIP therefore
# holds its learned temperature above 0.01, and so does `hc.LearnedTemperature`.

# %%
easy = z1 + 0.3 * rng.normal(size=z1.shape)
log_tau = 0.0
for step in range(301):
    value, slope = hc.value_and_grad(lambda t: hc.info_nce(z1, easy, temperature=hc.exp(t)))(log_tau)
    if step % 100 == 0:
        print(f"step {step}: temperature {np.exp(log_tau):.3f}, loss {float(value):.5f}")
    log_tau -= 0.5 * float(slope)
# expected: step 0: temperature 1.000, loss 3.26377
# expected: step 100: temperature 0.039, loss 0.00077
# expected: step 200: temperature 0.034, loss 0.00034
# expected: step 300: temperature 0.031, loss 0.00021

# %% [markdown]
# **Third: sweeping it under plain gradient descent.** The gradient has the factor $1/\tau$ in front, so a sweep of the
# temperature is a sweep of the step as well. Adam divides by the size of the gradient; use it, or scale the rate by
# $\tau$.

# %%
for tau in (1.0, 0.2, 0.05):
    e = hc.explain(z1, z2, temperature=tau)
    print(f"tau {tau}: length of the gradient {np.linalg.norm(e.grad_z1):.4f}")
# expected: tau 1.0: length of the gradient 0.0299
# expected: tau 0.2: length of the gradient 0.1431
# expected: tau 0.05: length of the gradient 0.5819

# %% [markdown]
# ## See it on images
#
# One encoder, trained on 8x8 digits at 0.2 for a few seconds, and its held-out embeddings looked at through other
# temperatures: `e.at(tau)` explains the same batch at another one.

# %%
train, test = hc.data.load("digits"), hc.data.load("digits", "test")
rng = np.random.default_rng(0)
encoder = hc.nn.mlp(train.images.shape[1:], rng=rng)
views = hc.data.mild(window=0.8)
adam = hc.optim.Adam(encoder.parameters(), 2e-3)
hc.fit(encoder, train.images, loss="info_nce", temperature=0.2, optimizer=adam,
       epochs=8, batch_size=256, augment=views, rng=rng)  # fmt: skip
z1, z2 = (encoder.embed(view)[1] for view in views.two_views(test.images[:256], rng=rng))
e = hc.explain(z1, z2, temperature=0.2, labels=test.labels[:256])
for tau in (0.02, 0.07, 0.2, 1.0):
    seen = e.at(tau)
    print(f"{tau}: {seen.effective_negatives.mean():.0f} count; own class {seen.false_negative_share.mean():.0%}")
# roughly: 0.02: 2 count; own class 89%
# roughly: 0.07: 7 count; own class 86%
# roughly: 0.2: 92 count; own class 47%
# roughly: 1.0: 248 count; own class 14%

# %% [markdown]
# A colder loss is pickier, and what it picks is more often of the anchor's own class: those are the nearest. That is
# the dilemma of lesson 07. The page lets you move through all of it; watch *effective negatives* and *push on the own
# class*.

# %%
e

# %% [markdown]
# ## Test yourself
#
# <details><summary>1. Of 50 negatives, five share all of the push equally. What is the entropy of the shares?</summary>
#
# log 5 = 1.609 nats; in effect, five negatives.
# </details>
#
# <details><summary>2. Can a colder temperature ever make more negatives count?</summary>
#
# No. dH/dtau is a variance divided by tau^3, which is never negative.
# </details>
#
# <details><summary>3. At a temperature of 0.001 a batch has a loss of 40. What does that say of the batch?</summary>
#
# tau L is 0.04: the hardest negative leads the positive by 0.04 on average, where 0 counts for those whose positive
# leads.
# </details>
#
# <details><summary>4. Why does the simple loss push an outlier as hard as a near duplicate?</summary>
#
# Its derivative by each negative is the same constant. Only the exponential makes a loss look for what is near.
# </details>
#
# <details><summary>5. Model A has loss 1.2 at 0.1, model B has 3.9 at 0.5. Which is better?</summary>
#
# Nobody can say: different questions were asked. Measure both with one yardstick, such as neighbours' labels.
# </details>
#
# ## Further reading
#
# - Wang & Liu, *Understanding the Behaviour of Contrastive Loss*, CVPR 2021, arXiv 2012.09740: equations 5 to 7.
# - Radford et al., *Learning Transferable Visual Models From Natural Language Supervision*, 2021, arXiv 2103.00020:
#   section 2.5 has the learned temperature and its bound.
# - Kukleva et al., *Temperature Schedules for Self-Supervised Contrastive Methods on Long-Tail Data*, ICLR 2023, arXiv
#   2303.13664: a temperature that goes up and down; here `hc.CosineTemperature`.
#
# **Next** lesson 05: what the two forces do to the whole sphere.
