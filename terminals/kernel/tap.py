"""A card in the field: qPBOC, offline and online, from the entry limits to the outcome (docs/kernel.md, Contactless).

The card has done its part when the last record is read; what follows (expiry, exception file, fDDA, cardholder
verification) is the terminal's alone. A card that leaves too early (闪卡) is asked for again and pays once.
"""

from typing import Final

from switch.wire import apdu, bits, dol
from switch.wire.errors import WireError
from terminals.flow import Ask, Cancelled, CardRemoved, Flow
from terminals.kernel import icc, oda, read, risk, select
from terminals.kernel.session import (
    CASH,
    CASHBACK,
    CONTACTLESS,
    LOADS,
    SALE,
    Ended,
    Kernel,
    Outcome,
    Presented,
    Request,
    Session,
    exchange,
)

TAPS_MAX: Final = 3
"""How often a card that left is asked for again."""

_APPROVED_OFFLINE, _DECLINED_OFFLINE = b"Y1", b"Z1"
_RESULTS: Final = {"none": 0x3F0000, "cdcvm": 0x3F0000, "signature": 0x1E0300, "online_pin": 0x020300}
_BIN_SIZES: Final = range(10, 3, -1)
_ELSEWHERE: Final = {CASH: bits.CTQ_CASH_CONTACT, CASHBACK: bits.CTQ_CASHBACK_CONTACT}
"""By 9C: what a card may allow on its contacts alone."""
_BALANCE: Final = 0x01
_BALANCE_AND_TOTAL: Final = 0x03


def tap(kernel: Kernel, request: Request) -> Flow[Presented]:
    """One transaction in the field. Nothing has to be completed afterwards; there is no second cryptogram."""
    session = Session(kernel, request, CONTACTLESS)
    torn = 0
    unproven: Session | None = None
    outcome: Outcome
    while True:
        try:
            outcome, reason = yield from _once(session, unproven)
        except CardRemoved:
            torn += 1
            if session.values.get("9F26"):
                unproven = session
            if torn <= TAPS_MAX and (yield from _again()):
                session = Session(kernel, request, CONTACTLESS)
                continue
            outcome, reason = "ended", "card_removed"
            session = unproven or session
        except Ended as end:
            outcome, reason = end.outcome, end.reason
        except Cancelled:
            outcome, reason = "ended", "cancelled"
        except WireError:
            outcome, reason = "ended", "data"
        break
    session.torn = torn
    if outcome in ("online", "approved", "declined"):
        try:
            outcome, reason = yield from _decided(session, outcome, reason)
        except Cancelled:
            outcome, reason = "ended", "cancelled"
    session.stamp()
    data = b""
    if outcome in ("online", "approved", "declined") and session.values.get("9F26"):
        data = icc.build(icc.ONLINE if outcome == "online" else icc.OFFLINE, session.values)
    return session.presented(outcome, reason, data)


def _again() -> Flow[bool]:
    try:
        return (yield Ask("tap_again", None)) is True
    except (Cancelled, CardRemoved):
        return False


def _once(session: Session, unproven: Session | None) -> Flow[tuple[Outcome, str]]:
    """One presentation of the card. `unproven`: an earlier one broke off after the card had given its cryptogram."""
    if session.request.type_9c in LOADS:
        raise Ended("try_other_interface", "contact_only")
    found = yield from select.tap_candidates(session.kernel)
    if not found:
        raise Ended("try_other_interface" if _contact(session) else "ended", "no_application")
    limited = False
    for candidate in found:
        limit = candidate.aid.tap_max
        if limit is not None and session.request.amount_minor >= limit:
            limited = True
            continue
        session.values["9F66"] = ttq(session, candidate).to_bytes(4, "big")
        fci = yield from select.open_application(session, candidate)
        if fci is None:
            continue
        pdol = fci.get("9F38", b"")
        if "9F66" not in dol.tags(pdol):
            continue
        if unproven is not None and unproven.name == session.name and (yield from _proven(unproven)):
            _adopt(session, unproven)
            read.account(session)
            return "approved", ""
        sw = yield from read.initiate(session, pdol)
        if sw == apdu.OK:
            return (yield from _answered(session, unproven))
        if sw == apdu.SEE_PHONE:
            break
        if sw != apdu.NOT_SATISFIED:
            raise Ended("ended", "status")
    reason = "limit" if limited else "contact_only"
    raise Ended("try_other_interface" if _contact(session) else "ended", reason)


def ttq(session: Session, candidate: select.Candidate) -> int:
    """The terminal's qualifiers for this transaction: what the terminal is, and what the amount makes necessary."""
    request, aid = session.request, candidate.aid
    value = session.kernel.ttq & ~(bits.TTQ_CRYPTOGRAM | bits.TTQ_CVM)
    amount = request.amount_minor
    if (aid.tap_floor is not None and amount > aid.tap_floor) or amount == 0 or request.force_online:
        value |= bits.TTQ_CRYPTOGRAM
    if request.type_9c != SALE and not value & bits.TTQ_OFFLINE_ONLY:
        value |= bits.TTQ_CRYPTOGRAM
    if aid.tap_cvm is not None and amount >= aid.tap_cvm and not _small(request):
        value |= bits.TTQ_CVM
    if request.type_9c == CASH:
        value |= bits.TTQ_CVM
    return value


def _small(request: Request) -> bool:
    """Whether amount and merchant would free a sale of PIN and signature; the card number is not known yet."""
    return request.type_9c == SALE and request.enrolled and 0 < request.amount_minor <= request.small_max


def _in_table(request: Request, pan: str) -> bool:
    heads = [pan[:size] for size in _BIN_SIZES]
    return any(head in request.small_bins for head in heads) and not any(head in request.never_small for head in heads)


def _contact(session: Session) -> bool:
    return bool(session.kernel.ttq & bits.TTQ_CONTACT)


def _proven(earlier: Session) -> Flow[bool]:
    """GET TRANS PROVE: whether the card completed the presentation that broke off: its TC is the one we hold."""
    if earlier.cid != apdu.AC_TC:
        return False
    data, sw = yield from exchange(apdu.get_trans_prove(earlier.values["9F36"]))
    return sw == apdu.OK and data[-8:] == earlier.values["9F26"]


def _adopt(session: Session, earlier: Session) -> None:
    """Finish the earlier presentation: its values are this transaction's."""
    session.values = {"9F74": icc.E_CASH_CODE} | earlier.values
    session.pan, session.cid = earlier.pan, earlier.cid
    session.aip, session.afl, session.name, session.label = earlier.aip, earlier.afl, earlier.name, earlier.label
    session.signed, session.e_cash, session.balance_minor = earlier.signed, True, earlier.balance_minor
    session.proven = True


def _answered(session: Session, unproven: Session | None) -> Flow[tuple[Outcome, str]]:
    """The card's decision, out of 9F27 or its CVR; an approval stands when the last record has been read."""
    values = session.values
    atc, ac, iad = values.get("9F36"), values.get("9F26"), values.get("9F10")
    if not atc or not ac or not iad:
        raise Ended("ended", "missing")
    if len(atc) != 2 or len(ac) != 8 or len(iad) < 7:
        raise Ended("ended", "data")
    session.cid = values["9F27"][0] & apdu.AC_MASK if values.get("9F27") else _kind(iad)
    values["9F27"] = bytes((session.cid,))
    if "57" in values:
        read.account(session)
    if unproven is not None and session.pan and session.pan != unproven.pan:
        raise Ended("ended", "other_card")
    session.balance_minor = _balance(values)
    if session.cid == apdu.AC_TC:
        if not session.afl:
            raise Ended("ended", "missing")
        refused = _unwelcome(session)
        if refused:
            del values["9F26"]  # a certificate of nothing: the card has not paid
            return "declined", refused
        session.e_cash = True
        yield from read.records(session)
        read.account(session)
    elif "57" not in values:
        if session.afl and "5A" not in values:
            yield from read.records(session)
        read.account(session)
    if session.cid == apdu.AC_TC:
        return "approved", ""
    return ("online", "") if session.cid == apdu.AC_ARQC else ("declined", "card_declined")


def _unwelcome(session: Session) -> str:
    """Why a card must not pay, asked while it has not: it pays when its last record is read. "" if it may."""
    if session.pan and risk.excepted(session):
        return "exception_file"
    if _past(session) and not _qualifiers(session) & bits.CTQ_EXPIRED_ONLINE:
        return "expired"
    ask = session.kernel.before_paying
    refused = "" if ask is None else ask(session)
    if not refused and session.request.keep is not None:
        session.request.keep(session)
    return refused


def _past(session: Session) -> bool:
    """Whether the card's last month is over, by its track 2: 5F24 comes with the records."""
    return bool(session.expiry) and risk.century(session.expiry + "31") < risk.century(session.request.date)


def _qualifiers(session: Session) -> int:
    """9F6C as an integer."""
    return int.from_bytes(session.values.get("9F6C", b"")[:2].ljust(2, b"\x00"), "big")


def _kind(iad: bytes) -> int:
    """The cryptogram's kind by bits 6-5 of the CVR's first byte, as cards without 9F27 tell it."""
    return (apdu.AC_AAC, apdu.AC_TC, apdu.AC_ARQC, 0xFF)[iad[4] >> 4 & 3]


def _balance(values: dict[str, bytes]) -> int | None:
    """What the card tells of its electronic cash: 9F5D, or issuer data of type 01 or 03."""
    told = read.number(values.get("9F5D"))
    iad = values["9F10"]
    if told is None and len(iad) >= 15 and iad[9] in (_BALANCE, _BALANCE_AND_TOTAL):
        told = read.number(iad[10:15])
    return told


def _decided(session: Session, outcome: Outcome, reason: str) -> Flow[tuple[Outcome, str]]:
    """What the terminal makes of the card's decision, with the card already gone."""
    kernel, request = session.kernel, session.request
    ctq = _qualifiers(session)
    online = kernel.online_capable and not kernel.ttq & bits.TTQ_OFFLINE_ONLY
    if session.cid not in (apdu.AC_AAC, apdu.AC_TC, apdu.AC_ARQC):
        return "ended", "data"
    if outcome != "declined":
        if ctq & _ELSEWHERE.get(request.type_9c, 0):
            return "try_other_interface", "contact_only"
        if risk.excepted(session):
            outcome, reason = "declined", "exception_file"
    if outcome == "approved" and risk.expired(session):
        goes = ctq & bits.CTQ_EXPIRED_ONLINE and online
        outcome, reason = ("online", "") if goes else ("declined", "expired")
    if outcome == "approved" and not session.proven and not oda.of_tap(session):
        outcome, reason = _unauthentic(session, ctq, online)
    if outcome == "online" and not online:
        outcome, reason = "declined", "unable_online"
    if outcome == "online":
        yield from _holder(session, ctq)
    if outcome != "online":
        session.values["8A"] = _APPROVED_OFFLINE if outcome == "approved" else _DECLINED_OFFLINE
        session.signature = outcome == "approved" and bool(ctq & bits.CTQ_SIGNATURE)
        if session.signature:
            session.cvm = "signature"
    session.cvm_results = _RESULTS[session.cvm]
    return outcome, reason


def _unauthentic(session: Session, ctq: int, online: bool) -> tuple[Outcome, str]:
    """Failed fDDA: what the card's qualifiers say; an offline cryptogram goes online only where they do."""
    if ctq & bits.CTQ_ODA_FAIL_ONLINE and online:
        return "online", "oda_failed"
    if ctq & bits.CTQ_ODA_FAIL_CONTACT and _contact(session):
        return "try_other_interface", "oda_failed"
    return "declined", "oda_failed"


def _holder(session: Session, ctq: int) -> Flow[None]:
    """Who the holder is, online: the device knows, nobody needs to (小额双免), PIN as usual, or a signature."""
    request, kernel = session.request, session.kernel
    if ctq & bits.CTQ_CDCVM:
        session.cvm = "cdcvm"
        return
    if _small(request) and _in_table(request, session.pan):
        session.no_pin = True
        return
    pin_pad = bool(kernel.ttq & bits.TTQ_ONLINE_PIN)
    if pin_pad and (ctq & bits.CTQ_ONLINE_PIN or not ctq & bits.CTQ_SIGNATURE):
        session.cvm = "online_pin"
        try:
            session.pin = (yield Ask("pin", session.face)) or ""
        except CardRemoved:
            session.pin = ""
    elif kernel.ttq & bits.TTQ_SIGNATURE:
        session.cvm, session.signature = "signature", True
