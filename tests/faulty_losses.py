"""Losses that are wrong in one way each, as they are met in homework and in issue trackers; and right ones to tell
apart from them. `PLANTED` names, for each, properties that must catch it."""

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import hypercon as hc
from hypercon.autograd.ops import raw

# --- right losses in NumPy, of whose pieces the wrong ones are made


def length(z, axis=1):
    return np.maximum(np.sqrt((z * z).sum(axis=axis, keepdims=True)), 1e-12)


def unit(z, axis=1):
    return z / length(z, axis)


def lse(x, axis=1):
    peak = x.max(axis=axis, keepdims=True)
    return (np.log(np.exp(x - peak).sum(axis=axis, keepdims=True)) + peak).squeeze(axis)


def logits_of(z1, z2, temperature):
    return unit(z1) @ unit(z2).T / temperature


def cross_entropy(logits):
    """Row i's positive is column i."""
    return (lse(logits) - np.diag(logits)).mean()


def info_nce(z1, z2, *, temperature):
    return cross_entropy(logits_of(z1, z2, temperature))


def info_nce_in_loops(z1, z2, *, temperature):
    def cosine(a, b):
        return sum(a * b) / max((sum(a * a) * sum(b * b)) ** 0.5, 1e-12)

    total = 0.0
    for i, a in enumerate(z1):
        logits = [cosine(a, b) / temperature for b in z2]
        total += max(logits) + np.log(sum(np.exp(x - max(logits)) for x in logits)) - logits[i]
    return total / len(z1)


def softmax(x, axis=1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def project(g, z):
    u = unit(z)
    return (g - u * (u * g).sum(axis=1, keepdims=True)) / length(z)


def info_nce_gradient(z1, z2, *, temperature, axis=1, positive=1.0, through=project):
    n = len(z1)
    u, v = unit(z1), unit(z2)
    slope = (softmax(u @ v.T / temperature, axis) - positive * np.eye(n)) / (n * temperature)
    return through(slope @ v, z1), through(slope.T @ u, z2)


def masked_logits(z1, z2, temperature):
    z = unit(np.concatenate([z1, z2]))
    logits = z @ z.T / temperature
    np.fill_diagonal(logits, -np.inf)
    return logits


def partners(n):
    return np.roll(np.arange(2 * n), n)


def nt_xent(z1, z2, *, temperature):
    logits, n = masked_logits(z1, z2, temperature), len(z1)
    return (lse(logits) - logits[np.arange(2 * n), partners(n)]).mean()


def nt_xent_gradient(z1, z2, *, temperature, both_roles=lambda slope: slope + slope.T):
    n = len(z1)
    slope = (softmax(masked_logits(z1, z2, temperature)) - np.eye(2 * n)[partners(n)]) / (2 * n * temperature)
    g1, g2 = np.split(both_roles(slope) @ unit(np.concatenate([z1, z2])), 2)
    return project(g1, z1), project(g2, z2)


def composed(z1, z2, *, temperature):
    """InfoNCE from hypercon's operations."""
    logits = hc.normalize(z1) @ hc.normalize(z2).T / temperature
    return -(hc.log_softmax(logits, axis=1) * np.eye(len(z1))).sum() / len(z1)


# --- wrong ones that need more than a line


def unstable(z1, z2, *, temperature):
    weights = np.exp(logits_of(z1, z2, temperature))
    return -np.log(np.diag(weights) / weights.sum(axis=1)).mean()


def shifted_by_one_maximum(z1, z2, *, temperature):
    logits = logits_of(z1, z2, temperature)
    logits = logits - logits.max()
    return (np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)).mean()


def shifted_along_the_wrong_axis(z1, z2, *, temperature):
    logits = logits_of(z1, z2, temperature)
    peak = logits.max(axis=1)  # its axis is lost: it broadcasts over columns
    return (np.log(np.exp(logits - peak).sum(axis=1)) + peak - np.diag(logits)).mean()


def without_positive(z1, z2, *, temperature):
    logits = logits_of(z1, z2, temperature)
    return (lse(np.where(np.eye(len(z1), dtype=bool), -np.inf, logits)) - np.diag(logits)).mean()


def with_positive_twice(z1, z2, *, temperature):
    logits = logits_of(z1, z2, temperature)
    return (lse(np.column_stack([logits, np.diag(logits)])) - np.diag(logits)).mean()


def without_last_candidate(z1, z2, *, temperature):
    logits = logits_of(z1, z2, temperature)
    n = len(z1)
    return np.mean([lse(np.append(np.delete(x, i)[: n - 2], x[i])[None])[0] - x[i] for i, x in enumerate(logits)])


def by_pairs(z1, z2, *, temperature):
    logits = logits_of(z1, z2, temperature)
    sign = 2 * np.eye(len(z1)) - 1
    return np.logaddexp(0, -sign * logits).sum(axis=1).mean()


def nan_when_nothing_varies(z1, z2, *, temperature):
    logits = logits_of(z1, z2, temperature)
    spread = np.ptp(logits)
    return cross_entropy((logits - logits.min()) / spread * spread)


def spoiling(z1, z2, *, temperature):
    z1 /= length(z1)
    return cross_entropy(logits_of(z1, z2, temperature))


noise = np.random.default_rng(0)


def with_noise(z1, z2, *, temperature):
    return info_nce(z1 + 0.01 * noise.normal(size=z1.shape), z2, temperature=temperature)


def reading_memory_in_order(z1, z2, *, temperature):
    return info_nce(z1, z2.ravel(order="K").reshape(z2.shape), temperature=temperature)


def with_hardest_only(z1, z2, *, temperature):
    logits = logits_of(z1, z2, temperature)
    own = np.eye(len(z1), dtype=bool)
    hardest = np.where(own, -np.inf, logits).max(axis=1)
    return np.logaddexp(0, hardest - np.diag(logits)).mean()


def with_hinge(z1, z2, *, temperature):
    """Bounded from above, as a "stabilised" loss may be: no longer convex."""
    return np.minimum(info_nce(z1, z2, temperature=temperature), 2.0)


def nt_xent_from(mask, *, of=lambda z1, z2: np.concatenate([z1, z2]), pick=partners, mean=np.mean):
    def loss(z1, z2, *, temperature):
        z, n = unit(of(z1, z2)), len(z1)
        logits = mask(z @ z.T / temperature)
        return mean(lse(logits) - logits[np.arange(2 * n), pick(n)])

    return loss


def on_diagonal(value):
    return lambda logits: np.where(np.eye(len(logits), dtype=bool), value, logits)


def with_maximum_before_mask(z1, z2, *, temperature):
    z, n = unit(np.concatenate([z1, z2])), len(z1)
    logits = z @ z.T / temperature
    logits = logits - logits.max(axis=1, keepdims=True)
    weights = np.exp(logits) * (1 - np.eye(2 * n))
    return (np.log(weights.sum(axis=1)) - logits[np.arange(2 * n), partners(n)]).mean()


def interleaved(z1, z2):
    return np.stack([z1, z2], axis=1).reshape(-1, z1.shape[1])


def temperature_cut_off(z1, z2, *, temperature):
    return composed(z1, z2, temperature=float(raw(temperature)))


@hc.primitive(lambda g, out, x: g * np.exp(raw(x)))
def frozen_exp(x):
    """Its rule is right, and cannot be differentiated."""
    return np.exp(x)


def once_differentiable(z1, z2, *, temperature):
    gaps = hc.normalize(z1) @ hc.normalize(z2).T / temperature
    gaps = gaps - (gaps * np.eye(len(z1))).sum(axis=1, keepdims=True)
    peak = raw(gaps).max(axis=1, keepdims=True)
    return (hc.log(frozen_exp(gaps - peak).sum(axis=1)) + peak[:, 0]).mean()


def of_gradient(change, right=info_nce_gradient):
    def gradient(z1, z2, *, temperature):
        return change(*right(z1, z2, temperature=temperature), temperature, len(z1))

    return gradient


# --- the table


@dataclass(frozen=True)
class Fault:
    """A wrong loss, and the properties that must catch it."""

    caught_by: str
    loss: Any
    settings: dict[str, Any] = field(default_factory=dict)


def wrong_gradient(caught_by, gradient):
    return Fault(caught_by, info_nce, {"gradient": gradient})


def of_logits(caught_by, loss):
    """A fault in what is made of the matrix of logits."""
    return Fault(caught_by, lambda z1, z2, *, temperature: loss(logits_of(z1, z2, temperature)))


def of_inputs(caught_by, prepare):
    """The right loss of wrong inputs."""

    def loss(z1, z2, *, temperature):
        z1, z2, temperature = prepare(z1, z2, temperature)
        return info_nce(z1, z2, temperature=temperature)

    return Fault(caught_by, loss)


def of_similarities(caught_by, loss):
    return Fault(caught_by, lambda z1, z2, *, temperature: loss(unit(z1) @ unit(z2).T, temperature))


NT_XENT = {"kind": "nt_xent"}

PLANTED = {
    # what is made of the logits
    "softmax over columns": of_logits("P23 P20", lambda x: (lse(x, axis=0) - np.diag(x)).mean()),
    "sum instead of mean": of_logits("P19 P23 P18", lambda x: (lse(x) - np.diag(x)).sum()),
    "mean over all pairs": of_logits("P19 P23", lambda x: (lse(x) - np.diag(x)).sum() / x.size),
    "sign": of_logits("P19 P26 P28", lambda x: (np.diag(x) - lse(x)).mean()),
    "positive not counted": Fault("P19 P23", without_positive),
    "positive counted twice": Fault("P19 P23", with_positive_twice),
    "log of the mean": of_logits("P19 P23", lambda x: cross_entropy(x) - np.log(len(x))),
    "labels shifted by one": of_logits("P26 P23", lambda x: (lse(x) - np.diag(np.roll(x, 1, axis=1))).mean()),
    "one negative lost": Fault("P21 P19 P26", without_last_candidate),
    "hardest negative alone": Fault("P19 P26", with_hardest_only),
    "pairwise sigmoid": Fault("P19 P20", by_pairs),
    "logarithm to base 2": of_logits("P19 P23", lambda x: cross_entropy(x) / np.log(2)),
    "a small number inside the logarithm": of_logits("P25 P23", lambda x: -np.log(np.diag(softmax(x)) + 1e-6).mean()),
    "a value for each anchor": of_logits("P0", lambda x: lse(x) - np.diag(x)),
    "first anchor alone": of_logits("P21 P26", lambda x: (lse(x) - np.diag(x))[0]),
    "bounded from above": Fault("P25 P28", with_hinge),
    # temperature
    "positive without temperature": of_similarities("P27 P20", lambda s, t: (lse(s / t) - np.diag(s)).mean()),
    "temperature twice": of_similarities("P27", lambda s, t: cross_entropy(s / t / t)),
    "times temperature": of_similarities("P27", lambda s, t: cross_entropy(s * t)),
    "temperature ignored": of_similarities("P27 P20", lambda s, t: cross_entropy(s)),
    "temperature not below 0.1": of_similarities("P27 P23", lambda s, t: cross_entropy(s / max(t, 0.1))),
    "divided by a base temperature": of_similarities("P19 P27", lambda s, t: t / 0.07 * cross_entropy(s / t)),
    # similarities
    "not normalised": Fault("P15 P17", lambda z1, z2, *, temperature: cross_entropy(z1 @ z2.T / temperature)),
    "one view normalised": Fault(
        "P15 P17", lambda z1, z2, *, temperature: cross_entropy(unit(z1) @ z2.T / temperature)
    ),
    "columns normalised": Fault(
        "P15 P18", lambda z1, z2, *, temperature: cross_entropy(unit(z1, 0) @ unit(z2, 0).T / temperature)
    ),
    "centred": of_inputs("P23 P17", lambda z1, z2, t: (z1 - z1.mean(0), z2 - z2.mean(0), t)),
    "cosine clipped short of 1": of_similarities("P23", lambda s, t: cross_entropy(np.clip(s, -1, 1 - 1e-6) / t)),
    "negative cosines cut off": of_similarities("P26 P23", lambda s, t: cross_entropy(np.maximum(s, 0) / t)),
    "squared distances": of_similarities("P23 P27", lambda s, t: cross_entropy((2 * s - 2) / t)),
    "distances": of_similarities("P20 P27", lambda s, t: cross_entropy(-np.sqrt(np.maximum(2 - 2 * s, 0)) / t)),
    "a fixed margin": of_similarities("P19 P23", lambda s, t: cross_entropy((s - 0.1 * np.eye(len(s))) / t)),
    "one coordinate left out": of_inputs("P18 P23", lambda z1, z2, t: (z1[:, 1:], z2[:, 1:], t)),
    # numbers
    "exponentials without shift": Fault("P25", unstable),
    "one maximum for all rows": Fault("P25", shifted_by_one_maximum),
    "maximum along the wrong axis": Fault("P20 P23", shifted_along_the_wrong_axis),
    "computed in float32": of_inputs("P23", lambda z1, z2, t: (np.float32(z1), np.float32(z2), np.float32(t))),
    "nan when nothing varies": Fault("P19", nan_when_nothing_varies),
    # manners
    "spoils its input": Fault("P0", spoiling),
    "random in every call": Fault("P0", with_noise),
    "reads memory, not the array": Fault("P0", reading_memory_in_order),
    "one instance alone is an IndexError": Fault(
        "P29", lambda z1, z2, *, temperature: info_nce(z1, z2, temperature=temperature) + 0 * z1[1, 0]
    ),
    "nan for a row of zeros": of_inputs(
        "P29", lambda z1, z2, t: (z1 / np.sqrt((z1 * z1).sum(axis=1, keepdims=True)), z2, t)
    ),
    # another loss than the one that is meant
    "NT-Xent taken for InfoNCE": Fault("P19 P30", nt_xent),
    "InfoNCE taken for NT-Xent": Fault("P19 P22 P26", info_nce, NT_XENT),
    "one direction taken for both": Fault("P22 P23", info_nce, {"symmetric": True}),
    "sum of both directions": Fault(
        "P19",
        lambda a, b, *, temperature: info_nce(a, b, temperature=temperature) + info_nce(b, a, temperature=temperature),
        {"symmetric": True},
    ),
    "normalises although plain products are meant": Fault("P23 P27", info_nce, {"normalize": False}),
    # NT-Xent
    "itself not masked": Fault("P19 P30 P25", nt_xent_from(lambda logits: logits), NT_XENT),
    "itself masked by 0": Fault("P19 P30", nt_xent_from(on_diagonal(0.0)), NT_XENT),
    "mask that leaks": Fault("P25", nt_xent_from(lambda x: x + np.log(1e-45) * np.eye(len(x))), NT_XENT),
    "maximum before the mask": Fault("P25", with_maximum_before_mask, NT_XENT),
    "pairs interleaved, positives stacked": Fault(
        "P26 P21", nt_xent_from(on_diagonal(-np.inf), of=interleaved), NT_XENT
    ),
    "mean over N": Fault("P19", nt_xent_from(on_diagonal(-np.inf), mean=lambda x: x.sum() / (len(x) / 2)), NT_XENT),
    "first view's anchors alone": Fault(
        "P22 P23", nt_xent_from(on_diagonal(-np.inf), mean=lambda x: x[: len(x) // 2].mean()), NT_XENT
    ),
    "NT-Xent gradient of one role, doubled": Fault(
        "P23 P24", nt_xent, {**NT_XENT, "gradient": functools.partial(nt_xent_gradient, both_roles=lambda a: 2 * a)}
    ),
    # gradients beside a right value
    "gradient times 1.001": wrong_gradient("P23 P24", of_gradient(lambda a, b, t, n: (1.001 * a, 1.001 * b))),
    "gradient uphill": wrong_gradient("P23 P24", of_gradient(lambda a, b, t, n: (-a, -b))),
    "gradient without 1 / tau": wrong_gradient("P23 P24", of_gradient(lambda a, b, t, n: (t * a, t * b))),
    "gradient without 1 / N": wrong_gradient("P23 P24", of_gradient(lambda a, b, t, n: (n * a, n * b))),
    "gradients swapped": wrong_gradient("P23 P24 P16", of_gradient(lambda a, b, t, n: (b, a))),
    "gradient stopped at the second view": wrong_gradient("P23 P24", of_gradient(lambda a, b, t, n: (a, 0 * b))),
    "gradient in another shape": wrong_gradient("P16 P23 P24", of_gradient(lambda a, b, t, n: (a.ravel(), b.ravel()))),
    "one gradient": wrong_gradient("P16 P23 P24", of_gradient(lambda a, b, t, n: a[:1])),
    "gradient rounded": wrong_gradient("P24", of_gradient(lambda a, b, t, n: (np.float32(a), np.float32(b)))),
    "gradient clipped": wrong_gradient("P24 P17", of_gradient(lambda a, b, t, n: (np.clip(a, -0.1, 0.1), b))),
    "gradient not projected": wrong_gradient(
        "P16 P24", functools.partial(info_nce_gradient, through=lambda g, z: g / length(z))
    ),
    "gradient not divided by the length": wrong_gradient(
        "P17 P24", functools.partial(info_nce_gradient, through=lambda g, z: project(g, unit(z)))
    ),
    "gradient's softmax over columns": wrong_gradient("P20 P24", functools.partial(info_nce_gradient, axis=0)),
    "gradient without the pull": wrong_gradient("P23 P24", functools.partial(info_nce_gradient, positive=0.0)),
    # autograd
    "temperature cut off from its gradient": Fault("P27", temperature_cut_off),
    "differentiable once": Fault("P23", once_differentiable),
}
