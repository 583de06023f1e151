"""A recording's requests made anew: numbers, references and times re-derived, PIN block, MAC and cryptogram computed.

Sans-IO: `request` gives the bytes to send, `reply` takes the answer and says what differs. A terminal whose recording
begins in the middle of its day is signed in first (`sign_in`). Without a key the message goes as it is, and a note says
which part of it will not verify.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from scenarios.record.cards import Cards
from scenarios.record.compare import Difference, differences
from scenarios.record.match import POS_KEY, Reply, why_no_match
from scenarios.record.story import Exchange, Told
from switch.crypto.cryptogram import ac_input, suite_of_iad
from switch.crypto.errors import CryptoError
from switch.wire import tlv
from switch.wire.errors import DecodeError, WireError
from switch.wire.message import Message
from switch.wire.private import Usage, read_usages, write_usages
from switch.wire.private_pos import De61, read_61, write_61
from terminals.device.dialogue import Line, Outcome
from terminals.device.manage import sign_in
from terminals.device.memory import Memory
from terminals.fleet import Terminal, memory_of
from terminals.flow import Call, Flow

ORIGINALS_MAX: Final = 4096
"""Earlier transactions a terminal can still name (a batch holds fewer)."""
SIGN_INS: Final = ("001", "003", "004", "005", "006")
NO_BATCH: Final = "000000"
_PIN_NOTE: Final = "PIN block of zeros: no PIN of this card, or no key of this terminal"


class Clock(NamedTuple):
    """When a request is made, in Beijing: YYMMDD and hhmmss."""

    date: str
    time: str


@dataclass(slots=True)
class Played:
    """A request as it goes out; `fields` as sent, `notes` what could not be computed."""

    exchange: Exchange
    tid: str
    body: bytes
    fields: dict[int, Any]
    notes: list[str] = field(default_factory=list)


class _Kept(OrderedDict[Any, str]):
    """The newest so many entries."""

    def keep(self, key: Any, value: str) -> str:
        self[key] = value
        self.move_to_end(key)
        while len(self) > ORIGINALS_MAX:
            self.popitem(last=False)
        return value


@dataclass(slots=True)
class _Actor:
    """One terminal of the recording, played by one of ours (None: nobody knows its keys)."""

    terminal: Terminal | None
    memory: Memory | None
    flow: Flow[Outcome] | None = None
    stan: int = 0
    signed_in: bool = False
    batches: _Kept = field(default_factory=_Kept)
    stans: _Kept = field(default_factory=_Kept)
    references: _Kept = field(default_factory=_Kept)
    dates: _Kept = field(default_factory=_Kept)


class Player:
    """`terminals` are ours, by TID; a recorded TID that is not among them is played by the next one not used yet.

    `line` is the host's link, `atc_add` is added to every ATC (for a second run on the same issuer), `ignore` are
    fields not compared.
    """

    def __init__(
        self, line: Line, terminals: Mapping[str, Terminal], cards: Cards, atc_add: int = 0,
        ignore: frozenset[int] = frozenset(),
    ) -> None:  # fmt: skip
        self._line = line
        self._terminals = dict(terminals)
        self._spare = list(terminals)
        self._cards = cards
        self._atc_add = atc_add
        self._ignore = ignore
        self._actors: dict[str, _Actor] = {}
        self._references = _Kept()

    def _actor(self, tid: str) -> _Actor:
        actor = self._actors.get(tid)
        if actor is None:
            terminal = self._terminals.get(tid)
            if terminal is None:
                used = {one.terminal.tid for one in self._actors.values() if one.terminal}
                name = next((one for one in self._spare if one not in used), None)
                terminal = None if name is None else self._terminals[name]
            memory = None if terminal is None else memory_of(terminal)
            actor = self._actors[tid] = _Actor(terminal, memory)
        return actor

    # signing in, for a recording that begins later

    def sign_in(self, exchange: Exchange) -> bytes | None:
        """The body of a sign-in that must come before this exchange, None where none must."""
        actor = self._actor(_tid(exchange.request))
        if (
            actor.memory is None
            or actor.signed_in
            or _is_sign_in(exchange.request)
            or 64 not in exchange.request.fields
        ):
            return None
        actor.signed_in = True  # tried: a host that refuses is not asked before every message
        actor.flow = sign_in(actor.memory, self._line)
        call = next(actor.flow)
        assert isinstance(call, Call)
        return call.body

    def signed_in(self, exchange: Exchange, body: bytes | None) -> str:
        """Take the answer to `sign_in`; what went wrong, "" if nothing did."""
        actor = self._actor(_tid(exchange.request))
        assert actor.flow is not None
        assert actor.memory is not None
        if body is None:
            actor.flow.close()
            return "sign-in: no answer"
        try:
            actor.flow.send(body)
        except StopIteration as end:
            outcome: Outcome = end.value
            actor.stan = actor.memory.stan
            return "" if outcome.approved else f"sign-in: {outcome.response_code or outcome.reason}"
        return "sign-in: not over"

    # requests

    def request(self, exchange: Exchange, clock: Clock) -> Played:
        """The request as it is to be sent now. Raises WireError for one that cannot be encoded."""
        told = exchange.request
        actor = self._actor(_tid(told))
        played = Played(exchange, _tid(told), b"", dict(told.fields))
        fields = played.fields
        if actor.terminal is not None:
            for de, value in ((41, actor.terminal.tid), (42, actor.terminal.mid)):
                if de in fields:
                    fields[de] = value
        self._numbers(actor, fields, clock)
        self._card(actor, told, played)
        if 55 in fields:
            self._chip(played, clock)
        if told.pin:
            self._pin(actor, told, played)
        played.body = self._sealed(actor, told, played)
        return played

    def _numbers(self, actor: _Actor, fields: dict[int, Any], clock: Clock) -> None:
        batch = fields.get(60, "")[2:8]
        if 11 in fields:
            fields[11] = self._stan(actor, batch, fields[11])
        if batch and batch != NO_BATCH and actor.memory is not None:
            fields[60] = fields[60][:2] + self._batch(actor, batch) + fields[60][8:]
        if 61 in fields:
            try:
                original = read_61(fields[61])
                fields[61] = write_61(self._original(actor, original))
            except WireError:
                pass
        for de in (37, 38):
            if de in fields:
                now = actor.references.get((de, fields[de])) or self._references.get((de, fields[de]))
                fields[de] = now or fields[de]
        for de, value in ((12, clock.time), (13, clock.date[2:]), (7, clock.date[2:] + clock.time)):
            if de in fields:
                fields[de] = value

    def _stan(self, actor: _Actor, batch: str, recorded: str) -> str:
        known = actor.stans.get((batch, recorded))
        if known is not None:
            return known
        actor.stan = actor.stan % 999_999 + 1
        if actor.memory is not None:
            actor.memory.stan = actor.stan
        return actor.stans.keep((batch, recorded), f"{actor.stan:06d}")

    def _batch(self, actor: _Actor, recorded: str) -> str:
        known = actor.batches.get(recorded)
        return known or (actor.memory.batch if actor.memory is not None else "") or recorded

    def _original(self, actor: _Actor, one: De61) -> De61:
        if one.stan == NO_BATCH:
            return one
        stan = actor.stans.get((one.batch, one.stan), one.stan)
        date = actor.dates.get(one.date, one.date) if one.date else one.date
        return one._replace(batch=self._batch(actor, one.batch), stan=stan, date=date)

    def _card(self, actor: _Actor, told: Told, played: Played) -> None:
        fields = played.fields
        pan = _pan(fields)
        known = self._cards.find(pan) if pan else None
        if known is not None:
            if 14 in fields and known.expiry:
                fields[14] = known.expiry
            if 35 in fields and known.track2:
                fields[35] = known.track2.replace("=", "D" if "D" in fields[35] else "=")
        if told.sealed and 35 in fields:
            try:
                assert actor.memory is not None
                fields[35] = actor.memory.pinpad.track(fields[35])
            except (CryptoError, AssertionError):
                played.notes.append("track in clear: no track key of this terminal")

    def _chip(self, played: Played, clock: Clock) -> None:
        fields = played.fields
        try:
            items = tlv.read(fields[55])
        except WireError:
            played.notes.append("DE55 goes as recorded: it cannot be read")
            return
        values = dict(items)
        if "9F36" in values and self._atc_add:
            atc = (int.from_bytes(values["9F36"], "big") + self._atc_add) & 0xFFFF
            values["9F36"] = atc.to_bytes(2, "big")
        if "9F26" in values and "9F10" in values:
            if "9A" in values:
                values["9A"] = bytes.fromhex(clock.date)
            if "9F21" in values:
                values["9F21"] = bytes.fromhex(clock.time)
            self._cryptogram(played, values)
        fields[55] = tlv.write((tag, values[tag]) for tag, _ in items)

    def _cryptogram(self, played: Played, values: dict[str, bytes]) -> None:
        pan, psn = _pan(played.exchange.request.fields), played.fields.get(23, "000")[-2:]
        recorded = values["9F26"].hex()
        if "9F02" not in values:
            # A notice names the cryptogram of its transaction and has nothing to compute one from.
            values["9F26"] = bytes.fromhex(self._references.get((55, recorded), recorded))
            return
        try:
            iad = values["9F10"]
            suite = suite_of_iad(iad)
            key = self._cards.chip_key(pan, psn, suite) if pan else None
            if key is None:
                played.notes.append("cryptogram as recorded: no master key of this card's issuer")
                return
            atc = int.from_bytes(values["9F36"], "big")
            values["9F26"] = key.session(atc).cryptogram(ac_input(iad[2], values, iad))
            self._references.keep((55, recorded), values["9F26"].hex())
        except (CryptoError, LookupError) as error:
            played.notes.append(f"cryptogram as recorded: {error}")

    def _pin(self, actor: _Actor, told: Told, played: Played) -> None:
        fields, pan, memory = played.fields, _pan(told.fields), actor.memory
        known = self._cards.find(pan) if pan else None
        if known is None or not known.pin or memory is None or not memory.pinpad.ready:
            played.notes.append(_PIN_NOTE)
            return
        pin = known.pin if told.pin == "right" else str((int(known.pin[0]) + 1) % 10) + known.pin[1:]
        block = memory.pinpad.pin_block(pin, pan, self._line.protection(memory.suite).section.pin_format)
        if 52 in fields and len(fields[52]) == len(block):
            fields[52] = block
            return
        if fields.get(62, b"")[:2] == b"\0\x10":
            fields[62] = fields[62][:2] + block + fields[62][18:]
            return
        for de in (63, 48):
            try:
                usages = read_usages(de, fields.get(de, b""))
            except (WireError, TypeError):
                continue
            if any(usage.tag == "SM" for usage in usages):
                made = (Usage(usage.tag, block) if usage.tag == "SM" else usage for usage in usages)
                fields[de] = write_usages(de, tuple(made))
                return
        played.notes.append("PIN block of zeros: this terminal's suite is another than the recorded one's")

    def _sealed(self, actor: _Actor, told: Told, played: Played) -> bytes:
        codec, fields = self._line.codec, played.fields
        body = codec.encode(told.mti, fields, told.pads or None)
        if 64 not in fields:
            return body
        if actor.memory is None or not actor.memory.pinpad.ready:
            played.notes.append("MAC of zeros: no key of this terminal")
            return body
        mac = actor.memory.pinpad.mac(body[:-8])
        if told.mac == "wrong":
            mac = bytes((mac[0] ^ 1,)) + mac[1:]
        fields[64] = mac
        return body[:-8] + mac

    # replies

    def reply(self, played: Played, body: bytes) -> tuple[Message | None, list[Difference]]:
        """The answer and what differs from the recorded one; None for one that cannot be read."""
        told = played.exchange.reply
        try:
            message = self._line.codec.decode(body)
        except DecodeError as error:
            return None, [Difference(0, "a message", f"none: {error}")]
        actor = self._actor(played.tid)
        self._learn(actor, played, message)
        found = [] if told is None else differences(told, message, played.fields, self._ignore)
        found += self._mac_of(actor, message)
        return message, found

    def _learn(self, actor: _Actor, played: Played, message: Message) -> None:
        told, memory = played.exchange.reply, actor.memory
        if told is not None:
            for de in (37, 38):
                if de in told.fields and de in message.fields:
                    for kept in (actor.references, self._references):  # a refund may name another terminal's
                        kept.keep((de, told.fields[de]), message.fields[de])
            if 13 in told.fields and 13 in message.fields:
                actor.dates.keep(told.fields[13], message.fields[13])
        if _is_sign_in(played.exchange.request) and message.get(39) == "00" and memory is not None:
            section = self._line.protection(memory.suite).section
            try:
                memory.pinpad.load_keys(message.get(62, b""), section.keys, section.mac)
            except CryptoError as error:
                played.notes.append(f"sign-in: {error}")
                return
            actor.signed_in = True
            memory.batch = message.get(60, "")[2:8]
            if told is not None:
                actor.batches.keep(told.fields.get(60, "")[2:8], memory.batch)

    def _mac_of(self, actor: _Actor, message: Message) -> list[Difference]:
        if 64 not in message.fields or actor.memory is None or not actor.memory.pinpad.ready:
            return []
        right = actor.memory.pinpad.verify(message.raw[:-8], message.fields[64])
        return [] if right else [Difference(64, "a MAC that verifies", "one that does not")]

    def no_match(self, played: Played, strays: list[Reply], at: float) -> list[str]:
        """Why a request got no answer, in words."""
        return why_no_match(played.exchange.request.mti, played.fields, strays, POS_KEY, at).sentences()


def _tid(told: Told) -> str:
    return str(told.fields.get(41, ""))


def _is_sign_in(told: Told) -> bool:
    return told.mti == "0800" and str(told.fields.get(60, ""))[8:11] in SIGN_INS


def _pan(fields: Mapping[int, Any]) -> str:
    return str(fields.get(2) or str(fields.get(35, "")).replace("=", "D").partition("D")[0])
