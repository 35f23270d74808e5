"""The loss laid open: as values, as a picture, and as pages to play with; and points that move on the sphere."""

from hypercon.explain.anatomy import KINDS, Explanation, explain, explain_similarities
from hypercon.explain.motion import Motion, moving_points

__all__ = ["KINDS", "Explanation", "Motion", "explain", "explain_similarities", "moving_points"]
