# %% [markdown]
# # 01 Reverse mode: the gradient in 60 lines, then the library's
#
# You will be able to
#
# - run the chain rule backwards through a graph, by hand and in code,
# - say why a gradient costs about as much as the function, however many inputs it has,
# - give hypercon an operation of your own.
#
# **Time** 25 minutes, with four exercises. **Prerequisites** derivatives, NumPy, matrix products.

# %%
import itertools

import matplotlib.pyplot as plt
import numpy as np

import hypercon as hc
from hypercon.coursework import check, described

# %% [markdown]
# ## First, a guess
#
# A function takes 1,000 numbers to one number. **How often must it be evaluated to get its gradient, all 1,000
# derivatives, from finite differences? And what does reverse mode need?** Write two numbers down before you read on.

# %% [markdown]
# ## The idea
#
# A program is a chain of small steps, each of which we can differentiate. Compute forwards, and remember what was made
# of what. Then go back from the result: at each step, what is known about its output becomes what is known about its
# inputs.
#
# Let $L$ be the result and $v$ any value on the way. We carry $\bar v = \partial L/\partial v$, the *cotangent* of $v$.
# If $v$ was made of $x$ then, by the chain rule, $x$ receives
#
# $$\bar x \mathrel{+}= \bar v\, \frac{\partial v}{\partial x},$$
#
# and plus-equals is the important sign: $x$ may have been used in many places, and every one of them counts.
#
# ## By hand
#
# Take $L = (ab - c)^2$ at $a = 2$, $b = 3$, $c = 4$. Read the first three columns downwards and the last upwards.
#
# | value | made of | is | cotangent |
# | --- | --- | --- | --- |
# | $a$, $b$, $c$ | | 2, 3, 4 | $\bar a = \bar p\, b = 12$, $\bar b = \bar p\, a = 8$, $\bar c = -\bar d = -4$ |
# | $p$ | $ab$ | 6 | $\bar p = \bar d = 4$ |
# | $d$ | $p - c$ | 2 | $\bar d = 2d\,\bar L = 4$ |
# | $L$ | $d^2$ | 4 | $\bar L = 1$ |
#
# Three derivatives, from one way down and one way up.
#
# ### Exercise 01.1
#
# Every operation needs such a rule: from the cotangent of its output to those of its inputs. Write that of `x * y`, for
# arrays of one shape, entry by entry. `g` is the cotangent of the product. Return two arrays.


# %%
def product_rule(g, x, y):
    """The cotangents of x and of y."""
    # BEGIN SOLUTION
    return g * y, g * x
    # END SOLUTION


# %%
check("01.1", product_rule)

# %% [markdown]
# ## The engine: values
#
# A value holds an array, what it was made of, and the rule. Its number tells when it was born.

# %%
births = itertools.count()


class Value:
    """An array that remembers how it was made."""

    def __init__(self, data, inputs=(), rule=None):
        self.data = np.asarray(data, dtype=float)
        self.inputs, self.rule = inputs, rule
        self.birth = next(births)
        self.grad = np.zeros_like(self.data)


# %% [markdown]
# ## Operations
#
# An operation computes, and leaves its rule behind. Of a square it is $\bar x = 2x\,\bar v$; a mean of $n$ entries
# hands $\bar v/n$ to each.


# %%
def multiply(x, y):
    return Value(x.data * y.data, (x, y), lambda g: product_rule(g, x.data, y.data))


def subtract(x, y):
    return Value(x.data - y.data, (x, y), lambda g: (g, -g))


def square(x):
    return Value(x.data**2, (x,), lambda g: (2 * x.data * g,))


def mean(x):
    return Value(x.data.mean(), (x,), lambda g: (np.full_like(x.data, g / x.data.size),))


# %% [markdown]
# ## The way back
#
# When may a value hand its cotangent on? When it has received all of it: after everything that was made of it. The
# youngest first, then, and on to the oldest.
#
# ### Exercise 01.2
#
# Do this with bare numbers. Nodes are numbered by birth, from 0 to `count - 1`, and the last one is $L$. Row k of
# `edges` is (input, output), and `slopes[k]` the derivative of that output by that input. Return $\bar v$ for every
# node.


# %%
def sweep(count, edges, slopes):
    """The derivative of the last node by each node, (count,)."""
    # BEGIN SOLUTION
    cotangents = np.zeros(count)
    cotangents[-1] = 1
    for node in reversed(range(count)):
        for (source, target), slope in zip(edges, slopes, strict=True):
            if target == node:
                cotangents[source] += slope * cotangents[node]
    return cotangents
    # END SOLUTION


# %%
check("01.2", sweep)

# %% [markdown]
# The same for values: find everything behind the result, then apply the rules, the youngest first.


# %%
def backward(result):
    """Fill in ``grad`` of everything that the result was made of."""
    result.grad = np.ones_like(result.data)
    found, todo = {}, [result]
    while todo:
        value = todo.pop()
        if value.birth not in found:
            found[value.birth] = value
            todo.extend(value.inputs)
    for birth in sorted(found, reverse=True):
        value = found[birth]
        for x, g in zip(value.inputs, value.rule(value.grad) if value.rule else (), strict=True):
            x.grad = x.grad + g


# %% [markdown]
# And the example that we did by hand:

# %%
a, b, c = Value(2), Value(3), Value(4)
loss = square(subtract(multiply(a, b), c))
backward(loss)
print(loss.data, a.grad, b.grad, c.grad)
# expected: 4.0 12.0 8.0 -4.0

# %% [markdown]
# A value that is used twice: $x \cdot x + x$ has the derivative $2x + 1$, which is 7 at 3. Had we written `=` in the
# place of `x.grad + g`, one use would have wiped out the others.

# %%
x = Value(3)
backward(subtract(multiply(x, x), subtract(Value(0), x)))
print(x.grad)
# expected: 7.0

# %% [markdown]
# ## Break it
#
# What if we do not wait? Below, each value hands on at once what it has just received, and its inputs do the same. The
# result is right, but every *path* through the graph is walked. A value that is doubled twelve times, as v - (0 - v),
# lies at the end of 2^12 = 4,096 paths.

# %%
steps = 0


def backward_at_once(value, g):
    global steps
    steps += 1
    value.grad = value.grad + g
    for x, handed in zip(value.inputs, value.rule(g) if value.rule else (), strict=True):
        backward_at_once(x, handed)


# %% [markdown]
# Four, eight and twelve doublings, and how many steps each takes:

# %%
for doublings in (4, 8, 12):
    start = value = Value(1)
    for _ in range(doublings):
        value = subtract(value, subtract(Value(0), value))
    steps = 0
    backward_at_once(value, 1.0)
    print(f"derivative {start.grad:g}, {steps:,} steps for {3 * doublings + 1} values")
# expected: derivative 16, 61 steps for 13 values
# expected: derivative 256, 1,021 steps for 25 values
# expected: derivative 4096, 16,381 steps for 37 values

# %% [markdown]
# In order, every value is visited once.
#
# ## What it costs
#
# Your guess: finite differences need 1,001 evaluations, one for the start and one for each input. Reverse mode needs
# one evaluation, and one way back in which each operation is met once more. Counted, for the mean of $x^4$ over 1,000
# numbers:


# %%
def f(x):
    global evaluations
    evaluations += 1
    return mean(square(square(x)))


point, step, evaluations = np.random.default_rng(0).normal(size=1000), 1e-6, 0
start = f(Value(point)).data
by_difference = [(f(Value(point + step * (np.arange(1000) == k))).data - start) / step for k in range(1000)]
print(f"finite differences: {evaluations:,} evaluations")
x, evaluations = Value(point), 0
backward(f(x))
print(f"reverse mode: {evaluations}; both agree to 1e-6: {np.abs(by_difference - x.grad).max() < 1e-6}")
# expected: finite differences: 1,001 evaluations
# expected: reverse mode: 1; both agree to 1e-6: True

# %% [markdown]
# That is why networks are trained backwards.
#
# Three more operations make a network. Each rule is the one idea again; a bias that was added to every row is a value
# that was used many times, so its cotangents are summed.


# %%
def matmul(x, y):
    return Value(x.data @ y.data, (x, y), lambda g: (g @ y.data.T, x.data.T @ g))


def add_row(x, row):
    return Value(x.data + row.data, (x, row), lambda g: (g, g.sum(axis=0)))


def tanh(x):
    out = np.tanh(x.data)
    return Value(out, (x,), lambda g: (g * (1 - out**2),))


# %% [markdown]
# ## See it learn
#
# With these 60 lines we train a network with one hidden layer on 500 pictures of digits, 8x8 pixels each. The loss is
# the mean squared distance to the ten indicators of the classes. Its *chance* level is what the best constant answer
# reaches: 0.09.

# %%
train, test = hc.data.load("digits"), hc.data.load("digits", "test")
pixels, targets = train.images[:500].reshape(500, -1), np.eye(10)[train.labels[:500]]
rng = np.random.default_rng(0)
weights = [Value(rng.normal(size=shape) / np.sqrt(shape[0])) for shape in ((64, 48), (48, 10))]
biases = [Value(np.zeros(48)), Value(np.zeros(10))]


def scores(images):
    hidden = tanh(add_row(matmul(Value(images), weights[0]), biases[0]))
    return add_row(matmul(hidden, weights[1]), biases[1])


print(f"chance {((targets - targets.mean(axis=0)) ** 2).mean():.3f}")
# expected: chance 0.090

# %% [markdown]
# Eighty steps of gradient descent, each on all 500 images, with momentum.

# %%
losses, speed = [], {id(p): 0.0 for p in weights + biases}
for _ in range(80):
    loss = mean(square(subtract(scores(pixels), Value(targets))))
    for p in weights + biases:
        p.grad = np.zeros_like(p.data)
    backward(loss)
    for p in weights + biases:
        speed[id(p)] = 0.9 * speed[id(p)] - 0.5 * p.grad
        p.data = p.data + speed[id(p)]
    losses.append(float(loss.data))
answers = scores(test.images.reshape(len(test.images), -1)).data.argmax(axis=1)
print(
    f"loss {losses[0]:.3f} to {losses[-1]:.3f}; read rightly, of held-out digits: {np.mean(answers == test.labels):.0%}"
)
# roughly: loss 0.3 to 0.025; read rightly, of held-out digits: 90%

# %% [markdown]
# **What you should see**: a curve that falls steeply, is below the chance level for good after about 15 steps, and
# flattens.

# %%
figure, axes = plt.subplots(figsize=(6, 3))
axes.semilogy(losses, color="#0072B2")
axes.axhline(0.09, color="0.6", linestyle="--", label="chance")
axes.set(xlabel="step", ylabel="loss")
axes.legend()
described(figure, "The loss over 80 steps, logarithmic: it falls below the chance level within 15 steps, "
          "then ever more slowly.")  # fmt: skip

# %% [markdown]
# ## The library's engine
#
# hypercon's engine is yours, grown up. A value is a `Tensor`, operations are NumPy's, and the sweep goes from the
# youngest to the oldest. What it adds: broadcasting is undone for every rule, types and devices are kept, a graph is
# let go as soon as it has been used, and operations are checked and fast. The same example:

# %%
a, b, c = (hc.tensor(value, requires_grad=True) for value in (2.0, 3.0, 4.0))
loss = (a * b - c) ** 2
picture = hc.draw(loss, names={"a": a, "b": b, "c": c})
loss.backward()
print(loss.item(), a.grad.item(), b.grad.item(), c.grad.item())
# expected: 4.0 12.0 8.0 -4.0

# %% [markdown]
# The graph that it remembered, read from the inputs to the result:

# %%
picture

# %% [markdown]
# And one thing more: its rules are written with its own operations, so the way back can itself be differentiated.
# `hc.grad` makes a function's derivative, which is a function again. For $x^3$ at 2: $3x^2 = 12$, then $6x = 12$, then
# 6.

# %%
first = hc.grad(lambda x: x**3)
second = hc.grad(first)
print(float(first(2.0)), float(second(2.0)), float(hc.grad(second)(2.0)))
# expected: 12.0 12.0 6.0

# %% [markdown]
# ## An operation of your own
#
# `hc.primitive` takes a function on raw arrays and one rule for each of its inputs. A rule is called with the cotangent
# `g`, the output and the inputs. We add $\mathrm{softplus}(x) = \log(1 + e^x)$, whose derivative is $1/(1 + e^{-x})$.
#
# ### Exercise 01.3
#
# The cotangent of `x`, for entries as large as 1,000 and as small as -1,000. Typed as it reads, the formula overflows
# at -1,000. Here that does no harm, and `check` lets it pass: NumPy warns, and 1 over infinity is the right 0.
# Differentiated once more, as in the next exercise, it gives nan. So write it such that NumPy has nothing to warn of.


# %%
def softplus_rule(g, x):
    """g times the derivative of log(1 + exp(x))."""
    # BEGIN SOLUTION
    small = np.exp(-np.abs(x))
    return g * np.where(x > 0, 1, small) / (1 + small)
    # END SOLUTION


# %%
check("01.3", softplus_rule)

# %% [markdown]
# ### Exercise 01.4
#
# Now as a primitive that can be differentiated as often as one likes. Write its rule with hypercon's functions: there
# is one that you need, and it is stable.


# %%
def rule(g, out, x):
    """The cotangent of x. It is called with arrays or with tensors."""
    # BEGIN SOLUTION
    return g * hc.sigmoid(x)
    # END SOLUTION


@hc.primitive(rule)
def softplus(x):
    return np.logaddexp(x, 0)


# %%
check("01.4", softplus)

# %% [markdown]
# `hc.testing.gradcheck` holds any function's derivatives against finite differences, of order 1 and 2, and raises where
# they differ. It knows nothing of your rule.

# %%
hc.testing.gradcheck(softplus, np.random.default_rng(0).normal(size=5))
print("first and second derivatives agree")
# expected: first and second derivatives agree

# %% [markdown]
# ## Test yourself
#
# <details><summary>1. Why is it the youngest value first, and not the oldest?</summary>
#
# A value may hand its cotangent on only when all that was made of it has handed on its own. What was made of a value is
# younger than it.
# </details>
#
# <details><summary>2. A weight is used in each of 50 steps of a recurrent network. What is its gradient?</summary>
#
# The sum of 50 cotangents, one for each use.
# </details>
#
# <details><summary>3. A function takes one number to 1,000. Is reverse mode the way to its derivatives?</summary>
#
# No. It goes back from one result at a time, so it would take 1,000 ways back. Forward mode needs one pass.
# </details>
#
# <details><summary>4. Why does a product's rule need the inputs, and a sum's not? What does that cost?</summary>
#
# The derivative of x y by x is y. So x and y are kept until the way back: memory is what reverse mode pays with.
# </details>
#
# <details><summary>5. A bias of shape (10,) is added to a (256, 10) array. What shape has its cotangent, and how is it
# made?</summary>
#
# (10,): the (256, 10) cotangent, summed over the rows.
# </details>
#
# ## Further reading
#
# - The engine itself: `import inspect; print(inspect.getsource(hc.autograd.engine))`. It opens with three ideas that
#   you now know.
# - Baydin et al., *Automatic Differentiation in Machine Learning: a Survey*, JMLR 2018, arXiv 1502.05767.
# - Griewank & Walther, *Evaluating Derivatives*, 2nd edition, SIAM 2008: chapter 3 for the cost of a gradient.
#
# **Next** lesson 02: the sphere, on which all embeddings of this course live.
