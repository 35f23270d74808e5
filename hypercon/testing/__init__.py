"""Checks for people who write operations and losses: the same that hypercon's own tests use."""

from hypercon.testing.gradcheck import GradientError, gradcheck

__all__ = ["GradientError", "gradcheck"]
