"""Who plays: kinds of terminals, cards and hosts from `scenarios/cast`, and the ones a story names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from scenarios.story.reading import Story
from scenarios.story.shape import BadStory, Block, Choice, Flag, Free, Items, Key, Keys, Number, Text, compose, meant
from scenarios.story.vocabulary import RULES
from scenarios.story.wanted import NAME
from switch.crypto.block import adjust_parity
from switch.issuer.portfolio import STANDARD_ISSUERS, Card, Portfolio
from terminals.card.mint import Minter
from terminals.fleet import ACQUIRER, MACHINE_MCC, Terminal

CAST: Final = Path(__file__).parent.parent / "cast"
SEED: Final = 20130501
"""One seed for all stories: the same cards with the same keys, made once a process."""
CARDS: Final = 10_000
"""Of each issuer: enough for the rare kinds."""
BANKS: Final = {"own": 0, "far": 1, "egret": 2, "grey": 3, "cloud": 4}
STRANGER: Final = "9990000000000000"
"""How the number of a card begins that no bank here has issued."""
E_CASH: Final = "application/main/objects/9F79"
"""Where a profile says what electronic cash a chip is issued with."""
_FIT_UNTIL: Final = "3000"

_TERMINALS: Final = Free(
    Keys("kind of terminal", (
        Key("zh", Text(), "中文", "Chinese", True), Key("en", Text(), "英文", "English", True),
        Key("model", Choice(("D1", "D2", "M2", "S3", "ATM", "CRS"), "model"), "型号", "model", True),
        Key("reads", Items(Choice(("stripe", "contact", "contactless"), "way to read")), "读卡", "what it reads", True),
        Key("suite", Choice(("3des", "sm4"), "suite"), "算法", "algorithms"),
        Key("no-pin", Flag(), "双免商户", "its merchant asks no PIN of small sales"),
        Key("mcc", Text(r"[0-9]{4}", "four digits"), "MCC", "merchant category"),
        Key("notes", Free(Number(0), Text(r"[0-9]+", "yuan")), "钞票", "notes it holds"),
    )),
    NAME,
)  # fmt: skip
_CARDS: Final = Free(
    Keys("kind of card", (
        Key("zh", Text(), "中文", "Chinese", True), Key("en", Text(), "英文", "English", True),
        Key("bank", Choice((*BANKS, "nobody"), "bank"), "发卡行", "issuer", True),
        Key("chip", Text(), "芯片", "profile of its chip, none, or any", True),
        Key("status", Choice(("normal", "lost", "stolen", "restricted"), "status"), "状态", "status"),
        Key("expired", Flag(), "过期", "expired"),
    )),
    NAME,
)  # fmt: skip
_HOSTS: Final = Free(RULES, NAME)


@dataclass(frozen=True, slots=True)
class Till:
    """A terminal in the cast: as it is registered, and how it begins."""

    name: str
    terminal: Terminal
    no_pin: bool
    notes: dict[int, int]
    signed_in: bool
    fresh: bool
    kernel: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Holder:
    """A card in the cast; `chip` are values of its profile set otherwise, by dotted place."""

    name: str
    card: Card
    chip: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Troupe:
    """A story's cast. `hosts` are the operator rules at the start, by line."""

    tills: dict[str, Till] = field(default_factory=dict)
    holders: dict[str, Holder] = field(default_factory=dict)
    hosts: Mapping[str, list[Block]] = field(default_factory=dict)


@lru_cache(maxsize=8)
def _kinds(path: Path, what: str) -> Any:
    shape = {"terminals": _TERMINALS, "cards": _CARDS, "hosts": _HOSTS}[what]
    return shape.read(compose(path), str(path))


def kinds(what: str) -> Block:
    """The kinds of "terminals", "cards" or "hosts" there are. Raises BadStory."""
    block: Block = _kinds(CAST / f"{what}.yaml", what)
    return block


@lru_cache(maxsize=1)
def issued() -> tuple[Portfolio, Minter]:
    """All cards of all stories, and what makes their chips."""
    portfolio = Portfolio(SEED, STANDARD_ISSUERS, CARDS)
    return portfolio, Minter(portfolio, SEED)


def invented(kind: Block, nth: int) -> Card:
    """The `nth` card of a kind among the house's own. Raises LookupError."""
    return found_card(issued()[0], kind, nth, CARDS)


def cast(
    story: Story,
    card_of: Callable[[Block, int], Card] = invented,
    terminal_of: Callable[[Mapping[str, Any], Terminal], Terminal] = lambda kind, terminal: terminal,
) -> Troupe:
    """Give every part: `card_of` a kind and a number, `terminal_of` a kind and the invented terminal, may bring others.

    Raises BadStory for a kind there is not, or that nobody has.
    """
    troupe = Troupe(hosts=_hosts(story))
    for name, block in story.cast.items():
        try:
            if "terminal" in block:
                troupe.tills[name] = _till(name, block, troupe, terminal_of)
            else:
                troupe.holders[name] = _holder(name, block, card_of)
        except LookupError as error:
            raise story.fault(story.cast.at(name), str(error.args[0])) from None
    return troupe


def _hosts(story: Story) -> Mapping[str, list[Block]]:
    hosts = story.hosts
    if hosts is None or isinstance(hosts, dict):
        return hosts or {}
    known = kinds("hosts")
    if hosts not in known:
        raise BadStory(story.path, 1, f'no hosts are called "{hosts}"{meant(hosts, known)}')
    found: Mapping[str, list[Block]] = known[hosts]
    return found


def _kind(what: str, name: str) -> Block:
    known = kinds(what)
    if name not in known:
        raise LookupError(f'no kind of {what[:-1]} is called "{name}"{meant(name, known)}')
    block: Block = known[name]
    return block


def _till(
    name: str, block: Block, troupe: Troupe, terminal_of: Callable[[Mapping[str, Any], Terminal], Terminal]
) -> Till:
    kind = _kind("terminals", block["terminal"])
    number = len(troupe.tills) + 1
    suite = block.get("suite") or kind.get("suite", "3des")
    stuff = sha256(f"story terminal {name} {number}".encode()).digest()[:16]
    machine = kind["model"] in ("ATM", "CRS")
    mcc = MACHINE_MCC if machine else kind.get("mcc", "5411")
    mid, merchant = f"{ACQUIRER}2900{mcc}{number:04d}", f"江北区{'自助银行' if machine else f'故事{number}号店'}"
    if "merchant" in block:
        if block["merchant"] not in troupe.tills:
            raise LookupError(f'no terminal before is called "{block["merchant"]}"')
        mate = troupe.tills[block["merchant"]].terminal
        mid, merchant = mate.mid, mate.merchant_name
    terminal = Terminal(
        f"{(60_000_000 if machine else 10_000_000) + number}", mid, mcc, merchant, suite, "江北区",
        adjust_parity(stuff) if suite == "3des" else stuff, kind["model"], tuple(kind["reads"]),
    )  # fmt: skip
    terminal = terminal_of({**kind, "suite": suite}, terminal)
    notes = block.get("notes", kind.get("notes", {}))
    return Till(
        name, terminal, kind.get("no-pin", False), {int(yuan) * 100: count for yuan, count in notes.items()},
        block.get("signed-in", False), block.get("fresh", False), block.get("kernel", {}),
    )  # fmt: skip


def _holder(name: str, block: Block, card_of: Callable[[Block, int], Card]) -> Holder:
    kind = _kind("cards", block["card"])
    nth = block.get("nth", 1)
    if kind["bank"] == "nobody":
        pan = f"{STRANGER}{nth:03d}"
        card = Card(pan, "3912", f"{pan}=3912120000123", "123456", False, 0, STANDARD_ISSUERS[1])
    else:
        card = card_of(kind, nth)
    if "balance" in block:
        card = replace(card, balance_minor=block["balance"])
    chip = block.get("chip", {})
    if E_CASH in chip:  # the issuer knows what it put there
        card = replace(card, e_cash_minor=int(chip[E_CASH]))
    return Holder(name, card, chip)


def found_card(portfolio: Portfolio, kind: Block, nth: int, most: int) -> Card:
    """The `nth` card of a kind among the first `most` of its issuer. Raises LookupError."""
    chip, status, expired = kind["chip"], kind.get("status", "normal"), kind.get("expired", False)
    wanted = "" if chip == "none" else chip
    left = nth
    for number in range(most):
        card = portfolio.card(BANKS[kind["bank"]], number)
        if card.status != status or (card.expiry < _FIT_UNTIL) != expired or (chip != "any" and card.chip != wanted):
            continue
        left -= 1
        if not left:
            return card
    raise LookupError(f"there are fewer than {nth} cards of this kind")


class Shelf(Portfolio):
    """The issuers' cards with those of one story as its cast has them."""

    def __init__(self, holders: Mapping[str, Holder], seed: int = SEED, most: int = CARDS) -> None:
        super().__init__(seed, STANDARD_ISSUERS, most)
        self._changed = {holder.card.pan: holder.card for holder in holders.values()}

    def card(self, issuer_index: int, n: int) -> Card:
        """The card as the story has it."""
        card = super().card(issuer_index, n)
        return self._changed.get(card.pan, card)
