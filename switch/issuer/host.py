"""A bank's host: decides each request and advice for its cards, and writes one row for each answer.

    request    01x0, 0200   decided; the same again: 94
    advice     0220 refund  accepted if it can be; the same again: the first answer again
    reversal   0420         undoes whatever its original did; the same again: the first answer again

A key has one row: a repeat writes none, and its answer waits for the first one's row.
"""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from switch.clearing.schema import LEDGER, PINS
from switch.crypto.hsm import Hsm
from switch.issuer.chipdesk import ChipDesk
from switch.issuer.chipfacts import issued_minor
from switch.issuer.ledger import E_CASH, Account, Ledger, account_name, shadow_name
from switch.issuer.portfolio import Card, Portfolio
from switch.issuer.register import (
    KEEP_ORIGINALS_DAYS,
    NOTHING,
    Entry,
    Key,
    Movement,
    Receiver,
    Register,
    approve,
    head_of,
)
from switch.issuer.request import REVERSIBLE_MTIS, Request
from switch.issuer.verify import Limits, refuse_assisted, refuse_card, refuse_limits, refuse_pin, take_pin
from switch.machine import Now
from switch.wire.private import Balance, write_54
from switch.wire.redact import mask_pan

PAN_HASH_KEY: Final = "hash/issuer"
PIN_REFERENCE_KEY: Final = "pvk/issuer"
"""Labels of the issuers' keys in the HSM: usage hash and usage pvk."""

COMPLETION_PERCENT_MAX: Final = 115
HOLD_DAYS_MAX: Final = 30
CURRENCY: Final = "156"

BALANCE_MAX: Final = 10**12 - 1
"""The most DE54 can tell, in minor units."""

_BEIJING_S: Final = 8 * 3600
_DAY_MS: Final = 86_400_000
LEG: Final = "leg"
"""Effect of the ledger row of a receiving card, beside that of the card that pays."""


class Decision(NamedTuple):
    """An answer: what it says, and the ledger row that must be durable before it leaves (`after`; `row` is that row,
    None if it was posted before). What `receiver` is paid, or has to give back, is `received_minor`. `icc_data` is
    DE55, `chip_rows` are rows of the CHIPS table without number and line."""

    response_code: str
    settlement_date: str
    auth_code: str = ""
    balances: str = ""
    after: int = 0
    row: tuple[Any, ...] | None = None
    receiver: Receiver | None = None
    received_minor: int = 0
    icc_data: bytes = b""
    chip_rows: Sequence[tuple[Any, ...]] = ()


class Bank:
    """One issuer of a portfolio, which forgets transactions after `keep_days`. `turning` is set between its turn of
    day and its first refusal with 90."""

    def __init__(
        self,
        portfolio: Portfolio,
        issuer_index: int,
        hsm: Hsm,
        limits: Limits | None = None,
        keep_days: int = KEEP_ORIGINALS_DAYS,
    ) -> None:
        self.issuer = portfolio.issuers[issuer_index]
        self.institution = self.issuer.institution
        self.limits = limits or Limits()
        self.ledger = Ledger()
        self.register = Register(keep_days)
        self.settlement_date = ""
        self.turning = False
        self._portfolio = portfolio
        self._hsm = hsm
        self._known: dict[str, tuple[Card, Account]] = {}
        self.desk = ChipDesk(self.institution, portfolio, hsm)

    def __repr__(self) -> str:
        return f"Bank({self.institution})"

    def turn_day(self, settlement_date: str) -> None:
        """Begin a settlement day (MMDD)."""
        self.settlement_date = settlement_date
        self.turning = True
        self.register.turn_day()
        self.desk.chips.turn_day()

    def decide(self, request: Request, now: Now, number: int, forced: str = "") -> Decision:
        """Answer a request or advice. `number` is that of the row, should one be written; `forced` is a response code
        that an operator's rule wants: it refuses a request, and leaves no trace of an advice or reversal."""
        pan_hash = self._hash_of(request.pan)
        first = self.register.find(request.key)
        if first is not None:
            return self._repeat(request, pan_hash, first)
        if forced and request.advice:
            return Decision(forced, self.settlement_date)
        entry = Entry(request.key, request.kind, request.reversal, pan_hash, request.amount_minor)
        entry.number = number
        entry.at_ms = round(now.wall * 1000)
        entry.settlement_date = self.settlement_date
        moved = NOTHING
        code = forced or self._judge(request, entry, now)
        if code:
            entry.response_code = code
        else:
            if not request.reversal and request.row.amount:
                entry.auth_code = request.auth_code if request.row.voice else f"{number % 1_000_000:06d}"
            if not request.reversal:
                entry.receiver = self._receiver(request)
            moved = self._take_effect(entry)
        self.register.add(entry)
        balances = self._balances(request) if request.row.tells_balance and entry.approved else ""
        row = self._row(request, entry, moved)
        receiver = head_of(entry).receiver if moved.posted else None
        return Decision(
            entry.response_code, entry.settlement_date, entry.auth_code, balances, number, row, receiver, moved.posted,
            *self.desk.answer(request, entry),
        )  # fmt: skip

    def _receiver(self, request: Request) -> Receiver | None:
        """The other leg of a load or transfer: another card, or the electronic cash of a chip."""
        load = request.row.chip == "load" and request.row.effect == "debit"
        institution, pan = request.receiving, request.receiver
        if load and not request.row.detail:
            institution, pan = self.institution, request.pan
        if not institution:
            return None
        pan_hash = self._hsm.keyed_hash(PAN_HASH_KEY, pan.encode()).hex()
        return Receiver(institution, shadow_name(pan_hash) if load else pan_hash, mask_pan(pan))

    def purse(self, card: Card) -> Account:
        """The shadow account of a card's electronic cash, opened with what was on the chip when it was issued."""
        account = self.ledger.account(shadow_name(self._hash_of(card.pan)))
        self.ledger.open(account, card, issued_minor(card))
        return account

    def knows(self, pan: str) -> bool:
        """Whether this card is one of this bank's; its account is open then."""
        self._hash_of(pan)
        return pan in self._known

    def receive(self, decision: Decision, number: int) -> tuple[Any, ...]:
        """Book the receiving leg of another row's load or transfer; the ledger row of it."""
        receiver, row = decision.receiver, dict(zip(LEDGER.names, decision.row or (), strict=False))
        if receiver is None:
            raise ValueError("there is no receiving leg")
        self.ledger.book(self.ledger.account(receiver.pan_hash), row["acquirer"], -decision.received_minor, 0)
        row |= {
            "number": number, "issuer": self.institution, "effect": LEG, "posted_minor": -decision.received_minor,
            "held_minor": 0, "pan_masked": receiver.pan_masked, "pan_hash": receiver.pan_hash,
        }  # fmt: skip
        return tuple(row.values())

    def pin_row(self, decision: Decision, number: int) -> tuple[Any, ...]:
        """The row of the PINS table after an approved PIN change, in its columns' order; the centre adds the line."""
        told = dict(zip(LEDGER.names, decision.row or (), strict=False))
        account = self.ledger.accounts[told["pan_hash"]]
        row = {
            "number": number, "at_ms": told["at_ms"], "issuer": self.institution, "pan_hash": account.pan_hash,
            "pin_reference": account.pin_reference,
        }  # fmt: skip
        return tuple(row[name] for name in PINS.names[:-1])

    def _hash_of(self, pan: str) -> str:
        known = self._known.get(pan)
        if known is not None:
            return known[1].pan_hash
        pan_hash = self._hsm.keyed_hash(PAN_HASH_KEY, pan.encode()).hex()
        card = self._portfolio.find(pan)
        if card is not None and card.issuer is self.issuer:
            account = self.ledger.account(pan_hash)
            self.ledger.open(account, card)
            self._known[pan] = (card, account)
        return pan_hash

    def _repeat(self, request: Request, pan_hash: str, first: Entry) -> Decision:
        same = first.amount_minor == request.amount_minor and first.pan_hash == pan_hash and first.kind == request.kind
        if not same:
            return Decision("30", first.settlement_date, after=first.number)
        if not request.advice:
            return Decision("94", first.settlement_date, after=first.number)
        return Decision(first.response_code, first.settlement_date, first.auth_code, after=first.number)

    def _judge(self, request: Request, entry: Entry, now: Now) -> str:
        """The code that refuses, "" to approve; `entry.original` is set where there is one."""
        if request.reversal:
            return self._judge_reversal(request, entry)
        if not request.advice and self.turning:
            self.turning = False
            return "90"
        if self.register.overtaken(request.key):
            return "12"
        known = self._known.get(request.pan)
        if known is None:
            return "14"
        if request.currency != CURRENCY:
            return "12"
        if request.amount_minor == 0 and request.row.amount:
            return "13"
        card, account = known
        if request.advice:
            code = self.desk.judge_advice(request, entry, card)
            if entry.purse:
                self.purse(card)  # nothing but certificates may ever be heard of a card
            return self._judge_advice(request, entry) if code is None else code
        code = self.desk.judge(request, card)
        if code:
            return code
        account.begin_day(self.settlement_date)
        code = refuse_card(card, request.track2, request.expiry, _month(int(now.wall) // 3600))
        if not code and request.pin is not None:
            code = refuse_pin(self._hsm, PIN_REFERENCE_KEY, card, account, request.pin, self.limits.tries_max)
        if not code and request.row.assisted:
            code = refuse_assisted(card, account, request.pin is not None, request.amount_minor, self.limits)
        code = code or self._judge_kind(request, entry, self._account(request, card))
        if not code and request.new_pin is not None:
            code = take_pin(self._hsm, PIN_REFERENCE_KEY, card, account, request.new_pin)
        return code or self.desk.plan(request, entry)

    def _account(self, request: Request, card: Card) -> Account:
        """The account a request moves; a card begins with as many points as its balance has minor units."""
        name = account_name(self._known[card.pan][1].pan_hash, request.kind)
        if name.endswith(E_CASH):
            return self.purse(card)
        account = self.ledger.account(name)
        self.ledger.open(account, card)
        account.begin_day(self.settlement_date)
        return account

    def _judge_kind(self, request: Request, entry: Entry, account: Account) -> str:
        row = request.row
        code = ""
        if row.original == "auth":
            code = self._judge_hold(request, entry)
        elif row.effect == "undo":
            code = self._judge_void(request, entry)
        if not code and row.effect in ("debit", "hold", "hold_more"):
            if account.available_minor < request.amount_minor:
                return "51"
            return refuse_limits(account, request.amount_minor, self.limits)
        return code

    def _judge_advice(self, request: Request, entry: Entry) -> str:
        """What an advice tells has happened: it is refused only where it cannot have."""
        row = request.row
        if row.confirms:
            return self._judge_confirmation(request, entry)
        if row.effect == "credit":
            return self._judge_refund(request, entry)
        if row.original == "auth":
            return self._judge_hold(request, entry)
        if request.original is None:
            return ""
        original = self._own_original(request, entry)
        if original is None or not original.stands:
            return "25"
        if row.effect == "debit":
            if original.refunded_minor or original.added_minor:
                return "12"
            entry.original = original
        return ""

    def _own_original(self, request: Request, entry: Entry) -> Entry | None:
        """The transaction DE90 names, if it was this card's and the sender's own."""
        if request.original is None or request.foreign_original:
            return None
        original = self.register.find(request.original)
        return original if original is not None and original.pan_hash == entry.pan_hash else None

    def _judge_void(self, request: Request, entry: Entry) -> str:
        """25 nothing to void; 12 nothing this undoes, or undone before; 22 an earlier day's; 64 another amount."""
        original = self._own_original(request, entry)
        if original is None or not original.approved or original.reversed:
            return "25"
        if request.auth_code and request.auth_code != original.auth_code:
            return "25"
        if original.kind not in request.row.of or not original.stands:
            return "12"
        if original.refunded_minor or original.added_minor:
            return "12"
        if original.settlement_date != self.settlement_date:
            return "22"
        if original.amount_minor != request.amount_minor:
            return "64"
        entry.original = original
        return ""

    def _judge_hold(self, request: Request, entry: Entry) -> str:
        """Void or completion of a hold, or more of it: 25 no such hold; 22 older than 30 days; 12 gone or completed
        before; 64 another amount, or a completion above 115 % of the hold. Within that the issuer pays, whatever the
        balance."""
        hold = self.register.find_hold(entry.pan_hash, request.auth_code)
        if hold is None or hold.key.acquirer != request.key.acquirer or hold.reversed:
            return "25"
        if hold.kind not in request.row.of:
            return "25"
        if not hold.stands or hold.completed:
            return "12"
        if entry.at_ms - hold.at_ms > HOLD_DAYS_MAX * _DAY_MS:
            return "22"
        held_minor, effect = hold.amount_minor + hold.added_minor, request.row.effect
        if effect == "capture" and request.amount_minor * 100 > held_minor * COMPLETION_PERCENT_MAX:
            return "64"
        if effect == "undo" and request.amount_minor != held_minor:
            return "64"
        entry.original = hold
        return ""

    def _judge_refund(self, request: Request, entry: Entry) -> str:
        """A refund without an original that is still known is accepted: the books go back a month only.

        25 not this card's sale, or undone since; 64 more than is left of it.
        """
        if request.original is None or self.register.find(request.original) is None:
            return ""
        original = self._own_original(request, entry)
        if original is None or original.kind not in request.row.of or not original.stands:
            return "25"
        if original.refunded_minor + request.amount_minor > original.amount_minor:
            return "64"
        entry.original = original
        return ""

    def _judge_confirmation(self, request: Request, entry: Entry) -> str:
        """What has happened is never refused. An original that was approved has moved the money already; one that has
        not come yet is refused when it does."""
        if request.original is not None:
            original = self._own_original(request, entry)
            if original is not None and original.approved:
                entry.original = original
            elif original is None:
                self.register.expect(request.original)
        return ""

    def _judge_reversal(self, request: Request, entry: Entry) -> str:
        """ "" also where there is nothing to undo. 12 for what is never reversed; 25, and nothing moved, for another
        sender's, card's or amount, for an original of an earlier day and for one refunded since."""
        if request.original is None or request.original.mti not in REVERSIBLE_MTIS or not request.row.reversible:
            return "12"
        if request.foreign_original:
            return "25"
        original = self.register.find(request.original)
        if original is None:
            self.register.expect(request.original)
            return ""
        if original.pan_hash != entry.pan_hash or original.amount_minor != request.amount_minor:
            return "25"
        if original.kind != request.kind:
            return "25"
        if not original.approved or original.reversed:
            return ""
        if original.settlement_date != self.settlement_date or original.refunded_minor or original.added_minor:
            return "25"
        code = self.desk.judge_reversal(request, original)
        if not code:
            entry.original = original
        return code

    def _take_effect(self, entry: Entry) -> Movement:
        moved = approve(entry)
        account = self.ledger.accounts.get(account_name(entry.pan_hash, entry.kind, entry.purse))
        if account is not None:
            self.book(account, entry, moved)
        return moved

    def book(self, account: Account, entry: Entry, moved: Movement) -> None:
        """Move the money and count it in the card's day."""
        self.ledger.book(account, entry.key.acquirer, moved.posted, moved.held)
        account.begin_day(entry.settlement_date)
        row = entry.row
        if row.effect != "credit":
            account.spent_minor = max(0, account.spent_minor + moved.posted + moved.held)
        if row.assisted:
            account.assisted_minor = max(0, account.assisted_minor + moved.posted)
        if not entry.reversal and not row.advice and row.effect in ("debit", "hold"):
            account.count += 1

    def _balances(self, request: Request) -> str:
        card = self._known[request.pan][0]
        account = self._account(request, card)
        kind = "30" if card.credit else "10"
        entries = (("01", account.balance_minor), ("02", account.available_minor))
        return write_54(
            Balance(kind, which, CURRENCY, max(-BALANCE_MAX, min(minor, BALANCE_MAX))) for which, minor in entries
        )

    def _row(self, request: Request, entry: Entry, moved: Movement) -> tuple[Any, ...]:
        """The row of the LEDGER table, in its columns' order; the centre adds the line."""
        key = entry.key
        original = entry.original.key if entry.original is not None else request.original or _NO_ORIGINAL
        effect = "none"
        if moved != NOTHING:
            effect = "undo" if entry.reversal else entry.purse or entry.row.effect
        return (
            entry.number,
            entry.at_ms,
            self.institution,
            entry.kind,
            effect,
            key.mti,
            key.time,
            key.stan,
            key.acquirer,
            key.forwarder,
            original.time,
            original.stan,
            request.rrn,
            request.mid,
            request.tid,
            request.mcc,
            entry.amount_minor,
            request.currency,
            moved.posted,
            moved.held,
            entry.response_code,
            entry.auth_code,
            entry.settlement_date,
            mask_pan(request.pan),
            entry.pan_hash,
        )


_NO_ORIGINAL: Final = Key("", "", "", "", "")


@lru_cache(maxsize=64)
def _month(hour: int) -> str:
    """YYMM in Beijing of an hour since the epoch."""
    return time.strftime("%y%m", time.gmtime(hour * 3600 + _BEIJING_S))
