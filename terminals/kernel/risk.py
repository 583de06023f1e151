"""Processing restrictions and terminal risk management (EMV Book 3, 10.4 and 10.6): bits of TVR bytes 1, 2 and 4."""

from typing import Final

from switch.wire import bits
from terminals.flow import Flow
from terminals.kernel.read import get_data
from terminals.kernel.session import CASH, CASHBACK, SALE, Session

_BUYING: Final = frozenset((SALE, CASHBACK))


def restrict(session: Session) -> None:
    """Application version, usage control, effective and expiry date."""
    values, aid = session.values, session.aid
    tvr = 0
    version = values.get("9F08")
    if version is not None and aid is not None and version not in aid.versions:
        tvr |= bits.TVR_APP_VERSION
    usage = values.get("9F07")
    if usage is not None and len(usage) == 2 and not _allowed(session, usage[0] << 8 | usage[1]):
        tvr |= bits.TVR_SERVICE_NOT_ALLOWED
    today = century(session.request.date)
    effective = values.get("5F25")
    if effective is not None and century(effective.hex()) > today:
        tvr |= bits.TVR_NOT_YET_EFFECTIVE
    if expired(session):
        tvr |= bits.TVR_EXPIRED
    session.tvr |= tvr


def expired(session: Session) -> bool:
    """Whether the card's last day (5F24) lies before the day of the transaction."""
    last = session.values.get("5F24")
    return last is not None and century(last.hex()) < century(session.request.date)


def century(date: str) -> str:
    """YYMMDD as YYYYMMDD: years 50 to 99 are of the last century (EMV Book 4, 6.7.3)."""
    return ("19" if date[:2] >= "50" else "20") + date


def _allowed(session: Session, usage: int) -> bool:
    kernel, values, type_9c = session.kernel, session.values, session.request.type_9c
    if not usage & (bits.AUC_ATM if kernel.atm else bits.AUC_NOT_ATM):
        return False
    country = values.get("5F28")
    if country is None:
        return True
    domestic = country == values["9F1A"]
    if type_9c == CASH and not usage & (bits.AUC_DOMESTIC_CASH if domestic else bits.AUC_FOREIGN_CASH):
        return False
    goods = (
        bits.AUC_DOMESTIC_GOODS | bits.AUC_DOMESTIC_SERVICES
        if domestic
        else bits.AUC_FOREIGN_GOODS | bits.AUC_FOREIGN_SERVICES
    )
    if type_9c in _BUYING and not usage & goods:
        return False
    back = bits.AUC_DOMESTIC_CASHBACK if domestic else bits.AUC_FOREIGN_CASHBACK
    return bool(type_9c != CASHBACK or usage & back)


def excepted(session: Session) -> bool:
    """Whether the card is on the terminal's exception file."""
    if not session.kernel.exceptions:
        return False
    psn = session.values.get("5F34", b"\x00").hex()
    return f"{session.pan}-{psn}" in session.kernel.exceptions


def manage(session: Session) -> Flow[None]:
    """Exception file and the merchant's wish always; floor limit, random selection and velocity where the AIP asks.

    Electronic cash knows neither floor limit nor random selection: its own limits and threshold stand for them.
    """
    request = session.request
    if excepted(session):
        session.tvr |= bits.TVR_EXCEPTION_FILE
    if request.force_online:
        session.tvr |= bits.TVR_FORCED_ONLINE
    if not session.aip & bits.AIP_TERMINAL_RISK:
        return
    session.tsi |= bits.TSI_TERMINAL_RISK
    if session.e_cash:
        return
    aid, kernel = session.aid, session.kernel
    if aid is not None:
        amount = request.amount_minor + (kernel.spent(session.pan) if kernel.spent is not None else 0)
        if amount >= aid.floor_minor:
            session.tvr |= bits.TVR_FLOOR_LIMIT
        elif _drawn(session, request.amount_minor, aid.threshold_minor, aid.floor_minor, aid.target, aid.target_max):
            session.tvr |= bits.TVR_RANDOM
    yield from _velocity(session)


def _drawn(session: Session, amount: int, threshold: int, floor: int, target: int, target_max: int) -> bool:
    """Random selection, biased above the threshold (EMV Book 3, 10.6.2)."""
    percentage = target
    if amount >= threshold:
        percentage = target + (target_max - target) * (amount - threshold) // max(1, floor - threshold)
    return 1 + int.from_bytes(session.kernel.entropy(2), "big") % 99 <= percentage


def _velocity(session: Session) -> Flow[None]:
    """Consecutive offline transactions, by the card's own counters; a counter that runs backwards exceeds both."""
    values = session.values
    lower, upper = values.get("9F14"), values.get("9F23")
    if not lower or not upper:
        return
    atc = yield from get_data("9F36")
    last = yield from get_data("9F13")
    if last is not None and len(last) == 2 and not any(last):
        session.tvr |= bits.TVR_NEW_CARD
    if atc is None or last is None or len(atc) != 2 or len(last) != 2 or atc <= last:
        session.tvr |= bits.TVR_LOWER_LIMIT | bits.TVR_UPPER_LIMIT
        return
    offline = int.from_bytes(atc, "big") - int.from_bytes(last, "big")
    if offline > lower[0]:
        session.tvr |= bits.TVR_LOWER_LIMIT
    if offline > upper[0]:
        session.tvr |= bits.TVR_UPPER_LIMIT
