"""What a contrastive loss must satisfy, one function a property.

They are of three sorts: what leaves a loss as it is, what its definition says, and how it depends on similarities.
"""

from hypercon.testing.contrastive.laws import definitions, similarities, symmetries
from hypercon.testing.contrastive.laws.law import LAWS, Law

LAWS.sort(key=lambda law: int(law.number[1:]))

__all__ = ["LAWS", "Law", "definitions", "similarities", "symmetries"]
