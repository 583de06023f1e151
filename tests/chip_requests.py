"""Requests of chip cards built field by field, and a far end that answers as it is told: the engine's side alone."""

from typing import Any

from engine_requests import CODEC, of_suite, seal
from house import House

from switch.issuer.keys import MAC_KEY
from switch.issuer.portfolio import Card
from switch.machine import Send
from switch.wire import tlv
from switch.wire.codec import codec_of
from switch.wire.dialects import NETWORK
from switch.wire.framing import Frame
from switch.wire.message import Message
from switch.wire.profile import coded
from switch.wire.transactions import BY_NAME, reply_mti
from terminals.device import pos
from terminals.device.memory import Memory

NET = codec_of(NETWORK)
ISSUER_SAYS = tlv.write([("91", bytes.fromhex("0102030405060708") + b"00"), ("72", bytes.fromhex("9F180400000001"))])
_ECHOED = (2, 3, 4, 7, 11, 12, 13, 18, 23, 25, 32, 33, 37, 41, 42, 49, 60)


def icc_data(
    amount: int, atc: int, cid: int = 0x80, arc: bytes = b"", e_cash: bool = False, ac: int = 1, **more: bytes
) -> bytes:
    """DE55 as terminals order it; `arc` is 8A, `more` tags in hexadecimal."""
    items = [
        ("9F26", ac.to_bytes(8, "big")), ("9F27", bytes((cid,))), ("9F10", bytes.fromhex("07010103A0A80201")),
        ("9F37", bytes.fromhex("11223344")), ("9F36", atc.to_bytes(2, "big")), ("95", bytes.fromhex("0080048000")),
        ("9A", bytes.fromhex("261028")), ("9C", b"\x00"), ("9F02", bytes.fromhex(f"{amount:012d}")),
        ("5F2A", bytes.fromhex("0156")), ("82", bytes.fromhex("7C00")), ("9F1A", bytes.fromhex("0156")),
        ("9F03", bytes(6)), ("9F33", bytes.fromhex("E0F1C8")), *more.items(),
    ]  # fmt: skip
    if arc:
        items.append(("8A", arc))
    if e_cash:
        items.append(("9F74", b"ECC001"))
    return tlv.write(items)


class FarEnd:
    """Answers every financial message the switch sends with `code` and DE55 `icc`, or not at all (`silent`)."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.code = "00"
        self.icc = b""
        self.silent = False
        self.asked: list[Message] = []
        house.meddle = self.meddle

    def meddle(self, name: str, send: Send) -> Send | None:
        line = send.link.name
        if name != "switch" or not line:
            return send
        message = NET.decode(send.body)
        if message.mti[1] == "8":
            return send
        self.asked.append(message)
        if self.silent:
            return None
        centre, (ours, theirs) = self.house.centres[line], self.house.lines[line]
        fields: dict[int, Any] = {de: message.fields[de] for de in _ECHOED if de in message.fields}
        fields |= {15: "1028", 39: self.code, 100: "62120000"}
        if self.code == "00" and message.mti in ("0100", "0200", "0220"):
            fields[38] = "246810"
        if self.icc and message.mti == "0200":
            fields[55] = self.icc
        mti = reply_mti(message.mti)
        if 128 in message.fields:
            fields[128] = centre._keys.mac(mti, fields) if centre._keys.has(MAC_KEY) else ""
        reply = centre._envelope.answer(theirs, send.header, mti, dict(sorted(fields.items())))
        frame = Frame(reply.tpdu, reply.header, reply.body)
        self.house._do("switch", lambda machine, now, out: machine.receive(ours, frame, now, out))
        return None


class Counter:
    """A terminal with a chip card at it, signed in, on a house whose far end is told what to say.

    Without `told` the house's own issuers answer.
    """

    def __init__(self, house: House | None = None, suite: str = "3des", issuer: int = 1, told: bool = True) -> None:
        self.house = house or House()
        self.memory: Memory = of_suite(self.house, suite)
        assert self.house.run(pos.sign_in(self.memory, self.house.line)).approved
        if told:
            self.far = FarEnd(self.house)
        self.card: Card = self.house.card(issuer, chip="")

    def fields(
        self, kind: str, amount: int = 1000, entry: str = "052", icc: bytes | None = None, stan: str = "", **more: Any
    ) -> dict[int, Any]:
        """A request of `kind`; DE60 ends in 60.4 and 60.5, "60" unless `reader` says so; `more` by names deNN."""
        row = coded(BY_NAME[kind], self.house.pos)
        reader = more.pop("reader", "60")
        fields: dict[int, Any] = {
            2: self.card.pan, 3: row.processing_code, 4: f"{amount:012d}", 11: stan or self.memory.next_stan(),
            14: self.card.expiry, 22: entry, 23: "001", 25: row.condition, 41: self.memory.tid, 42: self.memory.mid,
            49: "156", 60: row.type_code + self.memory.batch + "000" + reader, 64: bytes(8),
        }  # fmt: skip
        if not row.amount:
            del fields[4]
        if icc is not None:
            fields[55] = icc
        return fields | {int(de[2:]): value for de, value in more.items()}

    def ask(self, mti: str, fields: dict[int, Any], patience_s: float = 40.0) -> Message:
        reply = self.house.ask(seal(self.house, self.memory, mti, fields), patience_s)
        assert reply is not None
        return CODEC.decode(reply)

    def do(self, kind: str, *arguments: Any, **more: Any) -> Message:
        """The answer to a request of `kind`."""
        return self.ask(BY_NAME[kind].mti, self.fields(kind, *arguments, **more))

    def upload(self, amount: int, atc: int, stan: str = "", cid: int = 0x40, **more: Any) -> Message:
        """An offline sale's certificate."""
        arc = b"Z1" if cid == 0 else b"Y1"
        data = icc_data(amount, atc, cid, arc, e_cash=True)
        return self.do("chip_offline_sale", amount, "071", data, stan, de63=b"CUP", **more)

    def row(self, state: str, n: int = -1) -> dict[str, Any]:
        """The n-th journal row of a state."""
        return [row for row in self.house.of("journal") if row["state"] == state][n]
