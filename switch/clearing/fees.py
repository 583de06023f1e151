"""Fees (手续费) from the journal: what each standing transaction costs, who gets it, and what every party is owed.

Nothing here runs while a transaction does: fees are worked out when the books are read, by the tariff of the day. A
reversed or voided transaction costs nothing. A refund gives back the share of what its original cost, so that refunds
of the whole amount, in however many parts, give back the whole fee and no more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from switch.clearing.books import Deal
from switch.clearing.confirm import take_over
from switch.clearing.dates import full_date, within
from switch.clearing.tariff import NOTHING, PURCHASE, ROUNDINGS, WITHDRAWAL, Fee, Rounding, Tariff, TariffRow
from switch.wire.transactions import BY_NAME, Transaction

REFUND: Final = "refund"
ACQUIRER, ISSUER, NETWORK = "acquirer", "issuer", "network"
UNKNOWN: Final = "-"
"""An institution that no answer has named."""


def business_of(row: Transaction) -> str:
    """What a kind is to a tariff: a purchase, a withdrawal at a machine, a refund, or "" for what costs nothing."""
    if row.points or row.assisted:
        return ""
    if row.cash:
        return WITHDRAWAL if row.cash == "out" else ""
    if row.sign > 0 and row.effect in ("debit", "capture"):
        return PURCHASE
    return REFUND if row.effect == "credit" and row.of else ""


class Charge(NamedTuple):
    """What one transaction costs by which row; negative amounts are given back. `row` is None, and the fee nothing,
    where the tariff has no row for it."""

    fee: Fee
    row: TariffRow | None


@dataclass(slots=True)
class _Paid:
    """What a transaction and its additions (tips) cost, and how much of their amount was refunded so far."""

    row: TariffRow
    amount: int = 0
    fee: Fee = NOTHING
    refunded: int = 0

    def give_back(self, amount: int) -> Fee:
        """The fee that goes back with a refund of `amount`: the share up to now less the share before it."""
        before = self._share(self.refunded)
        self.refunded = min(self.refunded + amount, self.amount)
        return before.minus(self._share(self.refunded))

    def _share(self, refunded: int) -> Fee:
        rounded = ROUNDINGS[self.row.rounding]
        merchant, issuer, network = (_part(fee, refunded, self.amount, rounded) for fee in self.fee[:3])
        return Fee(merchant, issuer, network, merchant - issuer - network)


def _part(fee: int, of: int, whole: int, rounded: Rounding) -> int:
    part = rounded(abs(fee) * of, whole) if whole else 0
    return part if fee >= 0 else -part


def charges(by_rrn: Mapping[str, Deal], tariff: Tariff) -> dict[str, Charge]:
    """The charge of every transaction that has one, by RRN."""
    standing = {rrn: deal for rrn, deal in by_rrn.items() if deal.stands and deal.kind in BY_NAME}
    undone = {original_of(deal) for deal in standing.values() if BY_NAME[deal.kind].effect == "undo"}
    found: dict[str, Charge] = {}
    paid: dict[str, _Paid] = {}
    refunds: list[tuple[str, Deal]] = []
    for rrn, deal in standing.items():
        business = business_of(BY_NAME[deal.kind])
        if not business or rrn in undone:
            continue
        if business == REFUND:
            refunds.append((rrn, deal))
            continue
        charge = found[rrn] = _charge(deal, business, tariff)
        if charge.row is not None:
            heads = original_of(deal) if BY_NAME[deal.kind].effect == "debit" else ""
            debt = paid.setdefault(heads or rrn, _Paid(charge.row))
            debt.amount += deal.amount
            debt.fee = debt.fee.plus(charge.fee)
    for rrn, deal in refunds:
        found[rrn] = _refund(deal, paid.get(original_of(deal)), tariff)
    return found


def original_of(deal: Deal) -> str:
    """The RRN of the earlier transaction, "" where there is none."""
    return str(deal.first["original_rrn"])


def date_of(deal: Deal) -> str:
    """The day whose tariff holds: the settlement day, with its year."""
    return full_date(deal.settlement_date, int(deal.first["at_ms"]))


def _charge(deal: Deal, business: str, tariff: Tariff) -> Charge:
    row = tariff.row(date_of(deal), business, deal.last["mcc"], deal.last["card"])
    return Charge(row.fee(deal.amount, bool(deal.last["on_us"])) if row else NOTHING, row)


def _refund(deal: Deal, paid: _Paid | None, tariff: Tariff) -> Charge:
    """By its original; by its own amount and day where the journal does not have that."""
    if paid is None:
        own = _charge(deal, PURCHASE, tariff)
        back = own.row is not None and own.row.refund_gives_back
        return Charge(NOTHING.minus(own.fee) if back else NOTHING, own.row)
    return Charge(paid.give_back(deal.amount) if paid.row.refund_gives_back else NOTHING, paid.row)


# who is owed what


@dataclass(slots=True)
class Share:
    """One party's part of some transactions: `amount_minor` the holders paid in all, `fee_minor` of it is the party's
    (a merchant pays it), `position_minor` is what it receives, or owes where it is negative."""

    count: int = 0
    amount_minor: int = 0
    fee_minor: int = 0
    position_minor: int = 0

    def add(self, amount: int, fee: int, position: int) -> None:
        self.count += 1
        self.amount_minor += amount
        self.fee_minor += fee
        self.position_minor += position

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Class:
    """What one row of the tariff comes to."""

    row: TariffRow
    count: int = 0
    amount_minor: int = 0
    fee: Fee = NOTHING


@dataclass(slots=True)
class Settlement:
    """Net settlement (清算) of some days. `institutions` are by role and code: an issuer, a network (its line's name),
    an acquirer. `unpriced` counts what the tariff has no row for, by business, date, category and type of card."""

    tariff: str = ""
    merchants: dict[str, Share] = field(default_factory=dict)
    institutions: dict[tuple[str, str], Share] = field(default_factory=dict)
    classes: dict[int, Class] = field(default_factory=dict)
    fee: Fee = NOTHING
    unpriced: dict[tuple[str, str, str, str], list[int]] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """What merchants pay is what institutions get, and all positions together are nothing."""
        shares = [*self.merchants.values(), *self.institutions.values()]
        paid = sum(share.fee_minor for share in self.merchants.values())
        got = sum(share.fee_minor for share in self.institutions.values())
        return self.fee.balanced and paid == got == self.fee.merchant and not sum(s.position_minor for s in shares)

    def as_dict(self) -> dict[str, Any]:
        return {
            "tariff": self.tariff,
            "fees_minor": self.fee._asdict(),
            "balanced": self.balanced,
            "merchants": [{"mid": mid, **share.as_dict()} for mid, share in sorted(self.merchants.items())],
            "institutions": [
                {"role": role, "code": code, **share.as_dict()}
                for (role, code), share in sorted(self.institutions.items())
            ],
            "classes": [
                {
                    "line": line, "business": one.row.business, "class": one.row.name, "card": one.row.card,
                    "since": one.row.since, "count": one.count, "amount_minor": one.amount_minor,
                    "fees_minor": one.fee._asdict(),
                }
                for line, one in sorted(self.classes.items())
            ],
            "unpriced": [
                {"business": key[0], "date": key[1], "mcc": key[2], "card": key[3], "count": n, "amount_minor": minor}
                for key, (n, minor) in sorted(self.unpriced.items())
            ],
        }  # fmt: skip


def settle(by_rrn: Mapping[str, Deal], tariff: Tariff, first: str = "", last: str = "") -> Settlement:
    """The net settlement of the settlement days `first` to `last` (MMDD, "" open) of one journal.

    Refunds look for their original in the whole journal. Notes that a machine pays out are the acquirer's own.
    """
    result = Settlement(tariff.name)
    by_rrn = take_over(dict(by_rrn), {})
    found = charges(by_rrn, tariff)
    for rrn, deal in by_rrn.items():
        row = BY_NAME.get(deal.kind)
        if row is None or not deal.stands or not row.sign or row.points:
            continue
        if not within(date_of(deal)[5:].replace("-", ""), first, last):
            continue
        charge = found.get(rrn)
        amount = row.sign * deal.amount
        _book(result, deal, amount, charge.fee if charge else NOTHING, cash=bool(row.cash))
        if charge is not None:
            _classify(result, deal, amount, charge)
    return result


def _book(result: Settlement, deal: Deal, amount: int, fee: Fee, cash: bool) -> None:
    last, institutions = deal.last, result.institutions
    result.fee = result.fee.plus(fee)
    if not cash:
        result.merchants.setdefault(last["mid"], Share()).add(amount, fee.merchant, amount - fee.merchant)
    issuer = institutions.setdefault((ISSUER, last["receiver"] or UNKNOWN), Share())
    issuer.add(amount, fee.issuer, fee.issuer - amount)
    if not last["on_us"]:
        institutions.setdefault((NETWORK, last["link"]), Share()).add(amount, fee.network, fee.network)
    acquirer = institutions.setdefault((ACQUIRER, last["acquirer"]), Share())
    acquirer.add(amount, fee.acquirer, fee.acquirer + (amount if cash else 0))


def _classify(result: Settlement, deal: Deal, amount: int, charge: Charge) -> None:
    if charge.row is None:
        business = business_of(BY_NAME[deal.kind])
        missing = result.unpriced.setdefault((business, date_of(deal), deal.last["mcc"], deal.last["card"]), [0, 0])
        missing[0] += 1
        missing[1] += amount
        return
    one = result.classes.setdefault(charge.row.line, Class(charge.row))
    one.count += 1
    one.amount_minor += amount
    one.fee = one.fee.plus(charge.fee)
