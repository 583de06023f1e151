"""The far side of a sandwich: the centre and the core of our own, watched, with what makes a switch show its manners.

The operator's rules make them silent, late and contrary now and then, so that reversals and repeats are seen.
"""

from typing import Any, Final

from scenarios.sandwich.recorder import Recorder
from switch.issuer.centre import Centre
from switch.machine import Link, Now, Out, Send
from switch.wire import tlv
from switch.wire.codec import Codec, codec_of
from switch.wire.errors import DecodeError
from switch.wire.framing import NETWORK_HEADER_SIZE, Frame
from switch.wire.profile import NetworkProfile, dialect_of

ISSUER_DATA: Final = tlv.write((("91", bytes.fromhex("1122334455667788") + b"\x30\x30"),))
"""DE55 of an answer to a chip's request, invented."""


def rules(reply_s: float) -> list[dict[str, Any]]:
    """The operator's rules for a switch that waits `reply_s` for an answer."""
    return [
        {"action": "silence", "every": 11, "name": "lost request"},
        {"action": "silence_after_posting", "every": 13, "name": "lost answer"},
        {"action": "delay", "every": 17, "delay_s": reply_s * 1.5, "name": "late answer"},
        {"action": "code", "every": 19, "code": "96", "name": "system malfunction"},
        {"action": "code", "every": 23, "code": "51", "name": "no funds"},
        {"action": "silence", "kind": "reversal", "every": 3, "name": "lost reversal"},
        {"action": "silence_after_posting", "kind": "refund", "every": 4, "name": "lost answer to a refund"},
        {
            "action": "silence_after_posting",
            "kind": "atm_deposit_confirm",
            "every": 3,
            "name": "lost answer to a confirmation",
        },
    ]


class Watched:
    """A centre with the recorder beside it. Chip requests that are approved are answered with an issuer's DE55."""

    def __init__(self, centre: Centre, profile: NetworkProfile, recorder: Recorder) -> None:
        self.centre = centre
        self._recorder = recorder
        self._codec: Codec = codec_of(dialect_of(profile))
        self._chips: dict[tuple[str, str], None] = {}

    def receive(self, link: Link, frame: Frame, now: Now, out: Out) -> None:
        """One frame of the switch under test."""
        self._recorder.line_receives(self.centre.name, frame.header, frame.body, now.mono)
        self._remember(frame.body)
        at = len(out)
        self.centre.receive(link, frame, now, out)
        self._watch(out, at, now)

    def receive_bad(self, link: Link, error: Exception, now: Now, out: Out) -> None:
        """Bytes that are no frames."""
        self._recorder.line_garbled(self.centre.name, str(error), now.mono)
        self.centre.receive_bad(link, error, now, out)

    def tick(self, now: Now, out: Out) -> None:
        at = len(out)
        self.centre.tick(now, out)
        self._watch(out, at, now)

    def link_up(self, link: Link, now: Now, out: Out) -> None:
        self.centre.link_up(link, now, out)

    def link_down(self, link: Link, now: Now, out: Out) -> None:
        self.centre.link_down(link, now, out)

    def reset_keys(self, now: Now, out: Out) -> None:
        """Offer both keys to a member that did not apply for them."""
        at = len(out)
        self.centre.reset_keys(now, out)
        self._watch(out, at, now)

    def _remember(self, body: bytes) -> None:
        try:
            head = self._codec.peek(body, (7, 11, 55))
        except DecodeError:
            return
        if 55 in head and head[0] in ("0100", "0200"):
            if len(self._chips) >= 10_000:
                del self._chips[next(iter(self._chips))]
            self._chips[head[7], head[11]] = None

    def _watch(self, out: Out, at: int, now: Now) -> None:
        for place in range(at, len(out)):
            effect = out[place]
            if isinstance(effect, Send):
                send = out[place] = self._with_issuer_data(effect)
                if send.header[41:46] in (b"", b"00000"):
                    self._recorder.line_sends(self.centre.name, send.body, now.mono)
                else:
                    self._recorder.line_rejects(self.centre.name, send.body)

    def _with_issuer_data(self, send: Send) -> Send:
        head = self._codec.peek(send.body, (7, 11, 39))
        if head.get(39) != "00" or self._chips.pop((head.get(7, ""), head.get(11, "")), 0) == 0:
            return send
        message = self._codec.decode(send.body)
        if 55 in message:
            return send
        # The line's MAC does not cover DE55, so the answer stays as authentic as it was.
        body = self._codec.encode(message.mti, dict(sorted((message.fields | {55: ISSUER_DATA}).items())))
        header = send.header
        if header:
            header = header[:2] + b"%04d" % (NETWORK_HEADER_SIZE + len(body)) + header[6:]
        return send._replace(body=body, header=header)
