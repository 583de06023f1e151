"""A bank's state from the rows it wrote: balances, holds, what was undone, and which keys were answered."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from switch.clearing.schema import CHIPS, LEDGER, PINS
from switch.issuer.host import LEG, Bank
from switch.issuer.ledger import E_CASH, account_name
from switch.issuer.register import Entry, Key, Movement, Receiver, approve
from switch.wire.transactions import BY_NAME

_COLUMNS: Final = {name: place for place, name in enumerate(LEDGER.names)}
_YEAR: Final = 12 * 31
_PIN_REFUSALS: Final = frozenset(("55", "75"))


def recover(banks: Mapping[str, Bank], rows: Iterable[tuple[Any, ...]]) -> int:
    """Let banks (by institution) take up their rows of the LEDGER table, in order of their numbers.

    Returns the last row's number, 0 without any. The movements booked are those of the rows; each bank is left at the
    settlement date of its last row. Rows of a bank that is not here are left alone.
    """
    number = 0
    for row in rows:
        number = max(number, row[0])
        bank = banks.get(row[_COLUMNS["issuer"]])
        if bank is not None and row[_COLUMNS["effect"]] == LEG:
            _take_up_leg(banks, bank, row)
        elif bank is not None:
            _take_up(bank, row)
    return number


def recover_pins(banks: Mapping[str, Bank], rows: Iterable[tuple[Any, ...]]) -> int:
    """Let banks take up their rows of the PINS table, in order; the last row's number, 0 without any."""
    number = 0
    for row in rows:
        of = dict(zip(PINS.names, row, strict=True))
        number = max(number, of["number"])
        bank = banks.get(of["issuer"])
        if bank is not None:
            bank.ledger.account(of["pan_hash"]).pin_reference = of["pin_reference"]
    return number


def recover_chips(banks: Mapping[str, Bank], rows: Iterable[tuple[Any, ...]]) -> int:
    """Let banks take up their rows of the CHIPS table, in order; the last row's number, 0 without any."""
    number = 0
    for row in rows:
        of = dict(zip(CHIPS.names, row, strict=True))
        number = max(number, of["number"])
        bank = banks.get(of["issuer"])
        if bank is not None:
            bank.desk.chips.take_up(of)
    return number


def latest_date(dates: Iterable[str]) -> str:
    """The latest of some dates MMDD that lie within half a year of each other.

    >>> latest_date(["1231", "0101", "1230"])
    '0101'
    """
    latest = ""
    for date in dates:
        if not latest or 0 < (_ordinal(date) - _ordinal(latest)) % _YEAR < _YEAR // 2:
            latest = date
    return latest


def _ordinal(date: str) -> int:
    return int(date[:2]) * 31 + int(date[2:])


def _take_up(bank: Bank, row: tuple[Any, ...]) -> None:
    of = dict(zip(LEDGER.names, row, strict=True))
    if of["settlement_date"] != bank.settlement_date:
        bank.turn_day(of["settlement_date"])
    key = Key(of["mti"], of["net_time"], of["net_stan"], of["acquirer"], of["forwarder"])
    entry = Entry(key, of["kind"], of["mti"] == "0420", of["pan_hash"], of["amount"])
    entry.number, entry.at_ms = of["number"], of["at_ms"]
    entry.settlement_date, entry.auth_code = of["settlement_date"], of["auth_code"]
    entry.purse = E_CASH if of["effect"] == E_CASH else ""
    approved = of["response_code"] == "00"
    if approved:
        _link(bank, entry, of["original_time"], of["original_stan"])
        approve(entry)
        moved = Movement(of["posted_minor"], of["held_minor"])
        name = account_name(entry.pan_hash, entry.kind, entry.purse)
        if any(moved) or name in bank.ledger.accounts:
            bank.book(bank.ledger.account(name), entry, moved)
    entry.response_code = of["response_code"]
    bank.register.add(entry)
    _count_tries(bank, entry, approved)


def _link(bank: Bank, entry: Entry, original_time: str, original_stan: str) -> None:
    if not original_stan:
        return
    row = entry.row
    kinds = (entry.kind,) if entry.reversal else row.of
    # an advice that adds to a sale and one that stands alone are one kind on the network
    classes = {BY_NAME[kind].network_mti for kind in kinds} or {"0200", "0220"}
    original = None
    for mti in sorted(classes):
        key = Key(mti, original_time, original_stan, entry.key.acquirer, entry.key.forwarder)
        original = original or bank.register.find(key)
    if original is not None and original.approved:
        entry.original = original
    elif original is None and entry.reversal:
        bank.register.expect(key)


def _take_up_leg(banks: Mapping[str, Bank], bank: Bank, row: tuple[Any, ...]) -> None:
    """The receiving card's side of a load or transfer, whose paying side has its own row."""
    of = dict(zip(LEDGER.names, row, strict=True))
    bank.ledger.book(bank.ledger.account(of["pan_hash"]), of["acquirer"], of["posted_minor"], 0)
    key = Key(of["mti"], of["net_time"], of["net_stan"], of["acquirer"], of["forwarder"])
    for payer in banks.values():
        entry = payer.register.find(key)
        if entry is not None and not entry.reversal:
            entry.receiver = Receiver(of["issuer"], of["pan_hash"], of["pan_masked"])


def _count_tries(bank: Bank, entry: Entry, approved: bool) -> None:
    account = bank.ledger.accounts.get(entry.pan_hash)
    if entry.response_code in _PIN_REFUSALS:
        account = bank.ledger.account(entry.pan_hash)
        account.begin_day(entry.settlement_date)
        account.tries += 1
    elif approved and account is not None and not entry.reversal and not entry.row.advice:
        # Rows do not say whether a PIN was given; an approved request is taken to have had the right one.
        account.tries = 0
