"""Terminal requests built field by field, so that a test can leave one out or say something else."""

from typing import Any

from house import House

from switch.wire.codec import codec_of
from switch.wire.dialects import POS
from switch.wire.mab import pos_mab
from switch.wire.message import Message
from switch.wire.transactions import BY_NAME
from terminals.device import pos
from terminals.device.dialogue import KEYED, plain, request_fields, reversal_fields, sealed
from terminals.device.memory import Item, Memory, Original
from terminals.goods import VOICE_CODE, extras

CODEC = codec_of(POS)


def signed_in(house: House) -> None:
    for memory in house.memories:
        assert house.run(pos.sign_in(memory, house.line)).approved


def of_suite(house: House, suite: str, n: int = 0) -> Memory:
    return [memory for memory in house.memories if memory.suite == suite][n]


def item(house: House, memory: Memory, kind: str, amount: int = 1000, issuer: int = 0, stan: str = "") -> Item:
    """A transaction that its terminal knows nothing of; one that names an earlier one names an invented one."""
    row, card = BY_NAME[kind], house.card(issuer)
    original = Original(memory.batch, "000777", "1028", "301000000777", "000777") if row.original else None
    stan = stan or memory.next_stan()
    made = Item(kind, memory.batch, stan, amount, (row.entry or KEYED) + "2", card.pan, card.expiry, original)
    made.auth_code = VOICE_CODE if row.voice else ""
    return made


def fields_of(house: House, memory: Memory, one: Item) -> dict[int, Any]:
    """All fields of a request, DE64 as a place to put the MAC."""
    detail = extras(one.row, house.card(0, 2).pan).get("detail", b"")
    pins = {"pin": house.card(0).pin, "new_pin": "905173"} if one.row.new_pin else {}
    fields = request_fields(memory, house.line, one, detail=detail, **pins)
    if 37 in one.row.mandatory and one.original is not None:
        fields[37] = one.original.rrn
    return {**fields, 64: bytes(8)}


def reversal_of(house: House, memory: Memory, one: Item, reason: str = "98") -> dict[int, Any]:
    return {**reversal_fields(memory, house.line, one, reason), 64: bytes(8)}


def seal(house: House, memory: Memory, mti: str, fields: dict[int, Any]) -> bytes:
    """The body, under a MAC where the fields have a place for one."""
    if 64 in fields:
        return sealed(memory, house.line, mti, fields)
    return plain(house.line, mti, fields)


def without(fields: dict[int, Any], *gone: int) -> dict[int, Any]:
    return {de: value for de, value in fields.items() if de not in gone}


def ask(house: House, memory: Memory, mti: str, fields: dict[int, Any], patience_s: float = 40.0) -> Message:
    """The answer to a request; it must come."""
    reply = house.ask(seal(house, memory, mti, fields), patience_s)
    assert reply is not None
    return CODEC.decode(reply)


def authentic(memory: Memory, reply: Message) -> bool:
    """Whether a reply is under its terminal's MAC."""
    return memory.pinpad.verify(pos_mab(reply.raw), reply.fields[64])


def pays(house: House, memory: Memory) -> bool:
    """Whether a terminal can still sell."""
    return bool(house.run(pos.sale(memory, house.line, house.card(1), 500)).approved)
