"""BER-TLV as the chip world writes it: a strict reader, a writer, and templates opened on request.

Tags have one to three bytes, lengths are definite and take one to three bytes, an element may not reach past its
parent, and nothing is skipped: fill bytes are an error. A length in more bytes than it needs is accepted, as some
cards write it, so only data with shortest lengths come out of `write` as they went into `read`.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, TypeAlias, Union

from switch.wire.errors import TlvError

Items: TypeAlias = list[tuple[str, bytes]]
"""Elements in their order, tags as upper-case hex; a tag may come twice."""

Tree: TypeAlias = list[tuple[str, Union[bytes, "Tree"]]]
"""As Items, with constructed elements opened."""

SIZE_MAX: Final = 999
DEPTH_MAX: Final = 4
_FAR: Final = 1 << 30


def read(data: bytes, size_max: int = SIZE_MAX) -> Items:
    """The elements of one level. Raises TlvError (tag and offset) where the data stop making sense."""
    end = len(data)
    if end > size_max:
        raise TlvError("", size_max, f"{end} bytes exceed {size_max}")
    out: Items = []
    at = 0
    while at < end:  # the usual tags and lengths in one loop; whatever else it meets, the careful reader judges whole
        tag, start = _head(data[at : at + 2])
        start += at
        if start > end:
            break
        size = data[start - 1]
        if size >= 0x80:
            if size != 0x81 or start == end:
                break
            size, start = data[start], start + 1
        at = start + size
        if at > end:
            break
        out.append((tag, data[start:at]))
    else:
        return out
    return [(tag, data[start:stop]) for tag, start, stop in _spans(data, 0, end)]


@lru_cache(maxsize=4096)  # the same few tags come again and again (0.2 us each, and their hashes are at hand)
def _head(two: bytes) -> tuple[str, int]:
    """The tag that two bytes begin with, and how many bytes it has with one of length; far too many for an unusual
    one."""
    if two[0] & 0x1F != 0x1F and two[0]:
        return two[:1].hex().upper(), 2
    if two[0] and len(two) == 2 and two[1] < 0x80:
        return two.hex().upper(), 3
    return "", _FAR


def read_tree(data: bytes, size_max: int = SIZE_MAX, depth_max: int = DEPTH_MAX) -> Tree:
    """The elements with templates (constructed tags) opened, at most `depth_max` levels deep.

    Raises TlvError also for a constructed element that does not hold whole elements; offsets count from the start of
    `data`.
    """
    if len(data) > size_max:
        raise TlvError("", size_max, f"{len(data)} bytes exceed {size_max}")
    return _tree(data, 0, len(data), depth_max)


def _tree(data: bytes, at: int, end: int, depth: int) -> Tree:
    if depth == 0:
        raise TlvError("", at, "templates too deep")
    out: Tree = []
    for tag, start, stop in _spans(data, at, end):
        out.append((tag, _tree(data, start, stop, depth - 1) if is_template(tag) else data[start:stop]))
    return out


def _spans(data: bytes, at: int, end: int) -> list[tuple[str, int, int]]:
    spans: list[tuple[str, int, int]] = []
    while at < end:
        start = at
        at = _tag_end(data, at, end)
        tag = data[start:at].hex().upper()
        size, at = _length(data, at, end, tag)
        if at + size > end:
            raise TlvError(tag, at, f"length {size} exceeds the {end - at} bytes that are left")
        spans.append((tag, at, at + size))
        at += size
    return spans


def _tag_end(data: bytes, at: int, end: int) -> int:
    start = at
    first = data[at]
    if first == 0:
        raise TlvError("", at, "00 is fill, not a tag")
    at += 1
    if first & 0x1F != 0x1F:
        return at
    while at < end and data[at] & 0x80:
        at += 1
        if at - start > 2:
            raise TlvError("", start, "tag longer than 3 bytes")
    if at >= end:
        raise TlvError("", start, "tag breaks off")
    return at + 1


def _length(data: bytes, at: int, end: int, tag: str) -> tuple[int, int]:
    if at >= end:
        raise TlvError(tag, at, "no length")
    first = data[at]
    at += 1
    if first < 0x80:
        return first, at
    count = first & 0x7F
    if count == 0:
        raise TlvError(tag, at - 1, "indefinite length")
    if count > 2:
        raise TlvError(tag, at - 1, "length longer than 3 bytes")
    if at + count > end:
        raise TlvError(tag, at - 1, "length breaks off")
    return int.from_bytes(data[at : at + count], "big"), at + count


def is_template(tag: str) -> bool:
    """Whether a tag (hex) is constructed: its value holds elements."""
    return bool(int(tag[:2], 16) & 0x20)


def write(items: Iterable[tuple[str, bytes]] | Mapping[str, bytes]) -> bytes:
    """Elements as bytes, lengths in their shortest form. Raises TlvError for a tag or size no reader would accept."""
    pairs = items.items() if isinstance(items, Mapping) else items
    return b"".join(_element(tag, value) for tag, value in pairs)


def write_tree(tree: Tree) -> bytes:
    """As `write`, for a tree from `read_tree`."""
    return b"".join(_element(tag, value if isinstance(value, bytes) else write_tree(value)) for tag, value in tree)


def _element(tag: str, value: bytes) -> bytes:
    try:
        head = bytes.fromhex(tag)
    except ValueError:
        raise TlvError("", 0, "a tag is written in hex") from None
    if not head or _tag_end(head, 0, len(head)) != len(head):
        raise TlvError(tag.upper(), 0, "not one whole tag")
    size = len(value)
    if size > 0xFFFF:
        raise TlvError(tag.upper(), 0, f"{size} bytes need a length longer than 3 bytes")
    return head + written_size(size) + value


def written_size(size: int) -> bytes:
    """A length up to 65,535 in its shortest form."""
    if size < 0x80:
        return bytes((size,))
    return bytes((0x81, size)) if size <= 0xFF else b"\x82" + size.to_bytes(2, "big")


def find(items: Iterable[tuple[str, bytes]], tag: str) -> bytes | None:
    """The first value under a tag, or None."""
    for name, value in items:
        if name == tag:
            return value
    return None
