"""Messages of one line as they leave and come: the 46-byte header, the codec, the centre's own numbers."""

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from switch.machine import Link, Now, Send
from switch.wire.codec import Codec, codec_of
from switch.wire.errors import FrameError
from switch.wire.framing import NETWORK_HEADER_SIZE, REJECT_CODES, Frame, NetworkHeader
from switch.wire.profile import NetworkProfile, dialect_of

BODY_MAX: Final = 1892
"""Longest body the network takes, in bytes; a longer one is refused as a bad total length."""

BAD_BODY: Final = REJECT_CODES["header total length"]
"""Reject code of a body that cannot be read: no code for it is published."""

NOT_REJECTED: Final = b"00000"
_BEIJING_S: Final = 8 * 3600


class Envelope:
    """Reads and writes the headers of the line between the centre `institution` and the member of `profile`.

    The profile is the member's: its destination is the centre, its source the member. Where it has no header on the
    line (`bare`), nothing can be refused by one.
    """

    __slots__ = ("_own", "_stan", "bare", "codec", "institution", "member")

    def __init__(self, profile: NetworkProfile, institution: str) -> None:
        self.codec: Codec = codec_of(dialect_of(profile))
        self.bare = profile.framing.header == 0
        self.institution = institution
        self.member = profile.header.source
        self._own = NetworkHeader(version=profile.header.version, destination=self.member, source=institution)
        self._stan = 0

    def refuse(self, frame: Frame) -> str:
        """The reject code for a frame's header, "" if it is in order."""
        if self.bare:
            return ""
        try:
            header = NetworkHeader.parse(frame.header, len(frame.header) + len(frame.body))
        except FrameError as error:
            return REJECT_CODES.get(error.where, REJECT_CODES["header length"])
        if header.destination != self.institution:
            return REJECT_CODES["header destination"]
        if header.source != self.member:
            return REJECT_CODES["header source"]
        return REJECT_CODES["header total length"] if len(frame.body) > BODY_MAX else ""

    def rejection(self, link: Link, frame: Frame, code: str) -> Send:
        """The sender's message back to it, body unchanged, under a header that says why."""
        header = self._own._replace(reject=code)
        if len(frame.header) == NETWORK_HEADER_SIZE:
            header = header._replace(reserved=frame.header[28:31], batch=frame.header[31], user=frame.header[40])
        return Send(link, frame.body, header.build(len(frame.body)))

    def answer(self, link: Link, asked: bytes, mti: str, fields: Mapping[int, Any], after: int = 0) -> Send:
        """An answer under the header `asked` of its request: addresses swapped, all else echoed."""
        body = self.codec.encode(mti, fields)
        if self.bare:
            return Send(link, body, after=after)
        size = b"%04d" % (NETWORK_HEADER_SIZE + len(body))
        header = b"".join((asked[:2], size, asked[17:28], asked[6:17], asked[28:41], NOT_REJECTED))
        return Send(link, body, header, after=after)

    def originate(self, link: Link, mti: str, fields: Mapping[int, Any]) -> Send:
        """A message of the centre's own."""
        body = self.codec.encode(mti, fields)
        return Send(link, body, b"" if self.bare else self._own.build(len(body)))

    def next_stan(self) -> str:
        """DE11 of the centre's next own message."""
        self._stan = self._stan % 999_999 + 1
        return f"{self._stan:06d}"


def transmission_time(now: Now) -> str:
    """DE7: MMDDhhmmss in Beijing."""
    return _stamp(int(now.wall))


@lru_cache(maxsize=16)
def _stamp(second: int) -> str:
    return time.strftime("%m%d%H%M%S", time.gmtime(second + _BEIJING_S))
