"""Three books joined key by key: the terminals', the switch's journal, the issuers' ledger.

Sums can agree while transactions do not, so every transaction is looked up in the other books; each difference is a
Break with its key, its cause and who is short. What the rules themselves leave to be settled by hand (差错) is listed
apart: it is a difference that all books know of.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from switch.clearing.books import Deal, Key, NetKey, Posting, Row, deals, expected, postings
from switch.clearing.confirm import take_over
from switch.clearing.schema import STATES
from switch.wire.transactions import BY_NAME, BY_NETWORK

if TYPE_CHECKING:
    from switch.clearing.cash import CashBook

DUPLICATE = "94"
_ENDS = frozenset(("answered", "stored", "refused"))
_FOLLOWS = {
    "answered": ("sent",),
    "reversal_queued": ("sent", "stored"),  # stored: approved in stand-in
    "late": ("sent",),
    "reversal_acked": ("reversal_queued",),
    "delivered": ("stored",),
}


@dataclass(frozen=True, slots=True)
class Break:
    """One difference. `book` is where it shows, `short` says who lacks `amount_minor` ("" nobody)."""

    book: str
    key: str
    rrn: str
    kind: str
    cause: str
    amount_minor: int = 0
    short: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Line:
    """Count and amount of one kind on one settlement date, in each of the three books.

    `terminals` is None where the terminals' own journals were not there to be joined.
    """

    terminals: list[int] | None = field(default_factory=lambda: [0, 0])
    switch: list[int] = field(default_factory=lambda: [0, 0])
    issuers: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def agrees(self) -> bool:
        return self.switch == self.issuers and self.terminals in (None, self.switch)


@dataclass(slots=True)
class Reconciliation:
    """The result: totals by (settlement date, kind), breaks, and items to be settled by hand.

    `cash` is the fourth book, where there are machines that hold notes; its breaks stand among the others.
    """

    totals: dict[tuple[str, str], Line] = field(default_factory=dict)
    breaks: list[Break] = field(default_factory=list)
    suspicious: list[Break] = field(default_factory=list)
    reversed: int = 0
    deals: int = 0
    cash: "CashBook | None" = None

    @property
    def agreed(self) -> bool:
        return not self.breaks and all(line.agrees for line in self.totals.values())


def reconcile(
    journal: Sequence[Row], ledger: Iterable[Row], terminals: Iterable[Row] | None, numbers: Iterable[int] = ()
) -> Reconciliation:
    """Join the books. `numbers` are the row numbers of all the switch's tables, to notice rows that are gone.

    `terminals` may be None where the terminals' own journals cannot be had: then only two books are joined.
    """
    result = Reconciliation()
    result.breaks += gaps(numbers)
    by_rrn = deals(journal)
    result.deals = len(by_rrn)
    result.reversed = sum(deal.reversed for deal in by_rrn.values())
    result.breaks += _shapes(by_rrn)
    posted = postings(ledger)
    standing = take_over(by_rrn, posted)
    _join_ledger(result, standing, posted)
    if terminals is not None:
        _join_terminals(result, standing, terminals)
    else:
        for line in result.totals.values():
            line.terminals = None
    return result


def _moves(kind: str) -> bool:
    """Whether a kind moves money or sets a hold; an inquiry does neither, and its end may stay unknown."""
    row = BY_NAME.get(kind)
    return row is None or row.amount


def _line(result: Reconciliation, date: str, kind: str) -> Line:
    return result.totals.setdefault((date, kind), Line())


# the journal by itself


def gaps(numbers: Iterable[int]) -> Iterator[Break]:
    """Rows are numbered without gaps: a missing number is a row taken out."""
    last = 0
    for number in sorted(numbers):
        for missing in range(last + 1, min(number, last + 11)):
            yield Break("switch", f"row {missing}", "", "", f"journal row {missing} is missing")
        last = number


def _shapes(by_rrn: dict[str, Deal]) -> Iterator[Break]:
    """Each transaction's rows must tell a story: sent, then ended, nothing twice, nothing out of the blue."""
    keys: dict[Key, str] = {}
    for rrn, deal in by_rrn.items():

        def found(cause: str, deal: Deal = deal, rrn: str = rrn) -> Break:
            return Break("switch", str(deal.key), rrn, deal.kind, cause, deal.amount)

        if keys.setdefault(deal.key, rrn) != rrn:
            yield found(f"the same terminal key as RRN {keys[deal.key]}")
        for name, number in deal.changed.items():
            yield found(f"{name} is not what it was before, row {number}")
        states = deal.states
        for state in dict.fromkeys(states):
            if state not in STATES and state != "refused":
                yield found(f"unknown state {state!r}")
            elif states.count(state) > 1:
                rows = [n for n, s in zip(deal.numbers, states, strict=True) if s == state]
                yield found(f"{state} twice, rows {', '.join(map(str, rows))}")
            elif state in _FOLLOWS and not any(before in states for before in _FOLLOWS[state]):
                yield found(f"{state} without {_FOLLOWS[state][0]}")
        if not _ENDS.intersection(states) and not deal.reversed:
            yield found("sent and never ended")
        if deal.reversed and not {"reversal_acked", "suspicious"}.intersection(states):
            yield found("reversal never acknowledged")
        if "stored" in states and not {"delivered", "suspicious", "reversal_acked"}.intersection(states):
            yield found("stored advice never delivered")


# journal and ledger


def _join_ledger(result: Reconciliation, by_rrn: dict[str, Deal], posted: dict[NetKey, Posting]) -> None:
    for rrn, deal in by_rrn.items():
        posting = posted.pop(deal.net_key, None) if deal.net_key.stan else None
        if _moves(deal.kind):
            _join_one(result, rrn, deal, posting)
    for key, posting in posted.items():
        if posting.posted or posting.held:
            row = posting.first
            rrn, kind = (row["rrn"], row["kind"]) if row else ("", "")
            amount = posting.posted or posting.held
            cause = "in the issuers' ledger only"
            result.breaks.append(Break("issuers", str(key), rrn, kind, cause, abs(amount), _short(-amount)))


def _join_one(result: Reconciliation, rrn: str, deal: Deal, posting: Posting | None) -> None:
    want, column = expected(deal)
    if not deal.stands:
        want = 0
    posted, held = (posting.posted, posting.held) if posting else (0, 0)
    if deal.suspicious:
        moved = posted or held
        result.suspicious.append(Break("issuers", str(deal.net_key), rrn, deal.kind, deal.doubt, abs(moved)))
        return
    if deal.stands:
        line = _line(result, deal.settlement_date, deal.kind)
        line.switch[0] += 1
        line.switch[1] += deal.amount
    # a completion moves money and frees the hold it was authorized by; the hold is the issuer's own affair
    got = held if column == "held" else posted
    if got != want:
        difference = got - want
        cause = "not in the issuers' ledger" if posting is None else f"ledger moved {got}, journal says {want}"
        result.breaks.append(
            Break("issuers", str(deal.net_key), rrn, deal.kind, cause, abs(difference), _short(-difference))
        )
    elif posting is not None and posting.received not in (0, -posted):
        short = abs(posted + posting.received)
        cause = f"the receiving card got {-posting.received}, the paying card gave {posted}"
        result.breaks.append(Break("issuers", str(deal.net_key), rrn, deal.kind, cause, short, "holder"))
    elif deal.stands and posting is not None and posting.first is not None:
        line = _line(result, posting.first["settlement_date"], _kind_here(deal, posting.first["kind"]))
        line.issuers[0] += 1
        line.issuers[1] += posting.first["amount"]
        theirs = {**posting.first, "kind": _kind_here(deal, posting.first["kind"])}
        result.breaks += _differ("issuers", deal, rrn, theirs, _LEDGER_FIELDS)


def _kind_here(deal: Deal, theirs: str) -> str:
    """What we call a transaction of ours that an issuer calls `theirs`: kinds that only the terminal's link tells apart
    are one to an issuer, and a sale approved in stand-in is told to it as an advice."""
    row = BY_NAME.get(deal.kind)
    if row is None:
        return theirs
    if deal.first["net_mti"] != row.network_mti:
        told = BY_NETWORK.get((deal.first["net_mti"], *row.network_key[1:]))
        return deal.kind if told is not None and told.seen_as == theirs else theirs
    return deal.kind if row.seen_as == theirs else theirs


def _short(difference: int) -> str:
    """Who lacks the money when the issuers' side lies `difference` behind ours."""
    if not difference:
        return ""
    return "acquirer" if difference > 0 else "holder"


_LEDGER_FIELDS = {
    name: name
    for name in (
        "kind", "amount", "currency", "rrn", "mid", "tid", "mcc", "auth_code", "settlement_date", "pan_masked",
    )
} | {"receiver": "issuer"}  # fmt: skip
_TERMINAL_FIELDS = {
    name: name for name in ("kind", "amount", "currency", "entry_mode", "pan_masked", "rrn", "auth_code")
}
"""Columns that two books hold both: the journal's name of each to the other's."""


def _differ(book: str, deal: Deal, rrn: str, other: Row, fields: Mapping[str, str]) -> Iterator[Break]:
    """What two books hold both must be alike in them."""
    for name, column in fields.items():
        ours, theirs = deal.last[name], other[column]
        if ours != theirs:
            cause = f"{name}: journal {ours!r}, {book} {theirs!r}"
            yield Break(book, str(deal.key), rrn, deal.kind, cause, deal.amount)


# journal and terminals


def _join_terminals(result: Reconciliation, by_rrn: dict[str, Deal], terminals: Iterable[Row]) -> None:
    by_key = {deal.key: (rrn, deal) for rrn, deal in by_rrn.items()}
    seen: set[Key] = set()
    for row in terminals:
        key = Key(row["mid"], row["tid"], row["batch"], row["stan"])
        twice = key in seen and _has(row)
        seen.add(key)
        if not _moves(row["kind"]):
            continue
        rrn, deal = by_key.get(key, ("", None))
        cause = "twice in its terminal's book" if twice else _judge(row, deal)
        if cause:
            kind = row["kind"]
            short = _loser(kind, at_terminal=_has(row))
            result.breaks.append(Break("terminals", str(key), rrn, kind, cause, row["amount"], short))
        elif deal is not None and deal.stands:
            line = _line(result, deal.settlement_date, row["kind"])
            counted = line.terminals or [0, 0]
            line.terminals = [counted[0] + 1, counted[1] + row["amount"]]
            fields = dict(_TERMINAL_FIELDS)
            if "stored" in deal.states:
                del fields["auth_code"]  # it was answered before the issuer gave its code
            if row["response_code"] == DUPLICATE:
                del fields["rrn"]  # a repeat is told that it is one, and no more
                fields.pop("auth_code", None)
            result.breaks += _differ("terminals", deal, rrn, row, fields)
    for key, (rrn, deal) in by_key.items():
        if key not in seen and deal.stands and _moves(deal.kind):
            cause = "approved by the switch, unknown to its terminal"
            short = _loser(deal.kind, at_terminal=False)
            result.breaks.append(Break("terminals", str(key), rrn, deal.kind, cause, deal.amount, short))


def _judge(row: Row, deal: Deal | None) -> str:
    """What is wrong between a terminal's record and the switch's, "" where they agree."""
    state, reversal = row["state"], row["reversal"]
    stands = deal is not None and deal.stands
    if reversal == "pending":
        return "its reversal never reached the switch"
    if state == "approved" and reversal == "none":
        if deal is None:
            return "approved at the terminal, unknown to the switch"
        if deal.suspicious and "stored" in deal.states:
            return ""  # the advice was refused later: settled by hand
        return "" if stands else f"approved at the terminal, the switch says {deal.states[-1]}"
    if not stands:
        return ""
    if state == "unknown" and reversal == "none":
        if deal is not None and BY_NAME[deal.kind].chip == "load":
            return ""  # whether the chip has it is for the book of electronic cash
        return "approved by the switch, its end unknown to the terminal"
    return f"approved by the switch, {'reversed' if state != 'declined' else 'declined'} at the terminal"


def _has(row: Row) -> bool:
    """Whether the transaction stands in its terminal's book."""
    return bool(row["state"] == "approved" and row["reversal"] == "none")


def _loser(kind: str, at_terminal: bool) -> str:
    """Who lacks the money: a sale only the terminal has is the merchant's loss, one the switch has the holder's."""
    sign = BY_NAME[kind].sign if kind in BY_NAME else 0
    if not sign:
        return ""
    return "merchant" if at_terminal == (sign > 0) else "holder"
