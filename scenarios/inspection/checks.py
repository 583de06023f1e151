"""What an inspector does at a terminal: test cards shown to it, one check each, and what must come of it.

Every check is a real transaction of card and kernel in memory, with an issuer that verifies. A check `after` others is
made only where those passed: a dead reader is one defect, not five. `rule` is the rule of the book it belongs to.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from scenarios.inspection.fleet import ATM, CRS, POS, VALIDATOR, Stand
from switch.wire import bits
from switch.wire.roster import CONTACT, CONTACTLESS
from terminals.kernel import fallback
from terminals.kernel.session import CASH, LOADS, SALE, Request
from terminals.look.chosen import Chosen, from_portfolio
from terminals.look.glass import Order, Taken, look

SEED: Final = 20150630
"""Of the inspector's test cards."""
_ODA_WRONG: Final = bits.TVR_ODA_NOT_PERFORMED | bits.TVR_SDA_FAILED | bits.TVR_DDA_FAILED | bits.TVR_CDA_FAILED
_PURSE_MINOR: Final = 10_000
_SMALL_MINOR: Final = 2_000
_NO_PIN_MINOR: Final = 20_000
_LARGE_MINOR: Final = 150_000
_FARE_MINOR: Final = 109
"""1.09 yuan: what a ride cost on average in the year the buses of Anhui began to take chips."""

_CHIP_STRIPE: Final = "=3512201"
"""The end of a stripe whose service code says that the card has a chip."""


class Seen(NamedTuple):
    """What came of a check: whether it is as it must be, and the evidence in Chinese and English."""

    ok: bool
    zh: str
    en: str


class Check(NamedTuple):
    """One check. `kinds` of terminals it is for, `reads` what they must be said to read, `sm` those on SM4 alone."""

    name: str
    rule: str
    zh: str
    en: str
    kinds: tuple[str, ...]
    reads: str
    make: Callable[[Stand, str], Seen]
    after: tuple[str, ...] = ()
    sm: bool = False


@lru_cache(maxsize=16)
def _card(profile: str) -> Chosen:
    return from_portfolio(SEED, profile)


def _show(
    stand: Stand,
    date: str,
    interface: str,
    card: str,
    amount_minor: int,
    *,
    type_9c: int = SALE,
    e_cash: bool = False,
    small: bool = False,
    balance_minor: int | None = None,
) -> Taken:
    chosen = _card(card)
    request = Request(
        amount_minor, date, "120000", type_9c=type_9c, merchant_name=stand.setting.merchant, e_cash=e_cash,
        force_online=not e_cash, enrolled=small and stand.small, small_max=stand.small_max_minor,
        small_bins=(chosen.issued.pan[:6],),
    )  # fmt: skip
    return look(
        Order(
            interface="contact" if interface == CONTACT else "contactless",
            chosen=chosen,
            setting=stand.setting,
            request=request,
            issued=chosen.issued,
            seed=SEED,
            balance_minor=balance_minor,
        )
    )


def _seen(ok: bool, taken: Taken, paid_minor: int | None = None) -> Seen:
    """The outcome, the TVR with its bits by name, what the holder was asked, and what the card has paid or got."""
    presented = taken.presented
    outcome = presented.outcome + (f" ({presented.reason})" if presented.reason else "")
    rows = bits.bits("TVR", presented.tvr)
    zh, en = (", ".join(f"{row.byte}.{row.bit} {getattr(row, name)}" for row in rows) for name in ("zh", "en"))
    money = "" if paid_minor is None else f"; {paid_minor / 100:.2f}"
    tvr = f"TVR {presented.tvr:010X}"
    return Seen(
        ok,
        f"{outcome}; {tvr} {zh or '无'}; 提示: {', '.join(taken.asked) or '无'}{money}",
        f"{outcome}; {tvr} {en or 'nothing'}; asked: {', '.join(taken.asked) or 'nothing'}{money}",
    )


_SILENT: Final = Seen(False, "读卡器无响应", "the reader does not answer")


def _dead(stand: Stand, interface: str) -> bool:
    return not (stand.slot if interface == CONTACT else stand.field)


def _online(interface: str, kind: int, amount_minor: int) -> Callable[[Stand, str], Seen]:
    def make(stand: Stand, date: str) -> Seen:
        if _dead(stand, interface):
            return _SILENT
        taken = _show(stand, date, interface, "dual", amount_minor, type_9c=kind, balance_minor=0)
        ok = taken.approved and taken.presented.outcome == "online" and "pin" in taken.asked
        return _seen(ok, taken)

    return make


def _oda(stand: Stand, date: str) -> Seen:
    taken = _show(stand, date, CONTACT, "dual", _SMALL_MINOR, balance_minor=0)
    return _seen(not taken.presented.tvr & _ODA_WRONG, taken)


def _offline(interface: str, card: str, amount_minor: int) -> Callable[[Stand, str], Seen]:
    def make(stand: Stand, date: str) -> Seen:
        if _dead(stand, interface):
            return _SILENT
        taken = _show(stand, date, interface, card, amount_minor, e_cash=True, balance_minor=_PURSE_MINOR)
        paid = taken.before_minor - taken.after_minor
        ok = taken.approved and taken.presented.outcome == "approved" and paid == amount_minor
        return _seen(ok, taken, paid)

    return make


def _small(amount_minor: int, free: bool) -> Callable[[Stand, str], Seen]:
    def make(stand: Stand, date: str) -> Seen:
        taken = _show(stand, date, CONTACTLESS, "dual", amount_minor, small=True, balance_minor=0)
        ok = taken.approved and taken.presented.no_pin == free == ("pin" not in taken.asked)
        return _seen(ok, taken)

    return make


def _stripe(stand: Stand, date: str) -> Seen:
    said = fallback.swiped(_CHIP_STRIPE, stand.asks_for_chip)
    return Seen(said == "insert", f"刷芯片卡磁条: {said}", f"the stripe of a chip card: {said}")


def _load(stand: Stand, date: str) -> Seen:
    taken = _show(stand, date, CONTACT, "dual", _PURSE_MINOR, type_9c=LOADS[0], balance_minor=0)
    got = taken.after_minor - taken.before_minor
    return _seen(taken.approved and got == _PURSE_MINOR, taken, got)


_MACHINES: Final = (ATM, CRS)
CHECKS: Final = (
    Check("contact", "IN-1", "接触式消费", "a sale by contact", (POS,), CONTACT, _online(CONTACT, SALE, _SMALL_MINOR)),
    Check("oda", "CT-6", "脱机数据认证", "offline data authentication", (POS,), CONTACT, _oda, ("contact",)),
    Check(
        "e-cash", "IN-8", "接触式电子现金", "electronic cash by contact", (POS,), CONTACT,
        _offline(CONTACT, "dual", _SMALL_MINOR), ("contact", "oda"),
    ),
    Check(
        "sm", "KY-17", "国密芯片卡", "a card on SM algorithms", (POS,), CONTACT,
        _offline(CONTACT, "sm", _SMALL_MINOR), ("e-cash",), sm=True,
    ),
    Check(
        "field", "IN-2", "非接触消费", "a sale in the field", (POS,), CONTACTLESS,
        _online(CONTACTLESS, SALE, _LARGE_MINOR),
    ),
    Check(
        "quick", "IN-8", "非接触电子现金(闪付)", "electronic cash in the field", (POS,), CONTACTLESS,
        _offline(CONTACTLESS, "dual", _SMALL_MINOR), ("field", "oda"),
    ),
    Check(
        "no-pin", "IN-6", "小额双免", "a small sale without PIN", (POS,), CONTACTLESS, _small(_NO_PIN_MINOR, True),
        ("field",),
    ),
    Check(
        "pin", "IN-7", "超过双免限额验密", "the PIN above the limit", (POS,), CONTACTLESS, _small(_LARGE_MINOR, False),
        ("field",),
    ),
    Check("stripe", "IN-3", "拒绝芯片卡刷磁条", "no stripe of a chip card", (POS,), CONTACT, _stripe),
    Check(
        "withdrawal", "IN-11", "插卡取款", "a withdrawal by contact", _MACHINES, CONTACT,
        _online(CONTACT, CASH, _PURSE_MINOR),
    ),
    Check(
        "withdrawal-field", "IN-12", "挥卡取款", "a withdrawal in the field", _MACHINES, CONTACTLESS,
        _online(CONTACTLESS, CASH, _PURSE_MINOR),
    ),
    Check("load", "IN-13", "电子现金圈存", "a load of electronic cash", _MACHINES, CONTACT, _load, ("withdrawal",)),
    Check(
        "fare", "IN-8", "闸机电子现金", "a fare by electronic cash", (VALIDATOR,), CONTACTLESS,
        _offline(CONTACTLESS, "dual", _FARE_MINOR),
    ),
    Check(
        "fare-sm", "KY-17", "闸机国密芯片卡", "a fare by a card on SM algorithms", (VALIDATOR,), CONTACTLESS,
        _offline(CONTACTLESS, "sm", _FARE_MINOR), ("fare",), sm=True,
    ),
)  # fmt: skip
"""In the order in which they are made."""


def applies(check: Check, stand: Stand, suite: str) -> bool:
    """Whether a terminal must pass a check: by what it is, what it is said to read, and its suite."""
    return stand.kind in check.kinds and check.reads in stand.reads and (not check.sm or suite == "sm4")
