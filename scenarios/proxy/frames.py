"""A byte stream cut into whole frames as they stood on the wire, prefix included.

Unlike a Deframer this one refuses nothing: bytes that are no frames are passed on as they came, for whoever is behind
the proxy to refuse.
"""

from typing import Final

from switch.wire.framing import Framing

LONGEST: Final = 65_540
"""No frame of any framing here is longer; what claims to be is not held back."""


class Cutter:
    """Frames of one direction of one connection. `lost` tells that the stream's place was lost: all else is raw.

    Without a framing (None) every piece is passed as it comes.
    """

    __slots__ = ("_framing", "_rest", "lost")

    def __init__(self, framing: Framing | None) -> None:
        self._framing = framing
        self._rest = b""
        self.lost = framing is None

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that `data` completes; once the place is lost, the bytes themselves."""
        framing = self._framing
        if self.lost or framing is None:
            return [data] if data else []
        buffer = self._rest + data
        frames: list[bytes] = []
        prefix, at = framing.prefix_size, 0
        while len(buffer) - at >= prefix:
            size = _length(framing, buffer[at : at + prefix])
            if size is None:
                self.lost = True
                self._rest = b""
                return [*frames, buffer[at:]]
            if at + prefix + size > len(buffer):
                break
            frames.append(buffer[at : at + prefix + size])
            at += prefix + size
        self._rest = buffer[at:]
        return frames

    def end(self) -> bytes:
        """What is left of a frame that never became whole."""
        rest, self._rest = self._rest, b""
        return rest


def _length(framing: Framing, prefix: bytes) -> int | None:
    """Bytes after the prefix, None where it is no prefix."""
    if framing.length == "ascii4":
        if not (prefix.isascii() and prefix.isdigit()):
            return None
        size = int(prefix)
    else:
        size = int.from_bytes(prefix, "big")
    if size and framing.counts_itself:
        size -= framing.prefix_size
    return size if 0 <= size <= LONGEST else None
