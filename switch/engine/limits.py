"""How much may wait at a time, and how late all may be: beyond it new requests are refused at once, before anyone else
sees them.

Refused are only requests that begin something. Reversals, confirmations, uploads and notices are never refused: they
speak of what has happened.
"""

from typing import Final, NamedTuple

from switch.engine.counterpart import Counterpart
from switch.wire.transactions import Transaction


class Limits(NamedTuple):
    """`admitted_max` requests of terminals wait for an answer, `inflight_max` of them for one counterpart's, and
    `stored_max` messages are stored for it; the process and its disk may be `late_max_s` behind; `code` is what the
    others are told. A transaction may be spoken of for `keep_days` after its batch was closed."""

    admitted_max: int = 20_000
    inflight_max: int = 10_000
    stored_max: int = 100_000
    late_max_s: float = 2.0
    keep_days: int = 30
    code: str = "96"

    @property
    def keep_ms(self) -> int:
        """The same in milliseconds."""
        return self.keep_days * 86_400_000

    def exceeded(self, counterpart: Counterpart, row: Transaction) -> bool:
        """Whether a counterpart has enough to do, so that a new request of this row is refused."""
        if len(counterpart.inflight.requests) < self.inflight_max and counterpart.stored < self.stored_max:
            return False
        return not row.advice


USUAL_LIMITS: Final = Limits()
"""What holds where nothing is said."""
