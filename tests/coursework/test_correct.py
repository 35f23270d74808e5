"""Right solutions in many styles earn full marks, by the judge's comparison and through its worker."""

from pathlib import Path

import numpy as np
import pytest

from hypercon.coursework.assignments import ASSIGNMENTS
from hypercon.coursework.grading import grade_one
from hypercon.coursework.judge import InThisProcess, examine
from hypercon.coursework.release import solution
from hypercon.coursework.submissions import Submission

EXERCISES = {exercise.id: exercise for assignment in ASSIGNMENTS.values() for exercise in assignment.exercises}

# exercise, style, and the solution as a student writes it; each stands on its own
SOLUTIONS = [
    ("1.1", "one node at a time, in loops", """
def topological_order(count, edges):
    inputs = [set() for _ in range(count)]
    outputs = [[] for _ in range(count)]
    for a, b in edges.tolist():
        inputs[b].add(a)
        outputs[a].append(b)
    order, ready = [], [i for i in range(count) if not inputs[i]]
    for node in ready:
        order.append(node)
        for b in outputs[node]:
            inputs[b].discard(node)
            if not inputs[b] and b not in ready[len(order):]:
                ready.append(b)
    return order
"""),
    ("1.1", "depth first, with a stack of one's own", """
import numpy as np

def topological_order(count, edges):
    sources = {}
    for a, b in edges:
        sources.setdefault(int(b), []).append(int(a))
    done, order = set(), []
    for start in range(count):
        stack = [(start, False)]
        while stack:
            node, ready = stack.pop()
            if ready:
                order.append(node)
            elif node not in done:
                done.add(node)
                stack.append((node, True))
                stack.extend((a, False) for a in sources.get(node, ()) if a not in done)
    return np.array(order, dtype=np.int32)
"""),
    ("1.1", "a class", """
import collections

class Graph:
    def __init__(self, count, edges):
        self.count, self.missing = count, collections.Counter(int(b) for _, b in edges)
        self.outputs = collections.defaultdict(list)
        for a, b in edges:
            self.outputs[int(a)].append(int(b))

    def order(self):
        queue = collections.deque(i for i in range(self.count) if not self.missing[i])
        while queue:
            node = queue.popleft()
            yield node
            for b in self.outputs[node]:
                self.missing[b] -= 1
                if not self.missing[b]:
                    queue.append(b)

def topological_order(count, edges):
    return tuple(Graph(count, edges).order())
"""),
    ("1.2", "einsum", """
import numpy as np

def unbroadcast(g, shape):
    padded = (1,) * (g.ndim - len(shape)) + tuple(shape)
    letters = "abcdef"[: g.ndim]
    kept = "".join(c for c, n, m in zip(letters, padded, g.shape) if n == m)
    return np.einsum(f"{letters}->{kept}", g).reshape(shape)
"""),
    ("1.2", "entry by entry", """
import numpy as np

def unbroadcast(g, shape):
    out = np.zeros(shape, g.dtype)
    for place in np.ndindex(g.shape):
        there = place[g.ndim - len(shape):]
        out[tuple(0 if n == 1 else i for i, n in zip(there, shape))] += g[place]
    return out
"""),
    ("1.3", "in place, on copies", """
import numpy as np

def back(g, shape):
    g = g.copy()
    while g.ndim > len(shape):
        g = g.sum(0)
    for i, n in enumerate(shape):
        if n == 1:
            g = g.sum(i, keepdims=True)
    return g

def mul_backward(g, x, y):
    gx, gy = g.copy(), g.copy()
    gx *= y
    gy *= x
    return [back(gx, x.shape), back(gy, y.shape)]
"""),
    ("1.4", "einsum", """
import numpy as np

def matmul_backward(g, x, y):
    return np.einsum("...ij,...kj->...ik", g, y), np.einsum("...ki,...kj->...ij", x, g)
"""),
    ("1.4", "one matrix of a stack at a time", """
import numpy as np

def matmul_backward(g, x, y):
    if x.ndim == 2:
        return np.dot(g, y.T), np.dot(x.T, g)
    pairs = [matmul_backward(*one) for one in zip(g, x, y)]
    return np.stack([a for a, _ in pairs]), np.stack([b for _, b in pairs])
"""),
    ("1.5", "a tensor of one's own", """
import numpy as np

class Tensor:
    def __init__(self, data):
        self.data = data

    def exp(self):
        return Tensor(np.exp(self.data))

def exp_with_gradient(g, x):
    value = Tensor(x).exp()
    return value, Tensor(g * value.data)
"""),
    ("1.6", "logaddexp", """
import numpy as np

def logsumexp_with_gradient(g, x, axis):
    value = np.logaddexp.reduce(x, axis=axis, keepdims=True)
    return np.squeeze(value, axis), np.exp(x - value) * np.expand_dims(g, axis)
"""),
    ("1.6", "computed in float64, returned as it came", """
import numpy as np

def logsumexp_with_gradient(g, x, axis):
    rows = np.moveaxis(x, axis, -1).astype(np.float64)
    values, slopes = [], []
    for row, weight in zip(rows, g):
        e = np.exp(row - max(row))
        values.append(np.log(sum(e)) + max(row))
        slopes.append(weight * e / sum(e))
    return np.array(values).astype(x.dtype), np.moveaxis(np.array(slopes), -1, axis).astype(x.dtype)
"""),
    ("1.7", "counting ties", """
import numpy as np

def max_with_gradient(g, x, axis):
    top = np.amax(x, axis=axis, keepdims=True)
    share = np.divide(1, np.count_nonzero(x == top, axis=axis, keepdims=True), dtype=x.dtype)
    return top.squeeze(axis), np.where(x == top, share * np.expand_dims(g, axis), 0).astype(x.dtype)
"""),
    ("2.1", "sums of Python numbers", """
import math

def info_nce_naive(z1, z2, temperature):
    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    a, b, loss = z1.tolist(), z2.tolist(), 0.0
    for i in range(len(a)):
        e = [math.exp(cosine(a[i], row) / temperature) for row in b]
        loss += math.log(math.fsum(e)) - math.log(e[i])
    return loss / len(a)
"""),
    ("2.2", "log1p of the negatives alone", """
import numpy as np

def info_nce(z1, z2, temperature):
    u = z1 / np.linalg.norm(z1, axis=1)[:, None]
    v = z2 / np.linalg.norm(z2, axis=1)[:, None]
    s = u @ v.T
    d = (s - np.diag(s)[:, None]) / temperature
    np.fill_diagonal(d, -np.inf)
    others = np.logaddexp.reduce(d, axis=1)
    return np.mean(np.logaddexp(0, others))
"""),
    ("2.2", "distances instead of cosines", """
import numpy as np

def info_nce(z1, z2, temperature):
    u, v = (z / np.sqrt(np.einsum("ij,ij->i", z, z))[:, None] for z in (z1, z2))
    logits = -((u[:, None] - v[None]) ** 2).sum(-1) / 2 / temperature
    top = logits.max(axis=1)
    return float(np.mean(np.log(np.sum(np.exp(logits.T - top), axis=0)) + top - logits.diagonal()))
"""),
    ("2.3", "row by row", """
import numpy as np

def info_nce_gradient(z1, z2, temperature):
    n1, n2 = (np.linalg.norm(z, axis=1, keepdims=True) for z in (z1, z2))
    u, v = z1 / n1, z2 / n2
    gu, gv = np.zeros_like(u), np.zeros_like(v)
    for i in range(len(u)):
        s = v @ u[i] / temperature
        p = np.exp(s - s.max())
        p /= p.sum()
        p[i] -= 1
        gu[i] += p @ v
        gv += np.outer(p, u[i])
    gu /= len(u) * temperature
    gv /= len(u) * temperature
    gu -= u * np.sum(u * gu, axis=1, keepdims=True)
    gv -= v * np.sum(v * gv, axis=1, keepdims=True)
    return gu / n1, gv / n2
"""),
    ("2.3", "the Jacobian of the normalisation as matrices", """
import numpy as np

def info_nce_gradient(z1, z2, temperature):
    def jacobians(z):
        n = np.linalg.norm(z, axis=1)
        u = z / n[:, None]
        return u, (np.eye(z.shape[1], dtype=z.dtype) - np.einsum("ni,nj->nij", u, u)) / n[:, None, None]
    (u, ju), (v, jv) = jacobians(z1), jacobians(z2)
    e = np.exp(np.einsum("id,jd->ij", u, v) / np.float32(temperature))
    slope = (e / e.sum(1)[:, None] - np.identity(len(u), dtype=e.dtype)) / len(u) / np.float32(temperature)
    return np.einsum("nij,nj->ni", ju, slope @ v), np.einsum("nij,nj->ni", jv, slope.T @ u)
"""),
    ("2.3", "float32 throughout", """
import numpy as np

def info_nce_gradient(z1, z2, temperature):
    z1, z2, tau = (np.float32(value) for value in (z1, z2, temperature))
    n1, n2 = (np.sqrt(np.square(z).sum(axis=1, keepdims=True)) for z in (z1, z2))
    u, v = z1 / n1, z2 / n2
    logits = u @ v.T / tau
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    np.fill_diagonal(p, p.diagonal() - 1)
    g, h = p @ v / len(u) / tau, p.T @ u / len(u) / tau
    return (g - u * (u * g).sum(1, keepdims=True)) / n1, (h - v * (v * h).sum(1, keepdims=True)) / n2
"""),
    ("2.4", "one temperature at a time", """
import numpy as np

def info_nce_per_sample(z1, z2, temperatures):
    v = z2 / np.linalg.norm(z2, axis=1, keepdims=True)
    losses = []
    for i, (a, tau) in enumerate(zip(z1, temperatures)):
        s = v @ (a / np.linalg.norm(a)) / tau
        losses.append(np.logaddexp.reduce(s - s[i]))
    return np.array(losses).mean()
"""),
    ("2.5", "as a variance-free expectation", """
import numpy as np

def temperature_gradient(z1, z2, temperatures):
    u, v = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (z1, z2))
    s = np.inner(u, v)
    b = 1 / temperatures
    e = np.exp(s * b[:, None])
    return b**2 * (s.diagonal() - np.average(s, axis=1, weights=e)) / np.array(len(s), s.dtype)
"""),
    ("2.6", "the positive aside", """
import numpy as np

def info_nce_weighted(z1, z2, temperature, weights):
    s = (z1 / np.linalg.norm(z1, axis=1, keepdims=True)) @ (z2 / np.linalg.norm(z2, axis=1, keepdims=True)).T
    total = 0.0
    for i, row in enumerate(s):
        x = np.delete(row - row[i], i) / temperature
        w = np.delete(weights[i], i)
        x = x[w > 0] + np.log(w[w > 0])
        total += np.logaddexp.reduce(np.append(x, 0.0))
    return total / len(s)
"""),
    ("2.7", "weights times exp, after the shift", """
import numpy as np

def weighted_gradient(similarities, temperature, weights):
    w = weights.copy()
    np.fill_diagonal(w, 1)
    top = np.where(w > 0, similarities, -np.inf).max(axis=1, keepdims=True)
    m = w * np.exp((np.minimum(similarities, top) - top) / temperature)
    m /= m.sum(axis=1, keepdims=True)
    m[np.diag_indices(len(m))] -= 1
    return m / (len(m) * temperature)
"""),
    ("3.1", "hypot", """
import functools
import numpy as np

def normalize(x):
    return np.stack([row / functools.reduce(np.hypot, row) for row in x])
"""),
    ("3.1", "scaled twice, in place on a copy", """
import numpy as np

def normalize(x):
    y = x.copy()
    y /= np.abs(y).max(axis=1, keepdims=True)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    return y
"""),
    ("3.2", "a projector for each row", """
import numpy as np

def normalize_gradient(g, x):
    rows = []
    for a, b in zip(g, x):
        n2 = b @ b
        rows.append((np.eye(len(b), dtype=b.dtype) - np.outer(b, b) / n2) @ a / np.sqrt(n2))
    return np.vstack(rows)
"""),
    ("3.3", "pairs once, from cosines", """
import numpy as np

def uniformity(z, t):
    u = z / np.linalg.norm(z, axis=1, keepdims=True)
    i, j = np.triu_indices(len(u), k=1)
    exponents = -t * (2 - 2 * np.einsum("nd,nd->n", u[i], u[j]))
    return np.log(len(i)) - np.logaddexp.reduce(exponents)
"""),
    ("3.4", "a quadrature in the cosine", """
import numpy as np

def uniformity_bound(dim, t):
    nodes, weights = np.polynomial.chebyshev.chebgauss(4000)
    density = (1 - nodes**2) ** ((dim - 2) / 2) * weights
    return -np.log(np.average(np.exp(2 * t * (nodes - 1)), weights=density))
"""),
    ("3.5", "class by class", """
import numpy as np

def tolerance(z, labels):
    u = z / np.linalg.norm(z, axis=1, keepdims=True)
    total, pairs = 0.0, 0
    for c in set(labels.tolist()):
        group = u[labels == c]
        total += group.sum(axis=0) @ group.sum(axis=0) - len(group)
        pairs += len(group) * (len(group) - 1)
    return total / pairs
"""),
    ("3.5", "float32 and a Gram matrix", """
import numpy as np

def tolerance(z, labels):
    z = z.astype(np.float32)
    gram = z @ z.T
    cosines = gram / np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
    same = np.equal.outer(labels, labels) & ~np.eye(len(z), dtype=bool)
    return np.average(cosines, weights=same)
"""),
    ("3.6", "log of the mass less the mean logit", """
import numpy as np

def weights_entropy(similarities, temperature):
    out = np.empty(len(similarities), similarities.dtype)
    for i, row in enumerate(similarities):
        x = np.delete(row, i) / np.asarray(temperature, row.dtype)
        x = x - x.max()
        w = np.exp(x)
        out[i] = np.log(w.sum()) - (w * x).sum() / w.sum()
    return out
"""),
    ("3.7", "masked arrays", """
import numpy as np

def temperature_limits(similarities):
    others = np.ma.masked_array(similarities, mask=np.eye(len(similarities), dtype=bool))
    own = similarities.diagonal()
    cold = np.clip(others.max(axis=1).data - own, 0, None)
    return np.float64(cold.mean()), np.mean(others.mean(axis=1).data - own)
"""),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("identity", "style", "source"), SOLUTIONS, ids=[f"{identity}-{style}" for identity, style, _ in SOLUTIONS]
)
def test_a_right_solution_earns_full_marks(identity, style, source, seed):
    functions = {}
    exec(source, functions)
    outcome = examine(EXERCISES[identity], InThisProcess(functions), np.random.default_rng(seed))
    assert outcome.passed, f"{outcome.reason}\n{outcome.case}"


def handed_in(assignment):
    """Whole files, enough of them that every style is in one: the model solution where there is no other."""
    styles = {e.id: [s for i, _, s in SOLUTIONS if i == e.id] for e in assignment.exercises}
    for turn in range(max(1, *map(len, styles.values()))):
        others = [sources[turn] for sources in styles.values() if turn < len(sources)]
        yield "\n".join([solution(assignment), *others])


@pytest.mark.parametrize("identity", ["a1", "a2", "a3", "a4"])
def test_every_style_earns_full_marks_through_the_worker(identity):
    assignment = ASSIGNMENTS[identity]
    for source in handed_in(assignment):
        grade = grade_one(assignment, Submission("right", source.encode()), seed=5)
        assert grade.score == grade.points, [o for o in grade.outcomes if not o.passed]


def test_there_are_twenty_five_and_every_exercise_has_some():
    assert len({source for _, _, source in SOLUTIONS}) >= 25
    assert {identity for identity, _, _ in SOLUTIONS} == {i for i in EXERCISES if i[0] in "123"}


@pytest.mark.parametrize("assignment", [a for a in ASSIGNMENTS.values() if a.grader is None], ids=lambda a: a.id)
def test_the_model_solution_earns_full_marks_whatever_is_drawn(assignment):
    functions = {}
    exec(solution(assignment), functions)
    for exercise in assignment.exercises:
        for seed in range(1 if exercise.name == "train" else 6):
            outcome = examine(exercise, InThisProcess(functions), np.random.default_rng(seed))
            assert outcome.passed, f"seed {seed}: {outcome.reason}\n{outcome.case}"


def test_an_assignment_is_called_after_its_source():
    for assignment in ASSIGNMENTS.values():
        assert Path(assignment.file).stem == assignment.id
        assert f"# # Assignment {assignment.id[1:]}: " in solution(assignment)
        ids = [exercise.id for exercise in assignment.exercises]
        assert ids == [f"{assignment.id[1:]}.{place}" for place in range(1, len(ids) + 1)]
        assert all(f"## {identity} " in solution(assignment) for identity in ids)
