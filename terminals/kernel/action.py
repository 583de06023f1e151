"""Terminal action analysis and GENERATE AC (EMV Book 3, 10.7 to 10.9)."""

from typing import Final

from switch.wire import apdu, bits, dol, tlv
from terminals.flow import Flow
from terminals.kernel import oda
from terminals.kernel.read import get_data, number
from terminals.kernel.session import LOADS, Ended, Session, exchange

_ALL: Final = 0xFFFFFFFFFF
_RANK: Final = {apdu.AC_AAC: 0, apdu.AC_ARQC: 1, apdu.AC_TC: 2}
_CDA_ONLY_OFFLINE: Final = (3, 4)
_CDA_NOT_AT_LAST: Final = (2, 3)


def _code(session: Session, tag: str, absent: int) -> int:
    value = session.values.get(tag)
    return absent if value is None or len(value) != 5 else int.from_bytes(value, "big")


def denied(session: Session) -> bool:
    """Whether a bit of the TVR stands in a denial code of card or terminal."""
    tac = session.aid.tac_denial if session.aid else 0
    return bool(session.tvr & (_code(session, "9F0E", 0) | tac))


def online_wanted(session: Session) -> bool:
    """Whether a bit of the TVR stands in an online code."""
    tac = session.aid.tac_online if session.aid else 0
    return bool(session.tvr & (_code(session, "9F0F", _ALL) | tac))


def default_denied(session: Session) -> bool:
    """Whether a bit of the TVR stands in a default code: what holds when the host cannot be asked."""
    tac = session.aid.tac_default if session.aid else 0
    return bool(session.tvr & (_code(session, "9F0D", _ALL) | tac))


def decide(session: Session) -> Flow[int]:
    """Which cryptogram to ask for first: AC_TC, AC_ARQC or AC_AAC."""
    kernel, request = session.kernel, session.request
    if denied(session):
        return apdu.AC_AAC
    if request.type_9c in LOADS:
        return apdu.AC_ARQC if kernel.online_capable else apdu.AC_AAC
    wants = online_wanted(session) or not kernel.offline_capable or request.force_online
    if session.e_cash and not wants:
        enough = yield from _enough(session)
        return apdu.AC_TC if enough or not kernel.online_capable else apdu.AC_ARQC
    if kernel.online_capable:
        return apdu.AC_ARQC if wants else apdu.AC_TC
    return apdu.AC_AAC if default_denied(session) else apdu.AC_TC


def _enough(session: Session) -> Flow[bool]:
    """Whether electronic cash stays at or above its reset threshold (9F6D) after this amount."""
    balance = number((yield from get_data("9F79")))
    threshold = number((yield from get_data("9F6D")))
    session.balance_minor = balance
    return balance is not None and threshold is not None and balance - session.request.amount_minor >= threshold


def generate(session: Session, kind: int, second: bool = False) -> Flow[int]:
    """GENERATE AC, the first or the second: which cryptogram came. CDA where both sides know it.

    The session has 9F26, 9F27, 9F36, 9F10 afterwards. Raises Ended where the card answers what nobody asked for.
    """
    session.stamp()
    cda = session.cda and kind != apdu.AC_AAC and not session.tvr & bits.TVR_CDA_FAILED
    mode = session.kernel.cda_mode
    if (second and mode in _CDA_NOT_AT_LAST) or (kind == apdu.AC_ARQC and mode in _CDA_ONLY_OFFLINE):
        cda = False
    asked = dol.build(session.values["8D" if second else "8C"], session.values)
    if not second:
        session.cdol1_values = asked
    data, sw = yield from exchange(apdu.generate_ac(kind | apdu.CDA_REQUEST if cda else kind, asked))
    if sw != apdu.OK:
        raise Ended("ended", "status")
    items = tlv.read(data)
    if len(items) != 1:
        raise Ended("ended", "data")
    tag, value = items[0]
    inner = tlv.read(value) if tag == "77" else _flat(value) if tag == "80" else []
    got = _take(session, inner, kind)
    if cda and got != apdu.AC_AAC:
        if not oda.combined(session, inner, asked if second else b""):
            session.values.setdefault("9F26", b"")
    elif tlv.find(inner, "9F26") is None:
        raise Ended("ended", "missing")
    if not second:
        session.tsi |= bits.TSI_CARD_RISK
    return got


def _flat(value: bytes) -> tlv.Items:
    """Format 1: cryptogram information, ATC, cryptogram, issuer data."""
    if not 11 <= len(value) <= 43:
        raise Ended("ended", "data")
    items = [("9F27", value[:1]), ("9F36", value[1:3]), ("9F26", value[3:11])]
    return [*items, ("9F10", value[11:])] if len(value) > 11 else items


def _take(session: Session, items: tlv.Items, asked: int) -> int:
    found = dict(items)
    sizes = (("9F27", 1), ("9F36", 2), ("9F26", 8))
    if any(tag in found and len(found[tag]) != size for tag, size in sizes) or len(found) != len(items):
        raise Ended("ended", "data")
    if "9F27" not in found or "9F36" not in found:
        raise Ended("ended", "missing")
    cid = found["9F27"][0]
    got = cid & apdu.AC_MASK
    if got not in _RANK or _RANK[got] > _RANK[asked]:
        raise Ended("ended", "cryptogram")
    for tag in ("9F27", "9F36", "9F26", "9F10"):
        if tag in found:
            session.values[tag] = found[tag]
    session.cid = cid
    return got
