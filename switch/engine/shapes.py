"""What the straight way has learnt of the careful one: compiled readers and writers of the messages that come again.

Nothing here decides anything. A request or an answer that the careful desks have let pass shows which fields its kind
has and which of them never change; from it a reader of such requests, an outline of the message to the network and one
of the answer to the terminal are compiled (see `switch.wire.outline`). What the reader's `kind` does not tell apart
differs from message to message, and is looked at each time.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from switch.engine.books import Exchange
from switch.engine.counterpart import Counterpart
from switch.wire.careful import bitmap_fields
from switch.wire.codec import Codec
from switch.wire.mab import covered, mab_expression
from switch.wire.outline import Outline
from switch.wire.transactions import Transaction, reply_mti

POS_HEAD: Final = 10
"""Bytes of MTI and bitmap of a terminal's message."""
NET_HEAD: Final = 20
"""Characters of MTI and both bitmaps of the network's."""

_KIND: Final = (3, 22, 25, 26, 49, 53)
"""Fields of a request whose values make its kind, with DE60 less the batch."""
_NEEDED: Final = frozenset((3, 11, 22, 25, 41, 42, 49, 60, 64))
_TAKEN: Final = _NEEDED.union(_KIND, (2, 4, 14, 23, 35, 52, 55, 63))
_REPLY_NEEDED: Final = frozenset((7, 11, 39, 41, 42, 128))

_OUTWARD: Final = {
    2: "pan", 4: "amount", 7: "net_time", 11: "net_stan", 12: "clock", 13: "date", 14: "expiry", 18: "mcc", 23: "psn",
    35: "track", 37: "rrn", 41: "tid", 42: "mid", 43: "name", 52: "block", 55: "icc", 60: "de60",
}  # fmt: skip
OUTWARD_ARGUMENTS: Final = (
    "pan, amount, net_time, net_stan, clock, date, expiry, mcc, psn, track, rrn, tid, mid, name, block, icc, de60"
)
_ANSWER: Final = {
    2: "pan", 4: "amount", 11: "stan", 12: "clock", 13: "date", 14: "expiry", 15: "settled", 37: "rrn", 38: "auth",
    41: "tid", 42: "mid", 43: "name", 44: "institutions", 54: "balance", 55: "icc", 60: "de60",
}  # fmt: skip
ANSWER_ARGUMENTS: Final = (
    "pan, amount, stan, clock, date, expiry, settled, rrn, auth, tid, mid, name, institutions, balance, icc, de60"
)


class Way:
    """A kind of request that has gone through, with what was compiled for it.

    `control` is its DE53, `pin` whether it has a PIN block, `looks` whether the chip's data, or the lack of them, must
    be looked at each time. `outward` are the writers of the network's message, by counterpart and suite, `answers`
    those of the terminal's, by the head of the network's answer and the response code.
    """

    __slots__ = ("answers", "control", "currency", "entry_mode", "looks", "outward", "pin", "reply_mti", "row")

    def __init__(self, exchange: Exchange, asked: Mapping[int, Any], looks: bool) -> None:
        self.row = exchange.row
        self.currency, self.entry_mode = exchange.currency, exchange.entry_mode
        self.control: str = asked.get(53, "0")
        self.pin = self.control[0] == "2"
        self.looks = looks
        self.reply_mti = reply_mti(self.row.network_mti)
        self.outward: dict[tuple[str, str], Callable[..., tuple[bytes, str]]] = {}
        self.answers: dict[tuple[bytes, str], Callable[..., bytes]] = {}


class Requests(NamedTuple):
    """Requests of one head: how they are read, and their kinds that are known."""

    read: Callable[[bytes], tuple[Any, ...]]
    ways: dict[str, Way]


def plain(row: Transaction, asked: Mapping[int, Any]) -> bool:
    """Whether a request asks one thing of its own: nothing of an earlier transaction, no advice, no details, nothing
    enciphered but a PIN, and that with its PAN."""
    special = row.advice or row.original or row.chip or row.detail or row.new_pin or row.voice
    control = asked.get(53, "000")
    return not special and control[0] != "1" and control[2] != "1"


def chip_fields(way: Way, values: tuple[Any, ...]) -> dict[int, Any]:
    """Of a request as its reader gives it, what `chips.object_to` looks at."""
    _, _, _, _, _, _, track, _, _, _, _, icc, de60, _ = values
    fields = {53: way.control, 60: de60}
    if track:
        fields[35] = track
    if icc is not None:
        fields[55] = icc
    return fields


def requests_of(codec: Codec, head: bytes) -> Requests | None:
    """A reader of requests beginning with `head`: to kind, PAN, amount, STAN, expiry, PSN, track 2, terminal, merchant,
    PIN block, DE63, DE55, DE60 and DE64; None for a shape that never goes the straight way."""
    present = bitmap_fields(head[2:])
    if not _NEEDED <= set(present) <= _TAKEN:
        return None

    def of(de: int, absent: str) -> str:
        return f"v{de}" if de in present else absent

    kind = "".join(f"{{v{de}}}" for de in _KIND if de in present)
    values = (
        f'f"{kind}{{v60[:2]}}{{v60[8:]}}"', of(2, "''"), of(4, "'000000000000'"), "v11", of(14, "''"), of(23, "''"),
        of(35, "''"), "v41", "v42", of(52, "b''"), of(63, "b''"), of(55, "None"), "v60", "v64",
    )  # fmt: skip
    return Requests(codec.reader(head, f"({', '.join(values)})"), {})


def kind_of(fields: Mapping[int, Any]) -> str:
    """What `requests_of` calls the kind of a request."""
    return "".join(fields[de] for de in _KIND if de in fields) + str(fields[60][:2] + fields[60][8:])


def replies_of(codec: Codec, head: bytes) -> Callable[[bytes], tuple[Any, ...]] | None:
    """A reader of the network's answers beginning with `head`: to MTI, DE7 and 11, DE39, 38, 15, 100, 4, 41, 42, 37,
    54, 55, 128, and the text under the MAC; None for a shape that never goes the straight way."""
    present = bitmap_fields(head[4:])
    if not set(present) >= _REPLY_NEEDED:
        return None
    mti = head[:4].decode("ascii")

    def of(de: int, absent: str) -> str:
        return f"v{de}" if de in present else absent

    text = mab_expression(mti, {de: f"v{de}" for de in present}, {})
    values = (
        repr(mti), "(v7, v11)", "v39", of(38, "''"), of(15, "''"), of(100, "None"), of(4, "'0'"), "v41", "v42",
        of(37, "None"), of(54, "''"), of(55, "b''"), "v128", text,
    )  # fmt: skip
    return codec.reader(head, f"({', '.join(values)})")


def outward_of(
    counterpart: Counterpart, way: Way, fields: Mapping[int, Any]
) -> Callable[..., tuple[bytes, str]] | None:
    """A writer of the network's message, less its MAC, and of the text under that, from the fields of the first such
    message; None where the MAC would not cover them as they stand."""
    variables = {de: name for de, name in _OUTWARD.items() if de in fields}
    if not way.looks:
        variables.pop(60, None)
    if 52 in fields and counterpart.profile.keys.pin_carrier != "de52":
        variables.pop(52)
        variables[63] = "block"
    constants = {de: value for de, value in fields.items() if de not in variables and de != 128}
    texts = {de: value for de, value in constants.items() if isinstance(value, str) and value.isascii()}
    mti = way.row.network_mti
    if any(covered(text) != text.encode() for text in texts.values()):
        return None
    text = mab_expression(mti, variables, texts)
    return counterpart.codec.writer(Outline(mti, constants, variables, OUTWARD_ARGUMENTS, 128, text))


def answer_of(codec: Codec, exchange: Exchange, fields: Mapping[int, Any]) -> Callable[..., bytes]:
    """A writer of the terminal's answer, less its MAC where it has one, from the fields of the first such answer."""
    variables = {de: name for de, name in _ANSWER.items() if de in fields}
    constants = {de: value for de, value in fields.items() if de not in variables and de != 64}
    tail = 64 if exchange.approved else 0
    return codec.writer(Outline(reply_mti(exchange.row.mti), constants, variables, ANSWER_ARGUMENTS, tail))
