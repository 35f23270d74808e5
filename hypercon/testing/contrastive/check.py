"""Is it the loss that it means to be? Every property of a contrastive loss, on anyone's function.

Start at `check_contrastive_loss`. The properties are in ``laws/``, the inputs in ``cases.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np

from hypercon.errors import DtypeError, InputError
from hypercon.testing.contrastive.cases import Case, draw_cases, shrink
from hypercon.testing.contrastive.definition import Meant
from hypercon.testing.contrastive.laws import LAWS, Law
from hypercon.testing.contrastive.report import Report, Result
from hypercon.testing.contrastive.subject import CallError, Claim, Subject


def check_contrastive_loss(
    f: Callable[..., Any],
    *,
    kind: Literal["info_nce", "nt_xent"] = "info_nce",
    gradient: Callable[..., Any] | None = None,
    symmetric: bool = False,
    normalize: bool = True,
    order: int = 2,
    learned_temperature: bool = True,
    only: Iterable[str] | None = None,
    cases: int = 16,
    rng: np.random.Generator | int = 0,
) -> Report:
    """Hold a loss against every property that the loss it means to be has.

    Parameters
    ----------
    f : callable
        ``f(z1, z2, temperature=...)`` with two (N, D) arrays or tensors gives one number. It may be plain NumPy, or
        made of hypercon's operations: if it takes tensors and returns one, its gradients are taken by autograd.
    kind : {"info_nce", "nt_xent"}, default "info_nce"
        Which loss is meant: N candidates from the other view, or 2N - 1 from both.
    gradient : callable, optional
        ``gradient(z1, z2, temperature=...)`` gives the pair of arrays ``(g1, g2)``. Without it, and without autograd,
        what is said of gradients is skipped, and the report says so.
    symmetric : bool, default False
        Whether InfoNCE is meant as the mean of both directions.
    normalize : bool, default True
        Whether the loss is meant to put rows onto the unit sphere itself. False: plain dot products.
    order : {1, 2}, default 2
        Highest derivative to check; the second is checked for losses on tensors only.
    learned_temperature : bool, default True
        Whether a loss on tensors must give a gradient by the temperature too.
    only : iterable of str, optional
        Numbers or names of properties to check, such as ``["P19", "temperature"]``. Default: all.
    cases : int, default 16
        How many inputs each property is tried on, small ones first.
    rng : int or numpy.random.Generator, default 0
        Of the inputs; an int is a seed, which the results repeat.

    Returns
    -------
    Report
        Prints as a table. Each failed property has the simplest failing input that was found, what the loss gave and
        what was expected.

    Raises
    ------
    InputError, DtypeError
        ``kind``, ``only``, ``order`` or ``cases`` is none of what is listed, or a function cannot be called. What is
        wrong with the loss itself is never raised: it is in the report.

    See Also
    --------
    gradcheck : derivatives of any function.

    Examples
    --------
    >>> import numpy as np, hypercon as hc
    >>> check_contrastive_loss(hc.info_nce).passed
    True

    A loss that leaves the positive out of its denominator is a good one (Yeh et al. 2022) and not InfoNCE:

    >>> def decoupled(z1, z2, *, temperature):
    ...     s = hc.matmul(hc.normalize(z1), hc.transpose(hc.normalize(z2))) / temperature
    ...     own = np.eye(len(s), dtype=bool)
    ...     return (hc.logsumexp(hc.where(own, -np.inf, s), axis=1) - hc.where(own, s, 0.0).sum(axis=1)).mean()
    >>> report = check_contrastive_loss(decoupled, only=["chance", "swap"])
    >>> print(report)  # doctest: +NORMALIZE_WHITESPACE
    info_nce, rows normalised; gradients from autograd
    0 passed, 1 failed, 1 skipped
    <BLANKLINE>
    P19  chance             FAILED
    P22  swap               skipped  one-directional InfoNCE: swapped views are another loss
    <BLANKLINE>
    P19 chance: failed
    It is at least 0, and the logarithm of the number of candidates when all embeddings coincide, with
    gradient 0.
      the loss of coinciding embeddings
      got 0.
      expected 0.6931471806
      z1 = [[1.],
            [1.]]
      z2 = [[1.],
            [1.]]
      temperature = 1
    """
    _check_settings(f, gradient, order, cases)
    meant = Meant(kind, symmetric, normalize)
    laws = _chosen(only)
    seed = int(rng) if isinstance(rng, int | np.integer) else None
    drawn = list(draw_cases(np.random.default_rng(rng) if seed is not None else rng, cases))  # type: ignore[arg-type]
    loss = Subject(f, gradient, meant, order=order, learned_temperature=learned_temperature)
    results = tuple(_looked_at(law, loss, drawn, seed) for law in laws)
    return Report(results, str(meant), loss.gradients_come_from)


def _looked_at(law: Law, loss: Subject, drawn: list[Case], seed: int | None) -> Result:
    about = law.number, law.name, law.statement, law.source
    reason = law.silent(loss.meant) or (loss.why_no_gradient if law.gradient == "needed" else "")
    if reason:
        return Result(*about, "skipped", reason, seed=seed)
    partly = "" if loss.has_gradient or law.gradient == "no" else "values only: there is no gradient"
    for tried, case in enumerate(drawn, start=1):
        found = _failure(law, loss, case)
        if found is None:
            continue
        raised = found.expected is None

        def fails_likewise(simpler: Case, raised: bool = raised) -> bool:
            # a loss that is wrong is another finding than one that raises
            other = _failure(law, loss, simpler)
            return other is not None and (other.expected is None) == raised

        found = _failure(law, loss, shrink(case, fails_likewise)) or found  # a random loss may pass when asked again
        return Result(
            *about, "failed", partly, found.what, found.got, found.expected, found.case, cases=tried, seed=seed
        )
    return Result(*about, "passed", partly, cases=len(drawn), seed=seed)


def _failure(law: Law, loss: Subject, case: Case) -> Claim | None:
    """The first claim that does not hold; of a call that failed, what it said."""
    try:
        return next((claim for claim in law.claims(loss, case) if not claim.holds), None)
    except CallError as failed:
        return Claim(str(failed), None, None, failed.case, False)


def _chosen(only: Iterable[str] | None) -> list[Law]:
    if only is None:
        return LAWS
    wanted = [only] if isinstance(only, str) else list(only)
    known = {key for law in LAWS for key in (law.number, law.name)}
    for name in wanted:
        if name not in known:
            raise InputError(
                f"only got {name!r}, expected some of {', '.join(f'{law.number} ({law.name})' for law in LAWS)}"
            )
    return [law for law in LAWS if law.number in wanted or law.name in wanted]


def _check_settings(f: Any, gradient: Any, order: int, cases: int) -> None:
    if not callable(f):
        raise DtypeError(f"f got {type(f).__name__}, expected a function f(z1, z2, temperature=...)")
    if gradient is not None and not callable(gradient):
        raise DtypeError(
            f"gradient got {type(gradient).__name__}, expected a function gradient(z1, z2, temperature=...)"
        )
    if order not in (1, 2):
        raise InputError(f"order got {order!r}, expected 1 or 2")
    if cases < 1:
        raise InputError(f"cases got {cases}, expected at least 1")
