# %% [markdown]
# # 09 Large batches, small memory
#
# More negatives make a harder question, and a batch of N images has N squared similarities. Here you compute the loss
# without ever holding them, train an encoder on a batch that does not fit, and find the fault that distributed
# contrastive code has had again and again: a loss that is right, with a gradient that is not.
#
# You will be able to
#
# - compute InfoNCE and its gradient in tiles, with memory that grows with N and not with its square;
# - build a gradient cache by hand, and say why accumulating gradients is something else;
# - say what each machine must send to the others, and what happens if it averages where it should sum.
#
# **Time** 25 minutes, with four exercises. **Prerequisites** lessons 01 (gradients), 03 (InfoNCE) and 06 (training).

# %% [markdown]
# ## First, a guess
#
# 1. How much memory do the similarities of a batch of 65,536 images take, in float32?
# 2. A batch of 256 does not fit, so you average the gradients of four batches of 64. How far is that from the gradient
#    of the batch of 256: equal, a tenth off, a half off? And does it matter how far the training has come?
# 3. Four machines hold a quarter of the batch each. Each computes the loss of its own anchors against all keys. The
#    loss is right to the last digit. Is the gradient?

# %%
import tracemalloc

import matplotlib.pyplot as plt
import numpy as np

import hypercon as hc
from hypercon.coursework import check, described
from hypercon.palette import CURVES

print(f"{65_536**2 * 4 / 1e9:.1f} GB")
# expected: 17.2 GB

# %% [markdown]
# ## The idea
#
# The loss of an anchor needs one number of all its similarities, $\log \sum_j e^{s_{ij}/\tau}$. A sum can be taken in
# parts. So hold a *tile* of similarities at a time, and keep only the sum so far.
#
# ## By hand
#
# Three logits, 4, 3 and 1, come in two tiles: (4, 3), then (1). The first has $\log(e^4 + e^3) = 4.3133$, the second
# $\log e^1 = 1$. Two log-sums merge into $\log(e^{4.3133} + e^{1})$, computed from the larger of the two so that
# nothing overflows: $4.3133 + \log(1 + e^{1 - 4.3133}) = 4.3490$. All three at once give the same:

# %%
tiles = np.logaddexp(4, 3), 1.0
print(f"tiles {tiles[0]:.4f} and {tiles[1]:.4f}, merged {np.logaddexp(*tiles):.4f}, at once", end=" ")
print(f"{np.log(np.exp([4, 3, 1]).sum()):.4f}")
# expected: tiles 4.3133 and 1.0000, merged 4.3490, at once 4.3490

# %% [markdown]
# ### Exercise 09.1
#
# Return $\log \sum_j e^{u_i \cdot v_j / \tau}$ for every row of `u`. Go over the rows of `v` in tiles of `tile` rows;
# the last may be smaller. Hold one (N, tile) block of similarities at a time. It must hold at a temperature of 0.001.


# %%
def log_sums(u, v, temperature, tile):
    """The log-sum-exp of each anchor over all keys, (N,)."""
    # BEGIN SOLUTION
    total = np.full(len(u), -np.inf)
    for start in range(0, len(v), tile):
        logits = u @ v[start : start + tile].T / temperature
        peak = logits.max(axis=1)
        part = np.log(np.exp(logits - peak[:, None]).sum(axis=1)) + peak
        total = np.logaddexp(total, part)
    return total
    # END SOLUTION


# %%
check("09.1", log_sums)

# %% [markdown]
# ## The gradient, in tiles too
#
# The gradient needs every $P_{ij} = e^{s_{ij}/\tau - \ell_i}$, N squared numbers again. But with the log-sums $\ell_i$
# kept from before, a tile of P can be computed anew, used, and thrown away. That is all that FlashAttention-like losses
# do (Cheng et al. 2024): *compute twice, store nothing.*
#
# ### Exercise 09.2
#
# Return the gradient of the mean loss with respect to `u`, which is $\frac{1}{N\tau}\big(\sum_j P_{ij} v_j - v_i\big)$
# in row i, again one (N, tile) block at a time. Row i of `v` is the positive of row i of `u`.


# %%
def anchors_gradient(u, v, temperature, sums, tile):
    """The gradient of InfoNCE by the anchors, (N, D), from their log-sums."""
    # BEGIN SOLUTION
    pulled = -v
    for start in range(0, len(v), tile):
        keys = v[start : start + tile]
        pulled = pulled + np.exp(u @ keys.T / temperature - sums[:, None]) @ keys
    return pulled / (len(u) * temperature)
    # END SOLUTION


# %%
check("09.2", anchors_gradient)

# %% [markdown]
# `hc.info_nce` does this on the CPU, with as much working memory as you allow it. The next cell holds yours against it.

# %%
rng = np.random.default_rng(0)
u, v = (hc.normalize(rng.normal(size=(1000, 16))) for _ in range(2))
sums = log_sums(u, v, 0.1, tile=128)
print(abs((sums - (u * v).sum(axis=1) / 0.1).mean() - hc.info_nce(u, v, temperature=0.1)) < 1e-12)
by_autograd = hc.grad(lambda u: hc.info_nce(u, v, temperature=0.1, normalize=False))(u)
print(np.abs(anchors_gradient(u, v, 0.1, sums, 128) - by_autograd).max() < 1e-12)
# expected: True
# expected: True

# %% [markdown]
# And what it saves: the largest memory at any moment, for the formula as it reads and for the library with 1 MB to work
# in.


# %%
def peak_megabytes(f, u, v):
    """The most memory that NumPy's arrays take during a call."""
    tracemalloc.start()
    f(u, v)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def as_it_reads(u, v):
    """InfoNCE from all similarities at once."""
    logits = u @ v.T / 0.1
    return (np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)).mean()


def in_tiles(u, v):
    """The library's, with 1 MB to work in."""
    return hc.info_nce(u, v, temperature=0.1, memory=1_000_000)


# %% [markdown]
# For batches from 250 to 2,000:

# %%
sizes, memory = (250, 500, 1000, 2000), {"as it reads": [], "in tiles": []}
for count in sizes:
    u, v = (hc.normalize(rng.normal(size=(count, 16)).astype(np.float32)) for _ in range(2))
    memory["as it reads"].append(peak_megabytes(as_it_reads, u, v))
    memory["in tiles"].append(peak_megabytes(in_tiles, u, v))
print("as it reads", *(f"{peak:.1f}" for peak in memory["as it reads"]), "MB")
print("in tiles, less than 2 MB:", max(memory["in tiles"]) < 2)
# roughly: as it reads 0.5 2.0 8.0 32.0 MB
# roughly: in tiles, less than 2 MB: True

# %% [markdown]
# On logarithmic axes the slopes tell the two apart:

# %%
figure, ax = plt.subplots(figsize=(6, 3.4))
for (name, peaks), colour, marker in zip(memory.items(), CURVES[:2], "os", strict=True):
    ax.loglog(sizes, peaks, color=colour, marker=marker, label=name)
ax.set(xlabel="images in the batch", ylabel="peak memory, MB", xticks=sizes, xticklabels=sizes)
ax.minorticks_off()
ax.legend()
described(figure, "Memory over batch size: as it reads it grows fourfold with each doubling; in tiles it stays low.")

# %% [markdown]
# **What you should see.** As it reads, every doubling of the batch takes four times the memory. In tiles the memory
# hardly grows: what grows are the embeddings themselves.
#
# ## The encoder does not fit
#
# Usually it is not the similarities that fill the memory but the encoder, which keeps the output of every layer for the
# backward pass. Tiles do not help there. A **gradient cache** does (Gao et al. 2021), and it needs nothing but the
# chain rule: the loss reaches the weights only through the embeddings,
#
# $$\frac{dL}{dw} = \sum_i \frac{\partial L}{\partial z_i} \cdot \frac{\partial z_i}{\partial w}.$$
#
# So: (1) embed the batch piece by piece, recording nothing; (2) compute $\partial L/\partial z$ once, for the whole
# batch; (3) embed piece by piece again, this time recording, and send each piece's part of $\partial L/\partial z$
# backwards. The gradients of the pieces add up.
#
# An encoder, and the gradient of the whole batch to compare with:

# %%
nn, images = hc.nn, hc.data.load("digits").images
rng = np.random.default_rng(0)
encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 64, rng=rng), nn.ReLU(), nn.Linear(64, 16, rng=rng))
first, second = hc.data.mild(window=0.8).two_views(images[:256], rng=rng)


def gradient_of(encoder):
    """All gradients as one row, which are then cleared."""
    row = np.concatenate([parameter.grad.data.ravel() for parameter in encoder.parameters()])
    encoder.zero_grad()
    return row


hc.info_nce(encoder(hc.tensor(first)), encoder(hc.tensor(second)), temperature=0.1).backward()
whole = gradient_of(encoder)

# %% [markdown]
# Now the cache, in pieces of 32 images. Step 2 is one line, since `hc.value_and_grad` differentiates by both
# arguments at once.


# %%
def cached_gradient(encoder, first, second, temperature, piece=32):
    """Leave the gradient of the whole batch in the encoder, and return the loss."""
    pieces = [slice(start, start + piece) for start in range(0, len(first), piece)]
    with hc.no_grad():
        z1, z2 = (np.concatenate([encoder(hc.tensor(x[p])).data for p in pieces]) for x in (first, second))
    by_embeddings = hc.value_and_grad(lambda a, b: hc.info_nce(a, b, temperature=temperature), argnums=(0, 1))
    loss, slopes = by_embeddings(z1, z2)
    for x, slope in zip((first, second), slopes, strict=True):
        for p in pieces:
            (encoder(hc.tensor(x[p])) * slope[p]).sum().backward()
    return loss


cached_gradient(encoder, first, second, 0.1)
cached = gradient_of(encoder)
print(f"relative difference below 1e-5: {np.linalg.norm(cached - whole) / np.linalg.norm(whole) < 1e-5}")
# expected: relative difference below 1e-5: True

# %% [markdown]
# The same gradient, and the encoder has never seen more than 32 images at a time. The price is a second forward pass.
#
# ### Exercise 09.3
#
# Write step 3 for a single layer, $z = \tanh(x W)$: given $\partial L/\partial z$ for all N rows, return
# $\partial L/\partial W$, holding no more than `piece` rows of z at a time.


# %%
def from_cache(x, weights, slope, piece):
    """dL/dW, from pieces."""
    # BEGIN SOLUTION
    total = np.zeros_like(weights)
    for start in range(0, len(x), piece):
        rows = x[start : start + piece]
        z = np.tanh(rows @ weights)
        total += rows.T @ ((1 - z * z) * slope[start : start + piece])
    return total
    # END SOLUTION


# %%
check("09.3", from_cache)

# %% [markdown]
# ## Accumulation is something else
#
# The usual way to a large batch is to add up the gradients of small ones. For a loss that is a sum over images, such as
# cross-entropy with labels, that is the same. A contrastive loss is none: an image of one small batch is no negative in
# another. The next cell averages the gradients of four batches of 64, and compares.


# %%
def compare(name):
    """Accumulated gradients against those of the whole batch."""
    losses, total = [], 0
    for start in range(0, 256, 64):
        z1, z2 = (encoder(hc.tensor(x[start : start + 64])) for x in (first, second))
        loss = hc.info_nce(z1, z2, temperature=0.1)
        loss.backward()
        losses.append(loss.item())
        total = total + gradient_of(encoder) / 4
    loss, whole = cached_gradient(encoder, first, second, 0.1), gradient_of(encoder)
    error = np.linalg.norm(total - whole) / np.linalg.norm(whole)
    print(f"{name} training: loss {np.mean(losses):.1f} instead of {loss:.1f}, gradient {error:.2f} off")


# %% [markdown]
# Once before training, and once after 60 steps with the cache, each of a batch that the encoder never sees at once:

# %%
compare("before")
optimizer = hc.optim.Adam(encoder.parameters(), 3e-3)
for _ in range(60):
    chosen = images[rng.permutation(len(images))[:256]]
    cached_gradient(encoder, *hc.data.mild(window=0.8).two_views(chosen, rng=rng), 0.1)
    optimizer.step()
    encoder.zero_grad()
compare("after")
# roughly: before training: loss 3.2 instead of 4.5, gradient 0.05 off
# roughly: after training: loss 0.8 instead of 1.7, gradient 0.46 off

# %% [markdown]
# The loss is lower, since 63 negatives are an easier question than 255. The gradient is nearly right at the start,
# where all images still lie together and any few negatives stand for all. Once the encoder can tell images apart, only
# the nearest negatives matter, and a small batch does not hold them: the gradient is off by almost a half. Accumulation
# is the gradient of another objective, that of a batch of 64.
#
# A warning about the cache, too. It takes each embedding to depend on its own image alone. Batch normalisation breaks
# that: the statistics of 32 images are not those of 256. (This encoder has none, so the agreement is exact.)
#
# ## Many machines
#
# With W ranks, rank r holds N/W images, embeds them, and sends its keys $z_2$ to all others (an *all-gather*). It then
# has the loss $L_r$ of its own anchors against all N keys. The loss of the batch is the mean of these.
#
# The next cell simulates four ranks with one linear encoder. For each it keeps what autograd gives: the gradient of
# $L_r$ by the rank's own anchors, `du[r]`, and by all keys, `dv[r]`.

# %%
ranks, share = 4, 64
x1, x2 = (x.reshape(256, -1).astype(np.float64) for x in (first, second))
w = np.random.default_rng(1).normal(size=(64, 16)) / 8
du, dv, losses = [], [], []
for r in range(ranks):
    mine = slice(r * share, (r + 1) * share)

    def of_rank(anchors, keys, mine=mine):
        logits = hc.normalize(anchors) @ hc.normalize(keys).T / 0.1
        return (hc.logsumexp(logits, axis=1) - hc.diagonal(logits[:, mine])).mean()

    loss, (by_anchors, by_keys) = hc.value_and_grad(of_rank, argnums=(0, 1))(x1[mine] @ w, x2 @ w)
    losses, du, dv = [*losses, loss], [*du, by_anchors], [*dv, by_keys]
du, dv = np.array(du), np.array(dv)

# %% [markdown]
# The losses average to that of the batch, whatever is done with the gradients. *A test of the loss finds no fault
# here.*

# %%
print(f"{abs(np.mean(losses) - hc.info_nce(x1 @ w, x2 @ w, temperature=0.1)) < 1e-12}")
# expected: True

# %% [markdown]
# ### Exercise 09.4
#
# Put the gradient of the weights together, for the encoder $z = x W$. The rules of data-parallel training: rank r
# computes a gradient from *its own images*, its rows of `x1` and of `x2`; these are then averaged over the ranks. What
# must flow back through the all-gather to the keys of rank r? `du` is (W, N/W, D), `dv` is (W, N, D).


# %%
def averaged_gradient(x1, x2, du, dv):
    """The gradient of the batch's loss by the weights of z = x W."""
    # BEGIN SOLUTION
    ranks, share, _ = du.shape
    total = 0
    for r in range(ranks):
        mine = slice(r * share, (r + 1) * share)
        to_my_keys = dv[:, mine].sum(axis=0)  # from the losses of all ranks
        total = total + x1[mine].T @ du[r] + x2[mine].T @ to_my_keys
    return total / ranks
    # END SOLUTION


# %%
check("09.4", averaged_gradient)

# %% [markdown]
# ## Break it: three ways to gather
#
# The keys of rank r have pushed and pulled anchors everywhere, so the gradients from *all* ranks' losses come back to
# them, **summed**. Two faults are common. A gather that records nothing lets only the own loss through: communication
# libraries do not differentiate by themselves. And a gather that averages what comes back divides it by W, once too
# often, since the weights' gradients are averaged already.

# %%
whole = hc.grad(lambda w: hc.info_nce(hc.tensor(x1) @ w, hc.tensor(x2) @ w, temperature=0.1))(w)
own = np.concatenate([dv[r, r * share : (r + 1) * share] for r in range(ranks)])
anchors = du.reshape(256, -1)
ways = {"summed": dv.sum(axis=0), "averaged": dv.mean(axis=0), "own loss only": own}
for name, keys in ways.items():
    gradient = (x1.T @ anchors + x2.T @ keys) / ranks
    error, yours = np.linalg.norm(gradient - whole), averaged_gradient(x1, x2, du, dv)
    agrees = np.allclose(gradient, yours)
    print(f"{name:<14} relative error {error / np.linalg.norm(whole):.2f}, as yours: {agrees}")
# roughly: summed         relative error 0.00, as yours: True
# roughly: averaged       relative error 0.29, as yours: False
# roughly: own loss only  relative error 0.53, as yours: False

# %% [markdown]
# Both faults have the right loss, go downhill, and train something. So they have lived for years: in lightly (issue
# 1977) the gradient was off by exactly one over the number of ranks. **Test gradients, not values**: put the ranks'
# gradient beside that of one machine with the whole batch, as above.
#
# ## What has run where
#
# This lesson has simulated its ranks in one process. With MPI it is two calls more: `allgather` before the loss, and a
# sum over ranks of what returns to the keys. The program below has been run with `mpiexec -n 4` on one machine, and
# agrees:
#
# ```python
# import numpy as np
# from mpi4py import MPI
#
# import hypercon as hc
#
# comm, rng = MPI.COMM_WORLD, np.random.default_rng(0)
# x1, x2, w = rng.normal(size=(64, 8)), rng.normal(size=(64, 8)), rng.normal(size=(8, 4))  # alike on every rank
# mine = slice(comm.rank * 64 // comm.size, (comm.rank + 1) * 64 // comm.size)
# keys = np.concatenate(comm.allgather(x2[mine] @ w))
#
#
# def of_rank(anchors, keys):
#     logits = hc.normalize(anchors) @ hc.normalize(keys).T / 0.1
#     return (hc.logsumexp(logits, axis=1) - hc.diagonal(logits[:, mine])).mean()
#
#
# by_anchors, by_keys = hc.grad(of_rank, argnums=(0, 1))(x1[mine] @ w, keys)
# gradient = x1[mine].T @ by_anchors + x2[mine].T @ comm.allreduce(by_keys)[mine]  # summed over ranks ...
# gradient = comm.allreduce(gradient) / comm.size  # ... and then averaged
# whole = hc.grad(lambda w: hc.info_nce(hc.tensor(x1) @ w, hc.tensor(x2) @ w, temperature=0.1))(w)
# if comm.rank == 0:
#     print(comm.size, "ranks agree with one:", np.allclose(gradient, whole))
# ```
#
# On a GPU the tiles pay off twice, since memory is scarcer there and arithmetic cheaper. `docs/devices.md` says what of
# this library has run on a GPU so far, and what has not. What you have here to compute with:

# %%
hc.show_config()

# %% [markdown]
# ## Experiment: how many negatives?
#
# Batches of 16, 64 and 256, each for about as many steps. Chance is also the most information, in nats, that the loss
# can certify (lesson 03): with NT-Xent and 16 images no more than $\log 31$.

# %%
train, test = hc.data.load("digits"), hc.data.load("digits", "test")
few = hc.metrics.few_labels(train.labels, 10, rng=np.random.default_rng(0))
for size in (16, 64, 256):
    encoder = hc.nn.mlp(train.images.shape[1:], widths=(128, 128), dim=32, rng=np.random.default_rng(0))
    optimizer = hc.optim.Adam(encoder.parameters(), 2e-3)
    settings = {"epochs": 80 // (len(train) // size) + 1, "batch_size": size, "rng": np.random.default_rng(1)}
    views = hc.data.mild(window=0.8)
    hc.fit(encoder, train.images, loss="nt_xent", temperature=0.2, optimizer=optimizer, augment=views, **settings)
    known, z = encoder.embed(train.images)[1], encoder.embed(test.images)[1]
    accuracy = hc.metrics.knn_accuracy(known[few], train.labels[few], z, test.labels)
    print(f"batch {size:<4} chance {np.log(2 * size - 1):.2f}   accuracy with 10 labels a class {accuracy:.2f}")
# roughly: batch 16   chance 3.43   accuracy with 10 labels a class 0.80
# roughly: batch 64   chance 4.84   accuracy with 10 labels a class 0.86
# roughly: batch 256  chance 6.24   accuracy with 10 labels a class 0.86

# %% [markdown]
# From 16 to 64 the batch helps; from 64 to 256 it does not, on digits. Ten classes are told apart with few negatives.
# More are needed where what must be told apart is finer than a batch shows. Before you pay for a large batch, measure
# whether your data do.
#
# ## Summary
#
# - A log-sum-exp can be merged from tiles, and the gradient computed from it tile by tile: memory grows with N alone.
# - A gradient cache gives the exact gradient of a batch that the encoder cannot hold. Accumulation does not.
# - What returns to a rank's keys is summed over ranks. Test the gradient: the loss cannot tell.
#
# ## Test yourself
#
# <details><summary>1. What must be kept between the two passes over the tiles?</summary>
#
# The embeddings, and one log-sum for each anchor.
# </details>
#
# <details><summary>2. Why may the tiles be merged in any order?</summary>
#
# A sum does not depend on the order, and the log-sum-exp is a sum.
# </details>
#
# <details><summary>3. What does a gradient cache cost?</summary>
#
# A second forward pass of the encoder. (And the random parts of a layer, such as dropout, must be the same in both.)
# </details>
#
# <details><summary>4. With a queue of old keys (MoCo), what becomes of the gradient of the keys?</summary>
#
# There is none: old keys are constants. That is by design, not the fault of above.
# </details>
#
# <details><summary>5. Two machines, and a gather that averages. How far off is the gradient through the keys?</summary>
#
# It is half of what it should be. The part through the anchors is right, so the whole gradient also has another
# direction.
# </details>
#
# ## Further reading
#
# - Gao et al. 2021, *Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup*, arXiv 2101.06983.
# - Cheng et al. 2024, *Breaking the Memory Barrier* (Inf-CL), arXiv 2410.17243: tiles, and keys passed round a ring.
# - He et al. 2020, *Momentum Contrast*, arXiv 1911.05722, and `hc.losses.Queue`: many negatives from a small batch.
# - `hypercon/losses/infonce.py`: the tiles of this library.
#
# **Next** lesson 10: losses that are no InfoNCE, and what to check first.
