"""Every claim of the two papers that a laptop can settle, each with the rule that judges it."""

from hypercon.experiments.papers import (
    beyond,
    foundations,
    table_1,
    wang_isola,
    wang_isola_trained,
    wang_liu,
    wang_liu_trained,
)
from hypercon.experiments.papers.claim import Claim

_ROOMS = (wang_liu, wang_isola, foundations, wang_liu_trained, table_1, wang_isola_trained, beyond)
CLAIMS: dict[str, Claim] = {made.id: made for room in _ROOMS for made in room.CLAIMS}
