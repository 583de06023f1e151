"""The three books read back as one line a transaction: what each of them says happened."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from switch.wire.transactions import APPROVED, BY_NAME

Row = Mapping[str, Any]


class Key(NamedTuple):
    """The terminal's key of a transaction."""

    mid: str
    tid: str
    batch: str
    stan: str

    def __str__(self) -> str:
        return f"{self.mid}/{self.tid}/{self.batch}/{self.stan}"


class NetKey(NamedTuple):
    """The link and its key: DE7, DE11, DE32, DE33."""

    link: str
    time: str
    stan: str
    acquirer: str
    forwarder: str

    def __str__(self) -> str:
        return f"{self.link}/{self.time}/{self.stan}"


_LASTING = (
    "kind", "mid", "tid", "batch", "stan", "link", "net_mti", "net_time", "net_stan", "acquirer", "forwarder",
    "amount", "currency", "entry_mode", "mcc", "on_us", "original_rrn", "pan_sealed", "pan_masked", "pan_hash", "card",
)  # fmt: skip
_lasting = itemgetter(*_LASTING)


@dataclass(slots=True)
class Deal:
    """One transaction as the switch's journal tells it, from all rows of its RRN. Amounts in minor units."""

    key: Key
    net_key: NetKey
    first: Row
    last: Row
    states: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    approved: bool = False
    doubt: str = ""
    changed: dict[str, int] = field(default_factory=dict)
    """Columns that must stay as they are from row to row and did not, with the row that shows it."""

    @property
    def kind(self) -> str:
        return str(self.first["kind"])

    @property
    def amount(self) -> int:
        return int(self.first["amount"])

    @property
    def reversed(self) -> bool:
        return "reversal_queued" in self.states

    @property
    def suspicious(self) -> bool:
        return "suspicious" in self.states

    @property
    def stands(self) -> bool:
        """Approved for good: money has moved, or a hold is set."""
        return self.approved and not self.reversed and not self.suspicious

    @property
    def settlement_date(self) -> str:
        return str(self.last["settlement_date"])


def deals(rows: Iterable[Row]) -> dict[str, Deal]:
    """The journal's transactions by RRN."""
    found: dict[str, Deal] = {}
    for row in rows:
        deal = found.get(row["rrn"])
        if deal is None:
            key = Key(row["mid"], row["tid"], row["batch"], row["stan"])
            net_key = NetKey(row["link"], row["net_time"], row["net_stan"], row["acquirer"], row["forwarder"])
            deal = found[row["rrn"]] = Deal(key, net_key, row, row)
        if _lasting(row) != _lasting(deal.first):
            for name in _LASTING:
                if row[name] != deal.first[name]:
                    deal.changed.setdefault(name, row["number"])
        deal.last = row
        if row["state"] == "suspicious":
            what = "advice" if row["net_mti"] in ("0220", "0620") else "reversal"
            deal.doubt = f"{what} refused: {row['reason']}"
        deal.states.append(row["state"])
        deal.numbers.append(row["number"])
        if row["state"] in ("answered", "stored"):
            deal.approved = row["response_code"] in APPROVED
    return found


@dataclass(slots=True)
class Posting:
    """One transaction as the issuers' ledger tells it: its own rows and those that reversed it.

    `received` is what the other card of a load or transfer got, a negative amount.
    """

    first: Row | None = None
    posted: int = 0
    held: int = 0
    received: int = 0
    approvals: int = 0


def postings(rows: Iterable[Row]) -> dict[NetKey, Posting]:
    """The ledger's transactions by link key; a reversal's movement belongs to what it reverses."""
    found: dict[NetKey, Posting] = {}
    for row in rows:
        reversal = row["mti"] == "0420"
        if reversal:
            own = (row["original_time"], row["original_stan"])
        else:
            own = (row["net_time"], row["net_stan"])
        key = NetKey(row["link"], *own, row["acquirer"], row["forwarder"])
        posting = found.setdefault(key, Posting())
        if row["effect"] == "leg":
            posting.received += row["posted_minor"]
            continue
        posting.posted += row["posted_minor"]
        posting.held += row["held_minor"]
        if not reversal:
            if posting.first is None or row["response_code"] in APPROVED:
                posting.first = row
            posting.approvals += row["response_code"] in APPROVED
    return found


def expected(deal: Deal) -> tuple[int, str]:
    """What a standing deal has moved on the card: minor units, and in which column of the ledger ("posted", "held")."""
    factor, column = BY_NAME[deal.kind].moves
    return deal.amount * factor, column
