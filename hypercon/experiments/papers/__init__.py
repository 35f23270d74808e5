"""Every claim of the two papers that a laptop can settle, each with the rule that judges it."""

from hypercon.experiments.papers import foundations, wang_isola, wang_liu
from hypercon.experiments.papers.claim import Claim

CLAIMS: dict[str, Claim] = {made.id: made for room in (wang_liu, wang_isola, foundations) for made in room.CLAIMS}
