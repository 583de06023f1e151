"""Electronic cash: what the cards hold, what their terminals have not told yet, what is in doubt, and what issuers owe.

    card balances + certificates (TC) not uploaded + loads in doubt = shadow accounts

holds in sum and card by card. A load in doubt counts where the chip does not have it; that is read from the card's own
balance, which either fits with the load written or without it. See docs/e-cash.md, "Loads" and "The equation".
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

from switch.clearing.books import Row
from switch.clearing.reconcile import Break

OPEN_LOADS: Final = frozenset(("sent", "doubt", "unwritten"))
LISTED: Final = ("forged", "replay", "declined", "refused")
"""Events of the chips' book that an operator wants listed: nothing moved."""
HELD: Final = "held"
OFFLINE_STATE: Final = "offline"
"""State of a terminal's own row of an offline sale that has not been delivered."""
_COMBINED_MAX: Final = 12


@dataclass(slots=True)
class SuspiciousLoad:
    """A load that is not known to be on its chip (可疑圈存). `state` is sent (no word yet), doubt or unwritten;
    `on_card` what the card itself shows: "yes", "no", "" where it was not asked."""

    issuer: str
    card_ref: str
    pan_masked: str
    rrn: str
    amount_minor: int
    state: str
    settlement_date: str
    on_card: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class ECashBook:
    """The fifth book. Amounts in minor units; `others_minor` are shadow accounts of cards whose balance nobody told."""

    cards: int = 0
    card_minor: int = 0
    held: int = 0
    held_minor: int = 0
    doubt_minor: int = 0
    shadow_minor: int = 0
    others: int = 0
    others_minor: int = 0
    uploaded: int = 0
    uploaded_minor: int = 0
    beyond: int = 0
    loads: list[SuspiciousLoad] = field(default_factory=list)
    listed: Counter[str] = field(default_factory=Counter)
    refused: list[Break] = field(default_factory=list)
    breaks: list[Break] = field(default_factory=list)

    @property
    def difference_minor(self) -> int:
        """What the equation lacks: 0 where it holds."""
        return self.card_minor + self.held_minor + self.doubt_minor - self.shadow_minor

    @property
    def balanced(self) -> bool:
        """Whether the equation holds, in sum and for each card."""
        return not self.breaks and self.difference_minor == 0

    def as_dict(self) -> dict[str, Any]:
        """For machines: the `e_cash` part of a result."""
        numbers = (
            "cards", "card_minor", "held", "held_minor", "doubt_minor", "shadow_minor", "difference_minor", "others",
            "others_minor", "uploaded", "uploaded_minor", "beyond",
        )  # fmt: skip
        return {
            "balanced": self.balanced,
            **{name: getattr(self, name) for name in numbers},
            "listed": {event: self.listed[event] for event in LISTED},
            "loads": [load.as_dict() for load in self.loads],
            "refused": [item.as_dict() for item in self.refused],
            "breaks": [item.as_dict() for item in self.breaks],
        }


def join_e_cash(
    chips: Iterable[Row], cards: Iterable[Row], offline: Iterable[Row] = (), terminals: Iterable[Row] = ()
) -> ECashBook:
    """Join the issuers' rows of CHIPS (each issuer's in their order) with CARDS and OFFLINE of the terminals' book.

    Offline sales that only the terminals' own TERMINALS rows know (state "offline", not in OFFLINE) name no card: what
    cards lack that nothing else explains must come to their sum.
    """
    book = ECashBook()
    shadows: dict[str, Row] = {}
    loads: dict[tuple[str, str, int], SuspiciousLoad] = {}
    for row in chips:
        shadows[row["card_ref"]] = row
        _tell(book, row)
        _follow(loads, row)
    book.loads = [load for load in loads.values() if load.state in OPEN_LOADS]
    open_loads: dict[str, list[SuspiciousLoad]] = {}
    for load in book.loads:
        open_loads.setdefault(load.card_ref, []).append(load)
    held = _held(book, offline, terminals)
    told = {row["card_ref"]: row for row in cards}
    for ref, card in told.items():
        last = shadows.get(ref)
        shadow_minor = card["issued_minor"] if last is None else last["shadow_minor"]
        book.cards += 1
        book.card_minor += card["balance_minor"]
        book.shadow_minor += shadow_minor
        _one_card(book, card, shadow_minor, held.pop(ref, 0), open_loads.get(ref, []))
    for ref, row in shadows.items():
        if ref not in told:
            book.others += 1
            book.others_minor += row["shadow_minor"]
    for ref, minor in held.items():
        if ref and minor:
            cause = f"{_yuan(minor)} held by terminals for a card that nobody knows"
            book.breaks.append(Break("e-cash", ref, "", "e_cash", cause, abs(minor)))
    unnamed = held.get("", 0)
    if unnamed and unnamed == sum(item.amount_minor for item in book.breaks if item.short == "holder"):
        book.breaks = [item for item in book.breaks if item.short != "holder"]
    elif not book.breaks and book.difference_minor:
        cause = f"the equation differs by {_yuan(book.difference_minor)}, no card by itself"
        book.breaks.append(Break("e-cash", "", "", "e_cash", cause, abs(book.difference_minor)))
    return book


def _tell(book: ECashBook, row: Row) -> None:
    event = row["event"]
    if event == "offline":
        book.uploaded += 1
        book.uploaded_minor += row["amount"]
        book.beyond += bool(row["detail"])
    elif event in LISTED:
        book.listed[event] += 1
        key = f"{row['card_ref']}/{row['atc']}"
        cause = f"{event}: {row['detail']}" if row["detail"] else event
        book.refused.append(Break("chips", key, row["rrn"], "chip", cause))


def _follow(loads: dict[tuple[str, str, int], SuspiciousLoad], row: Row) -> None:
    """The life of a load: from the row that sent it to the one that settled it."""
    where = (row["issuer"], row["link"], row["load"])
    event = row["event"]
    if event == "load":
        loads[where] = SuspiciousLoad(
            row["issuer"], row["card_ref"], row["pan_masked"], row["rrn"], -row["amount"], "sent",
            row["settlement_date"],
        )  # fmt: skip
    elif where in loads and event == "take_up":
        loads[where].state = "sent"
    elif where in loads and event.startswith("load_"):
        loads[where].state = event.removeprefix("load_")


def _held(book: ECashBook, offline: Iterable[Row], terminals: Iterable[Row]) -> dict[str, int]:
    """Certificates not uploaded, by card; under "" those that name none."""
    held: dict[str, int] = {}
    known = set()
    for row in offline:
        known.add((row["mid"], row["tid"], row["batch"], row["stan"]))
        if row["state"] == HELD:
            held[row["card_ref"]] = held.get(row["card_ref"], 0) + row["amount"]
            book.held += 1
    for row in terminals:
        key = (row["mid"], row["tid"], row["batch"], row["stan"])
        if row["state"] == OFFLINE_STATE and key not in known:
            held[""] = held.get("", 0) + row["amount"]
            book.held += 1
    book.held_minor = sum(held.values())
    return held


def _one_card(book: ECashBook, card: Row, shadow_minor: int, held_minor: int, loads: list[SuspiciousLoad]) -> None:
    """What the card lacks against its shadow account must be loads that it does not have."""
    lacking = shadow_minor - card["balance_minor"] - held_minor
    missing = _which(loads, lacking)
    if missing is None:
        cause = (
            f"card {_yuan(card['balance_minor'])}, not uploaded {_yuan(held_minor)}, "
            f"shadow account {_yuan(shadow_minor)}"
        )
        short = "issuer" if lacking < 0 else "holder"
        book.breaks.append(Break("e-cash", card["card_ref"], "", "e_cash", cause, abs(lacking), short))
        return
    for load in loads:
        load.on_card = "no" if load in missing else "yes"
    book.doubt_minor += lacking


def _which(loads: list[SuspiciousLoad], lacking: int) -> list[SuspiciousLoad] | None:
    """The loads that come to what a card lacks, the fewest; None where none do."""
    if not lacking:
        return []
    for count in range(1, min(len(loads), _COMBINED_MAX) + 1):
        for some in combinations(loads, count):
            if sum(load.amount_minor for load in some) == lacking:
                return list(some)
    return None


def _yuan(minor: int) -> str:
    return f"{minor / 100:,.2f}"
