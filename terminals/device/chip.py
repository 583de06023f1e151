"""A transaction with a chip: the kernel, the host, the kernel again, and what each of them leaves in memory.

The kernel comes first: a card that pays by itself needs no host. What goes online is a request of the matrix with
DE55. An approval is booked when the card has gone along; until then its reversal is owed, wherever power is lost. What
a load's script came to is told as far as it is known: done, failed, or in doubt; one in doubt is never reversed.
See docs/chip-flows.md, docs/kernel.md.
"""

from collections.abc import Callable
from functools import partial
from sys import intern
from typing import Any, Final

from switch.wire.transactions import APPROVED, BY_NAME, Transaction
from terminals.device import torn
from terminals.device.dialogue import (
    SILENCE,
    SWIPED,
    BadReply,
    Card,
    Line,
    Outcome,
    ask,
    noted,
    record,
    request_fields,
    sealed,
)
from terminals.device.memory import Chip, Item, Memory, Notice, Original, Pending
from terminals.device.pos import available, doubtful, free, ready, transact
from terminals.device.reader import CONTACT, CONTACTLESS, ENTRIES, Reader
from terminals.flow import Flow
from terminals.kernel import contact, fallback, icc, inquire
from terminals.kernel import tap as field
from terminals.kernel.session import Face, Presented, Session

__all__ = ["authorize", "hold", "insert", "item_of", "present", "purse", "tap"]

Seen = Callable[[Presented | contact.Completed], None]
"""Who wants to look at what the kernel decided, before and after the host."""

CARD_REFUSED: Final = "06"
"""DE39 of the reversal of an approval that the card did not go along with."""
OFFLINE_SALE: Final = "chip_offline_sale"
_WITH_PIN, _NO_PIN = "1", "2"
_NOT_EXECUTED: Final = b"\xdf\x31\x05" + bytes(5)
"""DF31 where no script came: nothing was carried out."""
_CERTIFICATES: Final = {0x00: "AAC", 0x40: "TC", 0x80: "ARQC"}


def insert(
    memory: Memory,
    line: Line,
    kind: str,
    card: Card | None = None,
    amount_minor: int = 0,
    original: Item | Original | None = None,
    *,
    e_cash: bool = True,
    force_online: bool = False,
    payer: Card | None = None,
    detail: bytes = b"",
    seen: Seen | None = None,
) -> Flow[Outcome]:
    """One transaction with the card on the contacts of the reader.

    `card` is whose card it is: what an Ask for the PIN is about (None: what was read). Kinds about an earlier
    transaction take only the number from the chip. `payer` is the card whose account pays a load of another. An outcome
    "unsent" has the kernel's reason (`terminals.kernel.session.REASONS`), or "offline_full". Raises ValueError for a
    terminal that reads no chips.
    """
    return _transact(
        memory, line, CONTACT, kind, card, amount_minor, original, e_cash, force_online, payer, detail, seen
    )


def tap(
    memory: Memory,
    line: Line,
    kind: str,
    card: Card | None = None,
    amount_minor: int = 0,
    original: Item | Original | None = None,
    *,
    e_cash: bool = True,
    force_online: bool = False,
    detail: bytes = b"",
    seen: Seen | None = None,
) -> Flow[Outcome]:
    """One transaction with the card in the field, otherwise as `insert`. Loads are for the contacts alone."""
    return _transact(
        memory, line, CONTACTLESS, kind, card, amount_minor, original, e_cash, force_online, None, detail, seen
    )


def purse(memory: Memory, interface: str = CONTACT, logs: bool = False) -> Flow[inquire.Purse]:
    """Electronic cash on the card, and its logs: asks nobody but the card."""
    return inquire.purse(_reader(memory).kernel, interface, logs)


def _transact(
    memory: Memory,
    line: Line,
    interface: str,
    kind: str,
    card: Card | None,
    amount_minor: int,
    original: Item | Original | None,
    e_cash: bool,
    force_online: bool,
    payer: Card | None,
    detail: bytes,
    seen: Seen | None,
) -> Flow[Outcome]:
    row = BY_NAME[kind]
    reader = _reader(memory)
    if not row.carries_icc:
        return (yield from _by_number(memory, line, interface, kind, card, amount_minor, original, detail))
    if (original is None) == bool(row.original):
        raise ValueError(f"{kind}: {'an' if original is None else 'no'} earlier transaction is wanted")
    if not memory.batch or memory.settling is not None or memory.batch_full:
        # An open batch is wanted, in which a chip's own decision can be written down.
        obstacle = yield from ready(memory, line)
        if obstacle is not None:
            return Outcome(kind, "unsent", obstacle.response_code, reason=obstacle.kind, fields=obstacle.fields)
    in_field = interface == CONTACTLESS and kind == "sale"
    keep = _about_to_pay if in_field else _may_pay if kind == "sale" else None
    request = reader.request(
        row.processing_code, amount_minor, memory.merchant_name, memory.stan % 999_999 + 1,
        force_online=force_online or kind != "sale" or len(memory.offline) >= reader.offline_max,
        e_cash=e_cash, holder=card, keep=keep and partial(keep, memory, amount_minor),
    )  # fmt: skip
    if in_field and memory.torn:
        paid = yield from torn.proven(memory, reader)
        if paid is not None:
            _keep(memory, paid, approved=True)
            if paid.amount_minor == amount_minor:
                return _offline_outcome(kind, paid, "")
    before, doubts = list(memory.torn), list(memory.doubts)
    presented = yield from present(reader, interface, request)
    if interface == CONTACT and presented.outcome != "ended":
        memory.doubts = doubts  # the card was heard: whether it has paid is known
    torn.settle(memory, before, presented)
    if seen is not None:
        seen(presented)
    if presented.outcome in ("approved", "declined"):
        return _decided(memory, kind, amount_minor, presented)
    if presented.outcome != "online":
        return Outcome(kind, "unsent", reason=presented.reason or presented.outcome)
    obstacle = None if free(memory) else (yield from ready(memory, line))
    if obstacle is not None:
        return (yield from _unable(memory, kind, amount_minor, presented, obstacle, seen))
    item = item_of(memory, kind, amount_minor, presented, original, payer)
    return (yield from authorize(memory, line, item, presented, payer=payer, detail=detail, seen=seen))


def _about_to_pay(memory: Memory, amount_minor: int, session: Session) -> None:
    """Write down a certificate before its card completes: power may be lost, the card may leave."""
    if not session.pan:
        return  # it names itself only in the records that complete it
    session.stamp()
    data = icc.build(icc.OFFLINE, session.values | {"8A": b"Y1"})
    item = _offline_item(memory, amount_minor, session.presented("approved", "", data))
    if item.chip is not None:
        item.chip.arc = "Y1"
        item.chip.e_cash = True
        item.chip.read = session.values
    torn.write(memory, item)


def _may_pay(memory: Memory, amount_minor: int, session: Session) -> None:
    """List a card on the contacts before it is asked to pay by itself: it debits as it answers, and power may be lost
    before its answer is heard. Nobody can ask it later whether it did."""
    item = _offline_item(memory, amount_minor, session.presented("approved", "", b""))
    if item.chip is not None:
        item.chip.e_cash = True
    memory.doubts.append(item)


def _reader(memory: Memory) -> Reader:
    if memory.reader is None:
        raise ValueError("this terminal reads no chips")
    return memory.reader


def present(reader: Reader, interface: str, request: Any) -> Flow[Presented]:
    """The card before the kernel; chips that cannot be read are counted for the fallback."""
    presented = yield from (field.tap if interface == CONTACTLESS else contact.start)(reader.kernel, request)
    if fallback.counts(presented):
        reader.failures += 1
    elif presented.pan:
        reader.failures = 0
    return presented


def item_of(
    memory: Memory,
    kind: str,
    amount_minor: int,
    presented: Presented,
    original: Item | Original | None = None,
    payer: Card | None = None,
) -> Item:
    """A new item with the next number: the card that was read, or the `payer` of a load from another account."""
    row = BY_NAME[kind]
    entry = SWIPED if payer is not None else ENTRIES[presented.interface]
    pan, expiry = (presented.pan, presented.expiry) if payer is None else (payer.pan, payer.expiry)
    named = original.name() if isinstance(original, Item) else original
    digit = _WITH_PIN if presented.pin and row.pin else _NO_PIN
    item = Item(
        kind, memory.batch, memory.next_stan(), amount_minor, intern(entry + digit), pan, expiry, named,
        original if isinstance(original, Item) else None,
    )  # fmt: skip
    item.chip = _chip(presented)
    if row.chip == "load":
        item.chip.reversal += _NOT_EXECUTED
    return item


def _chip(presented: Presented) -> Chip:
    values = presented.values
    cid = values.get("9F27", b"\xff")[0] & 0xC0
    return Chip(
        presented.pan, presented.psn.zfill(3), presented.atc, presented.aid.hex().upper(), presented.label,
        presented.icc_data, icc.build(icc.COUNT, values), _CERTIFICATES.get(cid, ""),
        values.get("9F26", b"").hex().upper(), presented.tvr, presented.tsi, values.get("8A", b"").decode("latin-1"),
        presented.e_cash, presented.no_pin, presented.signature, balance_minor=presented.balance_minor,
    )  # fmt: skip


def authorize(
    memory: Memory,
    line: Line,
    item: Item,
    presented: Presented,
    *,
    payer: Card | None = None,
    detail: bytes = b"",
    pin: str = "",
    seen: Seen | None = None,
) -> Flow[Outcome]:
    """The request of an item of `item_of`, its answer, and the card's word on it. `pin` where the kernel asked none."""
    row, chip = item.row, item.chip
    assert chip is not None
    digits = (presented.pin or pin) if row.pin else ""
    track = payer.track2 if payer is not None else "" if row.chip in ("load", "takeup") else presented.track2
    if row.chip == "load" and row.detail and not detail:
        detail = chip.pan.encode("ascii")
    fields = request_fields(memory, line, item, track, digits, detail)
    body = sealed(memory, line, row.mti, fields)
    memory.items.append(item)
    if row.amount:
        memory.pending = Pending(item, line.profile.reversal.no_reply)
        item.reversal = "pending" if row.reversible else "none"
    try:
        reply = yield from ask(memory, line, row.mti, body, item.stan, mac=True, amount=fields.get(4, ""))
        balance_minor = available(reply) if row.tells_balance else None
    except (*SILENCE, BadReply) as error:
        outcome = doubtful(memory, line, item, error)
        return (yield from _unable(memory, item.kind, item.amount_minor, presented, outcome, seen))
    return (yield from _answered(memory, item, presented, reply, balance_minor, seen))


def _answered(
    memory: Memory,
    item: Item,
    presented: Presented,
    reply: dict[int, Any],
    balance_minor: int | None,
    seen: Seen | None,
) -> Flow[Outcome]:
    """What the card makes of an answer. An approval that it has not gone along with yet keeps its reversal owed."""
    row, chip = item.row, item.chip
    assert chip is not None
    code, reason = reply[39], ""
    approved = code in APPROVED
    if not approved or presented.session is None:
        record(memory, item, reply)
    elif row.chip == "load":
        # From here on the script may be carried out although nobody can say so.
        chip.reversal = icc.build(icc.COUNT, presented.values)
    if presented.session is not None:
        done = yield from contact.complete(presented.session, contact.Answer(code, reply.get(55, b"")))
        if seen is not None:
            seen(done)
        _completed(chip, done)
        if done.script_results and done.load != "doubt":
            memory.notices.append(Notice(item, done.notice_data, memory.batch, memory.next_stan()))
        if approved:
            reason = _taken(memory, item, reply, done, row)
    if reason == "" and not approved and presented.session is not None:
        reason = "host_declined"
    return Outcome(
        item.kind, item.state, code, item.stan, item.batch, reply.get(37, ""), item.auth_code, item.amount_minor,
        reason, item, balance_minor if balance_minor is not None else chip.balance_minor if row.chip else None,
        fields=reply,
    )  # fmt: skip


def _completed(chip: Chip, done: contact.Completed) -> None:
    chip.data, chip.reversal = done.icc_data, done.reversal_data
    chip.tvr, chip.tsi, chip.ac = done.tvr, done.tsi, done.ac.hex().upper()
    chip.certificate = _CERTIFICATES.get(done.cid & 0xC0, "")
    chip.arpc_failed = done.issuer_authenticated is False
    if done.balance_minor is not None:
        chip.balance_minor = done.balance_minor


def _taken(memory: Memory, item: Item, reply: dict[int, Any], done: contact.Completed, row: Transaction) -> str:
    """Book an approval by what the card made of it; why it does not stand, "" where it does."""
    if done.load != "doubt" and done.outcome == "approved":
        record(memory, item, reply)
        return ""
    noted(item, reply)
    memory.pending = None
    item.reversal = "none"
    if done.load == "doubt":
        item.state = "unknown"
        memory.doubts.append(item)
        return "load_doubt"
    item.state = "declined"
    if row.reversible and row.amount and done.reversal_needed:
        memory.pending = Pending(item, CARD_REFUSED)
        item.reversal = "pending"
    return done.reason


def _unable(
    memory: Memory, kind: str, amount_minor: int, presented: Presented, obstacle: Outcome, seen: Seen | None
) -> Flow[Outcome]:
    """No host: the card on contacts may still decide (Y3, Z3). What was sent meanwhile stays in doubt as it is."""
    sent = obstacle.kind == kind
    if sent:
        unheard = obstacle
    else:
        unheard = Outcome(kind, "unsent", obstacle.response_code, reason=obstacle.kind, fields=obstacle.fields)
    if presented.session is None:
        return unheard
    first = presented.values.get("9F26")
    done = yield from contact.complete(presented.session, contact.Answer(None))
    if seen is not None:
        seen(done)
    if kind != "sale" or done.ac == first:
        return unheard
    item = _offline_item(memory, amount_minor, presented)
    assert item.chip is not None
    _completed(item.chip, done)
    # DE55 keeps the code the card was shown, also where it then declined.
    item.chip.arc = "Y3" if done.outcome == "approved" else "Z3"
    # Without 9F74: the card took it off its counters, not off its electronic cash.
    item.chip.e_cash = False
    item.chip.data = icc.build(icc.OFFLINE, {**done.values, "9F74": b""})
    _keep(memory, item, done.outcome == "approved")
    if done.outcome == "approved":
        return _offline_outcome(kind, item, "")
    return unheard


def _decided(memory: Memory, kind: str, amount_minor: int, presented: Presented) -> Outcome:
    """The card or the terminal has decided without a host."""
    declined = Outcome(kind, "declined", reason=presented.reason, amount_minor=amount_minor)
    if kind != "sale" or not presented.icc_data:
        return declined
    if presented.outcome == "declined" and presented.values["9F27"][0] & 0xC0:
        # The card has certified what the terminal refuses: claimed by nobody, but listed.
        item = _offline_item(memory, amount_minor, presented)
        if all(one.chip is None or item.chip is None or one.chip.ac != item.chip.ac for one in memory.doubts):
            memory.doubts.append(item)
        return declined
    item = hold(memory, amount_minor, presented)
    return _offline_outcome(kind, item, presented.reason)


def hold(memory: Memory, amount_minor: int, presented: Presented) -> Item:
    """Keep a chip's own decision until the host has it: an approval (state "offline"), or a decline."""
    item = _offline_item(memory, amount_minor, presented)
    _keep(memory, item, presented.outcome == "approved")
    return item


def _offline_item(memory: Memory, amount_minor: int, presented: Presented) -> Item:
    entry = intern(ENTRIES[presented.interface] + _NO_PIN)
    item = Item(OFFLINE_SALE, memory.batch, "", amount_minor, entry, presented.pan, presented.expiry)
    item.chip = _chip(presented)
    date, time = _reader(memory).clock()
    item.date, item.time = date[2:], time
    return item


def _keep(memory: Memory, item: Item, approved: bool) -> None:
    item.stan = memory.next_stan()
    item.state = "offline" if approved else "declined"
    item.response_code = item.chip.arc if item.chip is not None else ""
    memory.items.append(item)
    memory.offline.append(item)
    if approved:
        memory.last = item


def _offline_outcome(kind: str, item: Item, reason: str) -> Outcome:
    chip = item.chip
    assert chip is not None
    state = "approved" if item.state == "offline" else "declined"
    return Outcome(
        kind, state, chip.arc, item.stan, item.batch, amount_minor=item.amount_minor, reason=reason or "offline",
        item=item, balance_minor=chip.balance_minor,
    )  # fmt: skip


def _by_number(
    memory: Memory,
    line: Line,
    interface: str,
    kind: str,
    card: Card | None,
    amount_minor: int,
    original: Item | Original | None,
    detail: bytes,
) -> Flow[Outcome]:
    """Kinds without DE55: the chip gives number, expiry, track and its own number, and is asked nothing more."""
    read = yield from inquire.identify(_reader(memory).kernel, interface)
    if read.reason:
        return Outcome(kind, "unsent", reason=read.reason)
    chip = Chip(read.pan, read.psn.zfill(3), 0, "", "", b"")
    shown = card if card is not None and card.pan == read.pan else Face(read.pan, read.expiry, read.track2)
    entry = ENTRIES[interface]
    return (
        yield from transact(memory, line, kind, shown, amount_minor, original, entry=entry, detail=detail, chip=chip)
    )
