"""A replayed answer beside the recorded one, field by field. What must differ from run to run is known by name."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from scenarios.record.story import Told
from switch.wire import tlv
from switch.wire.errors import TlvError
from switch.wire.message import Message
from switch.wire.redact import masked

MUST_DIFFER: Final = {
    7: "time of transmission", 12: "local time", 13: "local date", 15: "settlement date", 37: "retrieval reference",
    38: "authorization code", 52: "PIN block", 64: "MAC", 96: "key", 128: "MAC",
}  # fmt: skip
"""Fields whose value is another in each run, and why; that they are there, or not, must be the same."""
ECHOED: Final = (11, 41, 42)
"""Fields that must repeat the request that was sent, not the recorded one."""
TAGS_DIFFER: Final = frozenset(("91", "71", "72", "9F36", "9F10", "9F26", "9F37", "9A", "9F21"))
"""Tags of DE55 computed anew in each run."""


class Difference(NamedTuple):
    """One field (0 the MTI) that is not as recorded, both sides masked; "" where it is absent."""

    de: int
    recorded: str
    got: str

    def __str__(self) -> str:
        name = "MTI" if self.de == 0 else f"DE{self.de}"
        return f"{name}: recorded {self.recorded or 'absent'}, now {self.got or 'absent'}"


def differences(
    recorded: Told, got: Message, sent: Mapping[int, Any], ignore: frozenset[int] = frozenset()
) -> list[Difference]:
    """Every field that is not as it must be; `sent` are the fields of the request that was answered, `ignore` fields
    that the user does not compare."""
    found = []
    if recorded.mti != got.mti:
        found.append(Difference(0, recorded.mti, got.mti))
    for de in sorted({*recorded.fields, *got.fields} - ignore):
        then, now = recorded.fields.get(de), got.fields.get(de)
        if then is None or now is None:
            found.append(Difference(de, _shown(de, then), _shown(de, now)))
        elif de in ECHOED:
            if de in sent and now != sent[de]:
                found.append(Difference(de, _shown(de, sent[de]), _shown(de, now)))
        elif de not in MUST_DIFFER and not _alike(de, then, now, recorded, sent):
            found.append(Difference(de, _shown(de, then), _shown(de, now)))
    return found


def _alike(de: int, then: Any, now: Any, recorded: Told, sent: Mapping[int, Any]) -> bool:
    if then == now or (de == 62 and recorded.keys):
        return True  # other keys than then, as they must be
    if de == 55:
        return bool(_tags(then) == _tags(now))
    if de == 60 and isinstance(now, str):
        return bool(then[:2] + then[8:] == now[:2] + now[8:])  # the batch is the host's
    return de == 2 and bool(sent.get(2) == now)


def _tags(data: bytes) -> Any:
    try:
        return [(tag, None if tag in TAGS_DIFFER else value) for tag, value in tlv.read(data)]
    except TlvError:
        return data


def _shown(de: int, value: Any) -> str:
    return "" if value is None else masked(de, value)
