"""InfoNCE and NT-Xent of the global batch: every rank has its own rows, and all rows of all ranks are candidates.

The value is the global loss, the same on every rank. The gradient that a rank gets is

    d L_global / d z_local        of the one number L_global = 1/N sum over all anchors of all ranks

and neither that of the local mean nor W times or 1/W of it. So the gradients of parameters are *summed* over ranks
(`hypercon.distributed.sum_gradients`), each rank having followed its own rows back to them. Averaging them, as tools
for data-parallel training do for losses that are means over a rank's own rows, gives 1/W of the gradient here.

Keys visit every rank block by block (visits.py) on two tours (tours.py): the first finds each anchor's sum of
exponentials over its negatives, the second the gradients

    dL/dS_ij = c_i E_ij / (r_i tau N)        E_ij = exp(s_ij / tau - shift), r_i = sum_j E_ij, c_i = 1 - P_i+

which push the anchor, who is at home, and the key, whose gradient travels with its block. In NT-Xent every row is both,
so nothing but the columns' weights has to travel.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from hypercon.autograd import astype, concatenate, primitive
from hypercon.backend import Array, device_of, read, to_device, to_host, xp
from hypercon.distributed.beginning import check_ranks
from hypercon.distributed.ranks import Ranks
from hypercon.distributed.tours import Tours
from hypercon.distributed.visits import Gathered, Ring
from hypercon.errors import GraphError, InputError
from hypercon.losses.common import onto_sphere, plain, times, wants_gradient
from hypercon.losses.tiles.blocks import budget, settle, shift_for, smallest_sum
from hypercon.temperature import check_temperature
from hypercon.validation import check_flag, check_memory, check_views

WAYS = ("auto", "gather", "ring")


class Global(NamedTuple):
    """What the ranks have told one another of their rows."""

    rows: list[int]  # of each rank
    largest: float  # no similarity of two rows is larger
    longest: float  # row
    way: type[Ring] | type[Gathered]


class Found(NamedTuple):
    """The global loss, and its derivatives by this rank's rows."""

    loss: float
    by_anchors: Any = None
    by_keys: Any = None
    by_temperature: Any = None  # this rank's share of it


# --- the algebra


def _find(
    ranks: Ranks,
    u: Array,
    v: Array,
    tau: float,
    known: Global,
    *,
    symmetric: bool = False,
    stacked: bool = False,
    gradient: bool = True,
) -> Found:
    """The mean loss of all anchors ``u`` among all keys ``v``, and back where ``symmetric``.

    Row i's positive is row i; where both views are ``stacked`` in u = v, it is the row half of them further on, and a
    row is no candidate for itself. Then ``by_anchors`` holds what a row gets in both roles.
    """
    count, half, m = sum(known.rows), len(u) // 2, xp(u)
    tours = Tours(known.way(ranks, v, known.rows), u, tau, (0, half, -half) if stacked else (0,))
    shift: Any = shift_for(known.largest / tau, known.longest, count, u.dtype)
    across, down = tours.sums(shift, both=symmetric)
    lost = any(read((s < smallest_sum(u.dtype)).any()) for s in (across, down) if s is not None)
    exactly = ranks.any(lost)
    if exactly and symmetric:
        there, back = (_find(ranks, *way, tau, known, gradient=gradient) for way in ((u, v), (v, u)))
        return _mean(there, back, gradient)
    if exactly:  # so low a temperature that a row vanishes beside the rest: each is shifted by its own maximum
        shift = tours.maxima()
        across, _ = tours.sums(shift, both=False)

    def swapped(rows: Array) -> Array:
        """What stands beside each row's positive."""
        return m.concatenate([rows[half:], rows[:half]]) if stacked else rows

    positive = to_host(m.einsum("ij,ij->i", u, swapped(v)) / tau)
    losses, coupling, weight = _settled(across, shift, positive)
    ways, total = 1 + symmetric, losses.sum()
    share = 1 / (tau * count * ways)
    pull, push = _beside(u, coupling * share), _beside(u, weight * share)
    push_back = None
    if symmetric:
        losses, coupling, weight = _settled(down, shift, positive)
        total += losses.sum()
        pull, push_back = pull + _beside(u, coupling * share), _beside(u, weight * share)
    value = read(ranks.sum(np.array([total]))) / (count * ways)
    if not gradient:
        return Found(value)
    if stacked and not exactly:
        # every row is anchor and key, and E is symmetric: what a row gets as a key, it finds at home
        by_u, _ = tours.pushes(shift, push, push, on_keys=False)
        by_u -= (pull + swapped(pull)) * swapped(u)
        return Found(value, by_u, None, -_along(u, by_u) / (2 * tau))
    by_u, by_v = tours.pushes(shift, push, push_back, on_keys=True)
    by_u -= pull * swapped(v)
    by_v -= swapped(pull * u)
    # the loss depends on s / tau alone, so tau's derivative is that of all similarities growing together
    by_tau = -_along(u, by_u) / tau
    return Found(value, by_u + by_v, None, by_tau) if stacked else Found(value, by_u, by_v, by_tau)


def _settled(sums: Array, shift: Any, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each row's loss, its coupling, and its coupling over its sum, in float64 on the host."""
    total = to_host(sums)[:, 0]
    losses, coupling = settle(total, to_host(shift).reshape(-1), positive)
    return losses, coupling, coupling / total


def _along(rows: Array, by_rows: Array) -> float:
    return float(read(xp(rows).einsum("ij,ij->i", rows, by_rows).sum(dtype=np.float64)))


def _beside(u: Array, values: np.ndarray) -> Array:
    """Numbers of the host as a column beside the rows of ``u``."""
    return to_device(values.astype(u.dtype)[:, None], device_of(u))


def _mean(there: Found, back: Found, gradient: bool) -> Found:
    loss = (there.loss + back.loss) / 2
    if not gradient:
        return Found(loss)
    by_u, by_v = (there.by_anchors + back.by_keys) / 2, (there.by_keys + back.by_anchors) / 2
    return Found(loss, by_u, by_v, (there.by_temperature + back.by_temperature) / 2)


# --- what the ranks tell one another first


def _known(ranks: Ranks, u: Array, v: Array, *, memory: Any, way: str) -> Global:
    """How many rows each rank has, how long they are, and which way they will meet: the same answer on all ranks."""
    mine = [len(u), u.shape[1], u.dtype.itemsize, budget(memory), _longest(u), _longest(v)]
    told = ranks.gather(np.array([mine], np.float64), [1] * ranks.size)
    each = [[float(number) for number in numbers[0]] for numbers in told]
    rows, widths, itemsizes, budgets, of_u, of_v = zip(*each, strict=True)
    if len(set(widths)) > 1 or len(set(itemsizes)) > 1:
        found = ", ".join(f"{width:g} numbers of {size:g} bytes" for width, size in zip(widths, itemsizes, strict=True))
        raise InputError(f"the ranks' embeddings are {found} wide, expected one width and one dtype for all")
    count = int(sum(rows))
    if count < 2:
        raise InputError("the global batch has one row, expected at least 2: one embedding alone has no pair")
    all_keys = 2 * count * u.shape[1] * u.dtype.itemsize  # with their gradients
    ring = way == "ring" or (way == "auto" and all_keys > min(budgets) / 2)
    largest, longest = max(of_u) * max(of_v), max(*of_u, *of_v)
    return Global([int(n) for n in rows], largest, longest, Ring if ring else Gathered)


def _longest(z: Array) -> float:
    m = xp(z)
    return math.sqrt(read(m.max(m.einsum("ij,ij->i", z, z))))


# --- the losses as fused primitives


def _rule(g: Any, out: Any, saved: Any, *inputs: Any, **settings: Any) -> tuple[Any, ...]:
    if saved is None:
        raise GraphError("a loss over ranks has no second derivative: compute it in one process, with hypercon's own")
    return times(read(g), saved)  # the value was waited for already


@primitive(fused=_rule)
def _info_nce(
    u: Any, v: Any, temperature: Any, *, ranks: Ranks, symmetric: bool, gradient: bool, memory: Any, way: str
) -> tuple[Any, Any]:
    known = _known(ranks, u, v, memory=memory, way=way)
    found = _find(ranks, u, v, float(read(temperature)), known, symmetric=symmetric, gradient=gradient)
    return xp(u).asarray(found.loss, dtype=u.dtype), found[1:]


@primitive(fused=_rule)
def _nt_xent(z: Any, temperature: Any, *, ranks: Ranks, gradient: bool, memory: Any, way: str) -> tuple[Any, Any]:
    known = _known(ranks, z, z, memory=memory, way=way)
    if sum(known.rows) < 4:
        raise InputError("the global batch has one instance, expected at least 2: it has no negatives")
    found = _find(ranks, z, z, float(read(temperature)), known, stacked=True, gradient=gradient)
    return xp(z).asarray(found.loss, dtype=z.dtype), (found.by_anchors, found.by_temperature)


# --- what users call


def info_nce(
    z1: Any,
    z2: Any,
    *,
    temperature: Any,
    ranks: Ranks,
    symmetric: bool = False,
    normalize: bool = True,
    memory: Any = "auto",
    way: str = "auto",
) -> Any:
    """`hypercon.info_nce` of the batch that all ranks hold together; each calls it with its own rows.

    ``1/N sum_i -log( exp(s_ii / tau) / sum_j exp(s_ij / tau) )`` with i over the anchors and j over the candidates of
    all ranks (Wang & Liu 2021, eq. 1; in tiles and over ranks, Cheng et al. 2024).

    Parameters
    ----------
    z1, z2 : array_like or Tensor, (n, D)
        This rank's embeddings of two views, at least one row; ranks may have different numbers of rows.
    temperature : float, Tensor or temperature object
        tau > 0, one number, the same on all ranks.
    ranks : Ranks
        Such as `ranks_of_this_job` gives.
    symmetric : bool, default False
        The mean of both directions, as CLIP takes it.
    normalize : bool, default True
        Put rows onto the unit sphere first.
    memory : "auto" or int, default "auto"
        Bytes that a rank may use beside its own embeddings and gradients; the smallest of the ranks' counts.
    way : {"auto", "gather", "ring"}, default "auto"
        Whether every rank holds all candidates, N x D and their gradients, or one visiting block, N/W x D. "auto"
        gathers as long as that takes no more than half of ``memory``.

    Returns
    -------
    float or Tensor
        The global loss, the same on all ranks. ``backward()`` gives each rank the derivative of this one number by its
        own rows, and its share of that by the temperature: *sum* the gradients of parameters over ranks, with
        `sum_gradients`.

    Raises
    ------
    InputError, DtypeError
        As `hypercon.info_nce`; or the ranks' embeddings differ in width or dtype, or are one row in all.
    GraphError
        A second derivative is asked for: there is none over ranks.

    Examples
    --------
    >>> import hypercon as hc
    >>> import numpy as np
    >>> z1, z2 = np.random.default_rng(0).standard_normal((2, 10, 4))
    >>> def on_a_rank(ranks):
    ...     mine = hc.distributed.share(10, ranks)
    ...     return info_nce(z1[mine], z2[mine], temperature=0.2, ranks=ranks)
    >>> values = hc.distributed.run_in_threads(3, on_a_rank)
    >>> len(set(values)), abs(values[0] - hc.info_nce(z1, z2, temperature=0.2)) < 1e-12
    (1, True)
    """
    ranks, (u, v, tau) = check_ranks(ranks), _checked(z1, z2, temperature, normalize)
    gradient, memory, symmetric = wants_gradient(u, v, tau), check_memory(memory), check_flag(symmetric, "symmetric")
    way = _check_way(way)
    return plain(_info_nce(u, v, tau, ranks=ranks, symmetric=symmetric, gradient=gradient, memory=memory, way=way))


def nt_xent(
    z1: Any,
    z2: Any,
    *,
    temperature: Any,
    ranks: Ranks,
    normalize: bool = True,
    memory: Any = "auto",
    way: str = "auto",
) -> Any:
    """`hypercon.nt_xent` of the batch that all ranks hold together; each calls it with its own rows.

    All 2N embeddings of all ranks are anchors, each among the 2N - 1 others (Chen et al. 2020, eq. 1). Parameters,
    results and errors as `info_nce`.

    Examples
    --------
    >>> import hypercon as hc
    >>> import numpy as np
    >>> z1, z2 = np.random.default_rng(0).standard_normal((2, 10, 4))
    >>> def on_a_rank(ranks):
    ...     mine = hc.distributed.share(10, ranks)
    ...     return nt_xent(z1[mine], z2[mine], temperature=0.2, ranks=ranks)
    >>> abs(hc.distributed.run_in_threads(3, on_a_rank)[2] - hc.nt_xent(z1, z2, temperature=0.2)) < 1e-12
    True
    """
    ranks, (u, v, tau) = check_ranks(ranks), _checked(z1, z2, temperature, normalize)
    z, memory = concatenate([u, v]), check_memory(memory)
    gradient = wants_gradient(z, tau)
    return plain(_nt_xent(z, tau, ranks=ranks, gradient=gradient, memory=memory, way=_check_way(way)))


def _checked(z1: Any, z2: Any, temperature: Any, on_sphere: Any) -> tuple[Any, Any, Any]:
    on_sphere = check_flag(on_sphere, "normalize")
    z1, z2 = check_views(z1, z2, directions=on_sphere, least=1)  # a rank's share may be one row
    tau, dtype = check_temperature(temperature), np.result_type(z1.dtype, z2.dtype, np.float32)
    z1, z2 = (z if z.dtype == dtype else astype(z, dtype) for z in (z1, z2))
    return (onto_sphere(z1), onto_sphere(z2), tau) if on_sphere else (z1, z2, tau)


def _check_way(way: Any) -> str:
    if way not in WAYS:
        raise InputError(f"way got {way!r}, expected one of {', '.join(WAYS)}")
    return str(way)
