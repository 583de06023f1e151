"""Data object lists: what a card wants to be told (PDOL, CDOL, DDOL) and how its data are laid out (log formats).

A DOL is tags and lengths; its data are the values alone, one after another (EMV Book 3, 5.4).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Final, NamedTuple

from switch.wire.errors import TlvError
from switch.wire.tags import TAGS

_KEPT: Final = 512


@lru_cache(_KEPT)
def parse(dol: bytes) -> tuple[tuple[str, int], ...]:
    """The (tag in upper-case hex, length) pairs of a list. Raises TlvError where it stops making sense."""
    found: list[tuple[str, int]] = []
    at, end = 0, len(dol)
    while at < end:
        start = at
        if dol[at] == 0:
            raise TlvError("", at, "00 is fill, not a tag")
        more = dol[at] & 0x1F == 0x1F
        at += 1
        while more:
            if at >= end or at - start > 2:
                raise TlvError("", start, "tag breaks off or is longer than 3 bytes")
            more = dol[at] >= 0x80
            at += 1
        tag = dol[start:at].hex().upper()
        if at >= end:
            raise TlvError(tag, at, "no length")
        if dol[at] >= 0x80:
            raise TlvError(tag, at, "a length in a list has one byte")
        found.append((tag, dol[at]))
        at += 1
    return tuple(found)


@lru_cache(_KEPT)
def tags(dol: bytes) -> frozenset[str]:
    """What a list asks for. Raises TlvError for a broken one."""
    return frozenset(tag for tag, _ in parse(dol))


class _Plan(NamedTuple):
    """How a list is filled: all values at once and their lengths, where the list has two at least; else entry by entry,
    each with its zeros and its format."""

    take: Callable[[Mapping[str, bytes]], tuple[bytes, ...]] | None
    lengths: tuple[int, ...]
    entries: tuple[tuple[str, int, bytes, str], ...]


@lru_cache(_KEPT)
def _plan(dol: bytes) -> _Plan:
    entries = parse(dol)
    return _Plan(
        itemgetter(*(tag for tag, _ in entries)) if len(entries) > 1 else None,
        tuple(length for _, length in entries),
        tuple((tag, size, bytes(size), TAGS[tag].format if tag in TAGS else "b") for tag, size in entries),
    )


def size(dol: bytes) -> int:
    """How many bytes its data have."""
    return sum(length for _, length in parse(dol))


def build(dol: bytes, values: Mapping[str, bytes]) -> bytes:
    """The data a list asks for: zeros for what is not in `values`, other lengths adapted by format.

    Numeric values lose or gain on the left, compressed numeric ones gain F on the right, all others lose or gain 00 on
    the right. Raises TlvError for a broken list.
    """
    take, lengths, entries = _plan(dol)
    if take is not None:
        try:
            whole = take(values)
            if tuple(map(len, whole)) == lengths:
                return b"".join(whole)
        except KeyError:
            pass
    parts: list[bytes] = []
    for tag, length, zeros, kind in entries:
        value = values.get(tag)
        if value is None:
            parts.append(zeros)
        elif len(value) == length:
            parts.append(value)
        else:
            parts.append(_fit(value, length, kind))
    return b"".join(parts)


def _fit(value: bytes, length: int, kind: str) -> bytes:
    if kind == "n":
        return value[len(value) - length :] if len(value) > length else value.rjust(length, b"\x00")
    return value[:length].ljust(length, b"\xff" if kind == "cn" else b"\x00")


def split(dol: bytes, data: bytes) -> dict[str, bytes]:
    """The values by tag of data laid out by a list. Raises TlvError when the sizes disagree."""
    out: dict[str, bytes] = {}
    at = 0
    for tag, length in parse(dol):
        out[tag] = data[at : at + length]
        at += length
    if at != len(data):
        raise TlvError("", min(at, len(data)), f"the list asks for {at} bytes, {len(data)} are there")
    return out
