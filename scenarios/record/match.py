"""Why no match: for a request that nobody answered, the replies that came nearest and what they would have needed.

Anyone who has a request and some replies may ask: a replay, a recording, a proxy, a story.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from switch.wire.redact import masked
from switch.wire.transactions import reply_mti

POS_KEY: Final = (11, 41, 42)
"""What an answer to a terminal must repeat."""
NETWORK_KEY: Final = (7, 11, 32, 33)
"""What an answer on the network's link must repeat."""
NEAREST: Final = 3


class Reply(NamedTuple):
    """A reply that was about: its type, its fields, when it came (seconds, on the request's clock)."""

    mti: str
    fields: Mapping[int, Any]
    at: float | None = None


class Differs(NamedTuple):
    """One part of the key (0 is the MTI): what the request wanted and what the reply had, "" where it had none."""

    de: int
    wanted: str
    had: str


class Near(NamedTuple):
    """A reply and what keeps it from being the answer; `agrees` are the key fields that are as wanted. `late_s` is how
    long after the request it came, None where nobody knows. `taken`: it is the answer to another request."""

    mti: str
    differs: tuple[Differs, ...]
    agrees: tuple[int, ...]
    late_s: float | None


class NoMatch(NamedTuple):
    """`key` is what would have matched, by DE (0 the MTI); `nearest` the replies in order of likeness."""

    key: dict[int, str]
    nearest: tuple[Near, ...]

    def sentences(self) -> list[str]:
        """The same in words."""
        said = ["no answer: it would have been " + _key_text(self.key)]
        if not self.nearest:
            said.append("nothing came that could be compared")
        for near in self.nearest:
            said.append(_near_text(near))
        return said

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "key": {_name(de): value for de, value in self.key.items()},
            "nearest": [
                {
                    "mti": near.mti, "late_s": near.late_s, "agrees": [_name(de) for de in near.agrees],
                    "differs": [{"field": _name(one.de), "wanted": one.wanted, "had": one.had} for one in near.differs],
                }
                for near in self.nearest
            ],
        }  # fmt: skip


def key_for(dialect: str) -> tuple[int, ...]:
    """The key fields of a link, by its dialect's name."""
    return NETWORK_KEY if dialect == "network" else POS_KEY


def why_no_match(
    mti: str, fields: Mapping[int, Any], replies: Iterable[Reply], key: Sequence[int] = POS_KEY,
    at: float | None = None, most: int = NEAREST,
) -> NoMatch:  # fmt: skip
    """Compare a request with replies that were about. Fields that the request lacks are not part of its key.

    The nearest reply agrees in most fields; of several, the one that differs in the fewest digits, then the earliest.
    """
    wanted = {0: reply_mti(mti)} | {de: str(fields[de]) for de in key if de in fields}
    found = []
    for reply in replies:
        had = {de: reply.mti if de == 0 else str(reply.fields.get(de, "")) for de in wanted}
        differs = tuple(
            Differs(de, _shown(de, value), _shown(de, had[de])) for de, value in wanted.items() if had[de] != value
        )
        agrees = tuple(de for de, value in wanted.items() if had[de] == value)
        late = None if at is None or reply.at is None else round(reply.at - at, 6)
        digits = sum(_digits(wanted[one.de], had[one.de]) for one in differs)
        order = (len(differs), digits, abs(late or 0.0))
        found.append((order, Near(reply.mti, differs, agrees, late)))
    found.sort(key=lambda one: one[0])
    return NoMatch({de: _shown(de, value) for de, value in wanted.items()}, tuple(near for _, near in found[:most]))


def _digits(one: str, other: str) -> int:
    return sum(a != b for a, b in zip(one, other, strict=False)) + abs(len(one) - len(other))


def _shown(de: int, value: str) -> str:
    return str(value) if de == 0 or not value else masked(de, value)


def _name(de: int) -> str:
    return "MTI" if de == 0 else f"DE{de}"


def _key_text(key: Mapping[int, str]) -> str:
    return ", ".join(f"{_name(de)} {value}" for de, value in key.items())


def _near_text(near: Near) -> str:
    when = "" if near.late_s is None else f" {abs(near.late_s):.3f} s {'later' if near.late_s >= 0 else 'earlier'}"
    if not near.differs:
        return f"a {near.mti}{when} has the whole key: it came too late, on another connection or a second time"
    wrong = "; ".join(f"{_name(one.de)} is {one.had or 'absent'}, not {one.wanted}" for one in near.differs)
    right = ", ".join(_name(de) for de in near.agrees) or "nothing"
    return f"nearest: a {near.mti}{when}: {wrong}; it agrees in {right}"
