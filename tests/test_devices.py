"""The library on every device: what NumPy gives to the last bit, on arrays that refuse what a GPU could not do."""

import numpy as np
import pytest
from op_table import HIDDEN_ROWS, ROWS

import hypercon as hc
from hypercon import backend, losses
from hypercon.autograd.engine import sweep
from hypercon.autograd.ops import raw
from hypercon.errors import DeviceMixError
from hypercon.losses.infonce import from_definition

every_row = pytest.mark.parametrize("row", [*ROWS, *HIDDEN_ROWS], ids=str)


def numbers(shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def three_orders(call, inputs, put):
    """What ``call`` makes of ``inputs``, their gradients for a random cotangent, and the gradients of those."""
    leaves = [hc.tensor(put(x), requires_grad=True) for x in inputs]
    value = call(*leaves)
    cotangent = backend.to_device(numbers(value.shape, 1).astype(value.dtype), value.device)
    first = sweep(value, leaves, cotangent, create_graph=True)
    plain = sweep(call(*leaves), leaves, cotangent)
    found = [value, *plain, *first]
    along = [g * put(numbers(g.shape, 2 + i).astype(g.dtype)) for i, g in enumerate(first)]
    slope = sum(part.sum() for part in along)
    if slope.requires_grad:
        found += sweep(slope, leaves)
    return [x.data for x in found]


@every_row
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_operations_and_two_orders_of_derivative(device, row, dtype):
    expected = three_orders(row.call, row.inputs(dtype), np.array)
    found = three_orders(row.call, row.inputs(dtype), device.put)
    for got, wanted in zip(found, expected, strict=True):
        device.check_values(backend.to_host(got), wanted)
        assert backend.device_of(got) == device.name or row.name == "to"


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_operations_on_plain_arrays(device, row):
    value = row.call(*[device.put(x) for x in row.inputs()])
    device.check_values(np.asarray(backend.to_host(value)), np.asarray(row.call(*row.inputs())))


DERIVATIVES = {
    "value_and_grad": lambda x, v: hc.value_and_grad(lambda x: (x**3).sum())(x)[1],
    "jvp": lambda x, v: hc.jvp(lambda x: x**3, [x], [v])[1],
    "vjp": lambda x, v: hc.vjp(lambda x: x**3, x)[1](v),
    "hvp": lambda x, v: hc.hvp(lambda x: (x**3).sum(), x, v),
    "jacobian": lambda x, v: hc.jacobian(lambda x: x**3)(x),
    "hessian": lambda x, v: hc.hessian(lambda x: (x**3).sum())(x),
}


@pytest.mark.parametrize("derivative", DERIVATIVES.values(), ids=DERIVATIVES)
def test_derivatives_of_functions(device, derivative):
    x, v = numbers((2, 3)), numbers((2, 3), 1)
    device.check(derivative(device.put(x), device.put(v)), derivative(x, v))


# --- losses and metrics

LABELS = np.array([0, 0, 1, 1, 2, 2])
LOSSES = {
    "align_uniform": lambda a, b, tau: losses.align_uniform(a, b),
    "alignment_loss": lambda a, b, tau: losses.alignment_loss(a, b, alpha=1.5),
    "barlow_twins": lambda a, b, tau: losses.barlow_twins(a, b),
    "dcl": lambda a, b, tau: losses.dcl(a, b, temperature=tau, sigma=0.5),
    "debiased": lambda a, b, tau: losses.debiased(a, b, temperature=tau),
    "first_order_limit": lambda a, b, tau: losses.first_order_limit(a, b, temperature=tau),
    "hard_info_nce": lambda a, b, tau: losses.hard_info_nce(a, b, temperature=tau, k=2),
    "hard_simple": lambda a, b, tau: losses.hard_simple(a, b, alpha=0.5),
    "hcl": lambda a, b, tau: losses.hcl(a, b, temperature=tau),
    "info_nce": lambda a, b, tau: losses.info_nce(a, b, temperature=tau),
    "info_nce, symmetric": lambda a, b, tau: losses.info_nce(a, b, temperature=tau, symmetric=True),
    "info_nce, not normalised": lambda a, b, tau: losses.info_nce(a, b, temperature=tau, normalize=False),
    "info_nce, by definition": lambda a, b, tau: from_definition(a, b, temperature=tau),
    "nt_xent": lambda a, b, tau: losses.nt_xent(a, b, temperature=tau),
    "nt_xent, by definition": lambda a, b, tau: from_definition(a, b, temperature=tau, loss="nt_xent"),
    "queue_info_nce": lambda a, b, tau: losses.queue_info_nce(a, b, raw(b)[::-1], temperature=tau),
    "siglip": lambda a, b, tau: losses.siglip(a, b, scale=1 / tau, bias=-1.0),
    "simple_loss": lambda a, b, tau: losses.simple_loss(a, b),
    "spectral": lambda a, b, tau: losses.spectral(a, b),
    "sup_con": lambda a, b, tau: losses.sup_con(a, b, LABELS, temperature=tau),
    "triplet_limit": lambda a, b, tau: losses.triplet_limit(a, b),
    "uniformity_loss": lambda a, b, tau: losses.uniformity_loss(a),
    "vicreg": lambda a, b, tau: losses.vicreg(a, b),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@pytest.fixture
def formulas(device, monkeypatch):
    """NumPy in the place of a GPU: on the CPU, InfoNCE goes in blocks, whose sums are rounded in another order."""
    if device.name != "cpu":
        monkeypatch.setattr(losses.tiles, "serve", lambda array: False)


def test_a_queue_lives_on_the_device(device):
    queue = losses.Queue(5, 3, rng=np.random.default_rng(0), device=device.name)
    other = losses.Queue(5, 3, rng=np.random.default_rng(0))
    for start in (0, 3):
        queue.push(device.put(numbers((4, 3), start)))
        other.push(numbers((4, 3), start))
    device.check_values(backend.to_host(queue.keys), other.keys)


def test_every_loss_is_here():
    assert {name.split(",")[0] for name in LOSSES} == set(losses.__all__) - {"chance", "floor", "Queue"}


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.usefixtures("formulas")
def test_losses_and_two_orders_of_derivative(device, loss, dtype):
    inputs = [numbers((6, 4), 0, dtype), numbers((6, 4), 1, dtype), np.array(0.3, dtype)]
    for got, wanted in zip(three_orders(loss, inputs, device.put), three_orders(loss, inputs, np.array), strict=True):
        device.check(got, wanted)


@every_loss
@pytest.mark.usefixtures("formulas")
def test_losses_of_arrays_are_floats(device, loss):
    views = numbers((6, 4)), numbers((6, 4), 1)
    value = loss(*[device.put(z) for z in views], 0.3)
    assert isinstance(value, float)
    device.check_values(value, loss(*views, 0.3))


@pytest.mark.parametrize("name", ["info_nce", "info_nce, symmetric", "nt_xent"])
def test_formulas_and_blocks_differ_by_rounding(device, name):
    inputs = [numbers((6, 4)), numbers((6, 4), 1), np.array(0.3)]
    found, wanted = (three_orders(LOSSES[name], inputs, put) for put in (device.put, np.array))
    for got, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(backend.to_host(got), expected, rtol=1e-9, atol=1e-12)


METRICS = {
    "uniformity": lambda a, b: hc.metrics.uniformity(a),
    "uniformity_spectrum": lambda a, b: hc.metrics.uniformity_spectrum(a, [1.0, 7.0]),
    "alignment": hc.metrics.alignment,
    "alignment, alpha 1": lambda a, b: hc.metrics.alignment(a, b, 1.0),
    "tolerance": lambda a, b: hc.metrics.tolerance(a, LABELS),
    "tolerance_gap": lambda a, b: hc.metrics.tolerance_gap(a, LABELS),
    "knn_accuracy": lambda a, b: hc.metrics.knn_accuracy(a, LABELS, b, LABELS, k=2),
    "linear_probe": lambda a, b: hc.metrics.linear_probe(a, LABELS, b, LABELS),
    "explain": lambda a, b: hc.explain(a, b, temperature=0.3, labels=LABELS).grad_z1,
}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("wrap", [lambda x: x, hc.tensor], ids=["arrays", "tensors"])
@pytest.mark.usefixtures("formulas")
def test_metrics(device, metric, wrap):
    views = numbers((6, 4)), numbers((6, 4), 1)
    value = raw(metric(*[wrap(device.put(z)) for z in views]))
    device.check_values(backend.to_host(value), backend.to_host(raw(metric(*[wrap(z) for z in views]))))


@pytest.mark.parametrize(
    ("spoil", "message"), [(np.nan, "row 2 is not finite.*1 of 4 rows"), (0.0, "row 2 is all zeros.*1 of 4 rows")]
)
def test_bad_rows_are_named(device, spoil, message):
    z = numbers((4, 3))
    z[2] = spoil
    with pytest.raises(hc.errors.InputError, match=message):
        hc.info_nce(device.put(z), device.put(numbers((4, 3))), temperature=0.2)


# --- layers, encoders, one step of training


LAYERS = {
    "Linear": (lambda rng: hc.nn.Linear(4, 3, rng=rng), (5, 4)),
    "Linear without bias": (lambda rng: hc.nn.Linear(4, 3, bias=False, rng=rng), (5, 4)),
    "Conv2d": (lambda rng: hc.nn.Conv2d(2, 3, stride=2, rng=rng), (5, 2, 5, 4)),
    "BatchNorm of features": (lambda rng: hc.nn.BatchNorm(4), (5, 4)),
    "BatchNorm of images": (lambda rng: hc.nn.BatchNorm(2), (5, 2, 3, 4)),
    "BatchNorm without affine": (lambda rng: hc.nn.BatchNorm(4, affine=False), (5, 4)),
    "ReLU": (lambda rng: hc.nn.ReLU(), (5, 4)),
    "Flatten": (lambda rng: hc.nn.Flatten(), (5, 2, 3)),
    "GlobalAveragePool": (lambda rng: hc.nn.GlobalAveragePool(), (5, 2, 3, 4)),
    "MaxPool2d": (lambda rng: hc.nn.MaxPool2d(), (5, 2, 4, 4)),
    "Normalize": (lambda rng: hc.nn.Normalize(), (5, 4)),
    "mlp": (lambda rng: hc.nn.mlp((1, 4, 4), widths=(8, 6), dim=4, rng=rng), (5, 1, 4, 4)),
    "cnn": (lambda rng: hc.nn.cnn((2, 6, 5), widths=(4, 3), strides=(1, 2), dim=4, rng=rng), (5, 2, 6, 5)),
}


@pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_layers(device, make, shape, mode):
    def results(name, put):
        module = make(np.random.default_rng(0)).to(name)
        module(hc.tensor(put(numbers(shape, 3, np.float32))))  # running statistics that are no longer those of a start
        getattr(module, mode)()
        x = hc.tensor(put(numbers(shape, 0, np.float32)), requires_grad=True)
        value = module(x)
        value.backward(put(numbers(value.shape, 1, np.float32)))
        return value.data, [x.grad.data, *[p.grad.data for p in module.parameters()]], module.state()

    value, gradients, state = results(device.name, device.put)
    wanted, wanted_gradients, wanted_state = results("cpu", np.array)
    device.check(value, wanted)
    for got, expected in zip(gradients, wanted_gradients, strict=True):
        device.check(got, expected)
    for path, expected in wanted_state.items():
        device.check_values(state[path], expected)


OPTIMIZERS = {
    "SGD": lambda parameters: hc.optim.SGD(parameters, 0.1, momentum=0.9),
    "LARS": lambda parameters: hc.optim.LARS(parameters, hc.optim.warmup(1.0, 3), weight_decay=1e-4),
    "Adam": lambda parameters: hc.optim.Adam(parameters, hc.optim.cosine(1e-2, 10), weight_decay=0.1),
}
ENCODERS = {
    "mlp": lambda rng: hc.nn.mlp((1, 6, 6), widths=(8,), dim=4, rng=rng),
    "cnn": lambda rng: hc.nn.cnn((1, 6, 6), widths=(4, 3), strides=(1, 2), dim=4, rng=rng),
}


@pytest.mark.parametrize("loss", ["info_nce", "nt_xent"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("make", ENCODERS.values(), ids=ENCODERS)
@pytest.mark.usefixtures("formulas")
def test_steps_of_training(device, make, optimizer, loss):
    images = np.random.default_rng(0).random((16, 1, 6, 6), np.float32)
    images.flags.writeable = device.writeable

    def trained(name):
        rng = np.random.default_rng(0)
        encoder = make(rng).to(name)
        history = hc.fit(
            encoder,
            images,
            loss=loss,
            temperature=0.2,
            optimizer=optimizer(encoder.parameters()),
            epochs=1,
            batch_size=8,
            augment=hc.data.mild(flip=False),
            rng=rng,
        )
        return np.array(history.losses), encoder

    (values, encoder), (wanted_values, wanted) = trained(device.name), trained("cpu")
    assert encoder.device == device.name
    device.check_values(values, wanted_values)
    state = encoder.state()
    for path, expected in wanted.state().items():
        device.check_values(state[path], expected)
    for got, expected in zip(encoder.embed(images), wanted.embed(images), strict=True):
        device.check_values(got, expected)


def test_an_encoder_is_saved_from_and_loaded_onto_any_device(device, tmp_path):
    encoder = ENCODERS["cnn"](np.random.default_rng(0)).to(device.name)
    hc.nn.save_encoder(tmp_path / "encoder.npz", encoder)
    read, _ = hc.nn.load_encoder(tmp_path / "encoder.npz")
    other = ENCODERS["cnn"](np.random.default_rng(1)).to(device.name)
    other.load_state(read.state())
    for path, expected in encoder.state().items():
        np.testing.assert_array_equal(other.state()[path], expected)


# --- tensors


def test_a_tensor_is_shown_read_and_moved(device):
    x = hc.tensor(device.put([[1.0, 2.0]]), requires_grad=True)
    assert repr(x).startswith("tensor([[1., 2.]]")
    assert x[0, 1].item() == float(x[0, 1]) == 2.0
    assert bool(x[0, 1] > 1.0) if device.name == "cpu" else True
    assert x.detach().numpy().tolist() == [[1, 2]]
    (x.to("cpu") * 3).sum().backward()
    device.check(x.grad.data, np.array([[3.0, 3.0]]))
    device.check(x.to(device.name).data, np.array([[1.0, 2.0]]))


def test_positions_may_come_from_the_host(device):
    x = hc.tensor(device.put(np.arange(6.0).reshape(3, 2)), requires_grad=True)
    for index in [[0, 2, 0], np.array([0, 2, 0]), (slice(None), [1]), np.array([True, False, True]), ([0, 1], [1, 1])]:
        device.check(x[index].data, np.arange(6.0).reshape(3, 2)[index])
    x[[0, 2, 0]].sum().backward()
    device.check(x.grad.data, np.array([[2.0, 2], [0, 0], [1, 1]]))


# --- two devices in one operation


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("add", hc.add),
        ("matmul", hc.matmul),
        ("maximum", hc.maximum),
        ("where", lambda x, y: hc.where(x, y, 0.0)),
        ("concatenate", lambda x, y: hc.concatenate([x, y])),
        ("conv2d", lambda x, y: hc.conv2d(hc.reshape(x, (1, 1, 2, 2)), hc.reshape(y, (1, 1, 2, 2)))),
    ],
)
@pytest.mark.parametrize("wrap", [lambda x: x, hc.tensor], ids=["arrays", "tensors"])
def test_two_devices_are_refused_at_the_operation(name, call, wrap):
    here, there = wrap(np.ones((2, 2))), wrap(backend.to_device(np.ones((2, 2)), "strict"))
    for mix in [(here, there), (there, here)]:
        with pytest.raises(DeviceMixError, match=rf'^{name} got arrays on cpu and strict.*\.to\("(cpu|strict)"\)'):
            call(*mix)


def test_two_devices_are_refused_by_operators_losses_and_backward():
    here, there = hc.tensor(np.ones((2, 2))), hc.tensor(np.ones((2, 2)), device="strict", requires_grad=True)
    with pytest.raises(DeviceMixError, match="multiply got arrays on cpu and strict"):
        there * here
    with pytest.raises(DeviceMixError, match="multiply got arrays on cpu and strict"):
        here.data * there
    with pytest.raises(DeviceMixError, match="the loss got arrays on cpu and strict"):
        hc.info_nce(here, there, temperature=0.2)
    with pytest.raises(DeviceMixError, match=r"backward\(\) got arrays on cpu and strict"):
        (there * 2).backward(np.ones((2, 2)))
