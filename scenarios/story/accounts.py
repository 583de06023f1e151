"""What the books and a machine's cash are like: each key of an expectation and how it is found out."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from scenarios.story.booth import Booth
from scenarios.story.flows import Unfit
from scenarios.story.shape import Block
from switch.clearing.cash import join_cash
from switch.clearing.ecash import ECashBook, join_e_cash
from switch.clearing.reconcile import Break, reconcile
from switch.clearing.schema import CARDS, CASH, CHIPS, ERRORS, JOURNAL, LEDGER, OFFLINE, SETTLEMENT, TERMINALS, UPLOAD
from switch.issuer.host import PAN_HASH_KEY
from switch.issuer.ledger import E_CASH, account_name
from switch.wire.transactions import BY_NAME
from terminals.device.atm import AtmMemory
from terminals.device.cash import value as worth
from terminals.device.cashbook import cash_rows, error_rows
from terminals.device.chipbook import cards_rows, offline_rows
from terminals.device.memory import terminals_rows

if TYPE_CHECKING:
    from scenarios.story.expect import Judge

from scenarios.story.states import Check, booth_of, card_act, yuan

# the books


def _journal(judge: "Judge") -> list[dict[str, Any]]:
    """The journal's rows of the dialogue that is spoken of."""
    act = judge.act
    item = act.item
    rows = judge.stage.witness.table(JOURNAL)
    if item is None:
        asked = judge.pick("request", {})
        if asked is None:
            return []
        code = str(asked.fields.get(60, ""))
        key = (act.booth.memory.tid, code[2:8], asked.fields.get(11, ""))
    else:
        key = (act.booth.memory.tid, item.batch, item.stan)
    return [row for row in rows if (row["tid"], row["batch"], row["stan"]) == key]


def books_checks(judge: "Judge", block: Block) -> Iterator[Check]:
    """The switch's journal, the issuers' ledgers, and all books joined."""
    visible = judge.stage.books_seen
    for key, expected in block.items():
        if visible is not None and key not in visible:
            judge.not_seen.append(f"line {block.at(key)}: books.{key}")
        elif key in _LISTS:
            yield from _LISTS[key](judge, block, expected)
        elif key in ("balanced", "breaks", "suspicious"):
            yield key, block, *_joined(judge, key, expected)
        elif key in ("stored", "inflight"):
            yield key, block, expected, judge.stage.switch.machine.status()[key]


def _states(judge: "Judge", block: Block, expected: Any) -> Iterator[Check]:
    states = [row["state"].replace("_", "-") for row in _journal(judge)]
    if isinstance(expected, str):
        yield "state", block, expected, states[-1] if states else "none"
    else:
        yield "states", block, [one.replace("_", "-") for one in expected], states


def _record(judge: "Judge", block: Block, expected: Block) -> Iterator[Check]:
    rows = _journal(judge)
    yield from _columns(judge, "record", expected, rows[-1] if rows else None)


def _columns(judge: "Judge", key: str, expected: Block, row: dict[str, Any] | None) -> Iterator[Check]:
    for name, check in expected.items():
        if row is None:
            yield f"{key}.{name}", expected, ("a row", False), "no row"
            continue
        value = row[name.replace("-", "_")]
        value = value.hex().upper() if isinstance(value, bytes) else value
        for words, fits in judge.value_checks(check, value):
            yield f"{key}.{name}", expected, (words, fits), value


def _accounts(judge: "Judge", block: Block, expected: list[Block]) -> Iterator[Check]:
    for one in expected:
        name, _ = card_act(judge, one)
        card = judge.stage.troupe.holders[name].card
        host = "core" if card.issuer.own else "cups"
        rows = [
            row for row in judge.stage.witness.table(LEDGER, host) if row["pan_hash"] == _hash(judge, host, card.pan)
        ]
        for key, wanted in one.items():
            if key == "rows":
                yield "account.rows", one, wanted, len(rows)
            elif key == "shadow":
                yield "account.shadow", one, yuan(wanted), yuan(_shadow(judge, host, card))
            elif key != "of":
                column = "held_minor" if key == "held" else "posted_minor"
                moved = sum(row[column] for row in rows if _account(row) == ("/points" if key == "points" else ""))
                yield f"account.{key}", one, yuan(wanted), yuan(moved)


def _account(row: dict[str, Any]) -> str:
    """Which of a card's accounts a row of the ledger moved: "" its money, "/points", or its electronic cash."""
    if row["kind"] not in BY_NAME:
        return ""
    return account_name("", row["kind"], E_CASH if row["effect"] == E_CASH else "")


def _hash(judge: "Judge", host: str, pan: str) -> str:
    return judge.stage.ground.hsms[host].keyed_hash(PAN_HASH_KEY, pan.encode()).hex()


def _shadow(judge: "Judge", host: str, card: Any) -> int:
    reference = judge.stage.ground.portfolio.reference(card.pan)
    rows = [row for row in judge.stage.witness.table(CHIPS, host, whole=True) if row["card_ref"] == reference]
    return int(rows[-1]["shadow_minor"]) if rows else int(card.e_cash_minor)


def _uploads(judge: "Judge", block: Block, expected: list[str]) -> Iterator[Check]:
    yield "uploads", block, expected, [row["result"] for row in judge.stage.witness.table(UPLOAD)]


def _settlement(judge: "Judge", block: Block, expected: Block) -> Iterator[Check]:
    event = expected.get("event", "totals")
    rows = [row for row in judge.stage.witness.table(SETTLEMENT) if row["event"] == event]
    yield from _columns(judge, "settlement", expected, rows[-1] if rows else None)


def _days(judge: "Judge", block: Block, expected: Block) -> Iterator[Check]:
    lines = judge.stage.switch.machine.status()["counterparts"]
    for name, wanted in expected.items():
        yield f"day.{name}", expected, wanted, lines[name]["settlement_date"]


def _lines(judge: "Judge", block: Block, expected: Block) -> Iterator[Check]:
    for name, wanted in expected.items():
        yield f"lines.{name}", expected, wanted, judge.stage.ready(name)


def _ecash(judge: "Judge", block: Block, expected: Block) -> Iterator[Check]:
    book = _e_cash_book(judge)
    values = {
        "breaks": len(book.breaks), "suspicious": len(book.loads), "held": book.held, "uploaded": book.uploaded,
        "beyond": book.beyond,
    }  # fmt: skip
    for name, wanted in expected.items():
        yield f"e-cash.{name}", expected, wanted, values[name]


def _events(judge: "Judge", block: Block, expected: Block) -> Iterator[Check]:
    found: Counter[str] = Counter()
    for host in judge.stage.centres:
        found.update(row["event"] for row in judge.stage.witness.table(CHIPS, host))
    for name, wanted in expected.items():
        yield f"events.{name}", expected, wanted, found[name]


_LISTS: Final[dict[str, Callable[["Judge", Block, Any], Iterator[Check]]]] = {
    "state": _states, "states": _states, "record": _record, "account": _accounts, "uploads": _uploads,
    "settlement": _settlement, "day": _days, "lines": _lines, "e-cash": _ecash, "events": _events,
}  # fmt: skip


def _joined(judge: "Judge", key: str, expected: Any) -> tuple[Any, Any]:
    """All books of the stage joined: what is expected of them, and what they show."""
    witness, stage = judge.stage.witness, judge.stage
    memories = [booth.memory for booth in stage.booths.values()]
    journal = witness.table(JOURNAL, whole=True)
    ledger = [row for host in stage.centres for row in witness.table(LEDGER, host, whole=True)]
    terminals = [dict(zip(TERMINALS.names, row, strict=True)) for row in terminals_rows(memories)]
    found = reconcile(journal, ledger, terminals, [row[0] for _, row in witness.rows["switch"]])
    listed = found.suspicious if key == "suspicious" else found.breaks
    told = "; ".join(f"{one.book} {one.key}: {one.cause}" for one in listed)
    if key == "balanced":
        uneven = [f"{date} {kind}" for (date, kind), line in found.totals.items() if not line.agrees]
        told = told or ", ".join(f"totals of {one} differ" for one in uneven)
        return (str(expected).lower(), found.agreed == expected), str(found.agreed).lower() + (
            f" ({told})" if told else ""
        )
    return (str(expected), len(listed) == expected), f"{len(listed)}" + (f" ({told})" if told else "")


def _e_cash_book(judge: "Judge") -> ECashBook:
    """The fifth book: the issuers' chip rows joined with what cards and terminals hold."""
    stage = judge.stage
    memories = [booth.memory for booth in stage.booths.values()]
    reference = stage.ground.portfolio.reference
    return join_e_cash(
        [row for host in stage.centres for row in stage.witness.table(CHIPS, host, whole=True)],
        [dict(zip(CARDS.names, row, strict=True)) for row in cards_rows(stage.pockets.hands.holdings(), reference)],
        [dict(zip(OFFLINE.names, row, strict=True)) for row in offline_rows(memories, reference)],
        [dict(zip(TERMINALS.names, row, strict=True)) for row in terminals_rows(memories)],
    )


# cash and counters


def cash_checks(judge: "Judge", block: Block) -> Iterator[Check]:
    """A machine's vault and its cash book."""
    booth = booth_of(judge, block)
    memory = booth.memory
    if not isinstance(memory, AtmMemory):
        raise Unfit(f"{booth.till.name} holds no cash")
    for key, expected in block.items():
        if key == "events":
            found = Counter(line.event for line in memory.vault.book)
            for name, wanted in expected.items():
                yield f"events.{name}", expected, wanted, found[name]
        elif key == "agrees":
            breaks = _cash_breaks(judge)
            told = "; ".join(f"{one.key}: {one.cause}" for one in breaks)
            yield key, block, (str(expected).lower(), expected == (not breaks)), told or "true"
        elif key != "at":
            money = key in ("taken", "inside", "difference")
            yield key, block, yuan(expected) if money else expected, _of_cash(judge, key, booth, memory)


def _of_cash(judge: "Judge", key: str, booth: Booth, memory: AtmMemory) -> Any:
    match key:
        case "taken":
            act = booth.act
            return yuan(booth.taken_minor - (act.taken_before if act is not None else 0))
        case "inside":
            return yuan(booth.inside_minor + worth(memory.vault.escrow))
        case "in-service":
            return memory.vault.in_service
        case "errors":
            return len(memory.errors)
        case "open-errors":
            return sum(record.state == "open" for record in memory.errors)
        case "difference":
            return yuan(sum(record.difference_minor for record in memory.errors))
    return len(memory.retained)


def _cash_breaks(judge: "Judge") -> list[Break]:
    """Where the machines' cash and the transactions differ."""
    machines = [booth.memory for booth in judge.stage.booths.values() if isinstance(booth.memory, AtmMemory)]
    cash = [dict(zip(CASH.names, row, strict=True)) for row in cash_rows(machines)]
    cash += [row for memory in machines for row in _counted_now(memory)]
    errors = [dict(zip(ERRORS.names, row, strict=True)) for row in error_rows(machines)]
    terminals = [dict(zip(TERMINALS.names, row, strict=True)) for row in terminals_rows(machines)]
    return join_cash(cash, errors, terminals).breaks


def _counted_now(memory: AtmMemory) -> Iterator[dict[str, Any]]:
    """What a custodian would find and write down now: the cash book's period is not over yet."""
    for denomination in memory.vault.denominations:
        notes = memory.vault.stock().get(denomination, 0) + memory.vault.box.get(denomination, 0)
        row = (0, memory.mid, memory.tid, "counted", denomination, notes, "", "", "", memory.at)
        yield dict(zip(CASH.names, row, strict=True))


def metrics_checks(judge: "Judge", block: Block) -> Iterator[Check]:
    """The switch's own counters."""
    status = judge.stage.switch.machine.status()
    for key, expected in block.items():
        if key not in status or not isinstance(status[key], int):
            known = ", ".join(name for name, value in status.items() if isinstance(value, int))
            raise Unfit(f'metrics: no counter is called "{key}"; there is {known}')
        yield key, block, expected, status[key]
