"""One counterpart of the switch, a network or the bank's own core: its lines, its keys, its numbers."""

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from switch.crypto.hsm import Hsm
from switch.engine.inflight import Inflight
from switch.engine.line import Line
from switch.engine.share import WHOLE, Share
from switch.engine.standin import OFF, StandIn
from switch.machine import Link, Now, Out, Send
from switch.timings import Timings
from switch.wire.codec import codec_of
from switch.wire.framing import Frame, NetworkHeader
from switch.wire.mab import network_mab
from switch.wire.message import Message
from switch.wire.profile import NetworkProfile, dialect_of

BEIJING_S = 8 * 3600


def wire_time(wall: float) -> str:
    """DE7, MMDDhhmmss in Beijing time, of wall seconds since the epoch."""
    return time.strftime("%m%d%H%M%S", time.gmtime(wall + BEIJING_S))


@lru_cache(maxsize=1024)  # headers differ by length only (1.6 us)
def reject_of(header: bytes, total: int) -> str:
    """The reject code of a header before a payload of `total` bytes, itself included. Raises FrameError."""
    return NetworkHeader.parse(header, total).reject


class Counterpart:
    """State of one counterpart, as the engine sees it. `ready` means signed on and in possession of working keys.

    `lines` are its lines, the primary first; `line` is the one that requests are given to, None without a healthy one.
    Keys, numbers and outstanding requests belong to the counterpart: an answer is matched whichever line it comes over.
    `keys_awaited` stands from the moment a line is up until its keys are agreed anew, where they are asked for at
    sign-on: those of the line before may mean nothing to the other side. `keys_doubted_at` is when they were last asked
    for because a MAC did not hold.
    `cutting_over` stands between the start and the end of a change of day; `stored_waits` from the moment a line is up
    until what is stored for it was sent, `stored` counts that; `old_key_until` ends the time of the MAC key before the
    present one. `stand_in` says what the switch approves for it, `stood_in` how often it did so for a card (by its
    hash) since it could be asked last. `timings` are those of answered requests; the plain counters are for whoever
    shows them.
    """

    def __init__(
        self,
        name: str,
        profile: NetworkProfile,
        hsm: Hsm,
        own: bool = False,
        stand_in: StandIn = OFF,
        share: Share = WHOLE,
    ) -> None:
        self.name = name
        # Labels of its keys, written once.
        self.zmk, self.zpk, self.zak = f"zmk/{name}", f"zpk/{name}", f"zak/{name}"
        self.profile = profile
        self.own = own
        self.inflight = Inflight(profile.timers.reply_s)
        self.lines = [Line(0)]
        self.line: Line | None = None
        self.failovers = self.breaks = 0
        self.stored = 0
        self.stand_in = stand_in
        self.stood_in: dict[str, int] = {}
        self.zpk_due = False
        self.keys_awaited = False
        self.keys_doubted_at = float("-inf")
        self.settlement_date = ""
        self.cutting_over = False
        self.stored_waits = False
        self.old_key_until = 0.0
        self._stan_first, self._stan_end = share.stans
        self.stan_last = self._stan_first - 1
        self.received = self.sent = self.timeouts = self.mac_failures = 0
        self.timings = Timings()
        self._hsm = hsm
        self.codec = codec_of(dialect_of(profile))
        self._headers: dict[int, bytes] = {}
        self._second = 0
        self._second_text = ""

    @property
    def ready(self) -> bool:
        agreed = self.zpk in self._hsm and self.zak in self._hsm and not self.keys_awaited
        return self.line is not None and agreed

    @property
    def signed_on(self) -> bool:
        return self.line is not None

    def line_of(self, link: Link) -> Line:
        """The line a link is of; lines that were never seen before are added."""
        while len(self.lines) <= link.place:
            self.lines.append(Line(len(self.lines)))
        return self.lines[link.place]

    def choose(self) -> None:
        """The first healthy line is the one to use from now on."""
        best = next((line for line in self.lines if line.healthy), None)
        if best is not self.line:
            self.failovers += best is not None and self.line is not None
            self.line = best

    def number(self, now: Now) -> tuple[str, str]:
        """A new key on this link: DE7 and DE11. The STAN wraps after a million (of which each worker has its part);
        DE7 tells the rounds apart."""
        second = int(now.wall)
        if second != self._second:
            self._second, self._second_text = second, wire_time(second)
        self.stan_last = self.stan_last + 1 if self.stan_last < self._stan_end else self._stan_first
        # The million keeps the zeros in front: a number is sooner written than formatted (0.2 us).
        return self._second_text, str(1_000_000 + self.stan_last)[1:]

    def send(
        self, mti: str, fields: dict[int, Any], out: Out, after: int = 0, mac: bool = True, line: Line | None = None
    ) -> None:
        """Finish a message (MAC, header) and send it over `line`, or the one in use, if there is one."""
        line = line or self.line
        link = line.says if line is not None else None
        if link is None:
            return
        if mac:
            fields[128] = self.mac(mti, fields)
        body = self.codec.encode(mti, fields)
        self.sent += 1
        out.append(Send(link, body, self.header(len(body)), b"", after))

    def header(self, body_length: int) -> bytes:
        if not self.profile.framing.header:
            return b""
        header = self._headers.get(body_length)  # one for each length there is (1.5 us)
        if header is None:
            section = self.profile.header
            parts = NetworkHeader(version=section.version, destination=section.destination, source=section.source)
            header = self._headers[body_length] = parts.build(body_length)
        return header

    def mac(self, mti: str, fields: Mapping[int, Any], key_reset: bool = False) -> str:
        data = network_mab(mti, fields, key_reset=key_reset)
        return self._hsm.mac(self.zak, self.profile.keys.mac, data).decode()

    def mac_holds(self, message: Message, mono: float) -> bool:
        """Whether DE128 is right under the key in force, or under the one before it while they overlap; script notices
        and their answers have none where the profile says so."""
        mac = message.fields.get(128)
        if mac is None and message.mti == "0630":
            return not self.profile.chips.notice_mac
        if mac is None or self.zak not in self._hsm:
            return False
        data, sent = network_mab(message.mti, message.fields), mac.encode("latin-1")
        algorithm = self.profile.keys.mac
        if self._hsm.verify_mac(self.zak, algorithm, data, sent):
            return True
        before = f"{self.zak}/old"
        return mono < self.old_key_until and self._hsm.verify_mac(before, algorithm, data, sent)

    def read(self, frame: Frame) -> tuple[Message, str]:
        """A frame's message and the header's reject code ("00000" where all is well or no header is carried).

        Raises FrameError or DecodeError.
        """
        reject = "00000"
        if self.profile.framing.header:
            reject = reject_of(frame.header, len(frame.header) + len(frame.body))
        return self.codec.decode(frame.body), reject
