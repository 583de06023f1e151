"""What was seen: every message at every leg, every row, every command to a card, in order, masked for the report."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Final

from scenarios.story.result import Cell, Passing
from switch.clearing.schema import JOURNAL, LEDGER, SWITCH_TABLES, Table
from switch.wire import tlv
from switch.wire.codec import Codec
from switch.wire.errors import DecodeError, FrameError, WireError
from switch.wire.framing import Deframer, Framing
from switch.wire.redact import mask_tlv, masked
from switch.wire.transactions import BY_KEY, BY_NETWORK, reply_mti

TERMINAL: Final = "terminal"
Row = tuple[str, tuple[Any, ...]]
_NAMES: Final = {table.name: table.names for table in SWITCH_TABLES}
_STORED: Final = ("reversal_queued", "stored", "reversal_acked", "delivered")
_ADMIN: Final = {
    "001": "sign-off", "002": "sign-off", "003": "sign-in", "004": "sign-in", "006": "sign-in", "201": "settlement",
    "202": "end of batch", "207": "end of batch", "301": "echo test", "360": "parameters", "361": "end of download",
    "362": "status",
}  # fmt: skip
_NETWORK_ADMIN: Final = {
    "001": "sign-on", "002": "sign-off", "101": "key reset", "201": "cut-over begins", "202": "cut-over ends",
    "301": "line test",
}  # fmt: skip
_INS: Final = {
    0xA4: "SELECT", 0xA8: "GET PROCESSING OPTIONS", 0xB2: "READ RECORD", 0xCA: "GET DATA", 0xAE: "GENERATE AC",
    0x82: "EXTERNAL AUTHENTICATE", 0x88: "INTERNAL AUTHENTICATE", 0x20: "VERIFY", 0x84: "GET CHALLENGE",
    0x5A: "GET TRANS PROVE", 0xDA: "PUT DATA", 0xDC: "UPDATE RECORD", 0x1E: "APPLICATION BLOCK",
    0x18: "APPLICATION UNBLOCK", 0x16: "CARD BLOCK", 0x24: "PIN CHANGE/UNBLOCK",
}  # fmt: skip


@dataclass(eq=False)
class Message:
    """One write at a leg: `leg` is "terminal", "cups" or "core", `name` the terminal's name in the cast; `up` towards
    the switch's far side (terminal to switch, switch to host). `number` counts all from 1. `fault` says what was done
    to it; `mac`: right, wrong, none, "" where nobody can say. A frame that does not read has no MTI."""

    number: int
    at_s: float
    leg: str
    name: str
    up: bool
    data: bytes = field(repr=False)
    framing: Framing = field(repr=False)
    codec: Codec = field(repr=False)
    fault: str = ""
    mac: str = ""

    @cached_property
    def frame(self) -> Any:
        """TPDU, header and body; None where it is no frame."""
        try:
            frames = Deframer(self.framing).feed(self.data)
        except FrameError:
            return None
        return frames[0] if frames else None

    @cached_property
    def _decoded(self) -> tuple[str, Mapping[int, Any], str]:
        if self.frame is None:
            return "", {}, "no whole frame"
        try:
            message = self.codec.decode(self.frame.body)
        except DecodeError as error:
            return "", {}, str(error)
        return message.mti, message.fields, ""

    @property
    def mti(self) -> str:
        """Its MTI."""
        return self._decoded[0]

    @property
    def fields(self) -> Mapping[int, Any]:
        """Its fields as the codec reads them."""
        return self._decoded[1]

    @property
    def unread(self) -> str:
        """Why it does not read."""
        return self._decoded[2]

    @property
    def place(self) -> str:
        """request, reply, to-host, from-host."""
        if self.leg == TERMINAL:
            return "request" if self.up else "reply"
        return "to-host" if self.up else "from-host"

    @property
    def title(self) -> str:
        """MTI and what it is about."""
        return f"{self.mti or '?'} {_about(self)}".rstrip()

    def lines(self) -> tuple[str, ...]:
        """Its fields, masked."""
        if self.unread:
            return (f"{len(self.data)} bytes: {self.unread}",)
        return tuple(f"DE{de} {masked(de, value)}" for de, value in self.fields.items())


def _about(message: Message) -> str:
    mti, fields = message.mti, message.fields
    if message.leg != TERMINAL:
        if mti[1:2] == "8":
            return _NETWORK_ADMIN.get(fields.get(70, ""), "")
        if mti[1:2] == "4":
            return "reversal"
        row = BY_NETWORK.get((_asked(mti), fields.get(3, ""), fields.get(25, "")))
        return row.en if row else ""
    if mti[1:2] == "4":
        return "reversal"
    code = str(fields.get(60, ""))
    if mti[:1] and mti[1] in "853":
        return _ADMIN.get(code[8:11], "batch upload" if mti[1] == "3" else "")
    row = BY_KEY.get((_asked(mti), fields.get(3, ""), fields.get(25, ""), code[:2]))
    return row.en if row else ""


@lru_cache(maxsize=64)
def _asked(mti: str) -> str:
    """The MTI of the request an MTI answers, or itself."""
    for asked in ("0100", "0200", "0220", "0400", "0420", "0620", "0800", "0820", "0500", "0320"):
        if reply_mti(asked) == mti:
            return asked
    return mti


class Witness:
    """Sees all; a world's hosts tell it what they write. `since` is where the story began."""

    def __init__(self, framings: Mapping[str, Framing], codecs: Mapping[str, Codec]) -> None:
        self.messages: list[Message] = []
        self.rows: dict[str, list[Row]] = {"switch": [], "cups": [], "core": []}
        self.passings: list[Passing] = []
        self.internal: list[str] = []
        self.row_watch: Any = None
        self.began_s = 0.0
        self.first_row: dict[str, int] = dict.fromkeys(self.rows, 0)
        self.clock: Any = None
        self.framings, self.codecs = framings, codecs
        self._traces: dict[str, str] = {}

    @property
    def now_s(self) -> float:
        """Seconds since the story began."""
        return float(self.clock.now) - self.began_s

    def begin(self) -> None:
        """The story begins: what went before is forgotten."""
        self.messages.clear()
        self.passings.clear()
        self.began_s = self.clock.now
        self.first_row = {name: len(rows) for name, rows in self.rows.items()}

    # messages

    def wrote(self, leg: str, name: str, up: bool, data: bytes) -> Message:
        """Somebody has written one frame."""
        message = Message(len(self.messages) + 1, self.now_s, leg, name, up, data, self.framings[leg], self.codecs[leg])
        self.messages.append(message)
        return message

    def arrives_as(self, message: Message, data: bytes) -> Message:
        """A message that was altered on its way: what arrives is what is looked at."""
        fresh = self.messages[message.number - 1] = replace(message, data=data)
        return fresh

    def show(self, message: Message) -> None:
        """Put a message on the ladder, with what was done to it."""
        far = TERMINAL if message.leg == TERMINAL else message.leg
        ends = (TERMINAL, "switch") if message.leg == TERMINAL else ("switch", far)
        src, dst = ends if message.up else (ends[1], ends[0])
        title = message.title + (f" ({message.fault})" if message.fault else "")
        self.passings.append(Passing(message.at_s, src, dst, "message", self.trace(message), title, message.lines()))

    def trace(self, message: Message) -> str:
        """TID/batch/STAN of the terminal's transaction a message belongs to."""
        fields = message.fields
        tid = str(fields.get(41, ""))
        if message.leg == TERMINAL:
            stan, code = fields.get(11), str(fields.get(60, ""))
            return f"{tid}/{code[2:8]}/{stan}" if stan and len(code) >= 8 else tid
        return self._traces.get(f"{tid}/{fields.get(37, '')}", tid)

    # rows: what a host tells its witness

    def durable(self, host: Any, rows: list[Row]) -> None:
        """Rows that a commit has made durable."""
        self.rows[host.name] += rows
        for table, row in rows:
            if host.name == "switch":
                self._journal(table, row)
            elif table == "ledger":
                told = dict(zip(LEDGER.names, row, strict=True))
                trace = self._traces.get(f"{told['tid']}/{told['rrn']}", "")
                lines = _told(table, row)
                self.passings.append(Passing(self.now_s, host.name, host.name, "row", trace, "ledger", lines))

    def _journal(self, table: str, row: tuple[Any, ...]) -> None:
        if table != JOURNAL.name:
            self.passings.append(Passing(self.now_s, "switch", "clearing", "row", "", table, _told(table, row)))
            return
        told = dict(zip(JOURNAL.names, row, strict=True))
        trace = f"{told['tid']}/{told['batch']}/{told['stan']}"
        self._traces[f"{told['tid']}/{told['rrn']}"] = trace
        place = "store-and-forward" if told["state"] in _STORED else "clearing"
        title = f"{told['state']} {told['kind']}".replace("_", " ")
        self.passings.append(Passing(self.now_s, "switch", place, "row", trace, title, _told(table, row)))

    def stepped(self, host: Any, out: Any) -> None:
        """What a machine asks for, before any of it is done."""
        if self.row_watch is not None:
            self.row_watch(host, out)

    def connected(self, host: Any, link: Any) -> None:
        """A connection has come up."""

    def heard(self, host: Any, link: Any, frame: Any) -> None:
        """A frame has reached a process."""

    def left(self, host: Any, send: Any) -> None:
        """A frame leaves a process."""

    def broken(self, invariant: str, what: str) -> None:
        """A process has noticed that something cannot be."""
        self.internal.append(f"{invariant}: {what}")

    def ended(self, host: Any, why: str) -> None:
        """A process has ended."""
        self.note(host.name, f"{host.name} ends ({why})")

    def started(self, host: Any, rows: list[Row]) -> None:
        """A process has started on its rows."""
        if rows:
            self.note(host.name, f"{host.name} starts again on {len(rows)} rows")

    # the rest

    def note(self, actor: str, text: str, kind: str = "note") -> None:
        """Something happened to somebody."""
        self.passings.append(Passing(self.now_s, actor, actor, kind, "", text))

    def command(self, trace: str, command: bytes, response: bytes | None) -> None:
        """A command to a card and its response (None: no card)."""
        name = _INS.get(command[1], f"INS {command[1]:02X}")
        if response is None:
            self.passings.append(Passing(self.now_s, TERMINAL, "card", "apdu", trace, f"{name}: no card"))
            return
        data, sw = response[:-2], response[-2:].hex().upper()
        shown = [f"P1 P2 {command[2:4].hex().upper()}"]
        if data:
            shown.append(mask_tlv(data))
        self.passings.append(Passing(self.now_s, TERMINAL, "card", "apdu", trace, f"{name} {sw}", tuple(shown)))

    # reading back

    def story_rows(self, host: str) -> list[Row]:
        """The rows of a process since the story began."""
        return self.rows[host][self.first_row[host] :]

    def table(self, table: Table, host: str = "switch", whole: bool = False) -> list[dict[str, Any]]:
        """The rows of one table as dicts."""
        rows = self.rows[host] if whole else self.story_rows(host)
        return [dict(zip(table.names, row, strict=True)) for name, row in rows if name == table.name]

    def cells(self) -> tuple[Cell, ...]:
        """The squares of the coverage grid this story has been to."""
        found: dict[Cell, None] = {}
        for place, asked in enumerate(self.messages):
            if asked.leg != TERMINAL or not asked.up or not asked.mti:
                continue
            answer, faults = self._answer(asked, place)
            code = str(asked.fields.get(60, ""))
            kind = str(asked.fields.get(3, "")) or f"60.3={code[8:11]}"
            found[Cell(asked.mti, kind, str(asked.fields.get(22, ""))[:2], answer, faults)] = None
        return tuple(found)

    def _answer(self, asked: Message, place: int) -> tuple[str, str]:
        """DE39 of the answer to a terminal's request, and the fault that met its exchange."""
        trace, fault, answer = self.trace(asked), asked.fault, "none"
        for other in self.messages[place + 1 :]:
            same = self.trace(other) == trace or (other.leg == TERMINAL and other.name == asked.name)
            if not same:
                continue
            if other.leg == TERMINAL and other.up:
                break
            fault = fault or other.fault
            if other.leg == TERMINAL and other.mti == reply_mti(asked.mti) and other.fault != "drop":
                answer = str(other.fields.get(39, "none"))
                break
        return answer, fault


def _told(table: str, row: tuple[Any, ...]) -> tuple[str, ...]:
    names = _NAMES.get(table)
    if names is None:
        return ()
    return tuple(
        f"{name} {value}" for name, value in zip(names, row, strict=True)
        if value not in ("", 0, b"") and not isinstance(value, bytes) and name not in ("number", "pan_hash")
    )  # fmt: skip


def element(data: bytes, tag: str) -> bytes | None:
    """The value of a tag in DE55, None where it is absent or the field does not read."""
    try:
        return next((value for name, value in tlv.read(data) if name == tag), None)
    except WireError:
        return None
