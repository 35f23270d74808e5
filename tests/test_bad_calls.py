"""2,000 calls that make no sense: each is answered in hypercon's own words, and none by a silent nan."""

import inspect
import math
import warnings

import numpy as np
import pytest

import hypercon as hc
from hypercon.errors import HyperconError

OPERATIONS = {
    name: function
    for name, function in vars(hc).items()
    if name in hc.__all__ and inspect.isfunction(function) and name not in {"primitive", "no_grad", "fit"}
}
LOSSES = {name: getattr(hc.losses, name) for name in hc.losses.__all__}
METRICS = {name: getattr(hc.metrics, name) for name in hc.metrics.__all__}
PUBLIC = OPERATIONS | LOSSES | METRICS

VALUES = {
    "matrix": lambda rng: rng.normal(size=(3, 4)),
    "another matrix": lambda rng: rng.normal(size=(4, 2)),
    "square": lambda rng: rng.normal(size=(3, 3)),
    "vector": lambda rng: rng.normal(size=3),
    "scalar": lambda rng: np.array(0.5),
    "images": lambda rng: rng.normal(size=(2, 1, 4, 4)),
    "tensor": lambda rng: hc.tensor(rng.normal(size=(3, 4)), requires_grad=True),
    "tensor without gradient": lambda rng: hc.tensor(rng.normal(size=(4, 4))),
    "whole numbers": lambda rng: rng.integers(0, 5, (3, 4)),
    "booleans": lambda rng: rng.random((3, 4)) < 0.5,
    "no rows": lambda rng: np.zeros((0, 4)),
    "nothing": lambda rng: np.zeros(0),
    "zeros": lambda rng: np.zeros((3, 4)),
    "one row": lambda rng: rng.normal(size=(1, 4)),
    "half precision": lambda rng: rng.normal(size=(3, 4)).astype(np.float16),
    "complex": lambda rng: rng.normal(size=(3, 4)) + 1j,
    "objects": lambda rng: np.array([{}, None, "x"], dtype=object),
    "strings": lambda rng: np.array(["a", "b", "c"]),
    "dates": lambda rng: np.array(["2020-01-01"], dtype="datetime64[D]"),
    "list": lambda rng: [[1.0, 2.0], [3.0, 4.0]],
    "ragged list": lambda rng: [[1.0, 2.0], [3.0]],
    "list of tensors": lambda rng: [hc.tensor([1.0, 2.0]), hc.tensor([3.0, 4.0])],
    "empty list": lambda rng: [],
    "text": lambda rng: "text",
    "einsum's text": lambda rng: "ij,jk->ik",
    "none": lambda rng: None,
    "dictionary": lambda rng: {"a": 1},
    "a function": lambda rng: lambda *x: x,
    "a smooth function": lambda rng: lambda x, *rest: (x * x).sum(),
    "number": lambda rng: 2.0,
    "negative": lambda rng: -3,
    "far axis": lambda rng: 7,
    "huge": lambda rng: 10**400,
    "axes": lambda rng: (0, 5),
    "slice": lambda rng: slice(None, None, 0),
}


def draw_call(seed):
    """The name of a function, and arguments for it."""
    rng = np.random.default_rng(seed)
    name = sorted(PUBLIC)[rng.integers(len(PUBLIC))]
    parameters = inspect.signature(PUBLIC[name]).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
    needed = sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in positional)
    most = 3 if any(p.kind is p.VAR_POSITIONAL for p in positional) else len(positional)
    count = rng.integers(needed, most + 1)  # Python itself answers for too few and too many
    kinds = sorted(VALUES)
    named = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    args = {f"{i}: {kind}": VALUES[kind](rng) for i, kind in enumerate(rng.choice(kinds, count))}
    settings = {key: VALUES[kind](rng) for key, kind in zip(named, rng.choice(kinds, len(named)), strict=True)}
    if "temperature" in settings and rng.random() < 0.5:
        settings["temperature"] = 0.2
    return name, args, settings


def numbers_in(values):
    """Every float array inside, however deep."""
    if isinstance(values, hc.Tensor):
        values = values.data
    if isinstance(values, float | np.floating):
        yield np.asarray(values)
    elif isinstance(values, np.ndarray):
        if values.dtype.kind == "f":
            yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from numbers_in(value)


@pytest.mark.parametrize("start", range(0, 2000, 100))
def test_a_call_that_makes_no_sense_is_refused_in_hypercons_own_words(start):
    for seed in range(start, start + 100):
        name, args, settings = draw_call(seed)
        shown = f"seed {seed}: {name}({list(args)}, {settings})"
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                result = PUBLIC[name](*args.values(), **settings)
            except HyperconError:
                continue
            except Exception as error:
                pytest.fail(f"{shown} raised {type(error).__name__}: {error}")
        if any(issubclass(warning.category, RuntimeWarning) for warning in warned):
            continue  # NumPy has said it
        inputs_finite = all(np.isfinite(x).all() for x in numbers_in([*args.values(), *settings.values()]))
        if inputs_finite:
            assert not any(np.isnan(x).any() for x in numbers_in(result)), f"{shown} gave nan"


def test_the_draw_reaches_every_public_function_and_every_value():
    calls = [draw_call(seed) for seed in range(2000)]
    assert {name for name, _, _ in calls} == set(PUBLIC)
    assert {label.partition(": ")[2] for _, args, _ in calls for label in args} == set(VALUES)


@pytest.mark.parametrize("function", [np.exp, np.sum, np.linalg.norm, np.concatenate, np.asarray, np.where, np.sort])
def test_numpys_functions_refuse_a_tensor_and_name_what_to_use(function):
    t = hc.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(HyperconError, match=r"hypercon|numpy\(\)"):
        function([t] if function is np.concatenate else t)


def test_a_nan_never_enters_a_loss_unseen():
    z = np.ones((3, 2))
    z[1, 0] = math.nan
    with pytest.raises(HyperconError, match="row 1"):
        hc.info_nce(z, z, temperature=0.2)
