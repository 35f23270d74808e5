"""Objectives on the sphere: InfoNCE first, then what the literature made of it."""

from hypercon.losses.debiased import dcl, debiased, hcl
from hypercon.losses.hard import hard_info_nce, hard_simple, simple_loss
from hypercon.losses.hypersphere import align_uniform, alignment_loss, uniformity_loss
from hypercon.losses.infonce import chance, floor, info_nce, nt_xent
from hypercon.losses.limits import first_order_limit, triplet_limit
from hypercon.losses.pairwise import siglip, spectral
from hypercon.losses.queue import Queue, queue_info_nce
from hypercon.losses.redundancy import barlow_twins, vicreg
from hypercon.losses.supervised import sup_con

__all__ = [
    "Queue",
    "align_uniform",
    "alignment_loss",
    "barlow_twins",
    "chance",
    "dcl",
    "debiased",
    "first_order_limit",
    "floor",
    "hard_info_nce",
    "hard_simple",
    "hcl",
    "info_nce",
    "nt_xent",
    "queue_info_nce",
    "siglip",
    "simple_loss",
    "spectral",
    "sup_con",
    "triplet_limit",
    "uniformity_loss",
    "vicreg",
]
