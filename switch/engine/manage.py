"""The desk for 08x0 on both sides: terminals sign in and off; lines sign on, get keys, are tested, change the day."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from switch.crypto.errors import CryptoError
from switch.crypto.hsm import KeyRecord
from switch.engine import admit
from switch.engine.books import Terminal
from switch.engine.counterpart import Counterpart
from switch.engine.download import DOWNLOADS, DownloadDesk
from switch.engine.line import ASKED_MAX, Line
from switch.engine.office import Office
from switch.engine.saf import Saf
from switch.engine.share import DAY, KEY, KEYS
from switch.machine import Arm, Close, Link, Now, Out
from switch.wire.errors import WireError
from switch.wire.framing import Frame
from switch.wire.mab import network_mab
from switch.wire.message import Message
from switch.wire.private_62 import WrappedKey, read_parameters, write_keys, write_parameters
from switch.wire.private_network import read_new_key
from switch.wire.transactions import ADMIN_MANDATORY, reply_mti

SIGN_ON, SIGN_OFF, KEY_RESET, CUT_START, CUT_END, LINE_TEST = "001", "002", "101", "201", "202", "301"
TERMINAL_SIGN_OFF, TERMINAL_ECHO = "002", "301"
PARAMETERS, PARAMETERS_END, TERMINAL_STATUS = "360", "361", "362"
WRONG_KEY, NOT_SUPPORTED = "A7", "40"
PIN_KEY, MAC_KEY = "1", "2"
"""DE53, first digit: which key a reset is about."""


def pack_key(record: KeyRecord) -> bytes:
    """A sealed key as the journal keeps it."""
    return msgspec.msgpack.encode(tuple(record))


def unpack_key(data: bytes) -> tuple[object, ...]:
    """What `Hsm.restore` takes."""
    return msgspec.msgpack.decode(data, type=tuple[str, str, str, bytes, bytes])


class ManageDesk:
    """Network management, towards terminals and towards counterparts."""

    def __init__(self, office: Office, saf: Saf) -> None:
        self._office = office
        self._saf = saf
        self._download = DownloadDesk(office)
        self._alone = office.books.share.alone
        self._asks = office.books.share.place == 0
        self._taken: dict[tuple[str, bool], tuple[Line, Message]] = {}
        self._wanted: set[str] = set()

    # terminals

    def on_terminal(self, link: Link, frame: Frame, message: Message, now: Now, out: Out) -> None:
        """0800 and 0820 of a terminal: sign-in, sign-off, echo test, parameters, status."""
        office, fields = self._office, message.fields
        terminal, code = admit.known(office, message)
        network_code = fields.get(60, "")[8:11]
        mandatory = ADMIN_MANDATORY.get((message.mti, network_code))
        if not code:
            if 60 not in fields:
                code = admit.FORMAT_ERROR
            else:
                code = admit.whole(message, mandatory) if mandatory else NOT_SUPPORTED
        if code or terminal is None:
            office.statistics.refused += 1
            office.answer(link, frame, message.mti, fields, code, now, out)
        elif (message.mti, network_code) in DOWNLOADS:
            self._download.on_terminal(link, frame, message, terminal, network_code, now, out)
        elif network_code in (PARAMETERS, TERMINAL_STATUS):
            self._parameters(link, frame, message, network_code, now, out)
        elif network_code == PARAMETERS_END:
            office.answer(link, frame, message.mti, fields, "00", now, out)
        elif message.mti == "0800":
            self._sign_in(link, frame, message, terminal, network_code, now, out)
        elif network_code == TERMINAL_SIGN_OFF:
            terminal.signed_in = False
            number = self._post_terminal("sign_off", terminal, now, out)
            office.answer(link, frame, message.mti, fields, "00", now, out, after=number)
        else:
            office.answer(link, frame, message.mti, fields, "00", now, out)

    def _parameters(self, link: Link, frame: Frame, message: Message, network_code: str, now: Now, out: Out) -> None:
        """Give a terminal the profile's parameters (360), or hear how it is (362): 30 for an unreadable list."""
        office, fields = self._office, message.fields
        extra: dict[int, Any] = {}
        code = "00"
        if network_code == PARAMETERS:
            given = sorted(office.pos.parameters.items())
            if given:
                extra = {62: write_parameters(given)}  # no DE37: an RRN is only given out with a row
            else:
                code = NOT_SUPPORTED
        else:
            try:
                read_parameters(fields[62])
            except WireError:
                code = admit.FORMAT_ERROR
        office.answer(link, frame, message.mti, fields, code, now, out, extra)

    def _sign_in(
        self, link: Link, frame: Frame, message: Message, terminal: Terminal, code: str, now: Now, out: Out
    ) -> None:
        """New working keys under the terminal's master key, with check values; the open batch in DE60."""
        office, fields = self._office, message.fields
        suite = office.pos.suites[terminal.suite]  # type: ignore[index]
        if code != suite.sign_in_code:
            office.answer(link, frame, message.mti, fields, NOT_SUPPORTED, now, out)
            return
        issued = office.hsm.issue(terminal.tid, terminal.suite, [(block.name, block.bytes) for block in suite.keys])
        keys = [
            WrappedKey(block.name, wrapped, record.kcv[: block.kcv])
            for block, (wrapped, record) in zip(suite.keys, issued, strict=True)
        ]
        layout = [(block.name, block.bytes, block.pad, block.kcv) for block in suite.keys]
        terminal.signed_in = True
        office.met(terminal, link)
        office.statistics.sign_ins += 1
        number = self._post_terminal("sign_in", terminal, now, out, [record for _, record in issued])
        extra = {
            37: office.books.next_rrn(office.local(now)[2]),
            60: fields[60][:2] + terminal.batch_text + fields[60][8:],
            62: write_keys(keys, layout),
        }
        office.answer(link, frame, message.mti, fields, "00", now, out, extra, number)

    def _post_terminal(
        self, event: str, terminal: Terminal, now: Now, out: Out, given: Iterable[KeyRecord] = ()
    ) -> int:
        keys = {record.usage: pack_key(record) for record in given}
        sealed = (keys.get("pik", b""), keys.get("mak", b""), keys.get("tdk", b""))
        row = (event, terminal.mid, terminal.tid, terminal.batch_text, terminal.suite, *sealed)
        return self._office.post("terminal", row, now, out)

    # counterparts

    def line_up(self, counterpart: Counterpart, link: Link, now: Now, out: Out) -> None:
        """A line to a counterpart stands (or one socket of a pair): sign on once it is whole."""
        line = counterpart.line_of(link)
        replaced = line.take(link)
        if replaced is not None:
            out.append(Close(replaced, "replaced by a newer connection"))
        counterpart.choose()
        if not line.up:
            return
        counterpart.stored_waits = counterpart.stored_waits or not counterpart.ready
        line.test_at = now.mono + counterpart.profile.timers.line_test_s
        self._ask(counterpart, line, SIGN_ON, now, out)
        out.append(Arm(line.test_at))

    def line_down(self, counterpart: Counterpart, link: Link, now: Now, out: Out) -> None:
        """A line broke: what is outstanding on it runs into its deadline and is reversed; what is new takes another."""
        line = counterpart.line_of(link)
        if line.lose(link):
            counterpart.choose()
            if self._asks and counterpart.line is not None and (counterpart.zpk_due or not counterpart.ready):
                self._apply_for_keys(counterpart, counterpart.line, now, out)
            self._saf.line_lost(counterpart, line, now, out)

    def unanswered(self, counterpart: Counterpart, line: Line | None, sent_at: float, now: Now, out: Out) -> None:
        """A request over this line had no answer. One too many breaks it: nothing more is given to it until it answers
        the test that is made now, and one that does not is dialled anew."""
        timers = counterpart.profile.timers
        if line is None or not line.unanswered(sent_at, timers.breaker_timeouts):
            return
        counterpart.breaks += 1
        counterpart.choose()
        if line.up:
            self._ask(counterpart, line, LINE_TEST, now, out)
            line.test_at = now.mono + timers.breaker_s
            out.append(Arm(line.test_at))

    def tick(self, counterpart: Counterpart, now: Now, out: Out) -> None:
        """Test lines from time to time; one on which nobody answered the last time is given up and dialled anew."""
        for line in counterpart.lines:
            if not line.up:
                continue
            if now.mono >= line.test_at:
                if not {SIGN_ON, LINE_TEST}.isdisjoint(line.asked.values()):
                    sockets = dict.fromkeys((line.says, line.hears))  # in their order
                    out += [Close(link, "no answer to the line test") for link in sockets if link]
                    line.asked.clear()
                else:
                    keyless = line is counterpart.line and not counterpart.ready
                    code = LINE_TEST if line.signed_on and not keyless else SIGN_ON
                    self._ask(counterpart, line, code, now, out)
                line.test_at = now.mono + counterpart.profile.timers.line_test_s
            out.append(Arm(line.test_at))

    def on_counterpart_reply(self, counterpart: Counterpart, link: Link, message: Message, now: Now, out: Out) -> None:
        """0830: the counterpart answers what was asked of it."""
        fields, line = message.fields, counterpart.line_of(link)
        asked = line.asked.pop((fields.get(7, ""), fields.get(11, "")), "")
        if fields.get(39) != "00":
            self._office.statistics.rejected += bool(asked)
            if asked == KEY_RESET:  # the other side gives none: those we have must do
                counterpart.keys_awaited = False
                self._forward(counterpart, now, out)
            return
        if asked == SIGN_ON:
            first = counterpart.line is None
            line.signed_on = True
            counterpart.choose()
            counterpart.settlement_date = fields.get(15, counterpart.settlement_date)
            keys = counterpart.profile.keys
            if first:
                counterpart.keys_awaited = keys.apply_at_sign_on
            if not self._asks and not counterpart.ready:
                self._office.tell((KEYS, counterpart.name))
            if self._asks and keys.apply_at_sign_on and (first or (line is counterpart.line and not counterpart.ready)):
                self._apply_for_keys(counterpart, line, now, out)
            else:
                self._forward(counterpart, now, out)
        elif asked == LINE_TEST and line.mend(now.mono):
            counterpart.choose()
            self._forward(counterpart, now, out)

    def keys_in_doubt(self, counterpart: Counterpart, now: Now, out: Out) -> None:
        """A MAC did not hold, theirs or ours: the two sides may have different keys (a reset whose answer was lost), so
        new ones are applied for, not more often than the line is tested."""
        again_at = counterpart.keys_doubted_at + counterpart.profile.timers.line_test_s
        if counterpart.line is None or not counterpart.ready or now.mono < again_at:
            return
        counterpart.keys_doubted_at = now.mono
        self._apply_for_keys(counterpart, counterpart.line, now, out)

    def _apply_for_keys(self, counterpart: Counterpart, line: Line, now: Now, out: Out) -> None:
        """The MAC key first: the PIN key is asked for once that stands, as its reset is made under it."""
        counterpart.zpk_due = True
        self._ask(counterpart, line, KEY_RESET, now, out, purpose=MAC_KEY)

    def on_counterpart_request(
        self, counterpart: Counterpart, link: Link, message: Message, now: Now, out: Out
    ) -> None:
        """0800 key reset, 0820 line test, sign-off, cut-over; each is answered on the line it came over."""
        line, code = counterpart.line_of(link), message.fields.get(70, "")
        if message.mti == "0800" and code == KEY_RESET:
            self._key_reset(counterpart, line, message, now, out)
        elif code in (CUT_START, CUT_END):
            self._cut_over(counterpart, line, message, code, now, out)
        else:
            if code == SIGN_OFF:
                line.signed_on = False
                counterpart.choose()
            known = code in (SIGN_ON, SIGN_OFF, LINE_TEST, "003", "004", "005", "006")
            self._reply(counterpart, line, message, "00" if known else NOT_SUPPORTED, out)

    def _key_reset(self, counterpart: Counterpart, line: Line, message: Message, now: Now, out: Out) -> None:
        """Take a new working key under the ZMK. The old one stays good for answers already on their way."""
        fields, hsm, keys = message.fields, self._office.hsm, counterpart.profile.keys
        is_mac_key = fields.get(53, PIN_KEY)[0] == MAC_KEY
        label, usage = (counterpart.zak, "zak") if is_mac_key else (counterpart.zpk, "zpk")
        before = hsm.record(label) if label in hsm else None
        if before is not None and is_mac_key:
            hsm.copy(label, f"{label}/old")
        try:
            wrapped = read_new_key(fields[48]) if 48 in fields else fields[96]
            hsm.import_key(label, usage, keys.suite, wrapped, counterpart.zmk)
            if not self._reset_mac_holds(counterpart, message, is_mac_key):
                raise CryptoError("the key reset's MAC is not right")
        except (CryptoError, WireError, KeyError):
            if before is not None:
                hsm.restore(before)
            elif label in hsm:
                hsm.forget(label)
            self._office.statistics.mac_failures += 1
            counterpart.mac_failures += 1
            self._reply(counterpart, line, message, WRONG_KEY, out, mac=is_mac_key and before is not None)
            return
        if before is not None and is_mac_key:
            counterpart.old_key_until = now.mono + keys.overlap_s
        self._office.statistics.key_resets += 1
        if self._alone:
            self._acknowledge(counterpart, line, message, is_mac_key, now, out)
        else:
            self._taken[counterpart.name, is_mac_key] = (line, message)
            self._tell_key(counterpart, is_mac_key)

    def _acknowledge(
        self, counterpart: Counterpart, line: Line, message: Message, is_mac_key: bool, now: Now, out: Out
    ) -> None:
        """Say that a new key is taken; from then on the other side uses it."""
        self._reply(counterpart, line, message, "00", out, mac=True)
        if not is_mac_key:
            counterpart.keys_awaited = False
        elif counterpart.zpk_due:
            counterpart.zpk_due = False
            self._ask(counterpart, line, KEY_RESET, now, out, purpose=PIN_KEY)
        self._forward(counterpart, now, out)

    def _forward(self, counterpart: Counterpart, now: Now, out: Out) -> None:
        """What is stored goes out as soon as a line is ready; what may be lost is said again once for each line."""
        self._tell_keys(counterpart)
        if counterpart.ready:
            counterpart.stood_in.clear()
            self._saf.ready(counterpart, counterpart.stored_waits, now, out)
            counterpart.stored_waits = False

    def _reset_mac_holds(self, counterpart: Counterpart, message: Message, is_mac_key: bool) -> bool:
        """A key reset's DE128 is made with the new MAC key, or with the one in force where a PIN key is reset."""
        mac = message.fields.get(128)
        if mac is None:
            return not (is_mac_key and counterpart.profile.keys.mac_key_proves_itself)
        data = network_mab(message.mti, message.fields, key_reset=True)
        algorithm = counterpart.profile.keys.mac
        return self._office.hsm.verify_mac(counterpart.zak, algorithm, data, mac.encode("latin-1"))

    def _cut_over(self, counterpart: Counterpart, line: Line, message: Message, code: str, now: Now, out: Out) -> None:
        """201 and 202: the counterpart's settlement date is named by it, never by our clock."""
        date = message.fields.get(15, "")
        if len(date) != 4:
            self._reply(counterpart, line, message, admit.FORMAT_ERROR, out)
            return
        told = counterpart.settlement_date == date and counterpart.cutting_over == (code == CUT_START)
        # At a sign-on, or over another line of theirs before, which may be another worker's.
        again = code == CUT_END or len(counterpart.lines) > 1 or not self._alone
        if not (told and again):
            self._turn(counterpart, code, date, now, out)
            self._office.tell((DAY, counterpart.name, code, date))
        self._reply(counterpart, line, message, "00", out)

    def _turn(self, counterpart: Counterpart, code: str, date: str, now: Now, out: Out) -> None:
        counterpart.settlement_date = date
        counterpart.cutting_over = code == CUT_START
        self._office.statistics.cut_overs += code == CUT_END
        self._office.post("day", (counterpart.name, code, date), now, out)

    # other workers of the same switch

    def told(self, news: Sequence[Any], now: Now, out: Out) -> None:
        """What holds for all workers, from the one that met it: a key, a change of day, or a question for keys."""
        what, name, *rest = news
        counterpart = self._office.counterparts[name]
        if what == KEY:
            self._take(counterpart, bool(rest[0]), unpack_key(rest[1]), now, out)
        elif what == KEYS:
            self._wanted.add(name)
            self._tell_keys(counterpart)
        elif (counterpart.settlement_date, counterpart.cutting_over) != (rest[1], rest[0] == CUT_START):
            self._turn(counterpart, rest[0], rest[1], now, out)

    def agreed(self, news: Sequence[Any], now: Now, out: Out) -> None:
        """All workers have a key now: it may be acknowledged. Until then the other side uses the one before."""
        _, name, is_mac_key, *_ = news
        waiting = self._taken.pop((name, bool(is_mac_key)), None)
        if waiting is not None:
            self._acknowledge(self._office.counterparts[name], *waiting, bool(is_mac_key), now, out)

    def _tell_keys(self, counterpart: Counterpart) -> None:
        """Both keys, to whoever has asked for them: now, or once they are there."""
        if counterpart.ready and counterpart.name in self._wanted:
            self._wanted.discard(counterpart.name)
            self._tell_key(counterpart, is_mac_key=True)
            self._tell_key(counterpart, is_mac_key=False)

    def _tell_key(self, counterpart: Counterpart, is_mac_key: bool) -> None:
        label = counterpart.zak if is_mac_key else counterpart.zpk
        self._office.tell((KEY, counterpart.name, is_mac_key, pack_key(self._office.hsm.record(label))))

    def _take(self, counterpart: Counterpart, is_mac_key: bool, record: tuple[object, ...], now: Now, out: Out) -> None:
        """A working key that another worker was given; the one before stays good for answers on their way."""
        hsm, label = self._office.hsm, counterpart.zak if is_mac_key else counterpart.zpk
        known = label in hsm
        if not (known and tuple(hsm.record(label)) == record):
            if known and is_mac_key:
                hsm.copy(label, f"{label}/old")
                counterpart.old_key_until = now.mono + counterpart.profile.keys.overlap_s
            hsm.restore(record)
        if not is_mac_key:
            counterpart.keys_awaited = False
        self._forward(counterpart, now, out)

    def _ask(self, counterpart: Counterpart, line: Line, code: str, now: Now, out: Out, purpose: str = "") -> None:
        """0820 to a counterpart; `purpose` is the first digit of DE53 in an application for a key reset."""
        net_time, net_stan = counterpart.number(now)
        fields = {7: net_time, 11: net_stan, 33: counterpart.profile.forwarder, 70: code}
        if purpose:
            fields[53] = f"{purpose}{counterpart.profile.keys.algorithm_digit}".ljust(16, "0")
        if len(line.asked) > ASKED_MAX:
            line.asked.clear()  # a peer that never answers must not grow this
        line.asked[net_time, net_stan] = code
        counterpart.send("0820", fields, out, mac=False, line=line)

    def _reply(
        self, counterpart: Counterpart, line: Line, message: Message, code: str, out: Out, mac: bool = False
    ) -> None:
        fields: dict[int, Any] = {de: message.fields[de] for de in (7, 11, 15, 53, 70, 100) if de in message.fields}
        fields[39] = code
        if 100 not in fields:
            fields[33] = counterpart.profile.forwarder
        if mac:
            fields[128] = counterpart.mac("0810", fields, key_reset=True)
        counterpart.send(reply_mti(message.mti), fields, out, mac=False, line=line)
