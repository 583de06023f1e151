"""What a check may look at, and the words of its verdict."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

from scenarios.sandwich.join import Pair
from scenarios.sandwich.seen import Seen
from switch.wire.profile import NetworkProfile

MISSING: Final = "absent"
MADE_UP: Final = "made up"
OTHER: Final = "another value"


class View(NamedTuple):
    """What a check may look at.

    `front` and `back` are the two messages compared: requests, or answers. `request` is the terminal's request and
    `sent` the request on the line (of a reversal: the original's). `mcc` is the merchant's type in its record, `rrns`
    how often the line saw this RRN, `before` the pair of the same terminal before this one.
    """

    pair: Pair
    front: Seen
    back: Seen
    request: Seen
    sent: Seen
    profile: NetworkProfile
    mcc: str = ""
    rrns: int = 1
    before: Pair | None = None


Verdict: TypeAlias = str | None
Check: TypeAlias = Callable[[View, int], Verdict]


def agree(ours: Any, theirs: Any) -> Verdict:
    """A field that must be on the line if, and as, it was in front; None where neither has it."""
    if ours is None:
        return None if theirs is None else MADE_UP
    if theirs is None:
        return MISSING
    return "" if ours == theirs else OTHER


def must_be(value: Any, wanted: Any) -> Verdict:
    """A field that must be there and be this."""
    if value is None:
        return MISSING
    return "" if value == wanted else OTHER
