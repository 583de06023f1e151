"""The judge of chips: what cards hold, what terminals have not told, what is in doubt, and what issuers owe."""

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from scenarios.world.judge import Judge
from switch.clearing.ecash import join_e_cash
from switch.clearing.schema import CARDS, CHIPS, OFFLINE, TERMINALS
from terminals.device.chipbook import cards_rows, offline_rows
from terminals.device.memory import Item, terminals_rows

if TYPE_CHECKING:
    from scenarios.world.world import World

_SETTLED: Final = frozenset(("load_written", "load_reversed"))
_SUMS_MAX: Final = 12


def judge_purses(world: "World", verdict: Judge) -> None:
    """Card by card with arithmetic of its own, then the product's: both must find nothing."""
    rows = [
        dict(zip(CHIPS.names, row, strict=True))
        for name in sorted(world.centres)
        for table, row in verdict.rows[name]
        if table == CHIPS.name
    ]
    reference = world.ground.portfolio.reference
    holdings = {reference(holding.pan): holding for holding in world.pockets.hands.holdings()}
    _counters(verdict, rows)
    unclaimed = _unclaimed(world)
    loads = _loads(world, rows)
    shadows = {ref: holding.issued_minor for ref, holding in holdings.items()}
    for row in rows:
        ref = row["card_ref"]
        if ref in shadows:
            shadows[ref] -= row["amount"]
            if shadows[ref] != row["shadow_minor"]:
                verdict.broken("I7b", f"chip row {row['number']}: shadow account {row['shadow_minor']}, not its sums")
    _accounts(world, verdict, shadows)
    for ref, holding in holdings.items():
        lacking = shadows[ref] - holding.balance_minor
        if lacking not in _sums([*loads[ref], *unclaimed[ref]]):
            verdict.broken(
                "I7b",
                f"card {ref[:8]} holds {holding.balance_minor}, its issuer owes {shadows[ref]}; in doubt are loads "
                f"{loads[ref]} and certificates {unclaimed[ref]}",
            )
    _second_opinion(world, verdict, rows, frozenset(ref for ref, some in unclaimed.items() if some))


def _accounts(world: "World", verdict: Judge, shadows: dict[str, int]) -> None:
    """What the events of its chip say of a card, its issuer's ledger says too."""
    portfolio = world.ground.portfolio
    banks = {bank.issuer: bank for host in world.centres.values() for bank in host.machine.banks}
    for holding in world.pockets.hands.holdings():
        card = portfolio.find(holding.pan)
        ref = portfolio.reference(holding.pan)
        if card is None:
            continue
        account = banks[card.issuer].purse(card)
        if (account.available_minor, account.held_minor) != (shadows[ref], 0):
            verdict.broken(
                "I7b", f"card {ref[:8]}: {account.available_minor} in the ledger, {shadows[ref]} by its chip"
            )


def _counters(verdict: Judge, rows: list[dict[str, Any]]) -> None:
    """A counter is taken once, and online ones only rise."""
    last: dict[str, int] = {}
    paid: set[tuple[str, int]] = set()
    for row in rows:
        ref, atc = row["card_ref"], row["atc"]
        if row["event"] == "online":
            if atc <= last.get(ref, -1):
                verdict.broken("I37", f"chip row {row['number']}: counter {atc} online after {last[ref]}")
            last[ref] = atc
        elif row["event"] == "offline":
            if (ref, atc) in paid:
                verdict.broken("I37", f"chip row {row['number']}: counter {atc} has paid before")
            paid.add((ref, atc))


def _unclaimed(world: "World") -> dict[str, list[int]]:
    """By card: certificates that its terminal has not claimed, so that the card may have paid and nobody was paid."""
    reference = world.ground.portfolio.reference
    found: dict[str, list[int]] = defaultdict(list)
    for device in world.devices:
        memory = device.memory
        items: list[Item] = [
            *memory.torn,
            *(one for one in memory.doubts if one.row.chip == "offline"),
            *memory.refused,
        ]
        for item in items:
            if item.chip is not None:
                found[reference(item.chip.pan)].append(item.amount_minor)
    return found


def _loads(world: "World", rows: list[dict[str, Any]]) -> dict[str, list[int]]:
    """By card: what was sent to it, and is not known to be there."""
    sent: dict[tuple[str, str, int], tuple[str, int]] = {}
    for row in rows:
        where, event = (row["issuer"], row["link"], row["load"]), row["event"]
        if event == "load":
            sent[where] = row["card_ref"], -row["amount"]
        elif event in _SETTLED:
            sent.pop(where, None)
        branch = {
            "load_doubt": "a load reversed, its script unheard of",
            "load_written": "a load known to be written",
            "load_unwritten": "a load known not to be written",
            "offline": "an offline sale uploaded",
            "notice": "a script result told",
        }.get(event)
        if branch:
            world.reached(branch)
    found: dict[str, list[int]] = defaultdict(list)
    for ref, amount in sent.values():
        found[ref].append(amount)
    if sent:
        world.reached("a load in doubt at the end")
    return found


def _sums(parts: list[int]) -> set[int]:
    """What some of these come to together."""
    found = {0}
    for part in parts[:_SUMS_MAX]:
        found |= {one + part for one in found}
    return found


def _second_opinion(world: "World", verdict: Judge, rows: list[dict[str, Any]], unclaimed: frozenset[str]) -> None:
    reference, memories = world.ground.portfolio.reference, [device.memory for device in world.devices]
    cards = [dict(zip(CARDS.names, row, strict=True)) for row in cards_rows(world.pockets.hands.holdings(), reference)]
    offline = [dict(zip(OFFLINE.names, row, strict=True)) for row in offline_rows(memories, reference)]
    terminals = [dict(zip(TERMINALS.names, row, strict=True)) for row in terminals_rows(memories)]
    for one in join_e_cash(rows, cards, offline, terminals).breaks[:5]:
        if one.key and one.key not in unclaimed:
            verdict.broken("I7b", f"the product's equation: {one.key[:8]} {one.cause}")
