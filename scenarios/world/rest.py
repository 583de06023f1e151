"""The judge when all is quiet: every book against every other, with arithmetic of its own."""

import re
import traceback
from collections import defaultdict
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from scenarios.world.judge import Deal, Judge
from scenarios.world.purses import judge_purses
from switch.clearing.cash import join_cash
from switch.clearing.reconcile import reconcile
from switch.clearing.schema import CASH, ERRORS, JOURNAL, SETTLEMENT, TERMINALS
from switch.machine import Now, Out, Post
from switch.wire.transactions import APPROVED, BY_NAME, Transaction
from terminals.device.atm import AtmMemory, balance_machine
from terminals.device.cash import value
from terminals.device.cashbook import cash_rows, error_rows
from terminals.device.memory import Item, terminals_rows

if TYPE_CHECKING:
    from scenarios.world.world import World

_JOURNAL, _CASH, _ERRORS, _TERMINALS = JOURNAL.names, CASH.names, ERRORS.names, TERMINALS.names
_ORIGINAL = _JOURNAL.index("original_rrn")
_COUNTED = itemgetter(*map(_JOURNAL.index, ("kind", "tid", "batch", "rrn", "state", "response_code", "amount")))

CLEAR = re.compile(rb"(?:621214|62800001|620100|628800|62030000|9990000)[0-9]{8,13}")
"""How a card number of this world would stand in clear."""


def place_of(error: BaseException) -> str:
    """Where an exception came from, without its text."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}"


def quiet(world: "World") -> bool:
    """Whether nothing is owed, in flight or stored, every process runs and every line is ready."""
    if any(not host.up or host.store is None or host.store.pending for host in world.hosts.values()):
        return False
    if any(device.owes or device.busy for device in world.devices):
        return False
    status = world.switch.machine.status()
    if status["inflight"] or status["stored"]:
        return False
    if any(line.cutting_over for line in world.switch.machine.office.counterparts.values()):
        return False
    return all(line["ready"] for line in status["counterparts"].values())


def judge(world: "World") -> None:
    """All checks of a world that should be at rest."""
    verdict = world.judge
    if not quiet(world):
        _restless(world, verdict)
        return
    for device in world.devices:
        memory = device.memory
        if isinstance(memory, AtmMemory):
            memory.wake()
    ledger = verdict.ledger()
    moved = _moved(ledger)
    _journal(verdict, moved)
    _terminals(world, verdict)
    _accounts(world, verdict, ledger)
    _loads(verdict, ledger)
    judge_purses(world, verdict)
    _days(world, verdict, ledger)
    _totals(world, verdict)
    _machines(world, verdict)
    _kept(world, verdict)
    _second_opinion(world, verdict, ledger)
    _recovery(world, verdict)
    _counters(world, verdict)


def _restless(world: "World", verdict: Judge) -> None:
    owing = [device.memory.tid for device in world.devices if device.owes or device.busy]
    down = [name for name, host in world.hosts.items() if not host.up]
    status = world.switch.machine.status() if world.switch.up else {}
    wanting = [name for name, line in status.get("counterparts", {}).items() if not line["ready"]]
    verdict.broken(
        "I24",
        f"not at rest: terminals {owing}, processes down {down}, lines not ready {wanting}, in flight "
        f"{status.get('inflight')}, stored {status.get('stored')}",
    )


# journal and ledgers


def _moved(ledger: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[int]]:
    """Posted and held by line, DE7, DE11: a reversal's movement is its original's."""
    found: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in ledger:
        if row["effect"] == "leg":
            continue
        reversal = row["mti"] == "0420"
        own = ("original_time", "original_stan") if reversal else ("net_time", "net_stan")
        sums = found[row["link"], row[own[0]], row[own[1]]]
        sums[0] += row["posted_minor"]
        sums[1] += row["held_minor"]
        sums[2] += not reversal
    return found


def _journal(verdict: Judge, moved: dict[tuple[str, str, str], list[int]]) -> None:
    told: dict[str, Deal] = {}
    for deal in verdict.deals.values():
        if BY_NAME[deal.kind].confirms and deal.stands and deal.first[_ORIGINAL]:
            told[str(deal.first[_ORIGINAL])] = deal
    released = _released(verdict)
    for rrn, deal in verdict.deals.items():
        _ended(verdict, rrn, deal)
        row = BY_NAME[deal.kind]
        sums = moved.get(deal.net_key, [0, 0, 0]) if deal.net_key[2] else [0, 0, 0]
        if sums[2] > 1:
            verdict.broken("I15", f"RRN {rrn}: {sums[2]} rows of one request in the ledger")
        if rrn in told or not row.amount or deal.suspicious or rrn in released:
            continue
        column = 1 if row.moves[1] == "held" else 0
        got = sums[column]
        if row.confirms and deal.first[_ORIGINAL]:
            original = verdict.deals[str(deal.first[_ORIGINAL])]
            got += moved.get(original.net_key, [0, 0, 0])[column]
        want = _worth(row, deal)
        if got != want:
            verdict.broken("I1", f"RRN {rrn} {deal.kind}: the ledger moved {got}, it should be {want}")


def _released(verdict: Judge) -> set[str]:
    """Reversed additions to a hold that was paid out or given up meanwhile: the issuer released them with the hold, so
    its rows of the addition itself do not add up to nought, and those of the hold's end make up for it."""
    ended = {
        deal.first[_ORIGINAL] for deal in verdict.deals.values() if BY_NAME[deal.kind].effect in ("capture", "undo")
    }
    return {
        rrn
        for rrn, deal in verdict.deals.items()
        if BY_NAME[deal.kind].effect == "hold_more" and deal.reversal and deal.first[_ORIGINAL] in ended
    }


def _worth(row: Transaction, deal: Deal) -> int:
    """What a deal should have moved: its whole amount, one way or the other, or nothing."""
    if not deal.stands:
        return 0
    if row.confirms:  # it moves what its original was to move
        return BY_NAME[row.of[0]].moves[0] * deal.amount
    return row.moves[0] * deal.amount


def _ended(verdict: Judge, rrn: str, deal: Deal) -> None:
    states = deal.states
    if not {"answered", "stored", "refused", "reversal_queued"}.intersection(states):
        verdict.broken("I24", f"RRN {rrn}: {' '.join(states)} and never ended")
    if deal.reversal and not {"reversal_acked", "suspicious"}.intersection(states):
        verdict.broken("I24", f"RRN {rrn}: reversal never taken")
    if "stored" in states and not {"delivered", "suspicious"}.intersection(states):
        verdict.broken("I24", f"RRN {rrn}: stored advice never delivered")


# terminals


def _terminals(world: "World", verdict: Judge) -> None:
    seen: set[tuple[str, str, str]] = set()
    for device in world.devices:
        memory = device.memory
        for item in (*memory.closed, *memory.items):
            key = (memory.tid, item.batch, item.stan)
            rrn = verdict.by_key.get(key, "")
            if item.row.amount and not (item.row.chip == "load" and item in memory.doubts):
                _item(verdict, key, item, verdict.deals.get(rrn))
            doubted = item.row.chip == "load" and item in memory.doubts  # on the list of loads nobody knows of
            if doubted or (item.state == "approved" and item.reversal == "none"):
                seen.add(key)
    confirmed = {str(deal.first[_ORIGINAL]) for deal in verdict.deals.values() if BY_NAME[deal.kind].confirms}
    for rrn, deal in verdict.deals.items():
        if deal.stands and BY_NAME[deal.kind].amount and deal.key not in seen and rrn not in confirmed:
            verdict.broken("I6", f"RRN {rrn} {deal.kind} stands, its terminal does not have it")


def _item(verdict: Judge, key: tuple[str, str, str], item: Item, deal: Deal | None) -> None:
    if item.reversal == "pending":
        verdict.broken("I24", f"{key} owes its reversal")
    elif item.state == "approved" and item.reversal == "none":
        if deal is None:
            verdict.broken("I5", f"{key} approved at its terminal, the switch knows nothing of it")
        elif not deal.stands and not (deal.suspicious and item.row.advice):
            verdict.broken("I5", f"{key} {item.kind} approved at its terminal, the switch: {' '.join(deal.states)}")
        elif deal.amount != item.amount_minor:
            verdict.broken("I8", f"{key}: {item.amount_minor} at its terminal, {deal.amount} in the journal")
    elif deal is not None and deal.stands and not item.row.confirmed_by:
        verdict.broken("I6", f"{key} {item.kind} {item.state}/{item.reversal} at its terminal, the switch has it stand")


# issuers


def _accounts(world: "World", verdict: Judge, ledger: list[dict[str, Any]]) -> None:
    of: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in ledger:
        of[row["link"], row["issuer"]].append(row)
    for name, host in world.centres.items():
        for bank in host.machine.banks:
            owed: dict[str, int] = defaultdict(int)
            held: dict[str, int] = defaultdict(int)
            for row in of[name, bank.institution]:
                owed[row["acquirer"]] += row["posted_minor"]
                if row["held_minor"]:
                    held[row["pan_hash"]] += row["held_minor"]
            books = bank.ledger
            total = sum(a.available_minor + a.held_minor for a in books.accounts.values())
            if total + sum(books.clearing.values()) + books.base_minor:
                verdict.broken("I7", f"{bank.institution}: its accounts do not add up to nought")
            if {k: v for k, v in books.clearing.items() if v} != {k: v for k, v in owed.items() if v}:
                verdict.broken("I7", f"{bank.institution}: what it owes is not what its rows say")
            lives = {a.pan_hash: a.held_minor for a in books.accounts.values() if a.held_minor}
            if lives != {k: v for k, v in held.items() if v}:
                verdict.broken("I7", f"{bank.institution}: holds are not what its rows say")
            if any(a.held_minor < 0 for a in books.accounts.values()):
                verdict.broken("I7", f"{bank.institution}: a hold below nought")


def _loads(verdict: Judge, ledger: list[dict[str, Any]]) -> None:
    """A load or transfer: what one card gave another one got, reversed or not."""
    given: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in ledger:
        if BY_NAME[row["kind"]].detail != "transfer":
            continue
        reversal = row["mti"] == "0420"
        own = ("original_time", "original_stan") if reversal else ("net_time", "net_stan")
        sums = given[row["link"], row[own[0]], row[own[1]]]
        leg = row["effect"] == "leg"
        sums[leg] += row["posted_minor"]
        sums[2] += leg
        if leg and reversal:
            verdict.world.reached("a load reversed on both cards")
    for key, (paid, received, legs) in given.items():
        if legs and paid + received:
            verdict.broken("I7b", f"{key}: one card gave {paid}, the other got {-received}")


def _days(world: "World", verdict: Judge, ledger: list[dict[str, Any]]) -> None:
    dates = {}
    for row in ledger:
        if row["effect"] == "leg":
            continue
        if row["mti"] != "0420":
            dates[row["link"], row["net_time"], row["net_stan"]] = row["settlement_date"]
    for row in ledger:
        original = dates.get((row["link"], row["original_time"], row["original_stan"]))
        if row["mti"] == "0420" and original and row["posted_minor"] and original != row["settlement_date"]:
            verdict.broken("I9", f"{row['rrn']} of {original} was reversed in the books of {row['settlement_date']}")
    for name, line in world.switch.machine.office.counterparts.items():
        day = world.centres[name].machine.settlement_date
        if line.settlement_date and line.settlement_date != day:
            verdict.broken("I9", f"{name} is at {day}, the switch at {line.settlement_date}")
    for rrn, deal in verdict.deals.items():
        theirs = dates.get(deal.net_key, "")
        if deal.stands and BY_NAME[deal.kind].amount and theirs and theirs != deal.date:
            verdict.broken("I9", f"RRN {rrn}: settled {deal.date} here, {theirs} at its issuer")


# settlements


def _totals(world: "World", verdict: Judge) -> None:
    """Each settlement's host totals against the rows before it."""
    running: dict[tuple[str, str], dict[str, tuple[int, int]]] = defaultdict(dict)
    names = SETTLEMENT.names
    for table, row in verdict.rows["switch"]:
        if table == "journal":
            _count(running, row)
        elif table == "terminal" and row[2] == "batch":
            world.reached("a new batch opened")
        elif table == "settlement":
            of = dict(zip(names, row, strict=True))
            signed = running[of["tid"], of["batch"]].values()
            ours = (
                sum(a for s, a in signed if s > 0), sum(s > 0 for s, _ in signed),
                sum(a for s, a in signed if s < 0), sum(s < 0 for s, _ in signed),
            )  # fmt: skip
            theirs = tuple(
                of[f"host_{name}"] for name in ("debit_minor", "debit_count", "credit_minor", "credit_count")
            )
            if ours != theirs:
                verdict.broken("I10", f"settlement row {of['number']}: host totals {theirs}, its rows say {ours}")
            elif of["event"] == "totals" and of["result"] != "1":
                verdict.broken("I10", f"settlement row {of['number']} of {of['tid']} does not balance")


def _count(running: dict[tuple[str, str], dict[str, tuple[int, int]]], row: tuple[Any, ...]) -> None:
    name, tid, number, rrn, state, code, amount = _COUNTED(row)
    kind, batch = BY_NAME[name], running[tid, number]
    if state in ("answered", "stored") and code in APPROVED:
        if kind.sign:
            batch[rrn] = (kind.sign, amount)
        if kind.confirms and kind.sign and row[_ORIGINAL]:
            for other in running.values():
                other.pop(row[_ORIGINAL], None)
    elif state == "reversal_queued" or (state == "suspicious" and kind.reversible):
        batch.pop(rrn, None)


# machines


def _machines(world: "World", verdict: Judge) -> None:
    machines = [device for device in world.devices if isinstance(device.memory, AtmMemory)]
    for device in machines:
        memory = device.memory
        if not isinstance(memory, AtmMemory):
            continue
        for record in memory.errors:
            _record(world, record.cause)
        found = balance_machine(memory, {})
        if not found.agrees:
            verdict.broken("I7c", f"{memory.tid}: notes {found.unexplained} that no book explains")
        _by_people(device, memory, verdict)
    memories = [device.memory for device in machines if isinstance(device.memory, AtmMemory)]
    book = join_cash(
        [dict(zip(_CASH, row, strict=True)) for row in cash_rows(memories)],
        [dict(zip(_ERRORS, row, strict=True)) for row in error_rows(memories)],
        [dict(zip(_TERMINALS, row, strict=True)) for row in terminals_rows(memories)],
    )
    for one in book.breaks:
        verdict.broken("I7c", f"{one.key}: {one.cause}")
    if book.reversals:
        world.reached("a machine dispensed nothing and reversed")
    if book.confirmations:
        world.reached("a deposit confirmed")
    if any(card.cause == "not taken" for memory in memories for card in memory.retained):
        world.reached("notes or a card left behind")


def _record(world: "World", cause: str) -> None:
    branch = {
        "partly dispensed": "a machine dispensed a part",
        "unknown": "a machine that cannot tell was counted",
        "retracted": "notes or a card left behind",
    }.get(cause)
    if branch:
        world.reached(branch)


def _by_people(device: Any, memory: AtmMemory, verdict: Judge) -> None:
    """What people took and what the book says was dispensed; only an open record may stand between them."""
    paid = sum(line.denomination_minor * line.notes for line in memory.vault.book if line.event == "dispensed")
    unseen = sum(record.dispensed_minor for record in memory.errors if record.cause in ("unknown", "power lost"))
    if paid - unseen != device.taken_minor:
        verdict.broken("I7c", f"{memory.tid}: people took {device.taken_minor}, the book paid out {paid - unseen}")
    if value(memory.vault.escrow):
        verdict.broken("I7c", f"{memory.tid}: notes in escrow at rest")


# what is kept, recovered, counted


def _kept(world: "World", verdict: Judge) -> None:
    for name, host in world.hosts.items():
        if CLEAR.search(bytes(host.platter.data)):
            verdict.broken("I31", f"a card number stands in clear in the store of {name}")


def _second_opinion(world: "World", verdict: Judge, ledger: list[dict[str, Any]]) -> None:
    """The product's own reconciliation must come to the same."""
    rows = verdict.rows["switch"]
    journal = [dict(zip(_JOURNAL, row, strict=True)) for table, row in rows if table == "journal"]
    memories = [device.memory for device in world.devices]
    terminals = [dict(zip(_TERMINALS, row, strict=True)) for row in terminals_rows(memories)]
    books = reconcile(journal, ledger, terminals, [row[0] for _, row in rows])
    released = _released(verdict)
    breaks = [one for one in books.breaks if one.rrn not in released]
    for one in breaks[:5]:
        verdict.broken("I1", f"reconcile: {one.kind} {one.rrn} {one.cause}")
    if not books.agreed and not books.breaks:
        verdict.broken("I1", "reconcile: totals of a day do not agree")


def _recovery(world: "World", verdict: Judge) -> None:
    """A switch built on the rows alone comes to what the living one knows, and wants nothing done."""
    live = world.switch.machine
    again = world.ground.engine()
    out: Out = []
    again.recover(verdict.rows["switch"], Now(1000.0 + world.now, world.wall_of(world.switch)), out)
    posts = [effect for effect in out if isinstance(effect, Post)]
    if posts or again.status()["stored"]:
        verdict.broken("I27", f"recovered at rest, the switch wants {len(posts)} rows more")
    here, there = live.office.books, again.office.books
    for key, one in here.exchanges.items():
        if not one.counterpart and one.rrn not in verdict.deals:
            continue
        other = there.exchanges.get(key)
        if other is None or _picture(one) != _picture(other):
            verdict.broken("I27", f"RRN {one.rrn} {one.kind} {one.state}: recovery makes something else of it")
            break
    for tid, terminal in here.terminals.items():
        twin = there.terminals[tid]
        if (terminal.batch, terminal.signed_in) != (twin.batch, twin.signed_in):
            verdict.broken("I27", f"{tid}: batch {terminal.batch}, after recovery {twin.batch}")
    for name, line in live.office.counterparts.items():
        twin_line = again.office.counterparts[name]
        if line.settlement_date != twin_line.settlement_date:
            verdict.broken("I27", f"{name}: day {line.settlement_date}, after recovery {twin_line.settlement_date}")


def _picture(one: Any) -> tuple[Any, ...]:
    return (
        one.rrn, one.state, one.response_code, one.auth_code, one.settlement_date, one.reversal, one.undone,
        one.refunded, one.added, one.confirmed, one.amount,
    )  # fmt: skip


_BRANCHES = {
    "late_approvals": "a late approval reversed",
    "unknown_reversals": "a reversal of something unknown",
    "advices_stored": "an advice stored",
    "advices_delivered": "a stored advice delivered",
    "mac_failures": "a wrong MAC on a line",
    "duplicates": "a duplicate refused",
    "bad_frames": "a stream that lost its place",
    "rejected": "our own message returned",
}


def _counters(world: "World", verdict: Judge) -> None:
    statistics = world.switch.machine.office.statistics
    for name, count in statistics.violations.items():
        if count:
            verdict.broken("W1", f"the switch itself counted {name}")
    for name, branch in _BRANCHES.items():
        if getattr(statistics, name):
            world.reached(branch)
    for host in world.hosts.values():
        if host.store is not None and host.store.gaps:
            verdict.broken("I25", f"{host.name}: rows with gaps")
        if host.platter.torn:
            world.reached("a torn end cut off")
    for rrn, deal in verdict.deals.items():
        if deal.suspicious:
            world.reached(
                "an advice refused later" if BY_NAME[deal.kind].advice else "a reversal refused, its day being over"
            )
        del rrn
