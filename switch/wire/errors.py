"""What can be wrong with bytes: which part, at which offset, and why.

    WireError(where, offset)
      FrameError             length prefix, TPDU, headers
      DecodeError(de)        a message body; carries what was read so far, masked
      EncodeError(de)        values that do not fit their field
      TlvError(tag)          a BER-TLV string
      ApduError              a command or response between terminal and card

The text and the attributes of these errors may go to any log: a reason speaks of lengths, positions and kinds, never of
values, and `DecodeError.partial` is masked before it is stored. All of them survive pickling.
"""

from collections.abc import Mapping
from typing import Any


class WireError(ValueError):
    """Bytes or values that break the rules of the wire.

    `where` names the part ("DE35", "length prefix", "tag 9F26"), `offset` counts bytes from the start of the structure
              that was being read (None when values, not bytes, were at fault), `reason` is the rest of the sentence.
    """

    def __init__(self, where: str, offset: int | None, reason: str) -> None:
        place = where if offset is None else f"{where} at offset {offset}"
        super().__init__(f"{place}: {reason}")
        self.where = where
        self.offset = offset
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.where, self.offset, self.reason)


class FrameError(WireError):
    """A length prefix, TPDU or header that cannot be right; the stream it came from has lost its place."""


class DecodeError(WireError):
    """A message body that does not follow its dialect.

    `de` is the field's number, or "MTI", "bitmap", or "end" for bytes left over; `offset` counts from the first byte of
              the MTI; `partial` holds the fields read before it, already masked (key 0 is the MTI).
    """

    def __init__(self, de: int | str, offset: int, reason: str, partial: Mapping[int, str] | None = None) -> None:
        super().__init__(_name(de), offset, reason)
        self.de = de
        self.partial: dict[int, str] = dict(partial or {})

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.de, self.offset, self.reason, self.partial)


class EncodeError(WireError):
    """A value that its field cannot carry: wrong type, wrong length, characters outside the field's set."""

    def __init__(self, de: int | str, reason: str) -> None:
        super().__init__(_name(de), None, reason)
        self.de = de

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.de, self.reason)


class TlvError(WireError):
    """A BER-TLV string that breaks off or is not canonical; `tag` is hex, empty when no tag could be read."""

    def __init__(self, tag: str, offset: int, reason: str = "malformed") -> None:
        super().__init__(f"tag {tag}" if tag else "TLV", offset, reason)
        self.tag = tag

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.tag, self.offset, self.reason)


class ApduError(WireError):
    """A command whose lengths contradict each other, or a response without a status word."""


def _name(de: int | str) -> str:
    return f"DE{de}" if isinstance(de, int) else de
