"""The chain rule without an idea of efficiency: a cotangent walks every path to every leaf, one path at a time.

No topological order, no accumulation inside the graph, nothing to free: what hypercon's engine must agree with.
"""

from contextlib import contextmanager

import numpy as np

recording = True


class Value:
    """A number or array; `made_from` holds pairs of an input and what takes a cotangent to it."""

    def __init__(self, data, requires_grad=False, made_from=()):
        self.data, self.requires_grad, self.made_from = np.asarray(data, dtype=float), requires_grad, made_from
        self.grad, self.freed = None, False

    def detach(self):
        return Value(self.data)

    def backward(self, gradient, *, create_graph=False):
        if not self.requires_grad or self.leads_to_freed():
            raise RuntimeError("no graph")
        self.walk(np.asarray(gradient, dtype=float))
        if not create_graph:
            self.free()

    def walk(self, g):
        for x, rule in self.made_from:
            if x.requires_grad:
                x.walk(summed_to(x.data.shape, rule(g)))
        if not self.made_from:
            self.grad = g if self.grad is None else self.grad + g

    def leads_to_freed(self):
        return self.freed or any(x.leads_to_freed() for x, _ in self.made_from if x.requires_grad)

    def free(self):
        for x, _ in self.made_from:
            x.free()
        self.freed = bool(self.made_from)


def summed_to(shape, g):
    while g.ndim > len(shape):
        g = g.sum(axis=0)
    for axis, n in enumerate(shape):
        if n != g.shape[axis]:
            g = g.sum(axis=axis, keepdims=True)
    return g


def made(data, *made_from):
    needs = recording and any(x.requires_grad for x, _ in made_from)
    return Value(data, needs, made_from if needs else ())


def add(x, y):
    return made(x.data + y.data, (x, lambda g: g), (y, lambda g: g))


def subtract(x, y):
    return made(x.data - y.data, (x, lambda g: g), (y, lambda g: -g))


def multiply(x, y):
    return made(x.data * y.data, (x, lambda g: g * y.data), (y, lambda g: g * x.data))


def tanh(x):
    return made(np.tanh(x.data), (x, lambda g: g * (1 - np.tanh(x.data) ** 2)))


@contextmanager
def no_grad():
    global recording
    recording = False
    try:
        yield
    finally:
        recording = True
