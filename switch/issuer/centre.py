"""The far end of a network line: the network's centre in front of many issuers, or the bank's own core with one.

A machine: it listens, the member connects, signs on, gets its keys and sends requests, advice and reversals. An answer
leaves only once the issuer's row of it is durable.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Any, Final

from switch.clearing.schema import CHIPS, LEDGER, PINS
from switch.crypto.hsm import Hsm
from switch.issuer.cutover import END, START, CutOver
from switch.issuer.envelope import BAD_BODY, NOT_REJECTED, Envelope
from switch.issuer.host import PAN_HASH_KEY, PIN_REFERENCE_KEY, Bank, Decision
from switch.issuer.keys import MAC_KEY, LinkKeys
from switch.issuer.management import Line, Management
from switch.issuer.recover import latest_date, recover, recover_chips, recover_pins
from switch.issuer.request import Request, kind_of, missing
from switch.issuer.rules import Rule, RuleBook
from switch.machine import Arm, Close, Link, Now, Out, Post, Send
from switch.wire.errors import DecodeError
from switch.wire.framing import Frame
from switch.wire.message import Message
from switch.wire.private_network import De121, write_121
from switch.wire.profile import NetworkProfile, rows_by_network
from switch.wire.transactions import FINANCIAL_MTIS, reply_mti

DELAYED_MAX: Final = 65_536
"""Answers a rule may hold back at a time; beyond that they are lost, as an overloaded issuer loses them."""

_MANAGEMENT_MTIS: Final = frozenset(("0800", "0810", "0820", "0830"))
_MONEY_MTIS: Final = FINANCIAL_MTIS | {"0420", "0620"}
_ECHOED: Final[tuple[int, ...]] = (2, 3, 4, 7, 11, 12, 13, 14, 18, 23, 25, 32, 33, 37, 41, 42, 49, 60, 122)
"""DEs of a request that its answer repeats (docs/protocol-network.md section 6)."""


class Centre:
    """`name` names the line and its keys in the HSM (zmk/NAME...), `institution` is the centre's own identifier in the
    header, `profile` the member's. All banks begin with `settlement_date` (MMDD)."""

    def __init__(
        self,
        name: str,
        profile: NetworkProfile,
        institution: str,
        banks: Sequence[Bank],
        hsm: Hsm,
        *,
        settlement_date: str,
        rules: Iterable[Rule] = (),
    ) -> None:
        for label in (PAN_HASH_KEY, PIN_REFERENCE_KEY, f"zmk/{name}"):
            hsm.record(label)
        self.name = name
        self.banks = tuple(banks)
        self.settlement_date = settlement_date
        self.rules = RuleBook(rules)
        self._envelope = Envelope(profile, institution)
        self._keys = LinkKeys(hsm, name, profile.keys)
        self._counts: Counter[str] = Counter()
        self._management = Management(profile, self._envelope, self._keys, self._count, self._welcome)
        self._profile = profile
        self._rows = rows_by_network(profile)
        self._lines: dict[Link, Line] = {}
        self._by_bin = {prefix: bank for bank in self.banks for prefix in bank.issuer.bins}
        self._bin_lengths = sorted({len(prefix) for prefix in self._by_bin}, reverse=True)
        self._shown = {bank: _de121(bank.institution) for bank in self.banks}
        self._delayed: list[tuple[float, int, Send]] = []
        self._cutover: CutOver | None = None
        self._ended: CutOver | None = None  # the last change of day, told again to a member that may have missed it
        self._posts = 0
        self._delays = 0
        for bank in self.banks:
            bank.settlement_date = settlement_date
            bank.desk.rooms = {other.institution: other.desk.chips for other in self.banks}

    def __repr__(self) -> str:
        return f"Centre({self.name}, {len(self.banks)} banks)"

    # Doors

    def link_up(self, link: Link, now: Now, out: Out) -> None:
        """The member has connected; it signs on next."""
        self._lines[link] = Line(link)

    def link_down(self, link: Link, now: Now, out: Out) -> None:
        """The connection is gone, and with it its sign-on and all answers held back for it."""
        line = self._lines.pop(link, None)
        if line is not None:
            self._management.line_down(line)

    def receive(self, link: Link, frame: Frame, now: Now, out: Out) -> None:
        """One frame. A bad header or a body that cannot be read goes back with a reject code."""
        line = self._lines.get(link)
        if line is None:
            return
        if frame.header[41:46] not in (NOT_REJECTED, b""):
            # A message of ours come back; to refuse that one too could go on for ever.
            self._count("returned")
            return
        refusal = self._envelope.refuse(frame)
        if not refusal:
            try:
                message = self._envelope.codec.decode(frame.body)
            except DecodeError:
                refusal = BAD_BODY
        if refusal:
            self._count("rejected")
            if not self._envelope.bare:
                out.append(self._envelope.rejection(link, frame, refusal))
        elif message.mti in _MONEY_MTIS:
            self._on_request(line, frame.header, message, now, out)
        elif message.mti in _MANAGEMENT_MTIS:
            self._management.receive(line, frame.header, message, now, out)
        else:
            self._on_stranger(line, frame.header, message, now, out)

    def receive_bad(self, link: Link, error: Exception, now: Now, out: Out) -> None:
        """A stream that has lost its place cannot be read on."""
        self._count("broken_frames")
        out.append(Close(link, "framing"))

    def tick(self, now: Now, out: Out) -> None:
        """Send what was held back until now, go on with the change of day, give up unacknowledged keys."""
        while self._delayed and self._delayed[0][0] <= now.mono:
            send = heappop(self._delayed)[2]
            if send.link in self._lines:
                out.append(send)
        if self._cutover is not None and self._cutover.tick(self._lines.values(), now, out):
            self._ended, self._cutover = self._cutover, None
        self._management.tick(now)
        deadlines = [self._delayed[0][0]] if self._delayed else []
        if self._cutover is not None:
            deadlines.append(self._cutover.deadline())
        offers = self._management.deadline()
        if offers is not None:
            deadlines.append(offers)
        if deadlines:
            out.append(Arm(min(deadlines)))

    # Requests

    def _on_request(self, line: Line, header: bytes, message: Message, now: Now, out: Out) -> None:
        fields = message.fields
        self._count("requests")
        code = self._refuse(line, message, now)
        if code:
            self._answer(line, header, message, Decision(code, self.settlement_date), None, out)
            return
        request = Request(message.mti, kind_of(message.mti, fields, self._rows), fields)
        bank = self._bank_of(request.pan)
        if bank is None:
            # No bank here can have approved anything for this card, so there is nothing to undo either.
            code = "12" if request.reversal else "15"
            self._answer(line, header, message, Decision(code, self.settlement_date), None, out)
            return
        if not request.advice:
            try:
                request.pin = self._keys.pin(fields, now.mono)
                if request.row.new_pin:
                    request.new_pin = self._keys.new_pin(fields, now.mono)
            except DecodeError:
                self._answer(line, header, message, Decision("99", bank.settlement_date), bank, out)
                return
            if request.row.new_pin and (request.pin is None or request.new_pin is None):
                self._answer(line, header, message, Decision("30", bank.settlement_date), bank, out)
                return
        self._decide(line, header, message, request, bank, now, out)

    def _refuse(self, line: Line, message: Message, now: Now) -> str:
        """91 not signed on, A0 wrong MAC, 30 a field missing, 12 no such transaction, "" to go on."""
        if not line.signed_on:
            return "91"
        fields = message.fields
        # the network's page has no DE128 in a script notice; one that is there has to be right
        unsigned = message.mti == "0620" and 128 not in fields and not self._profile.chips.notice_mac
        if not unsigned and not self._keys.verify(message.mti, fields, now.mono):
            self._count("bad_mac")
            return "A0"
        if message.mti != "0620" and (3 not in fields or 25 not in fields):
            return "30"
        kind = kind_of(message.mti, fields, self._rows)
        if not kind:
            return "12"
        return "30" if missing(message.mti, kind, fields) else ""

    def _bank_of(self, pan: str) -> Bank | None:
        for length in self._bin_lengths:
            bank = self._by_bin.get(pan[:length])
            if bank is not None:
                return bank
        return None

    def _decide(
        self, line: Line, header: bytes, message: Message, request: Request, bank: Bank, now: Now, out: Out
    ) -> None:
        rule = self.rules.take(request)
        action = "" if rule is None else rule.action
        if action:
            self._count(f"rule_{action}")
        if action == "silence":
            return
        if action == "disconnect":
            out.append(Close(line.link, "rule"))
            return
        forced = rule.code if rule is not None and action == "code" else ""
        receiving = self._bank_of(request.receiver) if request.receiver else None
        if receiving is not None:
            request.receiving = receiving.institution
            forced = forced or ("" if receiving.knows(request.receiver) else "14")
        decision = bank.decide(request, now, self._posts + 1, forced)
        if decision.row is not None:
            self._posts += 1
            out.append(Post(self._posts, LEDGER.name, (*decision.row, self.name)))
            if decision.receiver is not None:
                decision = self._pass_on(decision, decision.receiver.institution, out)
            elif request.row.new_pin and decision.response_code == "00" and not request.reversal:
                self._posts += 1
                out.append(Post(self._posts, PINS.name, (*bank.pin_row(decision, self._posts), self.name)))
                decision = decision._replace(after=self._posts)
            for row in decision.chip_rows:
                self._posts += 1
                out.append(Post(self._posts, CHIPS.name, (self._posts, *row, self.name)))
                decision = decision._replace(after=self._posts)
        else:
            self._count("repeats" if decision.after else "forced_advices")
        if action == "silence_after_posting":
            return
        if rule is not None and action == "delay":
            held: Out = []
            self._answer(line, header, message, decision, bank, held)
            self._hold_back(held, now.mono + rule.delay_s, out)
        else:
            self._answer(line, header, message, decision, bank, out)

    def _pass_on(self, decision: Decision, institution: str, out: Out) -> Decision:
        """The receiving leg of a load or transfer, at whichever bank it is; the answer waits for its row too."""
        bank = next(bank for bank in self.banks if bank.institution == institution)
        self._posts += 1
        out.append(Post(self._posts, LEDGER.name, (*bank.receive(decision, self._posts), self.name)))
        return decision._replace(after=self._posts)

    def _hold_back(self, held: Out, at: float, out: Out) -> None:
        for send in held:
            if isinstance(send, Send) and len(self._delayed) < DELAYED_MAX:
                self._delays += 1
                heappush(self._delayed, (at, self._delays, send))
                out.append(Arm(at))

    def _answer(
        self, line: Line, header: bytes, message: Message, decision: Decision, bank: Bank | None, out: Out
    ) -> None:
        """The base reply of docs/protocol-network.md section 6; without a bank it is the centre's own."""
        fields = message.fields
        answer: dict[int, Any] = {de: fields[de] for de in _ECHOED if de in fields}
        answer[15] = decision.settlement_date
        answer[39] = decision.response_code
        if decision.auth_code:
            answer[38] = decision.auth_code
        if decision.balances:
            answer[54] = decision.balances
        if decision.icc_data:
            answer[55] = decision.icc_data
        if bank is None:
            answer[100] = self._envelope.institution
        else:
            answer[100] = bank.institution
            answer[121] = self._shown[bank]
        mti = reply_mti(message.mti)
        if self._keys.has(MAC_KEY):
            answer[128] = self._keys.mac(mti, answer)
        self._counts[f"answered_{decision.response_code}"] += 1
        ordered = dict(sorted(answer.items()))
        out.append(self._envelope.answer(line.link, header, mti, ordered, decision.after))

    def _on_stranger(self, line: Line, header: bytes, message: Message, now: Now, out: Out) -> None:
        """A message class that is not served here: requests get 40, answers that nobody asked for are dropped."""
        self._count("unexpected")
        if message.mti[2] not in "02468" or message.mti[3] != "0":
            return
        self._answer(line, header, message, Decision("40", self.settlement_date), None, out)

    # The operator's doors

    def cutover(self, new_date: str, window_s: float, now: Now, out: Out) -> bool:
        """Begin the change to settlement date `new_date` (MMDD); False while one runs, or if it is the date already."""
        if self._cutover is not None or new_date == self.settlement_date:
            return False
        if not 0 < (_place_in_year(new_date) - _place_in_year(self.settlement_date)) % 372 < 186:
            raise ValueError(f"{new_date} does not come after the settlement date {self.settlement_date}")
        self.settlement_date = new_date
        self._cutover = CutOver(self._envelope, self.banks, self._profile.forwarder, new_date, window_s)
        self._cutover.begin(self._lines.values(), now, out)
        return True

    def reset_keys(self, now: Now, out: Out) -> bool:
        """Offer both keys anew over a line that has signed on; False without one."""
        line = next((line for line in self._lines.values() if line.signed_on), None)
        if line is None:
            return False
        self._management.reset_keys(line, now, out)
        return True

    def recover(
        self,
        rows: Iterable[tuple[Any, ...]],
        pins: Iterable[tuple[Any, ...]] = (),
        chips: Iterable[tuple[Any, ...]] = (),
    ) -> None:
        """Take up the LEDGER rows, PINS rows and CHIPS rows (in order) of an earlier run, before any line is up.

        The settlement date becomes the latest of the rows' and the one given at the start: a change of day that was
        running then is over now.
        """
        banks = {bank.institution: bank for bank in self.banks}
        self._posts = max(recover(banks, rows), recover_pins(banks, pins), recover_chips(banks, chips))
        self.settlement_date = latest_date([self.settlement_date, *(bank.settlement_date for bank in self.banks)])
        for bank in self.banks:
            if bank.settlement_date != self.settlement_date:
                bank.turn_day(self.settlement_date)
            bank.turning = False
        if self._posts:
            self._ended = CutOver(self._envelope, self.banks, self._profile.forwarder, self.settlement_date, 0.0)

    def statistics(self) -> dict[str, int]:
        """Counts since the start: requests, answered_CODE, rejected, bad_mac, rule_ACTION, keys_reset..."""
        return {**self._counts, "posts": self._posts, "delayed": len(self._delayed), "lines": len(self._lines)}

    def check(self) -> bool:
        """Whether every bank's books balance."""
        return all(bank.ledger.balance_check() for bank in self.banks)

    def _count(self, what: str) -> None:
        self._counts[what] += 1

    def _welcome(self, line: Line, now: Now, out: Out) -> None:
        if self._cutover is not None:
            self._cutover.announce(line, START, now, out)
        elif self._ended is not None:
            self._ended.announce(line, END, now, out)


def _de121(institution: str) -> str:
    """`5` the issuer decided, single message, debit; 40 reserved: a mark, the issuer, fill."""
    return write_121(De121("5", "1", "1", f"S{'0' * 9}{institution:<11}{'0' * 19}"))


def _place_in_year(date: str) -> int:
    """MMDD as a count of days in a year of twelve months of 31 days, to say which of two dates is the later one."""
    month, day = (int(date[:2]), int(date[2:])) if len(date) == 4 and date.isascii() and date.isdigit() else (0, 0)
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError("a settlement date is MMDD, as 0714")
    return (month - 1) * 31 + day - 1
