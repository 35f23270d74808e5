"""Derivatives of functions: each against what it says it is, nested, and with good and bad input."""

import numpy as np
import pytest

import hypercon as hc
from hypercon.errors import DtypeError, GraphError, InputError

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 4))
X, V = RNG.normal(size=(2, 4))
U = RNG.normal(size=3)


def f(x):
    """From 4 numbers to 3, with a Jacobian known by hand."""
    return hc.tanh(A @ x)


def jacobian_of_f(x):
    return (1 - np.tanh(A @ x) ** 2)[:, None] * A


def g(x):
    """A scalar whose Hessian is known by hand."""
    return (x**3).sum() / 6 + (A @ x).sum() ** 2 / 2


def hessian_of_g(x):
    total = A.sum(axis=0)
    return np.diag(x) + np.outer(total, total)


def test_jacobian_is_the_matrix_of_all_derivatives():
    np.testing.assert_allclose(hc.jacobian(f)(X), jacobian_of_f(X), rtol=1e-12)


def test_vjp_multiplies_by_the_jacobian_from_the_left_as_often_as_wanted():
    value, pullback = hc.vjp(f, X)
    np.testing.assert_allclose(value, np.tanh(A @ X))
    for u in (U, 2 * U):
        np.testing.assert_allclose(pullback(u), u @ jacobian_of_f(X), rtol=1e-12)


def test_jvp_multiplies_by_the_jacobian_from_the_right():
    value, tangent = hc.jvp(f, [X], [V])
    np.testing.assert_allclose(value, np.tanh(A @ X))
    np.testing.assert_allclose(tangent, jacobian_of_f(X) @ V, rtol=1e-12)


def test_jvp_and_vjp_are_transposes_of_each_other_for_several_inputs():
    def h(x, y):
        return hc.softmax(x @ y)

    x, y = RNG.normal(size=(2, 3)), RNG.normal(size=(3, 4))
    dx, dy, u = RNG.normal(size=x.shape), RNG.normal(size=y.shape), RNG.normal(size=(2, 4))
    _, tangent = hc.jvp(h, [x, y], [dx, dy])
    ux, uy = hc.vjp(h, x, y)[1](u)
    assert (u * tangent).sum() == pytest.approx((ux * dx).sum() + (uy * dy).sum(), rel=1e-12)


def test_jvp_of_a_fused_loss_agrees_with_its_gradient():
    z1, z2, d1, d2 = RNG.normal(size=(4, 5, 3))

    def loss(a, b):
        return hc.info_nce(a, b, temperature=0.3)

    _, tangent = hc.jvp(loss, [z1, z2], [d1, d2])
    g1, g2 = hc.grad(loss, (0, 1))(z1, z2)
    assert float(tangent) == pytest.approx((g1 * d1).sum() + (g2 * d2).sum(), rel=1e-10)


def test_hessian_and_hvp_agree_with_the_matrix_by_hand():
    np.testing.assert_allclose(hc.hessian(g)(X), hessian_of_g(X), rtol=1e-12)
    np.testing.assert_allclose(hc.hvp(g, X, V), hessian_of_g(X) @ V, rtol=1e-12)


def test_a_hessian_is_symmetric_for_matrices_too():
    z = RNG.normal(size=(4, 3))
    h = hc.hessian(lambda z: hc.info_nce(z, z[::-1], temperature=0.5))(z)
    assert h.shape == (4, 3, 4, 3)
    np.testing.assert_allclose(h, h.transpose(2, 3, 0, 1), atol=1e-12)


def test_the_jacobian_of_a_scalar_is_its_gradient_and_of_nothing_is_empty():
    np.testing.assert_allclose(hc.jacobian(g)(X), hc.grad(g)(X))
    assert hc.jacobian(lambda x: x[:0])(X).shape == (0, 4)


def test_an_output_that_does_not_depend_on_the_input_has_derivative_zero():
    constant = hc.tensor([1.0, 2.0], requires_grad=True)
    np.testing.assert_array_equal(hc.jvp(lambda x: hc.tensor([1.0, 2.0]), [X], [V])[1], [0, 0])
    assert hc.jacobian(lambda x: constant * 1)(X).data.tolist() == np.zeros((2, 4)).tolist()


def test_everything_nests():
    third = hc.jacobian(hc.hessian(lambda x: (x**4).sum()))(X)
    expected = np.zeros((4, 4, 4))
    expected[range(4), range(4), range(4)] = 24 * X
    np.testing.assert_allclose(third, expected, rtol=1e-12)
    np.testing.assert_allclose(
        hc.grad(lambda x: hc.jvp(f, [x], [V])[1].sum())(X),
        hc.jvp(hc.grad(lambda x: f(x).sum()), [X], [V])[1],
        rtol=1e-12,
    )
    np.testing.assert_allclose(hc.grad(lambda x: (hc.vjp(f, x)[1](U) * V).sum())(X), hc.hvp(lambda x: f(x) @ U, X, V))


def test_forward_over_reverse_gives_the_hessian_times_a_vector():
    np.testing.assert_allclose(hc.jvp(hc.grad(g), [X], [V])[1], hessian_of_g(X) @ V, rtol=1e-12)


def test_tensors_in_tensors_out_and_arrays_in_arrays_out():
    x = hc.tensor(X)
    for out in [hc.jacobian(f)(x), hc.hessian(g)(x), hc.hvp(g, x, V), *hc.jvp(f, [x], [V]), hc.vjp(f, x)[0]]:
        assert isinstance(out, hc.Tensor)
        assert not out.requires_grad
    for out in [hc.jacobian(f)(X), hc.hessian(g)(X), hc.hvp(g, X, V), *hc.jvp(f, [X], [V]), hc.vjp(f, X)[0]]:
        assert isinstance(out, np.ndarray)


def test_float32_stays_float32():
    x, v = X.astype(np.float32), V.astype(np.float32)
    for out in [hc.hessian(lambda x: (x**3).sum())(x), hc.hvp(lambda x: (x**3).sum(), x, v)]:
        assert out.dtype == np.float32


def test_tangents_and_cotangents_of_other_shapes_are_refused():
    with pytest.raises(InputError, match="tangents of shapes"):
        hc.jvp(f, [X], [U])
    with pytest.raises(InputError, match="tangents of shapes"):
        hc.jvp(f, [X], [])
    with pytest.raises(InputError, match="cotangent"):
        hc.vjp(f, X)[1](V)
    with pytest.raises(InputError, match="v of shape"):
        hc.hvp(g, X, U)


def test_integers_a_missing_argument_and_an_untraceable_value_are_refused():
    with pytest.raises(DtypeError, match="expected floats"):
        hc.jacobian(f)(np.arange(4))
    with pytest.raises(InputError, match="argument"):
        hc.jacobian(f, 1)(X)
    with pytest.raises(GraphError, match="no derivative can be traced"):
        hc.vjp(lambda x: 3.0, X)
