"""What terminal, card, books and cash are like: each key of an expectation and how it is found out.

Every check gives (key, where its line stands, expected, actual); `expected` may be (in words, whether it is so).
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from scenarios.story.booth import Act, Booth, cryptogram
from scenarios.story.flows import Unfit
from scenarios.story.perform import printed
from scenarios.story.shape import Block
from switch.wire import bits
from terminals.device.memory import Memory
from terminals.device.receipt import receipt, settlement_slip
from terminals.kernel.session import Presented

if TYPE_CHECKING:
    from scenarios.story.expect import Judge

Check = tuple[str, Block, Any, Any]


def yuan(minor: int | None) -> str:
    """Minor units as a story writes them."""
    if minor is None:
        return "none"
    return f"{'-' if minor < 0 else ''}{abs(minor) // 100}.{abs(minor) % 100:02d}"


# the terminal


def booth_of(judge: "Judge", block: Block, key: str = "at") -> Booth:
    """The terminal that is spoken of: named, the last one that did something, or the only one. Raises Unfit."""
    booths, name = judge.stage.booths, block.get(key)
    if name is None:
        if judge.player.act is not None:
            return judge.player.act.booth
        if len(booths) == 1:
            return next(iter(booths.values()))
        raise Unfit(f"which terminal? (at: one of {', '.join(booths)})")
    if name not in booths:
        raise Unfit(f'"{name}" is no terminal')
    return booths[name]


_COUNTS: Final[dict[str, Callable[[Memory], int]]] = {
    "items": lambda memory: len(memory.items), "offline": lambda memory: len(memory.offline),
    "notices": lambda memory: len(memory.notices), "doubts": lambda memory: len(memory.doubts),
    "refused": lambda memory: len(memory.refused), "torn": lambda memory: len(memory.torn),
}  # fmt: skip


def terminal_checks(judge: "Judge", block: Block) -> Iterator[Check]:
    """The terminal's memory, and how the last dialogue at it ended."""
    booth = booth_of(judge, block)
    memory = booth.memory
    acts = [act for act in judge.player.acts if act.booth is booth]
    act = acts[-1] if acts else None
    for key, expected in block.items():
        if key == "totals":
            told = memory.totals()
            values = {
                "debit": told.debit_minor,
                "debits": told.debit_count,
                "credit": told.credit_minor,
                "credits": told.credit_count,
            }
            for name, wanted in expected.items():
                money = name in ("debit", "credit")
                yield (
                    f"totals.{name}",
                    expected,
                    yuan(wanted) if money else wanted,
                    yuan(values[name]) if money else values[name],
                )
        elif key == "receipt":
            yield from _receipt(judge, block, expected, act)
        elif key == "parameters":
            for code, wanted in expected.items():
                yield f"parameters.{code}", expected, wanted, memory.parameters.get(code, "none")
        elif key != "at":
            yield key, block, expected if key != "balance" else yuan(expected), _of_terminal(key, memory, act)


def _of_terminal(key: str, memory: Memory, act: Act | None) -> Any:
    if key in _COUNTS:
        return _COUNTS[key](memory)
    if key == "pending-reversal":
        return memory.pending is not None
    if key == "signed-in":
        return memory.signed_in
    if key == "batch":
        return memory.batch
    if key in ("applications", "ca-keys"):
        if memory.reader is None:
            return 0
        parameters = memory.reader.kernel.parameters
        return len(parameters.aids if key == "applications" else parameters.ca_keys)
    if act is None or act.outcome is None:
        return act.lost if act is not None and act.lost else "no dialogue has ended"
    outcome = act.outcome
    if key == "state":
        return outcome.state
    if key == "reason":
        return outcome.reason
    if key == "balance":
        return yuan(outcome.balance_minor)
    if outcome.item is None:
        return "no item"
    return outcome.item.reversal if key == "reversal" else outcome.item.undone


def _receipt(judge: "Judge", block: Block, expected: Any, act: Act | None) -> Iterator[Check]:
    slip = printed(act) if act is not None else ""
    if isinstance(expected, str):
        yield "receipt", block, expected, "printed" if slip else "none"
        return
    both = slip + (_in_english(act) if act is not None and slip else "")
    told = " | ".join(" ".join(line.split()) for line in slip.splitlines() if line.strip()) or "no receipt"
    for words in map(judge.player.value, expected.get("contains", ())):
        yield "receipt.contains", expected, (f"with {words}", words in both), told
    for words in map(judge.player.value, expected.get("lacks", ())):
        yield "receipt.lacks", expected, (f"without {words}", bool(slip) and words not in both), told


def _in_english(act: Act) -> str:
    outcome, memory = act.outcome, act.booth.memory
    if outcome is None:
        return ""
    if outcome.totals is not None:
        return settlement_slip(memory, outcome, "en")
    return receipt(memory, outcome.item, "en") if outcome.item is not None else ""


# the card


def card_act(judge: "Judge", block: Block) -> tuple[str, Act | None]:
    """The card's name, and the last dialogue with its chip. Raises Unfit."""
    name = block.get("of")
    if name is None:
        name = judge.act.holder or next((act.holder for act in reversed(judge.player.acts) if act.holder), "")
    if name not in judge.stage.troupe.holders:
        raise Unfit(f'"{name}" is no card')
    return name, next((act for act in reversed(judge.player.acts) if act.holder == name and act.hand is not None), None)


def card_checks(judge: "Judge", block: Block) -> Iterator[Check]:
    """What the kernel made of a card, and what the card remembers."""
    name, act = card_act(judge, block)
    for key, expected in block.items():
        if key in ("tvr", "tsi"):
            value = _bits(act, key)
            for bit, wanted in expected.items():
                mask = getattr(bits, f"{key.upper()}_{bit.upper().replace('-', '_')}")
                yield f"{key}.{bit}", expected, wanted, "no chip was read" if value is None else bool(value & mask)
        elif key == "commands":
            for ins, wanted in expected.items():
                found = sum(command[1] == int(ins, 16) for command, _ in act.commands) if act is not None else 0
                yield f"commands.{ins}", expected, wanted, found
        elif key != "of":
            yield key, block, yuan(expected) if key == "balance" else expected, _of_card(judge, key, name, act)


def _bits(act: Act | None, key: str) -> int | None:
    if act is None:
        return None
    if act.seen:
        return int(getattr(act.seen[-1], key))
    item = act.item
    return None if item is None or item.chip is None else int(getattr(item.chip, key))


def _first(act: Act | None) -> Presented | None:
    return next((one for one in act.seen if isinstance(one, Presented)), None) if act is not None else None


def _of_card(judge: "Judge", key: str, name: str, act: Act | None) -> Any:
    if key in ("balance", "atc", "pin-tries", "blocked"):
        return _remembered(judge, key, name, act)
    if act is None:
        return "no chip was read"
    first = _first(act)
    if key == "atc-grown":
        return act.hand.icc.state.atc - act.atc_before if act.hand is not None else 0
    if key == "certificate":
        if act.seen:
            return cryptogram(act.seen[-1].values)
        return act.item.chip.certificate if act.item is not None and act.item.chip is not None else "none"
    if key == "issuer-authenticated":
        return getattr(act.seen[-1], "issuer_authenticated", None) if act.seen else None
    if first is None:
        return "not seen"
    match key:
        case "outcome":
            return first.outcome.replace("_", "-")
        case "cvm":
            return first.cvm.replace("_", "-")
        case "first":
            return act.first_ac
        case "aid":
            return first.aid.hex().upper()
        case "no-pin":
            return first.no_pin
    return first.e_cash


def _remembered(judge: "Judge", key: str, name: str, act: Act | None) -> Any:
    if act is not None and act.hand is not None:
        state = act.hand.icc.state
    else:
        card = judge.stage.troupe.holders[name].card
        if not card.chip:
            return "no chip"
        state = judge.stage.ground.minter.image(card).fresh_state()
    if key == "balance":
        return yuan(state.balance)
    if key == "blocked":
        return bool(state.blocked)
    return state.atc if key == "atc" else state.pin_tries
