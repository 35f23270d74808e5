# %% [markdown]
# # 06 An encoder, end to end
#
# So far the embeddings were given. Now a network makes them, from images that nobody has labelled. You build the whole
# path once by hand: two views of an image, an encoder, the loss, a step. Then you watch the embedding take shape, and
# ask what it has learned.
#
# You will be able to
#
# - write a contrastive training loop, and say what each line is for;
# - tell from a loss whether it is good: where it stands between chance and the floor;
# - say what an encoder has learned from its views, and measure it against the pixels themselves.
#
# **Time** 25 minutes, with four exercises. **Prerequisites** lessons 01 (gradients), 03 (InfoNCE) and 04 (temperature).

# %% [markdown]
# ## First, a guess
#
# An encoder will be trained on 1,297 handwritten digits of 8x8 pixels, without their labels, for some seconds.
# Write down three answers.
#
# 1. What is its loss before the first step, with 256 images in a batch?
# 2. Five nearest neighbours classify 500 further images, from ten labelled images of each digit. Who does better: the
#    neighbours in the embedding, or those in the raw pixels?
# 3. The same, but the 500 images are zoomed, shifted and noisy. Who does better now?

# %%
import matplotlib.pyplot as plt
import numpy as np

import hypercon as hc
from hypercon.coursework import check, described
from hypercon.explain.motion import moving_points
from hypercon.palette import CLASS_COLOURS, CURVES, INK
from hypercon.plotting import CLASS_MARKERS

train, test = hc.data.load("digits"), hc.data.load("digits", "test")
print(f"{len(train)} images of {train.images.shape[1:]}, and {len(test)} held out")
# expected: 1297 images of (1, 8, 8), and 500 held out

# %% [markdown]
# ## The idea
#
# Two random **views** of one image should lie together on the sphere, and apart from the views of all other images.
# That is all the loss is told. Whatever the views leave unchanged may be kept, and whatever they change is best
# forgotten:
#
# image $\to$ two views $\to$ encoder $\to$ sphere $\to$ InfoNCE $\to$ gradient $\to$ step.

# %% [markdown]
# ## Views
#
# These views show a window of 60 to 100 % of the image's side, somewhere in it, a little darker or lighter, with some
# noise. A 6 is not mirrored: it would no longer be a 6.

# %%
views = hc.data.mild(window=0.6)
first, second = views.two_views(train.images[:8], rng=np.random.default_rng(0))
figure, axes = plt.subplots(3, 8, figsize=(8, 3.2))
for row, images, name in zip(axes, (train.images[:8], first, second), ("image", "one view", "another"), strict=True):
    row[0].set_ylabel(name)
    for ax, image in zip(row, images, strict=True):
        ax.imshow(image[0], cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
described(figure, "Eight handwritten digits in a row, and below each two views of it: larger, moved, grainier.")

# %% [markdown]
# ### Exercise 06.1: a window of each image
#
# Views are made for a whole batch at once. Cut out of every image in `images`, (N, H, W), its own window: `side` pixels
# wide and high, with its upper left corner at row `tops[i]` and column `lefts[i]`. A loop over the N images will do;
# indexing with arrays does without.


# %%
def windows(images, tops, lefts, side):
    """One window of each image, (N, side, side)."""
    # BEGIN SOLUTION
    steps = np.arange(side)
    rows, columns = tops[:, None] + steps, lefts[:, None] + steps
    return images[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]
    # END SOLUTION


# %%
check("06.1", windows)

# %% [markdown]
# ## The encoder
#
# A small perceptron. The *backbone* makes features h, which are kept for later use; the *head* brings them onto a
# sphere in 32 dimensions, as z, where the loss acts.

# %%
encoder = hc.nn.mlp(train.images.shape[1:], widths=(128, 128), dim=32, rng=np.random.default_rng(0))
print(encoder)

# %% [markdown]
# ## By hand: is a loss good?
#
# Take three images, $\tau = 0.5$, positives at similarity 0.8, all other pairs at 0.2. Then
#
# $$L = -\log\frac{e^{0.8/0.5}}{e^{0.8/0.5} + 2\, e^{0.2/0.5}} = -\log\frac{4.95}{4.95 + 2 \cdot 1.49} = 0.47 .$$
#
# Is that good? An encoder that knows nothing has all similarities alike, and the loss $\log 3 = 1.10$: **chance**. The
# best that three images can do is to stand at the corners of a triangle, at similarity $-1/2$, with positives at 1.
# That gives the **floor**, $\log(1 + 2\, e^{-1.5/0.5}) = 0.095$. So this loss has come five eighths of the way:
# $(1.099 - 0.471) / (1.099 - 0.095) = 0.625$. The next cell has the same numbers from the library.
#
# With N images the corners are those of a simplex, at similarity $-1/(N-1)$ to each other.

# %%
similarities = np.full((3, 3), 0.2) + 0.6 * np.eye(3)
loss = hc.explain_similarities(similarities, temperature=0.5).loss
print(f"loss {loss:.3f}, chance {hc.losses.chance('info_nce', 3):.3f}, floor {hc.losses.floor('info_nce', 3, 0.5):.3f}")
print(f"{(np.log(3) - loss) / (np.log(3) - hc.losses.floor('info_nce', 3, 0.5)):.3f} of the way")
# expected: loss 0.471, chance 1.099, floor 0.095
# expected: 0.625 of the way

# %% [markdown]
# ### Exercise 06.2: how far on the way
#
# Return the share of the way from chance, 0, to the floor, 1, for an InfoNCE loss with `count` images in the batch.


# %%
def progress(loss, count, temperature):
    """0 at chance, 1 at the floor."""
    # BEGIN SOLUTION
    chance = np.log(count)
    floor = np.log1p((count - 1) * np.exp(-count / (count - 1) / temperature))
    return (chance - loss) / (chance - floor)
    # END SOLUTION


# %%
check("06.2", progress)

# %% [markdown]
# ## One step
#
# Everything of lessons 01 to 05 meets in seven lines. Both views go through the encoder as one batch, so that batch
# normalisation treats them alike.


# %%
def step(encoder, images, optimizer, views, rng, temperature=0.5):
    """Two views, the loss, its gradient, and a step downhill."""
    batch = np.concatenate(views.two_views(images, rng=rng))
    z = encoder(hc.tensor(batch))
    loss = hc.info_nce(z[: len(images)], z[len(images) :], temperature=temperature)
    encoder.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


rng = np.random.default_rng(0)
optimizer = hc.optim.Adam(encoder.parameters(), hc.optim.cosine(3e-3, 151))
start = encoder.embed(test.images)[1]
print(f"first loss {step(encoder, train.images[:256], optimizer, views, rng):.2f}, chance {np.log(256):.2f}")
# roughly: first loss 5.17, chance 5.55

# %% [markdown]
# The first loss lies a little below chance, not far above zero. Even an untrained network maps two views of one image
# to nearby points, because they are alike. That answers the first question, and it explains the reports of losses that
# are "stuck at 5.5": with 256 images that is an encoder that has learned nothing.
#
# ### Exercise 06.3: what Adam does
#
# The optimiser moves the weights `w` by the gradient `g`. It keeps two running means that start at 0: `m` of the
# gradient, and `v` of its square. In step `number`, which is 1 at first and n below:
#
# $$m \leftarrow 0.9\, m + 0.1\, g, \qquad v \leftarrow 0.999\, v + 0.001\, g^2, \qquad
# w \leftarrow w - \eta \, \frac{m / (1 - 0.9^{n})}{\sqrt{v / (1 - 0.999^{n})} + 10^{-8}} .$$
#
# The divisions by $1 - 0.9^n$ make up for the start at 0. Return the new `w`, `m` and `v`.


# %%
def adam(w, g, m, v, number, rate):
    """The new weights and running means."""
    # BEGIN SOLUTION
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    mean, square = m / (1 - 0.9**number), v / (1 - 0.999**number)
    return w - rate * mean / (square**0.5 + 1e-8), m, v
    # END SOLUTION


# %%
check("06.3", adam)

# %% [markdown]
# ## A hundred and fifty steps
#
# `hc.fit` is this step in a loop, with checks around it. Thirty passes over the images are 150 steps of 256. After 2, 8
# and 30 passes the held-out images are embedded, to look at later.

# %%
losses, snapshots = [], {0: start}
for epochs in (2, 6, 22):
    settings = {"epochs": epochs, "batch_size": 256, "augment": views, "rng": rng}
    history = hc.fit(encoder, train.images, loss="info_nce", temperature=0.5, optimizer=optimizer, **settings)
    losses += history.losses
    snapshots[len(losses)] = encoder.embed(test.images)[1]
print(f"last losses {np.mean(losses[-20:]):.2f}, {progress(np.mean(losses[-20:]), 256, 0.5):.0%} of the way")
# roughly: last losses 4.14, 71% of the way

# %% [markdown]
# A loss says little without its two bounds, so they are in the picture.

# %%
figure, ax = plt.subplots(figsize=(7, 3.5))
ax.plot(np.arange(1, len(losses) + 1), losses, color=CURVES[0])
for name in ("chance", "floor"):
    bound = hc.losses.chance("info_nce", 256) if name == "chance" else hc.losses.floor("info_nce", 256, 0.5)
    ax.axhline(bound, color=INK, linestyle=":")
    ax.text(150, bound + 0.03, name, ha="right", color=INK)
ax.set(xlabel="step", ylabel="loss", ylim=(3.4, 5.8))
described(figure, "The loss over 150 steps: it falls fast from just under chance, then slowly, well above the floor.")

# %% [markdown]
# ## The embedding through training
#
# The sphere has 32 dimensions; we look along the two in which the trained embedding spreads most. Every picture uses
# the same two directions.

# %%
_, _, axes_of_spread = np.linalg.svd(snapshots[150] - snapshots[150].mean(axis=0), full_matrices=False)
figure, axes = plt.subplots(1, 4, figsize=(12, 3.3))
for ax, (number, z) in zip(axes, snapshots.items(), strict=True):
    for digit in range(10):
        x, y = (z[test.labels == digit] @ axes_of_spread[:2].T).T
        ax.scatter(x, y, s=14, color=CLASS_COLOURS[digit], marker=CLASS_MARKERS[digit], label=digit)
    ax.set(title=f"after {number} steps", xlim=(-1, 1), ylim=(-1, 1), xticks=[], yticks=[], aspect="equal")
figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=10, frameon=False)
described(figure, "500 points coloured by digit: a knot at first, then wide; in the end most digits keep together.")

# %% [markdown]
# Two of 32 directions are little to see by. A sphere in three can be seen whole, so the next cell trains a second
# encoder onto it, pass by pass, with more of each image in view and at a temperature of 0.2.

# %%
small = hc.nn.mlp(train.images.shape[1:], widths=(128, 128), dim=3, rng=np.random.default_rng(0))
optimizer = hc.optim.Adam(small.parameters(), 2e-3)
settings = {"epochs": 1, "batch_size": 256, "augment": hc.data.mild(window=0.8), "rng": np.random.default_rng(0)}
frames = [small.embed(test.images[:200])[1]]
for _ in range(20):
    hc.fit(small, train.images, loss="info_nce", temperature=0.2, optimizer=optimizer, **settings)
    frames.append(small.embed(test.images[:200])[1])
uniformity, most = hc.metrics.uniformity(frames[-1]), -hc.metrics.uniformity_floor(3)
print(f"uniformity {uniformity:.2f} of {most:.2f}, gap {hc.metrics.tolerance_gap(frames[-1], test.labels[:200]):.2f}")
# roughly: uniformity 2.07 of 2.08, gap 0.70

# %% [markdown]
# **Press play**, or move the slider; drag the sphere to turn it. A colour is a digit.

# %%
moving_points(
    frames, "200 held-out digits leave their heap and cover the sphere, each digit a patch.", labels=test.labels[:200]
)

# %% [markdown]
# **What you should see.** From a heap, the points spread until the sphere is covered as evenly as 200 points at random
# would, and yet points of one colour lie together. Wang & Liu call this *locally clustered and globally uniform*.
#
# Nobody told the encoder what a digit is. It was asked to tell 256 images apart while ignoring zoom, shift and noise.
# Images of one digit are what remains alike when those are ignored, so they come to lie together.
#
# ### Exercise 06.4: ask the neighbour
#
# The plainest probe: every test image takes the label of the training image that is most similar to it, by the cosine.
# Return the share that is right. Rows are not yet on the sphere.


# %%
def neighbour_accuracy(z, labels, test_z, test_labels):
    """The share of test rows whose most similar row of ``z`` has their label."""
    # BEGIN SOLUTION
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    return (labels[(test_z @ z.T).argmax(axis=1)] == test_labels).mean()
    # END SOLUTION


# %%
check("06.4", neighbour_accuracy)

# %% [markdown]
# ## What has it learned?
#
# Now questions 2 and 3. The next cell classifies by five neighbours, from ten labelled images of each digit, averaged
# over ten draws of those ten.


# %%
def accuracy(rows, images):
    """Of five neighbours with ten labels a class, where ``rows`` makes a row of numbers of every image."""
    known, asked, found = rows(train.images), rows(images), []
    for draw in range(10):
        few = hc.metrics.few_labels(train.labels, 10, rng=np.random.default_rng(draw))
        found.append(hc.metrics.knn_accuracy(known[few], train.labels[few], asked, test.labels))
    return np.mean(found)


# %% [markdown]
# A row for each question: the pixels themselves as rows, then the encoder before its training, then after.

# %%
moved = views(test.images, rng=np.random.default_rng(3))
untrained = hc.nn.mlp(train.images.shape[1:], widths=(128, 128), dim=32, rng=np.random.default_rng(0))
for name, images in (("images as they are", test.images), ("zoomed, moved, noisy", moved)):
    pixels = accuracy(lambda images: images.reshape(len(images), -1), images)
    before, after = (accuracy(lambda images, e=e: e.embed(images)[1], images) for e in (untrained, encoder))
    print(f"{name:<22} pixels {pixels:.2f}   untrained {before:.2f}   trained {after:.2f}")
# roughly: images as they are     pixels 0.89   untrained 0.74   trained 0.86
# roughly: zoomed, moved, noisy   pixels 0.62   untrained 0.38   trained 0.80

# %% [markdown]
# On the images as they are, pixels do a little better. Digits are centred and cleanly drawn, and neighbours in pixels
# do well on such. On moved images the pixels lose about 0.27, and the trained encoder about 0.06. That is what it
# was trained for: **an encoder learns the invariances of its views, and nothing obliges it to learn more.**
#
# The loss laid open says what it still has to do.

# %%
z1, z2 = (encoder.embed(view)[1] for view in views.two_views(test.images, rng=np.random.default_rng(4)))
hc.explain(z1, z2, temperature=0.5, labels=test.labels)

# %% [markdown]
# ## Break it: views that are no views
#
# Suppose a bug makes both views the image itself. The loss cannot complain. The next cell trains an encoder so.

# %%
same = hc.data.Augmentation()  # changes nothing
broken = hc.nn.mlp(train.images.shape[1:], widths=(128, 128), dim=32, rng=np.random.default_rng(0))
optimizer = hc.optim.Adam(broken.parameters(), hc.optim.cosine(3e-3, 100))
settings = {"epochs": 20, "batch_size": 256, "augment": same, "rng": np.random.default_rng(0)}
history = hc.fit(broken, train.images, loss="info_nce", temperature=0.5, optimizer=optimizer, **settings)
print(f"loss {history.final_loss():.2f}, {progress(history.final_loss(), 256, 0.5):.0%} of the way")
for name, images in (("images as they are", test.images), ("zoomed, moved, noisy", moved)):
    print(f"{name:<22} trained {accuracy(lambda images: broken.embed(images)[1], images):.2f}")
# roughly: loss 3.62, 97% of the way
# roughly: images as they are     trained 0.44
# roughly: zoomed, moved, noisy   trained 0.20

# %% [markdown]
# The loss is *better* than before, and the embedding is worse than that of the untrained encoder, on both rows. Two
# equal views are aligned from the start, so the loss is lowered by spreading points alone, and points spread best when
# images that look alike are torn apart. **A lower loss means a better encoder only where the task is the same.** When a
# loss falls suspiciously fast, look at the views: the picture near the top is the cheapest test there is.
#
# ## Experiment: change one thing
#
# Train again with `window=0.9` and with `window=0.4`, and fill in the table: loss, share of the way, accuracy on the
# images as they are and on the moved ones. Which window serves which row best? Then try 16 dimensions, or a batch of 64
# (its chance is $\log 64$).
#
# `hypercon dilemma` trains a convolutional network on Fashion-MNIST in the same way; `hc.nn.save_encoder` and
# `hc.nn.load_encoder` keep what you have trained.
#
# ## Summary
#
# - Two views, an encoder, the loss, a step: seven lines.
# - Read a loss between chance, $\log N$, and the floor. A loss from another batch size or temperature is on another
#   scale.
# - The embedding learns what its views ignore. Judge it where that matters, against the pixels.
# - Look at the views before you look at anything else.
#
# ## Test yourself
#
# <details><summary>1. InfoNCE has stayed at 4.85 for hours, with batches of 128. What does that say?</summary>
#
# log 128 = 4.85 is chance: the encoder has learned nothing, or has collapsed to one point.
# </details>
#
# <details><summary>2. Must the loss come near 0 before the features are of use?</summary>
#
# No. At temperature 0.5 even the floor is not near 0, and features were useful long before it is reached.
# </details>
#
# <details><summary>3. Why do both views go through the encoder in one batch?</summary>
#
# Batch normalisation uses the batch's own means. In two batches each view would be normalised by its own, and the
# encoder could tell the views apart.
# </details>
#
# <details><summary>4. Where were labels used?</summary>
#
# Nowhere in training. They choose the ten examples of each digit, colour the picture, and score.
# </details>
#
# <details><summary>5. Which views would make an encoder confuse 6 and 9?</summary>
#
# Rotations by up to 180 degrees: they declare that the two are the same.
# </details>
#
# ## Further reading
#
# - Chen et al. 2020, *A Simple Framework for Contrastive Learning of Visual Representations* (arXiv 2002.05709),
#   section 3: which views matter, and why h is kept rather than z.
# - `hypercon/training/loop.py`: the loop of `hc.fit`.
# - Tian et al. 2020, *What Makes for Good Views for Contrastive Learning?* (arXiv 2005.10243).
#
# **Next** lesson 07: the same encoder at three temperatures.
#
# The number in answer 1:

# %%
print(f"{np.log(128):.2f}")
# expected: 4.85
