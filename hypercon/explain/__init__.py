"""The loss laid open: as values, as a picture, and as a page to play with. Points in motion are in `motion`."""

from hypercon.explain.anatomy import KINDS, Explanation, explain, explain_similarities

__all__ = ["KINDS", "Explanation", "explain", "explain_similarities"]
