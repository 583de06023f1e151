"""One question to the host and its answer: how a request is filled, protected and sent, and when an answer is believed.

Which fields a kind has stands in the table of `switch.wire.transactions`; here is how a terminal fills them. See
docs/protocol-pos.md sections 1, 4, 5 and 7; docs/security.md sections 3 and 4.
"""

from sys import intern
from typing import Any, Final, NamedTuple, Protocol

from switch.wire.codec import codec_of
from switch.wire.errors import DecodeError
from switch.wire.framing import pos_header
from switch.wire.mab import pos_mab
from switch.wire.private import write_new_pin, write_sm_pin
from switch.wire.private_62 import write_detail, write_original_terminal, write_sm_pin_62
from switch.wire.private_pos import De60, De61, Tip, write_48, write_60, write_61
from switch.wire.profile import PosProfile, SuiteSection, coded, dialect_of, framing_of
from switch.wire.transactions import APPROVED, Transaction, reply_mti
from terminals.device.memory import Chip, Item, Memory, Original, Totals
from terminals.flow import Call, Flow, FlowError, HostUnreachable, TimedOut

SWIPED: Final = "02"
"""DE22, first two digits: the stripe was read, DE35 is sent."""
KEYED: Final = "01"
"""DE22, first two digits: number and expiry were keyed in (or come from the terminal's own book)."""

CURRENCY: Final = "156"
CHIP_CLASS: Final = "61"
"""Application class of the header of a terminal that reads chips."""
SCHEME: Final = b"CUP"
"""DE63 of an offline sale."""
CHIP_PAYS: Final = "0520"
"""DE48 of a load from another account: the card that is loaded is read by contact."""
WHOLE_AMOUNT: Final = "0"
"""DE60.6: no partial approval."""
BY_TELEPHONE: Final = De61("000000", "000000", "0000", "01", "0" * 11)
"""DE61 of a sale that was authorized by telephone: there is no earlier message."""
PIN_LENGTH_MAX: Final = "12"
NO_BATCH: Final = "000000"
MUST_CARRY_MAC: Final = frozenset(("00", "10"))
SIGN_IN_AGAIN: Final = frozenset(("77", "99", "A0"))
"""Batch mismatch, PIN format, MAC wrong: the keys or the batch are stale."""
NOT_DECIDED: Final = SIGN_IN_AGAIN | {"68", "91", "96", "98"}
"""Answers to a repeated advice that say nothing of the first one: the host could not look."""
DUPLICATE: Final = "94"
_MAC_PLACE: Final = {64: bytes(8)}


class Card(Protocol):
    """What a terminal is shown of a card: number, expiry YYMM, track 2 (separator `=` or `D`)."""

    @property
    def pan(self) -> str: ...

    @property
    def expiry(self) -> str: ...

    @property
    def track2(self) -> str: ...


class BadReply(FlowError):
    """An answer that cannot be read, or is not the answer to what was asked."""


class BadMac(BadReply):
    """An answer whose MAC is wrong, or missing where it must be."""


SILENCE: Final = (TimedOut, HostUnreachable)
"""What leaves a request without any answer."""


class Outcome(NamedTuple):
    """How a dialogue ended.

    `state`: "approved", "declined", "unknown" (something was sent and nobody knows what became of it), "unsent" (the
    request itself never left). `reason` says why where there is no response code of this request: "timed out",
    "unreachable", "bad reply", "bad MAC", "keys", "cancelled", or which dialogue stood in the way: "sign_in",
    "reversal", "advice", "settlement"; for a settlement also the verdict, "balanced" or "unbalanced". `fields` is the
    host's reply.
    """

    kind: str
    state: str
    response_code: str = ""
    stan: str = ""
    batch: str = ""
    rrn: str = ""
    auth_code: str = ""
    amount_minor: int = 0
    reason: str = ""
    item: Item | None = None
    balance_minor: int | None = None
    totals: Totals | None = None
    fields: dict[int, Any] | None = None

    @property
    def approved(self) -> bool:
        return self.state == "approved"

    def __repr__(self) -> str:
        return f"Outcome({self.kind} {self.batch}/{self.stan} {self.state} {self.response_code or self.reason})"


class Protection(NamedTuple):
    """A suite's section of the profile, and DE53 with and without a PIN."""

    section: SuiteSection
    with_pin: str
    without_pin: str


class Line:
    """An acquirer's link as its terminals see it: the profile, made ready once, for all terminals of a process.

    `application_class` is that of the header where it is not the profile's: CHIP_CLASS is told what to download.
    """

    __slots__ = ("_protections", "codec", "framing", "header", "operator", "pads", "profile", "timeout_s", "tpdu")

    def __init__(self, profile: PosProfile, application_class: str = "") -> None:
        self.profile = profile
        self.codec = codec_of(dialect_of(profile))
        self.pads = {int(de): nibble for de, nibble in profile.pads.items()} or None
        self.framing = framing_of(profile)
        head = profile.header
        header = pos_header(application_class or head.application_class, head.software_version, reserved=head.tail)
        self.header = header if self.framing.header else b""
        self.tpdu = bytes.fromhex(head.tpdu) if self.framing.tpdu else b""
        self.operator = profile.operator.encode("ascii")
        self.timeout_s = profile.timers.reply_s
        self._protections = {str(name): _protection(section) for name, section in profile.suites.items()}

    def protection(self, suite: str) -> Protection:
        """How a suite protects PIN and message here; KeyError for a suite the profile does not have."""
        return self._protections[suite]

    def wrap(self, body: bytes) -> bytes:
        """A request body as the bytes that go to the host."""
        return self.framing.wrap(body, self.header, self.tpdu)


def _protection(section: SuiteSection) -> Protection:
    with_pan = "1" if section.pin_format == "plain" else "2"
    rest = section.algorithm_digit + "0" * 14
    return Protection(section, with_pan + rest, "0" + rest)


def administration(memory: Memory, network_code: str) -> dict[int, Any]:
    """DE41, 42 and 60 of a message that moves no money."""
    return {41: memory.tid, 42: memory.mid, 60: write_60(De60("00", memory.batch or NO_BATCH, network_code))}


def request_fields(
    memory: Memory, line: Line, item: Item, track: str = "", pin: str = "", detail: bytes = b"", new_pin: str = ""
) -> dict[int, Any]:
    """The fields of a financial request, DE64 not among them; `detail` is what DE62 holds for kinds that want it,
    `new_pin` the PIN that the card is to have.

    With `track` the stripe is sent, else number and expiry. An advice that is repeated or uploaded has neither track
    nor PIN: they are never kept. Raises PinFormatError for a PIN that fits no block.
    """
    row = item.row
    fields = _named(memory, line, item)
    if track:
        fields[35] = track.replace("=", "D")
    if not track or item.chip is not None:
        fields[2] = item.pan
        if item.expiry:
            fields[14] = item.expiry
    protection = line.protection(memory.suite)
    if pin:
        _put_pin(memory, protection, fields, pin, item.pan)
        if new_pin:
            _put_new_pin(memory, protection.section, fields, new_pin, item.pan)
    elif track:
        fields[53] = protection.without_pin
    if row.detail:
        fields[62] = write_detail(fields.get(62, b""), row.detail, detail)
    if row.voice:
        fields[38] = item.auth_code
        fields[61] = write_61(BY_TELEPHONE)
    if row.tip:
        fields[48] = write_48(Tip(item.amount_minor))
    original = item.original
    if original is not None:
        if original.rrn and 37 in row.mandatory:
            fields[37] = original.rrn
        if original.auth_code:
            fields[38] = original.auth_code
        fields[61] = original_data(row.original, original)
    if 63 in row.mandatory:
        fields[63] = line.operator
    if item.chip is not None:
        _put_chip(fields, row, item.chip)
    if original is not None and row.chip == "refund":
        fields[62] = write_original_terminal(original.tid or memory.tid)
    return fields


def _put_chip(fields: dict[int, Any], row: Transaction, chip: Chip) -> None:
    """What a request tells of its chip: number, and DE55 where the kind carries it."""
    fields[23] = chip.psn
    if row.carries_icc and chip.data:
        fields[55] = chip.data
    if row.chip == "offline":
        fields[63] = SCHEME
    elif row.chip == "load" and row.detail:
        fields[48] = CHIP_PAYS


def reversal_fields(memory: Memory, line: Line, item: Item, reason: str) -> dict[int, Any]:
    """The fields of an 0400, DE64 not among them: the original's number, batch and card, never its track or PIN."""
    fields = _named(memory, line, item)
    fields[2] = item.pan
    if item.expiry:
        fields[14] = item.expiry
    fields[39] = reason
    original = item.original
    if original is not None:
        if original.auth_code and item.row.original == "auth":
            fields[38] = original.auth_code
        fields[61] = original_data(item.row.original, original)
    if item.chip is not None:
        fields[23] = item.chip.psn
        if item.chip.reversal:
            fields[55] = item.chip.reversal
    return fields


def _named(memory: Memory, line: Line, item: Item) -> dict[int, Any]:
    row = coded(item.row, line.profile)
    fields: dict[int, Any] = {
        3: row.processing_code,
        11: item.stan,
        22: item.entry_mode,
        25: row.condition,
        41: memory.tid,
        42: memory.mid,
        49: CURRENCY,
        60: row.type_code + item.batch + "000" + memory.reads + item.condition,
    }
    if row.account_type:
        fields[60] += WHOLE_AMOUNT + row.account_type
    if row.amount:
        fields[4] = f"{item.amount_minor:012d}"
    return fields


def original_data(naming: str, original: Original) -> str:
    """DE61: batch and STAN of the earlier transaction, and its date unless it is named by its STAN alone."""
    return write_61(De61(original.batch, original.stan, "" if naming == "stan" else original.date))


def _put_pin(memory: Memory, protection: Protection, fields: dict[int, Any], pin: str, pan: str) -> None:
    section = protection.section
    block = memory.pinpad.pin_block(pin, pan, section.pin_format)
    fields[26] = PIN_LENGTH_MAX
    fields[53] = protection.with_pin
    if section.pin_carrier == "de52":
        fields[52] = block
        return
    fields[52] = bytes(8)
    if section.pin_carrier == "de63-sm":
        fields[63] = write_sm_pin(block)
    else:
        fields[62] = write_sm_pin_62(block)


def _put_new_pin(memory: Memory, section: SuiteSection, fields: dict[int, Any], pin: str, pan: str) -> None:
    """The second block of a PIN change, under the same key and in the same format as the first."""
    de = int(section.new_pin_carrier[2:])
    fields[de] = write_new_pin(de, memory.pinpad.pin_block(pin, pan, section.pin_format), fields.get(de, b""))


def plain(line: Line, mti: str, fields: dict[int, Any]) -> bytes:
    """A request body without MAC. Raises EncodeError for a value its field cannot carry."""
    return line.codec.encode(mti, fields, line.pads)


def sealed(memory: Memory, line: Line, mti: str, fields: dict[int, Any]) -> bytes:
    """A request body under the terminal's MAC. Raises EncodeError; CryptoError where no keys were loaded."""
    covered = pos_mab(plain(line, mti, fields | _MAC_PLACE))
    return covered + memory.pinpad.mac(covered)


def ask(
    memory: Memory, line: Line, mti: str, body: bytes, stan: str = "", *, mac: bool = False, amount: str = ""
) -> Flow[dict[int, Any]]:
    """Send a request and give back the fields of an answer that can be believed.

    `stan` "" for a message without DE11; `mac` for one whose approval must carry a MAC; `amount` DE4 as it was asked.
    Raises TimedOut, HostUnreachable, BadReply, BadMac.
    """
    raw = yield Call(body, line.timeout_s)
    reply = believed(memory, line, mti, raw, stan, mac, amount)
    if reply[39] in SIGN_IN_AGAIN:
        memory.signed_in = False
    if 12 in reply and 13 in reply:
        memory.clock = (reply[13], reply[12])
    return reply


def believed(memory: Memory, line: Line, mti: str, raw: bytes, stan: str, mac: bool, amount: str) -> dict[int, Any]:
    """The fields of an answer: to this request, for this terminal, of this amount, and authentic. BadReply, BadMac."""
    try:
        message = line.codec.decode(raw)
    except DecodeError as error:
        raise BadReply(str(error)) from None
    fields = message.fields
    if message.mti != reply_mti(mti):
        raise BadReply(f"an {mti} was answered by an {message.mti}")
    if stan and fields.get(11) != stan:
        raise BadReply("DE11 is another request's")
    if fields.get(41, memory.tid) != memory.tid or fields.get(42, memory.mid) != memory.mid:
        raise BadReply("DE41 or DE42 is another terminal's")
    code = fields.get(39)
    if code is None:
        raise BadReply("DE39 is absent")
    if mac and code in APPROVED:
        proof = fields.get(64)
        if proof is None:
            if code in MUST_CARRY_MAC:
                raise BadMac("DE64 is absent")
        elif not memory.pinpad.verify(pos_mab(raw), proof):
            raise BadMac("DE64 is wrong")
        # Code 10 approves another amount than was asked.
        if amount and code != "10" and fields.get(4, amount) != amount:
            raise BadReply("DE4 is another amount")
    return fields


def reason_of(error: FlowError) -> str:
    """What an Outcome says of an answer that did not come or was not believed."""
    if isinstance(error, BadMac):
        return "bad MAC"
    if isinstance(error, BadReply):
        return "bad reply"
    return "timed out" if isinstance(error, TimedOut) else "unreachable"


def record(memory: Memory, item: Item, reply: dict[int, Any]) -> None:
    """Write a definite answer into the item: nothing is owed for it any more."""
    noted(item, reply)
    item.reversal = "none"
    item.state = "approved" if reply[39] in APPROVED else "declined"
    if item.state == "approved":
        if reply[39] == "10" and 4 in reply:
            item.amount_minor = int(reply[4])
        _take_back(item)
        memory.last = item
    memory.pending = None


def noted(item: Item, reply: dict[int, Any]) -> None:
    """Keep what an answer says in the item, whatever it comes to."""
    code = reply[39]
    # Values that many items share are kept once: a fleet holds hundreds of thousands of items.
    item.response_code = intern(code)
    item.rrn = reply.get(37, "").rstrip()
    item.auth_code = reply.get(38, item.auth_code if item.row.voice else "").rstrip()
    item.time = intern(reply.get(12, ""))
    item.date = intern(reply.get(13, ""))
    item.settlement_date = intern(reply.get(15, ""))
    item.institutions = intern(reply.get(44, ""))


def _take_back(item: Item) -> None:
    """What an approved void, completion or addition does to the item it names."""
    source, effect = item.source, item.row.effect
    if source is None:
        return
    if effect in ("undo", "capture"):
        source.undone = True
    elif effect in ("debit", "hold_more"):
        source.added_minor += item.amount_minor
    if effect == "undo" and source.row.effect == "capture" and source.source is not None:
        source.source.undone = False  # the pre-authorization stands again
