"""Mistakes that students make in the first three assignments: each is caught, and the feedback names its nature."""

import numpy as np
import pytest

from hypercon.coursework.assignments import ASSIGNMENTS
from hypercon.coursework.checking import examined
from hypercon.coursework.judge import InThisProcess, examine

EXERCISES = {exercise.id: exercise for assignment in ASSIGNMENTS.values() for exercise in assignment.exercises}

PRELUDE = """
import numpy as np

def unit(z, axis=1):
    return z / np.linalg.norm(z, axis=axis, keepdims=True)

def softmax(x, axis=1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)

def lse(x, axis=1):
    peak = x.max(axis=axis, keepdims=True)
    return (np.log(np.exp(x - peak).sum(axis=axis, keepdims=True)) + peak).squeeze(axis)

def unbroadcast(g, shape):
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)

def project(g, z):
    u = unit(z)
    return (g - u * (u * g).sum(axis=1, keepdims=True)) / np.linalg.norm(z, axis=1, keepdims=True)

def off(x):
    return x[~np.eye(len(x), dtype=bool)].reshape(len(x), -1)
"""

# exercise, what the feedback must say, and the mistake as a student writes it
MISTAKES = [
    # --- 1.1 topological order
    ("1.1", "reversed", """
def topological_order(count, edges):
    order, seen = [], set()
    inputs = {i: [a for a, b in edges if b == i] for i in range(count)}
    def visit(node):
        if node not in seen:
            seen.add(node)
            for source in inputs[node]:
                visit(source)
            order.append(node)
    for node in range(count):
        visit(node)
    return np.array(order[::-1])
"""),
    ("1.1", "RecursionError", """
def topological_order(count, edges):
    order, seen, inputs = [], set(), [[] for _ in range(count)]
    for a, b in edges:
        inputs[b].append(a)
    def visit(node):
        if node not in seen:
            seen.add(node)
            for source in inputs[node]:
                visit(source)
            order.append(node)
    for node in range(count):
        visit(node)
    return np.array(order)
"""),
    ("1.1", "stands twice", """
def topological_order(count, edges):
    order = []
    def visit(node):
        for a, b in edges:
            if b == node:
                visit(a)
        order.append(node)
    for node in range(count):
        visit(node)
    return np.array(order)
"""),
    ("1.1", "before one of its inputs", """
def topological_order(count, edges):
    order = sorted(range(count), key=lambda node: sum(b == node for a, b in edges))
    return np.array(order)
"""),
    # --- 1.2 broadcasting
    ("1.2", "a mean where the sum", """
def unbroadcast(g, shape):
    g = g.mean(axis=tuple(range(g.ndim - len(shape))))
    return g.mean(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)
"""),
    ("1.2", "shape or axis", """
def unbroadcast(g, shape):
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1))
"""),
    ("1.2", "shape or axis", """
def unbroadcast(g, shape):
    return g.sum(axis=tuple(range(g.ndim - len(shape))))
"""),
    ("1.2", "one slice", """
def unbroadcast(g, shape):
    while g.ndim > len(shape):
        g = g[0]
    for axis, n in enumerate(shape):
        if n == 1:
            g = np.take(g, [0], axis=axis)
    return g
"""),
    # --- 1.3 products entry by entry
    ("1.3", "shape or axis", """
def mul_backward(g, x, y):
    return g * y, g * x
"""),
    ("1.3", "exchanged", """
def mul_backward(g, x, y):
    return unbroadcast(g * x, x.shape), unbroadcast(g * y, y.shape)
"""),
    ("1.3", "mutates its input", """
def mul_backward(g, x, y):
    dy = unbroadcast(g * x, y.shape)
    g *= y
    return unbroadcast(g, x.shape), dy
"""),
    ("1.3", "g is missing", """
def mul_backward(g, x, y):
    one = np.ones_like(g)
    return unbroadcast(one * y, x.shape), unbroadcast(one * x, y.shape)
"""),
    # --- 1.4 matrix products
    ("1.4", "transpose", """
def matmul_backward(g, x, y):
    return g @ y, x @ g
"""),
    ("1.4", "the axes are exchanged", """
def matmul_backward(g, x, y):
    t = lambda a: np.swapaxes(a, -1, -2)
    return y @ t(g), t(g) @ x
"""),
    ("1.4", "wrong dtype", """
def matmul_backward(g, x, y):
    t = lambda a: np.swapaxes(a, -1, -2).astype(float)
    return g @ t(y), t(x) @ g
"""),
    ("1.4", "matmul", """
def matmul_backward(g, x, y):
    return g @ y.T, x.T @ g
"""),
    # --- 1.5 exp
    ("1.5", "g is missing", """
def exp_with_gradient(g, x):
    return np.exp(x), np.exp(x)
"""),
    ("1.5", "uses x where exp(x) is meant", """
def exp_with_gradient(g, x):
    return np.exp(x), g * x
"""),
    ("1.5", "mutates its input", """
def exp_with_gradient(g, x):
    np.exp(x, out=x)
    return x, g * x
"""),
    ("1.5", "wrong dtype", """
def exp_with_gradient(g, x):
    value = np.array([[np.exp(float(v)) for v in row] for row in x])
    return value, g * value
"""),
    # --- 1.6 logsumexp
    ("1.6", "not stable", """
def logsumexp_with_gradient(g, x, axis):
    e = np.exp(x)
    mass = e.sum(axis=axis, keepdims=True)
    return np.log(mass).squeeze(axis), e / mass * np.expand_dims(g, axis)
"""),
    ("1.6", "maximum is not added back", """
def logsumexp_with_gradient(g, x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    mass = e.sum(axis=axis, keepdims=True)
    return np.log(mass).squeeze(axis), e / mass * np.expand_dims(g, axis)
"""),
    ("1.6", "not stable", """
def logsumexp_with_gradient(g, x, axis):
    e = np.exp(x - x.max())
    mass = e.sum(axis=axis, keepdims=True)
    return np.log(mass).squeeze(axis) + x.max(), e / mass * np.expand_dims(g, axis)
"""),
    ("1.6", "not divided by its sum", """
def logsumexp_with_gradient(g, x, axis):
    return lse(x, axis), np.exp(x) * np.expand_dims(g, axis)
"""),
    ("1.6", "shape or axis", """
def logsumexp_with_gradient(g, x, axis):
    return lse(x, 1), softmax(x, 1) * g.reshape(-1, 1) if len(g) == len(x) else softmax(x, 1)
"""),
    # --- 1.7 max
    ("1.7", "only the first of the largest", """
def max_with_gradient(g, x, axis):
    gradient = np.zeros_like(x)
    np.put_along_axis(gradient, np.expand_dims(x.argmax(axis), axis), np.expand_dims(g, axis), axis)
    return x.max(axis), gradient
"""),
    ("1.7", "each of the largest gets all", """
def max_with_gradient(g, x, axis):
    return x.max(axis), (x == x.max(axis, keepdims=True)) * np.expand_dims(g, axis)
"""),
    ("1.7", "wrong dtype", """
def max_with_gradient(g, x, axis):
    winners = x == x.max(axis, keepdims=True)
    return x.max(axis), winners / winners.sum(axis, keepdims=True) * np.expand_dims(g, axis)
"""),
    # --- 2.1 the loss in loops
    ("2.1", "missing temperature", """
def info_nce_naive(z1, z2, temperature):
    total = 0
    for i, a in enumerate(unit(z1)):
        e = [np.exp(a @ b) for b in unit(z2)]
        total -= np.log(e[i] / sum(e))
    return total / len(z1)
"""),
    ("2.1", "missing 1/N", """
def info_nce_naive(z1, z2, temperature):
    total = 0
    for i, a in enumerate(unit(z1)):
        e = [np.exp(a @ b / temperature) for b in unit(z2)]
        total -= np.log(e[i] / sum(e))
    return total
"""),
    ("2.1", "sign", """
def info_nce_naive(z1, z2, temperature):
    total = 0
    for i, a in enumerate(unit(z1)):
        e = [np.exp(a @ b / temperature) for b in unit(z2)]
        total += np.log(e[i] / sum(e))
    return total / len(z1)
"""),
    ("2.1", "positive is missing in the denominator", """
def info_nce_naive(z1, z2, temperature):
    total = 0
    for i, a in enumerate(unit(z1)):
        e = [np.exp(a @ b / temperature) for b in unit(z2)]
        total -= np.log(e[i] / (sum(e) - e[i]))
    return total / len(z1)
"""),
    ("2.1", "not normalised", """
def info_nce_naive(z1, z2, temperature):
    total = 0
    for i, a in enumerate(z1):
        e = [np.exp(a @ b / temperature) for b in z2]
        total -= np.log(e[i] / sum(e))
    return total / len(z1)
"""),
    # --- 2.2 the loss without loops
    ("2.2", "not stable", """
def info_nce(z1, z2, temperature):
    logits = unit(z1) @ unit(z2).T / temperature
    mass = np.exp(logits - logits.max()).sum(axis=1)
    return (np.log(mass) + logits.max() - np.diag(logits)).mean()
"""),
    ("2.2", "not stable", """
def info_nce(z1, z2, temperature):
    e = np.exp(unit(z1) @ unit(z2).T / temperature)
    return -np.log(np.diag(e) / e.sum(axis=1)).mean()
"""),
    ("2.2", "wrong axis", """
def info_nce(z1, z2, temperature):
    logits = unit(z1) @ unit(z2).T / temperature
    return (lse(logits, axis=0) - np.diag(logits)).mean()
"""),
    ("2.2", "inside the logarithm", """
def info_nce(z1, z2, temperature):
    p = softmax(unit(z1) @ unit(z2).T / temperature)
    return -np.log(np.diag(p) + 1e-6).mean()
"""),
    ("2.2", "not stable", """
def info_nce(z1, z2, temperature):
    p = softmax(unit(z1) @ unit(z2).T / temperature)
    return -np.log(np.diag(p) + 1e-12).mean()
"""),
    ("2.2", "wrong axis", """
def info_nce(z1, z2, temperature):
    logits = unit(z1, axis=0) @ unit(z2, axis=0).T / temperature
    return (lse(logits) - np.diag(logits)).mean()
"""),
    ("2.2", "mutates its input", """
def info_nce(z1, z2, temperature):
    z1 /= np.linalg.norm(z1, axis=1, keepdims=True)
    z2 /= np.linalg.norm(z2, axis=1, keepdims=True)
    logits = z1 @ z2.T / temperature
    return (lse(logits) - np.diag(logits)).mean()
"""),
    ("2.2", "multiplies where it should divide", """
def info_nce(z1, z2, temperature):
    logits = unit(z1) @ unit(z2).T * temperature
    return (lse(logits) - np.diag(logits)).mean()
"""),
    # --- 2.3 its gradient
    ("2.3", "sign", """
def info_nce_gradient(z1, z2, temperature):
    u, v = unit(z1), unit(z2)
    slope = (np.eye(len(u), dtype=u.dtype) - softmax(u @ v.T / temperature)) / len(u) / temperature
    return project(slope @ v, z1), project(slope.T @ u, z2)
"""),
    ("2.3", "missing 1/N", """
def info_nce_gradient(z1, z2, temperature):
    u, v = unit(z1), unit(z2)
    slope = (softmax(u @ v.T / temperature) - np.eye(len(u), dtype=u.dtype)) / temperature
    return project(slope @ v, z1), project(slope.T @ u, z2)
"""),
    ("2.3", "missing temperature", """
def info_nce_gradient(z1, z2, temperature):
    u, v = unit(z1), unit(z2)
    slope = (softmax(u @ v.T / temperature) - np.eye(len(u), dtype=u.dtype)) / len(u)
    return project(slope @ v, z1), project(slope.T @ u, z2)
"""),
    ("2.3", "does not go through the normalisation", """
def info_nce_gradient(z1, z2, temperature):
    u, v = unit(z1), unit(z2)
    slope = (softmax(u @ v.T / temperature) - np.eye(len(u), dtype=u.dtype)) / len(u) / temperature
    return slope @ v, slope.T @ u
"""),
    ("2.3", "positive's 1 is missing", """
def info_nce_gradient(z1, z2, temperature):
    u, v = unit(z1), unit(z2)
    slope = softmax(u @ v.T / temperature) / len(u) / temperature
    return project(slope @ v, z1), project(slope.T @ u, z2)
"""),
    ("2.3", "without its transpose", """
def info_nce_gradient(z1, z2, temperature):
    u, v = unit(z1), unit(z2)
    slope = (softmax(u @ v.T / temperature) - np.eye(len(u), dtype=u.dtype)) / len(u) / temperature
    return project(slope @ v, z1), project(slope @ u, z2)
"""),
    ("2.3", "wrong dtype", """
def info_nce_gradient(z1, z2, temperature):
    u, v = unit(z1), unit(z2)
    slope = (softmax(u @ v.T / temperature) - np.eye(len(u))) / len(u) / temperature
    return project(slope @ v, z1), project(slope.T @ u, z2)
"""),
    # --- 2.4 and 2.5 a temperature for each anchor
    ("2.4", "wrong axis", """
def info_nce_per_sample(z1, z2, temperatures):
    logits = unit(z1) @ unit(z2).T / temperatures
    return (lse(logits) - np.diag(logits)).mean()
"""),
    ("2.4", "one mean temperature", """
def info_nce_per_sample(z1, z2, temperatures):
    logits = unit(z1) @ unit(z2).T / np.mean(temperatures)
    return (lse(logits) - np.diag(logits)).mean()
"""),
    ("2.4", "not stable", """
def info_nce_per_sample(z1, z2, temperatures):
    logits = unit(z1) @ unit(z2).T / temperatures[:, None]
    return (np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)).mean()
"""),
    ("2.5", "sign", """
def temperature_gradient(z1, z2, temperatures):
    s = unit(z1) @ unit(z2).T
    p = softmax(s / temperatures[:, None])
    return ((p * s).sum(axis=1) - np.diag(s)) / len(s) / temperatures**2
"""),
    ("2.5", "missing temperature", """
def temperature_gradient(z1, z2, temperatures):
    s = unit(z1) @ unit(z2).T
    p = softmax(s / temperatures[:, None])
    return (np.diag(s) - (p * s).sum(axis=1)) / len(s) / temperatures
"""),
    ("2.5", "missing 1/N", """
def temperature_gradient(z1, z2, temperatures):
    s = unit(z1) @ unit(z2).T
    p = softmax(s / temperatures[:, None])
    return (np.diag(s) - (p * s).sum(axis=1)) / temperatures**2
"""),
    # --- 2.6 and 2.7 weighted negatives
    ("2.6", "diagonal is not masked", """
def info_nce_weighted(z1, z2, temperature, weights):
    logits = unit(z1) @ unit(z2).T / temperature
    return (lse(logits + np.log(weights)) - np.diag(logits)).mean()
"""),
    ("2.6", "transposed", """
def info_nce_weighted(z1, z2, temperature, weights):
    logits = unit(z1) @ unit(z2).T / temperature
    counts = np.where(np.eye(len(logits)) == 1, 1, weights.T)
    return (lse(logits + np.log(counts)) - np.diag(logits)).mean()
"""),
    ("2.6", "multiply the logits", """
def info_nce_weighted(z1, z2, temperature, weights):
    logits = unit(z1) @ unit(z2).T / temperature
    weighted = np.where(np.eye(len(logits)) == 1, 1, weights) * logits
    return (lse(weighted) - np.diag(logits)).mean()
"""),
    ("2.6", "not stable", """
def info_nce_weighted(z1, z2, temperature, weights):
    e = np.exp(unit(z1) @ unit(z2).T / temperature)
    counts = np.where(np.eye(len(e)) == 1, 1, weights)
    return -np.log(np.diag(e) / (counts * e).sum(axis=1)).mean()
"""),
    ("2.6", "not stable", """
def info_nce_weighted(z1, z2, temperature, weights):
    logits = unit(z1) @ unit(z2).T / temperature
    counts = np.where(np.eye(len(logits)) == 1, 1, weights)
    mass = (counts * np.exp(logits - logits.max())).sum(axis=1)
    return (np.log(mass) + logits.max() - np.diag(logits)).mean()
"""),
    ("2.7", "not stable", """
def weighted_gradient(similarities, temperature, weights):
    counts = np.where(np.eye(len(weights)) == 1, 1, weights)
    mass = counts * np.exp((similarities - similarities.max()) / temperature)
    p = mass / mass.sum(axis=1, keepdims=True)
    return (p - np.eye(len(p))) / len(p) / temperature
"""),
    ("2.7", "positive's 1 is missing", """
def weighted_gradient(similarities, temperature, weights):
    counts = np.where(np.eye(len(weights)) == 1, 1, weights)
    return softmax(similarities / temperature + np.log(counts)) / len(counts) / temperature
"""),
    ("2.7", "diagonal is not masked", """
def weighted_gradient(similarities, temperature, weights):
    p = softmax(similarities / temperature + np.log(weights))
    return (p - np.eye(len(p))) / len(p) / temperature
"""),
    ("2.7", "missing temperature", """
def weighted_gradient(similarities, temperature, weights):
    counts = np.where(np.eye(len(weights)) == 1, 1, weights)
    p = softmax(similarities / temperature + np.log(counts))
    return (p - np.eye(len(p))) / len(p)
"""),
    # --- 3.1 and 3.2 the sphere
    ("3.1", "wrong axis", """
def normalize(x):
    return x / np.linalg.norm(x, axis=0)
"""),
    ("3.1", "square root is missing", """
def normalize(x):
    return x / (x * x).sum(axis=1, keepdims=True)
"""),
    ("3.1", "the axis is missing", """
def normalize(x):
    return x / np.linalg.norm(x)
"""),
    ("3.1", "not stable", """
def normalize(x):
    return x / np.sqrt((x * x).sum(axis=1, keepdims=True))
"""),
    ("3.1", "mutates its input", """
def normalize(x):
    x /= np.abs(x).max(axis=1, keepdims=True)
    return x / np.linalg.norm(x, axis=1, keepdims=True)
"""),
    ("3.2", "projection is missing", """
def normalize_gradient(g, x):
    return g / np.linalg.norm(x, axis=1, keepdims=True)
"""),
    ("3.2", "division by the length is missing", """
def normalize_gradient(g, x):
    u = unit(x)
    return g - u * (u * g).sum(axis=1, keepdims=True)
"""),
    ("3.2", "wrong sign", """
def normalize_gradient(g, x):
    u = unit(x)
    return (g + u * (u * g).sum(axis=1, keepdims=True)) / np.linalg.norm(x, axis=1, keepdims=True)
"""),
    # --- 3.3 and 3.4 uniformity
    ("3.3", "sign", """
def uniformity(z, t):
    u = unit(z)
    d = off(((u[:, None] - u) ** 2).sum(axis=2))
    return np.log(np.exp(-t * d).mean())
"""),
    ("3.3", "diagonal is not masked", """
def uniformity(z, t):
    u = unit(z)
    return -np.log(np.exp(-t * ((u[:, None] - u) ** 2).sum(axis=2)).mean())
"""),
    ("3.3", "not stable", """
def uniformity(z, t):
    u = unit(z)
    return -np.log(np.exp(-t * off(((u[:, None] - u) ** 2).sum(axis=2))).mean())
"""),
    ("3.3", "not squared", """
def uniformity(z, t):
    u = unit(z)
    return -np.log(np.exp(-t * off(np.linalg.norm(u[:, None] - u, axis=2))).mean())
"""),
    ("3.4", "a dimension too many", """
def uniformity_bound(dim, t):
    a = (np.arange(4000) + 0.5) * np.pi / 4000
    w = np.sin(a) ** (dim - 1)
    return -np.log((w * np.exp(-t * (2 - 2 * np.cos(a)))).sum() / w.sum())
"""),
    # --- 3.5 tolerance
    ("3.5", "diagonal is not masked", """
def tolerance(z, labels):
    return (unit(z) @ unit(z).T)[labels[:, None] == labels].mean()
"""),
    ("3.5", "over all pairs", """
def tolerance(z, labels):
    return off(unit(z) @ unit(z).T * (labels[:, None] == labels)).mean()
"""),
    ("3.5", "not normalised", """
def tolerance(z, labels):
    same = (labels[:, None] == labels) & ~np.eye(len(z), dtype=bool)
    return (z @ z.T)[same].mean()
"""),
    # --- 3.6 and 3.7 weights and limits
    ("3.6", "missing temperature", """
def weights_entropy(similarities, temperature):
    p = softmax(off(similarities))
    return -(p * np.log(p)).sum(axis=1)
"""),
    ("3.6", "not stable", """
def weights_entropy(similarities, temperature):
    p = softmax(off(similarities) / temperature)
    return -(p * np.log(p)).sum(axis=1)
"""),
    ("3.6", "diagonal is not masked", """
def weights_entropy(similarities, temperature):
    p = softmax(similarities / temperature)
    return -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1)
"""),
    ("3.6", "wrong axis", """
def weights_entropy(similarities, temperature):
    s = np.where(np.eye(len(similarities)) == 1, -np.inf, similarities)
    p = softmax(s / temperature, axis=0)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=0)
"""),
    ("3.6", "not stable", """
def weights_entropy(similarities, temperature):
    logits = off(similarities) / temperature
    mass = np.exp(logits - logits.max())
    p = mass / mass.sum(axis=1, keepdims=True)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1)
"""),
    ("3.6", "not stable", """
def weights_entropy(similarities, temperature):
    logits = off(similarities) / temperature
    mass = np.exp(logits - similarities.max(axis=1, keepdims=True) / temperature)
    p = mass / mass.sum(axis=1, keepdims=True)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1)
"""),
    ("3.7", "hinge at 0 is missing", """
def temperature_limits(similarities):
    own, others = np.diag(similarities), off(similarities)
    return (others.max(axis=1) - own).mean(), (others.mean(axis=1) - own).mean()
"""),
    ("3.7", "sign", """
def temperature_limits(similarities):
    own, others = np.diag(similarities), off(similarities)
    return -np.maximum(others.max(axis=1) - own, 0).mean(), (own - others.mean(axis=1)).mean()
"""),
    ("3.7", "exchanged", """
def temperature_limits(similarities):
    own, others = np.diag(similarities), off(similarities)
    return (others.mean(axis=1) - own).mean(), np.maximum(others.max(axis=1) - own, 0).mean()
"""),
]  # fmt: skip


def outcome_of(identity, source, seed):
    functions = {}
    exec(PRELUDE + source, functions)
    with np.errstate(all="ignore"):
        return examine(EXERCISES[identity], InThisProcess(functions), np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("identity", "nature", "source"), MISTAKES, ids=[f"{row[0]}-{i}-{row[1]}" for i, row in enumerate(MISTAKES)]
)
def test_a_mistake_is_caught_and_its_nature_named(identity, nature, source, seed):
    outcome = outcome_of(identity, source, seed)
    assert outcome.score == 0
    assert nature in outcome.reason, outcome.reason
    assert outcome.hint


@pytest.mark.parametrize(
    ("identity", "nature", "source"), MISTAKES, ids=[f"{row[0]}-{i}-{row[1]}" for i, row in enumerate(MISTAKES)]
)
def test_a_student_hears_of_it_before_it_is_handed_in(identity, nature, source):
    functions = {}
    exec(PRELUDE + source, functions)
    report = examined(EXERCISES[identity], functions[EXERCISES[identity].name], np.random.default_rng(0))
    assert not report
    assert (nature if "mutates" not in nature else "it writes into them") in repr(report)
    assert report.case
    assert report.hint.count("hint") == ("mutates" not in nature)  # which is no matter of the formula


def test_there_are_sixty_and_every_exercise_has_some():
    assert len(MISTAKES) >= 60
    assert len({source for _, _, source in MISTAKES}) == len(MISTAKES)
    assert {identity for identity, _, _ in MISTAKES} == {i for i in EXERCISES if i[0] in "123"}
    natures = " ".join(nature for _, nature, _ in MISTAKES)
    for kind in ("sign", "axis", "missing 1/N", "missing temperature", "not masked", "not stable", "mutates", "dtype"):
        assert kind in natures
