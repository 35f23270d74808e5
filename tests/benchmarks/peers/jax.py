"""JAX, each function compiled by jit."""

import jax
import numpy as np
from benchmarks.work import BATCH_NORM_EPS, Work, step_results, weights_of
from jax import lax
from jax import numpy as jnp
from jax.scipy.special import logsumexp


class Peer:
    def threads(self):
        return "XLA's own products, as many threads as cores"

    def info_nce(self, inputs, *, temperature, symmetric, **_):
        def loss(z1, z2):
            logits = _on_sphere(z1) @ _on_sphere(z2).T / temperature
            there = jnp.mean(logsumexp(logits, axis=1) - jnp.diag(logits))
            if not symmetric:
                return there
            return (there + jnp.mean(logsumexp(logits, axis=0) - jnp.diag(logits))) / 2

        return _gradients(inputs, loss)

    def nt_xent(self, inputs, *, temperature, **_):
        return _gradients(inputs, lambda z1, z2: _nt_xent(z1, z2, temperature))

    def uniformity(self, inputs, *, t, **_):
        count = len(inputs["z"])

        def loss(z):
            u = _on_sphere(z)
            kernel = jnp.exp(2 * t * (u @ u.T) - 2 * t)
            return jnp.log((jnp.sum(kernel) - jnp.trace(kernel)) / (count * (count - 1)))

        return _gradients(inputs, loss)

    def chain(self, inputs, *, operations, **_):
        def chain(x):
            y = x
            for _ in range(operations // 2):
                y = y * 1.001
                y = y + x
            return y.sum()

        return _gradients(inputs, chain)

    def mlp_step(self, inputs, **settings):
        def net(weights, x):
            return jax.nn.relu(x @ weights["w0"] + weights["b0"]) @ weights["w1"] + weights["b1"]

        return _step(net, inputs, **settings)

    def cnn_step(self, inputs, *, kernels, **settings):
        def net(weights, x):
            for i, stride in zip(range(len(kernels)), (1, 2, 2), strict=False):
                x = lax.conv_general_dilated(
                    x, weights[f"kernels{i}"], (stride, stride), [(1, 1), (1, 1)],
                    dimension_numbers=("NCHW", "OIHW", "NCHW"),
                )  # fmt: skip
                mean = x.mean(axis=(0, 2, 3), keepdims=True)
                var = x.var(axis=(0, 2, 3), keepdims=True)
                gain, shift = (weights[f"{name}{i}"][:, None, None] for name in ("scale", "shift"))
                x = jax.nn.relu((x - mean) * lax.rsqrt(var + BATCH_NORM_EPS) * gain + shift)
            return x.mean(axis=(2, 3)) @ weights["w"] + weights["b"]

        return _step(net, inputs, **settings)


def _nt_xent(z1, z2, temperature):
    count = len(z1)
    u = _on_sphere(jnp.concatenate([z1, z2]))
    logits = u @ u.T / temperature
    logits = jnp.where(jnp.eye(2 * count, dtype=bool), -jnp.inf, logits)
    partner = (jnp.arange(2 * count) + count) % (2 * count)
    return jnp.mean(logsumexp(logits, axis=1) - logits[jnp.arange(2 * count), partner])


def _on_sphere(z):
    return z / jnp.linalg.norm(z, axis=1, keepdims=True)


def _gradients(inputs, loss):
    leaves = {name: jnp.asarray(value) for name, value in inputs.items()}
    compiled = jax.jit(jax.value_and_grad(loss, argnums=tuple(range(len(leaves)))))

    def run():
        return jax.block_until_ready(compiled(*leaves.values()))

    def results():
        value, gradients = run()
        named = zip(leaves, gradients, strict=True)
        return {"loss": np.asarray(value)} | {name: np.asarray(gradient) for name, gradient in named}

    return Work(run, results)


def _step(net, inputs, *, temperature, rate, momentum, **_):
    x = jnp.asarray(inputs["x"])
    half = len(x) // 2
    weights = {name: jnp.asarray(value) for name, value in weights_of(inputs).items()}
    state = {"weights": weights, "velocity": jax.tree.map(jnp.zeros_like, weights)}

    def loss(weights):
        z = net(weights, x)
        return _nt_xent(z[:half], z[half:], temperature)

    @jax.jit
    def step(weights, velocity):
        value, gradients = jax.value_and_grad(loss)(weights)
        velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradients)
        return value, jax.tree.map(lambda w, v: w - rate * v, weights, velocity), velocity

    def run():
        value, state["weights"], state["velocity"] = step(state["weights"], state["velocity"])
        return float(jax.block_until_ready((value, state))[0])

    return Work(run, lambda: step_results(run, lambda: {name: np.asarray(w) for name, w in state["weights"].items()}))
