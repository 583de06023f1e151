"""Which dialogue a `do` step is: the terminal's flow, the card in the hand, the earlier transaction it speaks of."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from scenarios.story.booth import Act, Booth
from scenarios.story.shape import Block
from scenarios.story.vocabulary import DOWNLOADS
from switch.issuer.portfolio import Card
from switch.wire.transactions import BY_NAME, Transaction
from terminals.device import atm, atm_chip, chip, download, load, pos, upload
from terminals.device.atm import AtmMemory
from terminals.device.dialogue import Outcome
from terminals.device.memory import Item, Memory, Original
from terminals.flow import Flow
from terminals.goods import PERIODS, VOICE_CODE, extras
from terminals.hands import CONTACT, CONTACTLESS
from terminals.kernel.fallback import ATTEMPTS

if TYPE_CHECKING:
    from scenarios.story.stage import Stage

PLAIN: Final = {
    "sign-in": pos.sign_in, "sign-off": pos.sign_off, "echo": pos.echo, "parameters": pos.parameters,
    "status": pos.status, "settle": pos.settle, "put-right": pos.put_right,
}  # fmt: skip
AT_MACHINES: Final = ("load_designated", "load_other")


class Unfit(ValueError):
    """A step that cannot be done: no such card, no reader, nothing to void. The text says what."""


class NotThere(Unfit):
    """What a step needs has not come about: an answer that was to be kept, an item that was to be voided."""


def flow_of(stage: "Stage", booth: Booth, step: Block, act: Act, earlier: Act | None) -> Flow[Outcome]:
    """The dialogue of a step; puts the card into the hand of its `act`. Raises Unfit."""
    kind, memory, line = step["do"], booth.memory, stage.line
    if kind in PLAIN:
        return PLAIN[kind](memory, line)
    if kind == "upload":
        return _uploaded(memory, line)
    if kind == "download":
        return _downloaded(memory, line, step.get("what", "all"))
    if kind == "count-machine":
        return _counted(booth)
    if kind == "purse":
        return _purse(stage, booth, step, act)
    if kind == "stripe-load":
        act.card = _card(stage, step, act)
        return pos.cash_load(memory, line, act.card, _amount(step, "stripe-load"))
    row = BY_NAME[kind.replace("-", "_")]
    original = _original(booth, step, row, earlier)
    _name_card(stage, step, act, original, earlier)
    if row.cash or row.name.startswith("atm_") or (isinstance(memory, AtmMemory) and row.name in AT_MACHINES):
        return _at_machine(stage, booth, step, act, row)
    return _at_shop(stage, booth, step, act, row, original)


# who and what


def _card(stage: "Stage", step: Block, act: Act, key: str = "card") -> Card:
    holders = stage.troupe.holders
    name = step.get(key)
    if name is None and key == "card" and len(holders) == 1:
        name = next(iter(holders))
    if name is None:
        raise Unfit(f"{step['do']}: which card? ({key}: one of {', '.join(holders)})")
    if name not in holders:
        raise Unfit(f'"{name}" is no card')
    if key == "card":
        act.holder = name
    return holders[name].card


def _name_card(stage: "Stage", step: Block, act: Act, original: Item | Original | None, earlier: Act | None) -> None:
    """The card of a step: named, or the earlier transaction's where it is presented, or none (by voucher)."""
    if original is None or "card" in step:
        act.card = _card(stage, step, act)
    elif "entry" in step or not isinstance(original, Item):
        if earlier is None or earlier.card is None:
            act.card = _card(stage, step, act)
        else:
            act.card, act.holder = earlier.card, earlier.holder
    elif earlier is not None:
        act.holder = earlier.holder


def _original(booth: Booth, step: Block, row: Transaction, earlier: Act | None) -> Item | Original | None:
    if not row.original:
        if "of" in step or "original" in step:
            raise Unfit(f"{step['do']} speaks of no earlier transaction")
        return None
    if "original" in step:
        told = step["original"]
        return Original(
            told.get("batch", "000000"), told.get("stan", "000000"), told.get("date", "0000"), told.get("rrn", ""),
            told.get("auth-code", ""), told.get("tid", ""),
        )  # fmt: skip
    if earlier is None:
        raise Unfit(f"{step['do']} speaks of an earlier transaction (of: its name)")
    item = earlier.item
    if item is None:
        raise NotThere(f'"{earlier.name}" has sent nothing that could be spoken of')
    if earlier.booth is booth and any(one is item for one in (*booth.memory.items, *booth.memory.closed)):
        return item
    return item.name()._replace(tid=earlier.booth.memory.tid)


def _amount(step: Block, kind: str) -> int:
    if "amount" not in step:
        raise Unfit(f"{kind}: which amount? (amount: 12.00)")
    return int(step["amount"])


def _amount_of(step: Block, row: Transaction, original: Item | Original | None) -> int:
    if not row.amount:
        return 0
    if "amount" not in step and isinstance(original, Item) and row.effect in ("undo", "credit", "capture"):
        return original.amount_minor if row.effect == "credit" else original.total_minor
    return _amount(step, row.name)


def _entry(booth: Booth, step: Block, act: Act) -> str:
    """How the card is read: as the step says, else the best both can."""
    if "entry" in step:
        return str(step["entry"])
    reader, card = booth.memory.reader, act.card
    if reader is None or card is None or not card.chip:
        return "stripe"
    faces = booth.stage.ground.minter.image(card).profile.interfaces
    if CONTACT in faces:
        return "chip"
    return "tap" if CONTACTLESS in faces and reader.contactless else "stripe"


def _take(stage: "Stage", act: Act, card: Card, interface: str) -> None:
    """The card goes from the pocket to the reader."""
    hand = stage.pockets.hands.take(card, interface)
    if hand is None:
        raise Unfit(f'"{act.holder}" has no chip for this, or is elsewhere')
    act.hand = hand


# at the counter


def _at_shop(
    stage: "Stage", booth: Booth, step: Block, act: Act, row: Transaction, original: Item | Original | None
) -> Flow[Outcome]:
    memory, line = booth.memory, stage.line
    amount, entry = _amount_of(step, row, original), _entry(booth, step, act)
    by_voucher = act.card is None
    if row.chip in ("load", "takeup", "refund") or (entry in ("chip", "tap") and not by_voucher and not row.voice):
        return _with_chip(stage, booth, step, act, row, original, amount, entry)
    if entry == "fallback":
        if memory.reader is None:
            raise Unfit("a fallback needs a terminal that reads chips")
        memory.reader.failures = ATTEMPTS
    return pos.transact(
        memory, line, row.name, act.card, amount, original, entry=pos.KEYED if entry == "manual" else pos.SWIPED,
        **_extras(stage, step, act, row),
    )  # fmt: skip


def _extras(stage: "Stage", step: Block, act: Act, row: Transaction) -> dict[str, Any]:
    receiver = _card(stage, step, act, "to").pan if row.detail == "transfer" and "to" in step else ""
    if row.detail == "transfer" and not receiver:
        raise Unfit(f"{step['do']}: to which card? (to: its name)")
    return extras(row, receiver, step.get("voice", VOICE_CODE), step.get("periods", PERIODS))


def _with_chip(
    stage: "Stage", booth: Booth, step: Block, act: Act, row: Transaction, original: Item | Original | None,
    amount: int, entry: str,
) -> Flow[Outcome]:  # fmt: skip
    memory, line = booth.memory, stage.line
    if memory.reader is None:
        raise Unfit(f"this terminal reads no chips ({booth.till.name})")
    shown = act.card if act.card is not None else stage.troupe.holders[act.holder].card
    payer = None
    if "payer" in step:
        payer = _card(stage, step, act, "payer")
    tapped = entry == "tap"
    if tapped and not memory.reader.contactless:
        raise Unfit(f"this terminal has no field ({booth.till.name})")
    _take(stage, act, shown, CONTACTLESS if tapped else CONTACT)
    if row.name == "load_takeup":
        return load.take_up(memory, line, shown, seen=act.see)
    more: dict[str, Any] = {"e_cash": step.get("e-cash", True), "force_online": step.get("force-online", False)}
    detail = b"" if row.chip == "load" else _extras(stage, step, act, row).get("detail", b"")
    if tapped:
        return chip.tap(memory, line, row.name, shown, amount, original, detail=detail, seen=act.see, **more)
    return chip.insert(
        memory, line, row.name, payer or shown, amount, original, payer=payer, detail=detail, seen=act.see,
        **more,
    )  # fmt: skip


def _purse(stage: "Stage", booth: Booth, step: Block, act: Act) -> Flow[Outcome]:
    act.card = _card(stage, step, act)
    tapped = step.get("entry") == "tap"
    if booth.memory.reader is None:
        raise Unfit(f"this terminal reads no chips ({booth.till.name})")
    interface = CONTACTLESS if tapped else CONTACT
    _take(stage, act, act.card, interface)
    return _inquired(booth.memory, interface)


def _inquired(memory: Memory, interface: str) -> Flow[Outcome]:
    found = yield from chip.purse(memory, interface)
    state = "declined" if found.reason else "approved"
    return Outcome("purse", state, reason=found.reason, balance_minor=found.balance_minor)


# machines


def _at_machine(stage: "Stage", booth: Booth, step: Block, act: Act, row: Transaction) -> Flow[Outcome]:
    memory, line, card = booth.memory, stage.line, act.card
    if not isinstance(memory, AtmMemory):
        raise Unfit(f"{step['do']} is done at a machine ({booth.till.name} is none)")
    if card is None:
        raise Unfit(f"{step['do']}: which card?")
    entry = _entry(booth, step, act)
    if row.name in AT_MACHINES:
        amount = _amount(step, row.name)
        _take(stage, act, card, CONTACT)
        if row.name == "load_other":
            return atm_chip.load_other(memory, line, _card(stage, step, act, "payer"), card, amount)
        return atm_chip.load_designated(memory, line, card, amount)
    if row.name in (atm.WITHDRAWAL, atm.INQUIRY) and entry in ("chip", "tap"):
        interface = CONTACTLESS if entry == "tap" else CONTACT
        _take(stage, act, card, interface)
        if row.name == atm.INQUIRY:
            return atm_chip.inquire(memory, line, card, interface=interface)
        return atm_chip.withdraw(memory, line, card, _amount(step, row.name), interface=interface)
    if row.name == atm.WITHDRAWAL:
        return atm.withdraw(memory, line, card, _amount(step, row.name))
    if row.name == atm.INQUIRY:
        return atm.inquire(memory, line, card)
    if row.name == atm.DEPOSIT:
        return atm.deposit(memory, line, card, _notes(step))
    if row.name == atm.TRANSFER:
        return atm.transfer(memory, line, card, _amount(step, row.name), _card(stage, step, act, "to").pan)
    if row.name == atm.PIN_CHANGE:
        return atm.change_pin(memory, line, card)
    raise Unfit(f"{step['do']} comes with another transaction; nobody does it by itself")


def _notes(step: Block) -> dict[int, int]:
    notes: Mapping[str, int] = step.get("notes", {})
    if not notes:
        raise Unfit("atm-deposit: which notes? (notes: {100: 3})")
    return {int(yuan) * 100: count for yuan, count in notes.items()}


def _counted(booth: Booth) -> Flow[Outcome]:
    if not isinstance(booth.memory, AtmMemory):
        raise Unfit(f"{booth.till.name} holds no cash")
    return _balanced(booth.memory)


def _balanced(memory: AtmMemory) -> Flow[Outcome]:
    balance = atm.balance_machine(memory, {})
    return Outcome(
        "count-machine", "approved" if balance.agrees else "declined", reason="" if balance.agrees else "unexplained"
    )
    yield  # a flow, although it asks nobody


# what chips have to tell, and are told


def _uploaded(memory: Memory, line: pos.Line) -> Flow[Outcome]:
    held = yield from upload.deliver(memory, line)
    return held or Outcome("upload", "approved", "00")


def _downloaded(memory: Memory, line: pos.Line, what: str) -> Flow[Outcome]:
    if memory.reader is None:
        raise Unfit("this terminal reads no chips")
    if what == "all":
        return download.everything(memory, line)
    return download.download(memory, line, DOWNLOADS[what])
