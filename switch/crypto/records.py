"""Key records as they lie in memory: those of terminals packed, a terminal's together, all others as they are.

A province has 460,000 terminals with up to four keys each. As objects by label they would take 1.4 KB a terminal; a
terminal's keys in one string of bytes take a sixth of that.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

PACKED: Final = ("tmk", "pik", "mak", "tdk")
"""Usages whose keys, under the label usage/owner, are packed with the owner's others."""
_NUMBER: Final = {usage: number for number, usage in enumerate(PACKED)}
_SUITES: Final = ("3des", "sm4")
_KCV: Final = 4
_HEAD: Final = 2 + _KCV
"""Before the wrapped key: usage and suite in one byte, its length, its check value."""


class KeyRecord(NamedTuple):
    """A key as it may be stored anywhere: `wrapped` is nonce, cipher text and tag under the LMK; `kcv` 4 bytes."""

    label: str
    usage: str
    suite: str
    wrapped: bytes
    kcv: bytes


class Records:
    """Records by label. Labels come in the order in which they came, but a terminal's keys stay with its first."""

    __slots__ = ("_count", "_owners", "_plain")

    def __init__(self) -> None:
        self._owners: dict[str, bytes] = {}
        self._plain: dict[str, KeyRecord] = {}
        self._count = 0

    def get(self, label: str) -> KeyRecord | None:
        """The record of a label, None where there is none."""
        usage, _, owner = label.partition("/")
        packed = self._owners.get(owner)
        if packed is not None:
            at = _find(packed, usage)
            if at >= 0:
                kcv = packed[at + 2 : at + _HEAD]
                wrapped = packed[at + _HEAD : at + _HEAD + packed[at + 1]]
                return KeyRecord(label, usage, _SUITES[packed[at] >> 4], wrapped, kcv)
        return self._plain.get(label)

    def put(self, record: KeyRecord) -> None:
        """Keep a record; it replaces one of the same label."""
        usage, _, owner = record.label.partition("/")
        number, wrapped = _NUMBER.get(usage), record.wrapped
        packed = self._owners.get(owner, b"")
        at = _find(packed, usage) if packed else -1
        if number is None or usage != record.usage or not owner or record.suite not in _SUITES:
            self.drop(record.label)
            self._plain[record.label] = record
            self._count += 1
            return
        one = bytes((number | _SUITES.index(record.suite) << 4, len(wrapped))) + record.kcv + wrapped
        if at >= 0:
            self._owners[owner] = packed[:at] + one + packed[at + _HEAD + packed[at + 1] :]
            return
        if self._plain.pop(record.label, None) is None:
            self._count += 1
        self._owners[owner] = packed + one

    def drop(self, label: str) -> None:
        """Forget a record, if it is there."""
        usage, _, owner = label.partition("/")
        packed = self._owners.get(owner)
        at = -1 if packed is None else _find(packed, usage)
        if packed is not None and at >= 0:
            rest = packed[:at] + packed[at + _HEAD + packed[at + 1] :]
            if rest:
                self._owners[owner] = rest
            else:
                del self._owners[owner]
            self._count -= 1
        elif self._plain.pop(label, None) is not None:
            self._count -= 1

    def __iter__(self) -> Iterator[str]:
        yield from self._plain
        for owner, packed in self._owners.items():
            at = 0
            while at < len(packed):
                yield f"{PACKED[packed[at] & 15]}/{owner}"
                at += _HEAD + packed[at + 1]

    def __contains__(self, label: str) -> bool:
        usage, _, owner = label.partition("/")
        packed = self._owners.get(owner)
        return (packed is not None and _find(packed, usage) >= 0) or label in self._plain

    def __len__(self) -> int:
        return self._count


def _find(packed: bytes, usage: str) -> int:
    """Where the key of this usage begins, -1 where it is not there."""
    wanted, at, end = _NUMBER.get(usage), 0, len(packed)
    while at < end:
        if packed[at] & 15 == wanted:
            return at
        at += _HEAD + packed[at + 1]
    return -1
