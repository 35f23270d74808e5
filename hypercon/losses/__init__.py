"""Objectives on the sphere."""

from hypercon.losses.infonce import chance, floor, info_nce, nt_xent

__all__ = ["chance", "floor", "info_nce", "nt_xent"]
