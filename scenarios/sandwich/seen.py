"""What was seen: messages on either side of the switch under test, and which belong to one exchange of one side."""

from dataclasses import dataclass, field
from typing import Any

from switch.wire.message import masked_fields

VALID, WRONG, ABSENT, NO_KEY = "valid", "wrong", "absent", "no key"
"""What can be said of a MAC."""


@dataclass(slots=True, repr=False)
class Seen:
    """One message: where (a terminal's id, a line's name), when (monotonic seconds), what.

    `fields` has the tracks in clear. `card` is the keyed digest of the card number ("" without one); `mac` what is to
    be said of DE64 or DE128; `pin` the PIN blocks as they may be compared with those of the other side: enciphered
    again under a key that only the recorder has, one for each key that opens it. None where no PIN is carried, empty
    where none can be read. `new_pin` is the same of the second block of a PIN change.
    """

    where: str
    at: float
    mti: str
    fields: dict[int, Any]
    card: str = ""
    mac: str = ABSENT
    pin: tuple[bytes, ...] | None = None
    new_pin: tuple[bytes, ...] | None = None

    def get(self, de: int) -> Any:
        """A field, DE0 being the MTI; None without it."""
        return self.mti if de == 0 else self.fields.get(de)

    def masked(self) -> dict[int, str]:
        """All fields as they may be printed, DE0 first."""
        return {0: self.mti, **masked_fields(dict(sorted(self.fields.items())))}

    def __repr__(self) -> str:
        return f"Seen({self.where} {self.at:.3f} {self.mti})"


@dataclass(slots=True)
class Asked:
    """One request of a terminal. `answer` is the first answer to it, `ended` when the terminal stopped waiting.

    `spare` holds further answers to it, `late` those that came after `ended`.
    """

    request: Seen
    answer: Seen | None = None
    ended: float | None = None
    late: Seen | None = None
    spare: list[Seen] = field(default_factory=list)

    @property
    def where(self) -> str:
        return self.request.where

    @property
    def until(self) -> float:
        """When this exchange was over for the terminal; far away while it is not."""
        if self.answer is not None:
            return self.answer.at
        return self.ended if self.ended is not None else float("inf")


@dataclass(slots=True)
class Received:
    """One request that came out of the switch on a line, with its repeats (same key) and the centre's first answer.

    `rejected` says that the centre sent it back for its header.
    """

    request: Seen
    answer: Seen | None = None
    repeats: list[Seen] = field(default_factory=list)
    unlike: list[Seen] = field(default_factory=list)
    """Messages under the same key that say something else, or repeat what may not be repeated."""
    rejected: bool = False

    @property
    def where(self) -> str:
        return self.request.where

    @property
    def key(self) -> tuple[str, str, str]:
        """Line, DE7 and DE11."""
        return self.where, self.request.fields.get(7, ""), self.request.fields.get(11, "")


@dataclass(slots=True)
class Stray:
    """A message that a terminal received and had not asked for. `owner` is the request of another terminal that it
    answers, if it answers one."""

    where: str
    message: Seen
    owner: Asked | None = None


@dataclass(slots=True)
class Broken:
    """Bytes on either side that are no message, or a header that is none: `rule` names what they break."""

    rule: str
    where: str
    at: float
    reason: str
