"""Which part of a switch an engine is, where several processes are one: its merchants, its numbers, its sisters."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from switch.wire.roster import owner

STANS: Final = 999_999
RRNS: Final = 10**9
"""DE11 has six digits and begins with 1; the running count of DE37 has nine."""

KEY, KEYS, DAY = "key", "keys?", "day"
"""What sisters tell each other: a working key that one of them was given, who has keys, and a change of day."""

Tell: TypeAlias = Callable[[tuple[Any, ...]], None]


class Share(NamedTuple):
    """Number `place` (from 0) of `of` workers."""

    place: int = 0
    of: int = 1

    @property
    def alone(self) -> bool:
        return self.of == 1

    def owns(self, mid: str) -> bool:
        return self.alone or owner(mid, self.of) == self.place

    @property
    def stans(self) -> tuple[int, int]:
        """The first and the last DE11 that are its own: DE7, DE32 and DE33 are those of all workers."""
        width = STANS // self.of
        return self.place * width + 1, (self.place + 1) * width

    @property
    def rrn_before(self) -> int:
        """The count that its first RRN follows."""
        return self.place * (RRNS // self.of)


WHOLE: Final = Share()
