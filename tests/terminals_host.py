"""A small acquirer host for the terminals' tests: it keeps what it was asked, and answers as it is told."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from switch.crypto.block import cipher, kcv
from switch.crypto.mac import cup_ecb_mac
from switch.crypto.pinblock import decode
from switch.wire.codec import codec_of
from switch.wire.dialects import POS
from switch.wire.message import Message
from switch.wire.profile import PosProfile, load_profile
from switch.wire.transactions import APPROVED, reply_mti
from terminals.device.dialogue import Line
from terminals.device.memory import Memory
from terminals.device.pinpad import PinPad
from terminals.flow import Ask

TMK = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
PIK = bytes.fromhex("1A2B3C4D5E6F70818293A4B5C6D7E8F9")
MAK8 = bytes.fromhex("C24A8FB57AA20123")
MAK16 = bytes.fromhex("C24A8FB57AA201230123456789ABCDEF")
TDK = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
TID, MID = "10000001", "999290054110001"
CODEC = codec_of(POS)


@dataclass
class HeldCard:
    """A card and its holder's PIN."""

    pan: str = "6212140000000000030"
    expiry: str = "3612"
    track2: str = "6212140000000000030=36121200000001"
    pin: str = "123456"


def new_line(**changes: Any) -> Line:
    """The shipped profile's line; `changes` replace sections."""
    loaded = load_profile("unionpay-pos")
    assert isinstance(loaded, PosProfile)
    return Line(msgspec.structs.replace(loaded, **changes))


def new_memory(suite: str = "3des") -> Memory:
    return Memory(TID, MID, "5411", "江南区和记超市", PinPad(suite, TMK))


def holder(ask: Ask) -> str:
    if ask.what in ("new_pin", "new_pin_again"):
        return "905173"
    assert ask.what == "pin"
    pin: str = ask.about.pin
    return pin


def keys_62(suite: str, pik: bytes = PIK, mak: bytes | None = None) -> bytes:
    """DE62 of a sign-in reply."""
    tmk = cipher(suite, TMK)
    if suite == "sm4":
        return b"".join(tmk.encrypt(key) + kcv("sm4", key) for key in (pik, mak or MAK16, TDK))
    mak = mak or MAK8
    return tmk.encrypt(pik) + kcv("3des", pik) + tmk.encrypt(mak) + bytes(8) + kcv("3des", mak)


Answer = Callable[[Message, dict[int, Any]], "dict[int, Any] | bytes | None"]


@dataclass
class ScriptedHost:
    """Answers every request with approval, unless the next entry of `script` says otherwise.

    An entry is a response code, a function of the request and of the reply's fields (it returns the fields to send,
    finished bytes, or None for silence), or an exception to raise in the terminal.
    """

    suite: str = "3des"
    batch: str = "000001"
    script: deque[Any] = field(default_factory=deque)
    asked: list[Message] = field(default_factory=list)
    balanced: str = "1"
    rrn: int = 0

    @property
    def mak(self) -> bytes:
        return MAK16 if self.suite == "sm4" else MAK8

    def mac(self, covered: bytes) -> bytes:
        return cup_ecb_mac(cipher(self.suite, self.mak), covered)

    def pin_of(self, request: Message, pan: str) -> str:
        """The PIN in a request, wherever its suite carries it."""
        block = request[52]
        if self.suite == "sm4":
            assert block == bytes(8)
            assert request[63][:5] == b"SM016"
            block = request[63][5:]
        return decode("sm4" if self.suite == "sm4" else "iso0", cipher(self.suite, PIK).decrypt(block), pan)

    def __call__(self, body: bytes) -> bytes | None:
        request = CODEC.decode(body)
        self.asked.append(request)
        if 64 in request.fields:
            assert request[64] == self.mac(body[:-8])
        step = self.script.popleft() if self.script else "00"
        if isinstance(step, Exception):
            raise step
        fields = self.reply(request, step if isinstance(step, str) else "00")
        if callable(step):
            made = step(request, fields)
            if made is None or isinstance(made, bytes):
                return made
            fields = made
        return self.finish(request, fields)

    def reply(self, request: Message, code: str) -> dict[int, Any]:
        echoed = (2, 3, 4, 11, 14, 25, 41, 42, 49, 53, 60, 61)
        fields = {de: request[de] for de in echoed if de in request}
        fields |= {12: "101530", 13: "0612", 32: "04384530", 39: code}
        if request.mti == "0800":
            if code == "00":
                fields[60] = "00" + self.batch + request[60][8:11]
                fields[62] = keys_62(self.suite)
        elif request.mti == "0500":
            fields[48] = request[48][:30] + self.balanced + request[48][31:]
        elif request.mti in ("0100", "0200", "0220"):
            self.rrn += 1
            fields[37] = f"{self.rrn:012d}"
            fields[44] = f"{'91010000':11}{'04384530':11}"
            if code in APPROVED:
                fields |= {15: "0612", 38: f"A{self.rrn:05d}"}
        return fields

    def finish(self, request: Message, fields: dict[int, Any]) -> bytes:
        if fields.get(39) in APPROVED and request.mti in ("0100", "0200", "0220", "0400"):
            fields = fields | {64: bytes(8)}
        body = CODEC.encode(reply_mti(request.mti), dict(sorted(fields.items())))
        return body[:-8] + self.mac(body[:-8]) if 64 in fields else body

    def of(self, mti: str) -> list[Message]:
        return [request for request in self.asked if request.mti == mti]

    @property
    def mtis(self) -> list[str]:
        return [request.mti for request in self.asked]


def wrong_mac(request: Message, fields: dict[int, Any]) -> bytes:
    """An approval whose MAC is not the terminal's."""
    return CODEC.encode(reply_mti(request.mti), dict(sorted((fields | {64: b"00000000"}).items())))


def silence(request: Message, fields: dict[int, Any]) -> None:
    """No answer."""
