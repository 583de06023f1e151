"""The POS: every transaction of the matrix as one dialogue, from the card to the book.

Before each of them the terminal signs in if need be, puts right what it owes, and settles a full batch. A request that
can be reversed owes its reversal from the moment before it leaves until it is answered: wherever the dialogue is
killed, the next one finds the debt in memory. See docs/protocol-pos.md sections 7 and 8.
"""

from sys import intern
from typing import Any

from switch.wire.errors import DecodeError
from switch.wire.private import read_54
from switch.wire.private_62 import Instalment, Points, write_instalment, write_points, write_transfer_pan
from switch.wire.transactions import BY_NAME, Transaction
from terminals.device.dialogue import (
    KEYED,
    SILENCE,
    SWIPED,
    BadMac,
    BadReply,
    Card,
    Line,
    Outcome,
    ask,
    reason_of,
    record,
    request_fields,
    sealed,
)
from terminals.device.manage import echo, parameters, sign_in, sign_off, status
from terminals.device.memory import Chip, Item, Memory, Original, Pending
from terminals.device.reversal import clear, put_right
from terminals.device.settle import settle
from terminals.device.upload import UPLOADS_EACH, deliver
from terminals.flow import Ask, Cancelled, Flow, FlowError
from terminals.kernel import fallback

__all__ = [
    "KEYED",
    "SWIPED",
    "Card",
    "Line",
    "Outcome",
    "additional_preauth",
    "adjust",
    "assisted_withdrawal",
    "available",
    "balance",
    "cash_load",
    "clear",
    "completion",
    "completion_notice",
    "completion_void",
    "doubtful",
    "echo",
    "free",
    "instalment_sale",
    "offline_sale",
    "parameters",
    "points_sale",
    "preauth",
    "preauth_void",
    "put_right",
    "ready",
    "refund",
    "sale",
    "sale_void",
    "settle",
    "sign_in",
    "sign_off",
    "status",
    "stripe",
    "tip",
    "transact",
    "transfer",
]


def free(memory: Memory) -> bool:
    """Whether `ready` would find nothing to do: signed in, nothing owed, nothing to be settled or uploaded."""
    return (
        memory.signed_in
        and memory.pending is None
        and not (memory.notices or memory.offline or memory.batch_full)
        and memory.settling is None
    )


def ready(memory: Memory, line: Line) -> Flow[Outcome | None]:
    """All that comes before a new transaction; None when it may go, else the dialogue that stands in its way.

    Script results first, then a reversal, then one certificate of an offline sale, whose silence hinders nothing.
    """
    obstacle = yield from clear(memory, line)
    if obstacle is None and (memory.settling is not None or memory.batch_full):
        settled = yield from settle(memory, line)
        if memory.settling is not None or memory.batch_full:
            return settled
        obstacle = yield from clear(memory, line)
    if obstacle is None and memory.offline:
        yield from deliver(memory, line, UPLOADS_EACH)
        obstacle = yield from clear(memory, line)
    return obstacle


def transact(
    memory: Memory,
    line: Line,
    kind: str,
    card: Card | None = None,
    amount_minor: int = 0,
    original: Item | Original | None = None,
    *,
    entry: str = SWIPED,
    pin: bool = True,
    detail: bytes = b"",
    voice: str = "",
    chip: Chip | None = None,
) -> Flow[Outcome]:
    """One transaction of any kind of the matrix.

    `card` may be None where `original` is an item of the terminal's own book: the number then comes from there.
    `entry` is SWIPED or KEYED, where the kind leaves the choice; with `pin` the holder is asked for it, where the kind
    has one. `detail` is DE62 (an instalment's periods, the goods of points, the card that receives: see `private_62`),
    `voice` the authorization code given by telephone, `chip` what was read of a card whose number came from its chip.
    The stripe of a chip card is not taken where the chip can be read ("unsent", "insert_card"), but as a fallback that
    is marked, where the profile takes those (else "no_fallback"). Raises ValueError for a
    card or original that the kind lacks; EncodeError or PinFormatError, before anything is written, for an amount or a
    PIN that no message can carry.
    """
    row = BY_NAME[kind]
    if bool(detail) != bool(row.detail) or bool(voice) != row.voice:
        raise ValueError(f"{kind}: DE62 or the code of a voice approval is wanting, or not wanted")
    named, source = _original(kind, original)
    pan, expiry = _number(kind, card, source)
    entry, condition, why = stripe(memory, line, row, card, entry)
    if why:
        return Outcome(kind, "unsent", reason=why)
    obstacle = None if free(memory) else (yield from ready(memory, line))
    if obstacle is not None:
        return Outcome(kind, "unsent", obstacle.response_code, reason=obstacle.kind, fields=obstacle.fields)
    digits, fresh, why = yield from _pins(row, card if pin and row.pin else None)
    if why:
        return Outcome(kind, "unsent", reason=why)
    track = card.track2 if card is not None and entry != KEYED and not row.entry else ""
    entry_mode = intern((entry if track else row.entry or KEYED) + ("1" if digits else "2"))
    item = Item(kind, memory.batch, memory.next_stan(), amount_minor, entry_mode, pan, expiry, named, source)
    item.auth_code, item.condition, item.chip = voice, condition, chip
    fields = request_fields(memory, line, item, track, digits, detail, fresh)
    body = sealed(memory, line, row.mti, fields)
    memory.items.append(item)
    if row.amount:
        memory.pending = Pending(item, line.profile.reversal.no_reply)
        item.reversal = "pending" if row.reversible else "none"
    try:
        reply = yield from ask(memory, line, row.mti, body, item.stan, mac=True, amount=fields.get(4, ""))
        balance_minor = available(reply) if row.tells_balance else None
    except (*SILENCE, BadReply) as error:
        return doubtful(memory, line, item, error)
    record(memory, item, reply)
    return Outcome(
        kind, item.state, item.response_code, item.stan, item.batch, item.rrn, item.auth_code, item.amount_minor,
        item=item, balance_minor=balance_minor, fields=reply,
    )  # fmt: skip


def stripe(memory: Memory, line: Line, row: Transaction, card: Card | None, entry: str) -> tuple[str, str, str]:
    """Whether the stripe of a card may be read for a transaction: DE22's first digits, DE60.5, and why not."""
    reader = memory.reader
    if reader is None or card is None or entry != SWIPED or not row.carries_icc:
        return entry, "0", ""
    marks = line.profile.chips.fallback
    verdict = fallback.swiped(card.track2, True, reader.failures, bool(marks))
    if verdict == "accept":
        return entry, "0", ""
    if verdict == "fallback":
        reader.failures = 0
        return marks[0] if "80" in marks[:1] else SWIPED, "2", ""
    return entry, "0", "insert_card" if verdict == "insert" else "no_fallback"


def _pins(row: Transaction, card: Card | None) -> Flow[tuple[str, str, str]]:
    """The PIN, and the new one where the kind wants it (twice the same, and another than the old); or why not.

    Without `card` nobody is asked.
    """
    if card is None:
        return "", "", "no PIN" if row.new_pin else ""
    try:
        digits = yield Ask("pin", card)
        if not row.new_pin:
            return digits, "", ""
        if not digits:
            return "", "", "no PIN"
        fresh = yield Ask("new_pin", card)
        again = yield Ask("new_pin_again", card)
    except Cancelled:
        return "", "", "cancelled"
    if fresh != again:
        return "", "", "new PINs differ"
    if fresh == digits:
        return "", "", "new PIN is the old one"
    return digits, fresh, ""


def _original(kind: str, original: Item | Original | None) -> tuple[Original | None, Item | None]:
    """How the earlier transaction is named, and the item itself where it is in the terminal's own book."""
    if (original is None) == bool(BY_NAME[kind].original):
        raise ValueError(f"{kind}: {'an' if original is None else 'no'} earlier transaction is wanted")
    return (original.name(), original) if isinstance(original, Item) else (original, None)


def _number(kind: str, card: Card | None, source: Item | None) -> tuple[str, str]:
    """Card number and expiry."""
    if card is not None:
        return card.pan, card.expiry
    if source is None:
        raise ValueError(f"{kind}: neither a card nor an item of the terminal's own book")
    return source.pan, source.expiry


def doubtful(memory: Memory, line: Line, item: Item, error: FlowError) -> Outcome:
    """No answer, or none to be believed: the debt stays, with the reason the reversal will give."""
    reasons = line.profile.reversal
    if memory.pending is not None and isinstance(error, BadReply):
        memory.pending.reason = reasons.bad_mac if isinstance(error, BadMac) else reasons.bad_reply
    return Outcome(
        item.kind,
        "unknown",
        "",
        item.stan,
        item.batch,
        amount_minor=item.amount_minor,
        reason=reason_of(error),
        item=item,
    )


def available(reply: dict[int, Any]) -> int | None:
    """The available balance of DE54 in minor units, None where the host gives none."""
    text = reply.get(54)
    if not text:
        return None
    try:
        entries = read_54(text)
    except DecodeError:
        raise BadReply("DE54 cannot be read") from None
    return next((entry.amount_minor for entry in entries if entry.amount_type == "02"), entries[0].amount_minor)


def balance(memory: Memory, line: Line, card: Card, *, entry: str = SWIPED, pin: bool = True) -> Flow[Outcome]:
    """Balance inquiry (余额查询)."""
    return transact(memory, line, "balance", card, entry=entry, pin=pin)


def sale(
    memory: Memory, line: Line, card: Card, amount_minor: int, *, entry: str = SWIPED, pin: bool = True
) -> Flow[Outcome]:
    """Sale (消费)."""
    return transact(memory, line, "sale", card, amount_minor, entry=entry, pin=pin)


def sale_void(
    memory: Memory, line: Line, original: Item, card: Card | None = None, *, entry: str = SWIPED, pin: bool = True
) -> Flow[Outcome]:
    """Void of a sale of the open batch (消费撤销), by voucher alone or with the card; always the whole amount."""
    return transact(memory, line, "sale_void", card, original.total_minor, original, entry=entry, pin=pin)


def refund(
    memory: Memory,
    line: Line,
    original: Item | Original,
    card: Card | None,
    amount_minor: int,
    *,
    entry: str = SWIPED,
) -> Flow[Outcome]:
    """Refund (退货) of all or part of an earlier transaction of any day. Unanswered it is repeated, never reversed."""
    return transact(memory, line, "refund", card, amount_minor, original, entry=entry, pin=False)


def preauth(
    memory: Memory, line: Line, card: Card, amount_minor: int, *, entry: str = SWIPED, pin: bool = True
) -> Flow[Outcome]:
    """Pre-authorization (预授权)."""
    return transact(memory, line, "preauth", card, amount_minor, entry=entry, pin=pin)


def preauth_void(
    memory: Memory, line: Line, original: Item, card: Card | None = None, *, entry: str = SWIPED, pin: bool = True
) -> Flow[Outcome]:
    """Void of a pre-authorization (预授权撤销)."""
    return transact(memory, line, "preauth_void", card, original.total_minor, original, entry=entry, pin=pin)


def completion(
    memory: Memory,
    line: Line,
    original: Item | Original,
    card: Card | None,
    amount_minor: int,
    *,
    entry: str = SWIPED,
    pin: bool = True,
) -> Flow[Outcome]:
    """Completion of a pre-authorization (预授权完成), of an amount of its own."""
    return transact(memory, line, "completion", card, amount_minor, original, entry=entry, pin=pin)


def completion_void(
    memory: Memory, line: Line, original: Item, card: Card | None = None, *, entry: str = SWIPED, pin: bool = True
) -> Flow[Outcome]:
    """Void of a completion of the open batch (预授权完成撤销)."""
    return transact(memory, line, "completion_void", card, original.amount_minor, original, entry=entry, pin=pin)


def additional_preauth(
    memory: Memory, line: Line, original: Item, card: Card | None, amount_minor: int
) -> Flow[Outcome]:
    """Additional pre-authorization (追加预授权): `amount_minor` more is set aside with the first."""
    return transact(memory, line, "additional_preauth", card, amount_minor, original)


def completion_notice(
    memory: Memory, line: Line, original: Item | Original, card: Card | None, amount_minor: int
) -> Flow[Outcome]:
    """Completion notice (预授权完成通知): a completion that is told, repeated and never reversed."""
    return transact(memory, line, "completion_notice", card, amount_minor, original)


def offline_sale(
    memory: Memory, line: Line, card: Card, amount_minor: int, voice: str, *, entry: str = SWIPED
) -> Flow[Outcome]:
    """Offline sale (离线结算), authorized by telephone with the code `voice` (6 characters)."""
    return transact(memory, line, "offline_sale", card, amount_minor, entry=entry, voice=voice)


def adjust(memory: Memory, line: Line, original: Item, amount_minor: int) -> Flow[Outcome]:
    """Settlement adjustment (结算调整): `amount_minor` is added to an offline sale of the open batch."""
    return transact(memory, line, "adjust", None, amount_minor, original)


def tip(memory: Memory, line: Line, original: Item, amount_minor: int) -> Flow[Outcome]:
    """Tip (追加小费), added once to a sale of the open batch."""
    return transact(memory, line, "tip", None, amount_minor, original)


def instalment_sale(
    memory: Memory, line: Line, card: Card, amount_minor: int, plan: Instalment, *, pin: bool = True
) -> Flow[Outcome]:
    """Instalment sale (分期消费)."""
    return transact(memory, line, "instalment_sale", card, amount_minor, pin=pin, detail=write_instalment(plan))


def points_sale(memory: Memory, line: Line, card: Card, amount_minor: int, goods: Points) -> Flow[Outcome]:
    """Points sale (积分消费): paid from the card's points."""
    return transact(memory, line, "points_sale", card, amount_minor, detail=write_points(goods))


def transfer(memory: Memory, line: Line, card: Card, amount_minor: int, receiver: str, *, load: bool) -> Flow[Outcome]:
    """From one card to another, whose number is `receiver`: account load (账户充值) or, unverified, transfer (转账)."""
    kind = "account_load" if load else "transfer"
    return transact(memory, line, kind, card, amount_minor, detail=write_transfer_pan(receiver))


def cash_load(memory: Memory, line: Line, card: Card, amount_minor: int) -> Flow[Outcome]:
    """Stripe cash load (磁条卡现金充值): verification, load, confirmation; the outcome is the load's, or of the
    verification that refused it. A confirmation without an answer is repeated before the next transaction."""
    verified = yield from transact(memory, line, "cash_load_verify", card)
    if not verified.approved:
        return verified
    loaded = yield from transact(memory, line, "cash_load", card, amount_minor)
    if loaded.approved:
        yield from transact(memory, line, "cash_load_confirm", card, amount_minor, loaded.item)
    return loaded


def assisted_withdrawal(memory: Memory, line: Line, card: Card, amount_minor: int) -> Flow[Outcome]:
    """Assisted withdrawal (助农取款), unverified: the merchant pays out `amount_minor` from his till; PIN always."""
    return transact(memory, line, "assisted_withdrawal", card, amount_minor)
