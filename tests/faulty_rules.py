"""Rules that are wrong in one way each, made by program from the right ones: what a checker of gradients must catch.

There are two ways to spoil a rule. From outside, `spoiled`: its answer or what it is given is changed, for every rule
of every primitive that a row of the table applies. From inside, `shortened`: its own source loses a term, a factor or a
sign, once for each that is written there. ``python tests/faulty_rules.py`` plants all of them and counts.
"""

import __future__

import ast
import copy
import functools
import importlib
import inspect
import itertools
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from op_table import HIDDEN_ROWS, LOSS_ROWS, ROWS

import hypercon as hc
from hypercon.autograd import engine
from hypercon.autograd.engine import Primitive, Traced
from hypercon.autograd.ops import raw
from hypercon.testing import GradientError, gradcheck

ALL_ROWS = [*ROWS, *HIDDEN_ROWS, *LOSS_ROWS]

# --- faults from outside: each takes the right rule, what it is given and its input, and gives a wrong cotangent


def of_the_answer(change: Callable[[Any], Any]) -> Callable[..., Any]:
    """The fault that changes a cotangent which has its input's shape already."""
    return lambda rule, g, x: change(summed_to(x, rule(g)))


def summed_to(x: Any, cotangent: Any) -> Any:
    return engine.fit(cotangent, x if isinstance(x, Traced) else hc.tensor(x))


def exchanged(a: int, b: int) -> Callable[[Any], Any]:
    def change(c: Any) -> Any:
        return hc.swapaxes(c, a, b) if c.ndim > b and c.shape[a] == c.shape[b] else c

    return change


def read_in_another_order(c: Any) -> Any:
    return hc.reshape(hc.transpose(c), c.shape)


def rolled(axis: int) -> Callable[[Any], Any]:
    def change(c: Any) -> Any:
        if c.ndim <= axis:
            return c
        return hc.getitem(c, (*[slice(None)] * axis, np.roll(np.arange(c.shape[axis]), 1)))

    return change


def without_the_largest(c: Any) -> Any:
    return hc.where(np.abs(raw(c)) < np.abs(raw(c)).max(), c, 0.0)


def without_the_slice_of_the_largest(axis: int) -> Callable[[Any], Any]:
    def change(c: Any) -> Any:
        if c.ndim <= axis:
            return c
        others = tuple(i for i in range(c.ndim) if i != axis)
        sizes = np.abs(raw(c)).max(axis=others, keepdims=True)
        return hc.where(sizes < sizes.max(), c, 0.0)

    return change


def without_the_larger_half(c: Any) -> Any:
    first = np.arange(c.size).reshape(c.shape) < c.size // 2
    size = np.abs(raw(c))
    return hc.where(first if size[first].sum() < size[~first].sum() else ~first, c, 0.0)


def of_ones(rule: Callable[[Any], Any], g: Any, x: Any) -> Any:
    return rule(g * 0.0 + 1.0)


def of_the_first_cotangent() -> Callable[..., Any]:
    """The fault of a rule that keeps what it was first given, for each shape."""
    kept: dict[tuple[int, ...], Any] = {}
    return lambda rule, g, x: rule(kept.setdefault(g.shape, np.copy(raw(g))))


def copies(c: Any, x: Any) -> tuple[int, ...]:
    """The axes along which the input was repeated, as the engine finds them."""
    own = (*[1] * (c.ndim - x.ndim), *x.shape)
    return tuple(i for i, n in enumerate(c.shape) if n != own[i])


def other_axes(c: Any, x: Any) -> tuple[int, ...] | None:
    """As many axes, but wrong ones, that leave the right shape when they are summed over."""
    right = copies(c, x)
    for axes in itertools.combinations(range(c.ndim), len(right)):
        left = [n for i, n in enumerate(c.shape) if i not in axes and n != 1]
        if axes != right and left == [n for n in x.shape if n != 1] and all(c.shape[i] > 1 for i in axes):
            return axes
    return None


def one_of_the_copies(rule: Callable[[Any], Any], g: Any, x: Any) -> Any:
    c = rule(g)
    axes = copies(c, x)
    return hc.reshape(hc.getitem(c, tuple(slice(1) if i in axes else slice(None) for i in range(c.ndim))), x.shape)


def the_mean_of_the_copies(rule: Callable[[Any], Any], g: Any, x: Any) -> Any:
    c = rule(g)
    axes = copies(c, x)
    return hc.reshape(hc.mean(c, axis=axes) if axes else c, x.shape)


def summed_over_other_axes(rule: Callable[[Any], Any], g: Any, x: Any) -> Any:
    c = rule(g)
    axes = other_axes(c, x)
    return c if axes is None else hc.reshape(hc.sum(c, axis=axes), x.shape)


@dataclass(frozen=True)
class Application:
    """One use of a rule: the input and the rule's answer, before the engine has summed what was copied."""

    x: np.ndarray
    answer: np.ndarray
    settings: dict[str, Any]


def faults_for(applications: list[Application]) -> dict[str, Callable[..., Any]]:
    """The faults that can be told from no fault by the shapes of a rule's uses, by name: ``"kind: which"``."""
    shapes = [use.x.shape for use in applications]
    axes = range(max(map(len, shapes)))
    long = [a for a in axes if any(len(shape) > a and shape[a] > 1 for shape in shapes)]
    faults = {
        "times 1.001": of_the_answer(lambda c: c * 1.001),
        "negated": of_the_answer(lambda c: -c),
        "zero": of_the_answer(lambda c: c * 0.0),
        "stale: ones": of_ones,
        "stale: the first": of_the_first_cotangent(),
    }
    for a, b in itertools.combinations(long, 2):
        if any(len(shape) > b and shape[a] == shape[b] > 1 for shape in shapes):
            faults[f"transposed: axes {a} and {b}"] = of_the_answer(exchanged(a, b))
    if any(sum(n > 1 for n in shape) > 1 for shape in shapes):
        faults["transposed: another order"] = of_the_answer(read_in_another_order)
    for a in long:
        faults[f"wrong axis: rolled along {a}"] = of_the_answer(rolled(a))
        faults[f"missing: a slice of axis {a}"] = of_the_answer(without_the_slice_of_the_largest(a))
    if long:
        faults["missing: an entry"] = of_the_answer(without_the_largest)
        faults["missing: half"] = of_the_answer(without_the_larger_half)
    if any(copies(use.answer, use.x) for use in applications):
        faults["not summed: one copy"] = one_of_the_copies
        faults["not summed: the mean"] = the_mean_of_the_copies
    if any(copies(use.answer, use.x) and other_axes(use.answer, use.x) for use in applications):
        faults["not summed: other axes"] = summed_over_other_axes
    return faults


# --- planting them


@contextmanager
def in_place_of(primitive: Primitive, i: int, wrong_rule: Any, wrong_fused: Any) -> Iterator[None]:
    """A primitive with another rule for input ``i``, or with another fused rule if its rules are fused."""
    rules, fused = primitive.rules, primitive.fused
    if fused:
        primitive.fused = wrong_fused
    else:
        primitive.rules = (*rules[:i], wrong_rule, *rules[i + 1 :])
    try:
        yield
    finally:
        primitive.rules, primitive.fused = rules, fused


@contextmanager
def planted(
    primitive: Primitive, i: int, fault: Callable[..., Any], when: Callable[[Any], bool] = lambda saved: True
) -> Iterator[None]:
    """``fault`` in the rule of input ``i``; of a fused rule only where ``when`` holds of what the forward saved."""
    rules, fused = primitive.rules, primitive.fused

    def wrong_rule(g: Any, out: Any, *inputs: Any, **settings: Any) -> Any:
        return fault(lambda g: as_array(rules[i](g, out, *inputs, **settings)), g, inputs[i])

    def wrong_fused(g: Any, out: Any, saved: Any, *inputs: Any, **settings: Any) -> Any:
        cotangents = list(fused(g, out, saved, *inputs, **settings))
        if when(saved):
            cotangents[i] = fault(lambda g: as_array(fused(g, out, saved, *inputs, **settings)[i]), g, inputs[i])
        return cotangents

    with in_place_of(primitive, i, wrong_rule, wrong_fused):
        yield


def as_array(cotangent: Any) -> Any:
    return cotangent if hasattr(cotangent, "shape") else np.asarray(cotangent)


@contextmanager
def along_another_axis(primitive: Primitive, i: int) -> Iterator[None]:
    """The rule of input ``i`` as it would be for the next axis."""
    rules, fused = primitive.rules, primitive.fused

    def turned(settings: dict[str, Any], x: Any) -> dict[str, Any]:
        axis = settings["axis"]
        return settings | {"axis": (axis + 1) % x.ndim} if isinstance(axis, int) else settings

    def wrong_rule(g: Any, out: Any, *inputs: Any, **settings: Any) -> Any:
        return rules[i](g, out, *inputs, **turned(settings, inputs[i]))

    def wrong_fused(g: Any, out: Any, saved: Any, *inputs: Any, **settings: Any) -> Any:
        cotangents = list(fused(g, out, saved, *inputs, **settings))
        cotangents[i] = fused(g, out, saved, *inputs, **turned(settings, inputs[i]))[i]
        return cotangents

    with in_place_of(primitive, i, wrong_rule, wrong_fused):
        yield


@contextmanager
def swapped(primitive: Primitive) -> Iterator[None]:
    """The rules of two inputs in each other's place."""
    rules, fused = primitive.rules, primitive.fused

    def wrong_fused(*args: Any, **settings: Any) -> Any:
        first, second = fused(*args, **settings)
        return second, first

    if fused:
        primitive.fused = wrong_fused
    else:
        *front, first, second = rules
        primitive.rules = (*front, second, first)
    try:
        yield
    finally:
        primitive.rules, primitive.fused = rules, fused


@contextmanager
def never_summed() -> Iterator[None]:
    """An engine that leaves a cotangent as broadcasting made it."""
    fit = engine.fit
    engine.fit = lambda g, x: as_array(g)  # type: ignore[assignment]
    try:
        yield
    finally:
        engine.fit = fit


@dataclass(frozen=True)
class Mutant:
    """A fault planted into a rule that a row applies."""

    row: Any
    primitive: str
    place: int | str
    fault: str
    plant: Callable[[], Any]

    @property
    def kind(self) -> tuple[str, str]:
        return self.primitive, self.fault.partition(":")[0]

    def __str__(self) -> str:
        return f"{self.row}: {self.primitive}, input {self.place}, {self.fault}"


@functools.cache
def applications_of(row: Any) -> dict[tuple[Primitive, int], list[Application]]:
    """Every rule that a sweep through the row applies, as (primitive, number of the input), with its uses."""
    found: dict[tuple[Primitive, int], list[Application]] = {}
    value = row.call(*[hc.tensor(x, requires_grad=True) for x in row.inputs()])
    for node in engine.ancestors(value)[0]:
        made = node.primitive
        args = [raw(x) for x in node.inputs]
        g = np.ones(node.shape)
        for i, x in enumerate(node.inputs):
            if isinstance(x, Traced) and x.requires_grad:
                if made.fused:
                    answer = made.fused(g, node.data, node.saved, *args, **node.settings)[i]
                else:
                    answer = made.rules[i](g, node.data, *args, **node.settings)
                found.setdefault((made, i), []).append(Application(x.data, as_array(answer), node.settings))
    return found


def spoiled(row: Any) -> Iterator[Mutant]:
    """Everything that can be wrong about the rules of a row, seen from outside."""
    found = applications_of(row)
    for (primitive, i), uses in found.items():
        for name, fault in faults_for(uses).items():
            yield Mutant(row, primitive.name, i, name, functools.partial(planted, primitive, i, fault))
        if any(isinstance(use.settings.get("axis"), int) and use.x.ndim > 1 for use in uses):
            plant = functools.partial(along_another_axis, primitive, i)
            yield Mutant(row, primitive.name, i, "wrong axis: the next", plant)
    for primitive in dict.fromkeys(primitive for primitive, _ in found):
        if sum(other is primitive for other, _ in found) == 2:
            yield Mutant(row, primitive.name, "both", "swapped", functools.partial(swapped, primitive))
    if any(use.answer.shape != use.x.shape for uses in found.values() for use in uses):
        yield Mutant(row, "the engine", "any", "not summed: not at all", never_summed)


# --- faults from inside

SIMPLER = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.MatMult)


def shorter(function: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Copies of a function, each without one term, factor, sign or update; and which."""
    for at, node in enumerate(ast.walk(function)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, SIMPLER):
            right = ast.UnaryOp(ast.USub(), node.right) if isinstance(node.op, ast.Sub) else node.right
            yield f"{ast.unparse(node)} -> {ast.unparse(node.left)}", replaced(function, at, node.left)
            yield f"{ast.unparse(node)} -> {ast.unparse(right)}", replaced(function, at, right)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield f"{ast.unparse(node)} -> {ast.unparse(node.operand)}", replaced(function, at, node.operand)
        elif isinstance(node, ast.AugAssign):
            yield f"{ast.unparse(node)} -> pass", replaced(function, at, ast.Pass())


def replaced(function: ast.AST, at: int, new: ast.AST) -> ast.AST:
    """A copy of a function with another node in the place of that which is met as number ``at``."""
    changed = copy.deepcopy(function)
    old = next(itertools.islice(ast.walk(changed), at, None))

    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return copy.deepcopy(new) if node is old else self.generic_visit(node)

    return ast.fix_missing_locations(Replace().visit(changed))


ROOMS = [
    importlib.import_module(f"hypercon.{name}")
    for name in (
        "autograd.engine",
        "autograd.ops",
        "autograd.functions",
        "autograd.normalization",
        "autograd.convolution",
        "autograd.tensor",
        "losses.infonce",
        "losses.hard",
        "losses.hypersphere",
    )
]
ADJOINTS = {"_conv_image", "_conv_kernel", "put"}
"""Operations that are there to be rules of others."""


@dataclass(frozen=True)
class Source:
    """A function that takes part in a rule: itself, its syntax, and the primitives in whose rules it does."""

    name: str
    function: Any
    tree: Any
    primitives: tuple[Primitive, ...]


@functools.cache
def sources() -> tuple[Source, ...]:
    """Every rule of every primitive and every plain function that rules call, however indirectly.

    What the fused losses find on the way forward has faults of its own, in losses/test_tiles.py.
    """
    trees = {room: ast.parse(Path(room.__file__).read_text()) for room in ROOMS}
    defined = {
        (room.__name__, node.name): undecorated(node)
        for room, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    found: dict[Any, tuple[str, Any, list[Primitive]]] = {}

    def add(name: str, function: Any, node: Any, made: Primitive) -> None:
        users = found.setdefault(function, (name, node, []))[2]
        if made in users:
            return
        users.append(made)
        for part in ast.walk(node):
            called = function.__globals__.get(part.id) if isinstance(part, ast.Name) else None
            if inspect.isfunction(called):
                plain = called if not hasattr(called, "__wrapped__") else None
                if called.__name__ in ADJOINTS:
                    plain = called.__wrapped__
                key = (called.__module__, called.__name__)
                if plain is not None and key in defined:
                    add(called.__name__, plain, defined[key], made)

    for room, tree in trees.items():
        for node in tree.body:
            for decorator in getattr(node, "decorator_list", []):
                if not isinstance(decorator, ast.Call) or ast.unparse(decorator.func) != "primitive":
                    continue
                made = vars(room)[node.name].primitive
                written = [*zip(decorator.args, made.rules, strict=True)]
                written += [(keyword.value, made.fused) for keyword in decorator.keywords]
                for i, (rule, function) in enumerate(written):
                    if isinstance(rule, ast.Lambda):
                        add(f"{made.name}, rule {i}", function, rule, made)
                    elif function is not None:
                        add(function.__name__, function, defined[function.__module__, function.__name__], made)
    return tuple(Source(name, function, node, tuple(users)) for function, (name, node, users) in found.items())


def undecorated(node: ast.FunctionDef) -> ast.FunctionDef:
    plain = copy.copy(node)
    plain.decorator_list = []
    return plain


@contextmanager
def rewritten(function: Any, tree: Any) -> Iterator[None]:
    """A function with the code of another syntax tree."""
    right = function.__code__
    scope = dict(function.__globals__)
    if isinstance(tree, ast.Lambda):
        made = eval(compile(ast.Expression(tree), "<fault>", "eval"), scope)
    else:
        flags = __future__.annotations.compiler_flag
        exec(compile(ast.Module([tree], []), "<fault>", "exec", flags=flags, dont_inherit=True), scope)
        made = scope[tree.name]
    function.__code__ = made.__code__
    try:
        yield
    finally:
        function.__code__ = right


def shortened(source: Source) -> Iterator[Mutant]:
    """Everything that can be left out of a rule, or of what it calls."""
    for what, tree in shorter(source.tree):
        yield Mutant(None, source.name, "", what, functools.partial(rewritten, source.function, tree))


def rows_of(source: Source) -> list[Any]:
    return [row for row in ALL_ROWS if any(made in source.primitives for made, _ in applications_of(row))]


# --- are they caught?


slopes: dict[Any, float] = {}


@contextmanager
def hurried(row: Any) -> Iterator[None]:
    """A checker that does not repeat itself over a thousand faults in one row.

    It does not look for the worst entry, since nobody reads what it says. And it measures a slope of the row's own
    values once: no fault in a rule alters those.
    """
    module: Any = sys.modules["hypercon.testing.gradcheck"]
    search, measure = module._worst_entry, module.slope_along

    def measured_once(f: Any, point: Any, direction: Any, cotangent: Any) -> float:
        if f is not row.call:
            return measure(f, point, direction, cotangent)
        key = row, cotangent.tobytes(), *(d.tobytes() for d in direction)
        if key not in slopes:
            slopes[key] = measure(f, point, direction, cotangent)
        return slopes[key]

    module._worst_entry, module.slope_along = lambda *args: "", measured_once
    try:
        yield
    finally:
        module._worst_entry, module.slope_along = search, measure


def caught(row: Any, mutant: Mutant) -> str:
    """How a fault is met on a row: the checker sees it, it cannot run, or ("") it escapes."""
    try:
        with hurried(row), mutant.plant(), np.errstate(all="ignore"):
            gradcheck(row.call, *row.inputs())
    except GradientError:
        return "seen"
    except Exception:  # the wrong code may fail in whatever way
        return "cannot run"
    return ""


def changes_the_value(row: Any, mutant: Mutant) -> bool:
    """Whether planting alters the operation itself, which is then another one and not one with a wrong derivative."""
    right = row.call(*row.inputs())
    try:
        with mutant.plant(), np.errstate(all="ignore"):
            return not np.array_equal(right, row.call(*row.inputs()))
    except Exception:
        return True


def gradients(row: Any, seed: int) -> list[np.ndarray]:
    """The gradients of a row for a random cotangent, from an ordinary sweep and from one that is recorded."""
    found = []
    for create_graph in (False, True):
        leaves = [hc.tensor(x, requires_grad=True) for x in row.inputs()]
        value = row.call(*leaves)
        value.backward(np.random.default_rng(seed).standard_normal(value.shape), create_graph=create_graph)
        found += [leaf.grad.data for leaf in leaves]
    return found


def changes_nothing(row: Any, mutant: Mutant) -> bool:
    """Whether the gradients with a fault are those without, but for rounding, whatever the cotangent."""
    for seed in range(3):
        right = gradients(row, seed)
        try:
            with mutant.plant(), np.errstate(all="ignore"):
                wrong = gradients(row, seed)
        except Exception:
            return False
        if any(not np.allclose(w, g, rtol=1e-12, atol=1e-13) for g, w in zip(right, wrong, strict=True)):
            return False
    return True


def met(mutant: Mutant, rows: list[Any]) -> str:
    """How a fault from inside is met by the rows that it can be met by, or ("") that it escapes.

    Where it is in what the operation itself is computed with, the operation's values may be wrong as well.
    """
    answers = set()
    for row in rows:
        if changes_the_value(row, mutant):
            answers.add("by its values" if row.numpy else "")
        elif not changes_nothing(row, mutant):
            answers.add(caught(row, mutant))
        if "seen" in answers:
            return "seen"
    return next((answer for answer in ("cannot run", "by its values") if answer in answers), "")


def outcome_on(row: Any, mutant: Mutant) -> str:
    return caught(row, mutant) or ("no change" if changes_nothing(row, mutant) else "escaped")


def outcome_within(source: Source, mutant: Mutant) -> str:
    rows = rows_of(source)
    return met(mutant, rows) or ("no change" if all(changes_nothing(row, mutant) for row in rows) else "escaped")


def main() -> None:
    warnings.simplefilter("ignore")  # wrong code divides by 0 and takes the logarithm of less
    counts = Counter((m.fault.partition(":")[0], outcome_on(row, m)) for row in ALL_ROWS for m in spoiled(row))
    counts += Counter(("shortened", outcome_within(source, m)) for source in sources() for m in shortened(source))
    outcomes = ("seen", "cannot run", "by its values", "no change", "escaped")
    kinds = list(dict.fromkeys(kind for kind, _ in counts))
    print(f"{'fault':14}" + "".join(f"{outcome:>15}" for outcome in outcomes))
    for kind in kinds:
        print(f"{kind:14}" + "".join(f"{counts[kind, outcome]:15}" for outcome in outcomes))
    print(f"{'all':14}" + "".join(f"{sum(counts[kind, outcome] for kind in kinds):15}" for outcome in outcomes))


if __name__ == "__main__":
    main()
