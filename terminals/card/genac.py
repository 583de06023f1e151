"""GENERATE AC, twice: the card's own risk management, the cryptogram, the issuer's answer (JR/T 0025.5; contacts).

A card only ever lowers what the terminal asks for: TC to ARQC, anything to AAC. An e-cash transaction (the e-cash path
of GPO) spends the balance instead and skips the counters.
"""

import hmac
from typing import TYPE_CHECKING, Final

from switch.crypto.cryptogram import ALGORITHM_BYTE, ac_input
from terminals.card import logs
from terminals.card.profile import Application, Path
from terminals.card.state import (
    AUTH_FAILED,
    AUTH_MISSING,
    DDA_FAILED,
    ONLINE_INCOMPLETE,
    SCRIPT_FAILED,
    SDA_FAILED,
    CardState,
)
from terminals.card.words import AUTH_FAILED as NOT_AUTHENTIC
from terminals.card.words import DONE, INITIATED, OK, ONLINE, WRONG_DATA, WRONG_LENGTH, WRONG_ORDER, WRONG_PLACE, amount

if TYPE_CHECKING:
    from terminals.card.card import Icc
    from terminals.card.image import ImageApplication

AAC: Final = 0x00
TC: Final = 0x40
ARQC: Final = 0x80
CDA: Final = 0x10

APPROVALS: Final = frozenset({b"00", b"10", b"11", b"01", b"02", b"Y1"})
UNABLE: Final = frozenset({b"Y3", b"Z3"})
"""Response codes (8A): the host approves; the terminal could not ask."""

SM_YES: Final = b"\x01"
_NOT_COMPARED: Final = frozenset({"95", "9B", "9F37"})
_FIRST: Final = {AAC: 0x80, TC: 0x90, ARQC: 0xA0}
_RESULT: Final = {AAC: 0x00, TC: 0x10, ARQC: 0x20}

# Application default action (9F52), as one number of two bytes.
_ADA_AUTH_ONLINE, _ADA_AUTH_DECLINE, _ADA_AUTH_MISSING_DECLINE = 0x8000, 0x4000, 0x2000
_ADA_ADVICE, _ADA_NEW_ONLINE, _ADA_NEW_UNABLE = 0x1000, 0x0200, 0x0100
_ADA_PIN_DECLINE, _ADA_PIN_ONLINE, _ADA_PIN_ONLINE_ONLY, _ADA_SCRIPT_ONLINE, _ADA_PIN_BLOCK = 0x40, 0x20, 0x10, 8, 4


def purse_of(icc: "Icc", currency: bytes | None) -> int:
    """Which purse a currency spends: 1 (9F51), 2 (DF71), 0 for neither."""
    if currency is not None:
        if currency == icc.element("9F51"):
            return 1
        if currency == icc.element("DF71"):
            return 2
    return 0


def choose_path(icc: "Icc", app: "ImageApplication", values: dict[str, bytes]) -> Path | None:
    """Which of its answers the card gives on contacts (JR/T 0025.13): e-cash where all its conditions hold."""
    paths = app.spec.paths
    suffix = "_sm" if values.get("DF69") == SM_YES else ""
    if values.get("9F7A") == SM_YES and "ecash" in paths and not icc.blocked:
        purse = purse_of(icc, values.get("5F2A"))
        spent = amount(values.get("9F02", b"")) or 0
        state = icc.state
        single = icc.number("9F78" if purse == 1 else "DF78")
        if (
            purse
            and spent <= (state.balance if purse == 1 else state.balance2)
            and (single is None or spent <= single)
            and not state.flags & (AUTH_FAILED | SCRIPT_FAILED)
            and state.pin_tries
        ):
            icc.purse = purse
            return paths.get("ecash" + suffix, paths["ecash"])
    return paths.get("contact" + suffix, paths.get("contact"))


def generate_ac(icc: "Icc", p1: int, p2: int, data: bytes) -> bytes:
    """80 AE: the first answers format 80, or 77 where CDA was asked for; a third is out of order."""
    app, path = icc.app, icc.path
    if app is None or path is None or icc.phase not in (INITIATED, ONLINE) or icc.interface != "contact":
        return WRONG_ORDER
    asked = p1 & 0xC0
    if p2 or p1 & 0x2F or asked == 0xC0:
        return WRONG_PLACE
    first = icc.phase == INITIATED
    layout = app.spec.cdol1 if first else app.spec.cdol2
    if len(data) != layout.size:
        return WRONG_LENGTH
    values = layout.values(data)
    spent = amount(values.get("9F02", icc.values.get("9F02", b"")))
    if spent is None:
        return WRONG_DATA
    icc.order = (icc.order if not first else icc.gpo_data) + data
    if not first:
        icc.values.update(values)
        kind, cvr = _second(icc, asked, spent)
    elif path.name.startswith("ecash"):
        kind, cvr = _purchase(icc, asked, spent, values)
        icc.values.update(values)
    else:
        icc.values.update(values)
        kind, cvr = _first(icc, asked, spent)
    answer = _answer(icc, app, path, kind, cvr, bool(p1 & CDA))
    if first:
        icc.phase = ONLINE if kind == ARQC else DONE
        icc.scripts_open = True
    else:
        icc.phase = DONE
    return answer


def _first(icc: "Icc", asked: int, spent: int) -> tuple[int, bytes]:
    """Card risk management of the first GENERATE AC: what becomes of it, and the CVR."""
    state = icc.state
    ada = icc.byte("9F52") or 0
    second, online, decline = _history(state, ada)
    if over_lower(icc, spent):
        second |= 0x20
        online = True
    if state.last_online == 0:
        second |= 0x10
        online = online or bool(ada & _ADA_NEW_ONLINE)
    if icc.byte("9F56") and state.flags & AUTH_MISSING:
        online = True
    if icc.blocked:
        decline = True
        second |= 0x02 if not state.pin_tries else 0
    kind = AAC if decline else ARQC if online and asked == TC else asked
    if state.pin_tries == 0 and ada & _ADA_PIN_BLOCK and icc.app is not None:
        state.blocked |= 1 << icc.app.spec.index
    if kind == TC:
        count(icc, spent)
    elif kind == ARQC:
        state.flags |= ONLINE_INCOMPLETE
    else:
        _note_failed_oda(icc)
    icc.cvr2 = second
    return kind, bytes((0x03, _FIRST[kind] | icc.cvr1, second, third(icc)))


def _history(state: CardState, ada: int) -> tuple[int, bool, bool]:
    """What earlier transactions left behind: CVR byte 2, whether to go online, whether to decline."""
    flags = state.flags
    second, online, decline = 0, False, False
    if flags & ONLINE_INCOMPLETE:
        second |= 0x80
        online = True
    if flags & AUTH_FAILED:
        second |= 0x08
        online = online or bool(ada & _ADA_AUTH_ONLINE)
    if flags & AUTH_MISSING:
        second |= 0x04
    if flags & SDA_FAILED:
        second |= 0x01
    if flags & SCRIPT_FAILED and ada & _ADA_SCRIPT_ONLINE:
        online = True
    if state.pin_tries == 0:
        second |= 0x40
        decline = bool(ada & (_ADA_PIN_DECLINE | _ADA_PIN_BLOCK))
        online = online or bool(ada & (_ADA_PIN_ONLINE | _ADA_PIN_ONLINE_ONLY))
    return second, online, decline


def third(icc: "Icc") -> int:
    """CVR byte 3: scripts of the last online transaction, dynamic authentication."""
    state = icc.state
    value = (state.scripts & 15) << 4
    if state.flags & SCRIPT_FAILED:
        value |= 0x08
    if state.flags & DDA_FAILED:
        value |= 0x04
    return value | 0x02 if icc.dda else value


def over_lower(icc: "Icc", spent: int) -> bool:
    """Whether a counter passes its lower limit with this transaction: 9F58, 9F54, 9F53, 9F72."""
    state, values = icc.state, icc.values
    lower = icc.byte("9F58")
    if lower is not None and state.atc - state.last_online > lower:
        return True
    if values.get("5F2A") == icc.element("9F51"):
        total = icc.number("9F54")
        if total is not None and state.ctta + spent > total:
            return True
    else:
        limit = icc.byte("9F53")
        if limit is not None and state.currency_count + 1 > limit:
            return True
    limit = icc.byte("9F72")
    return limit is not None and values.get("9F1A") != icc.element("9F57") and state.country_count + 1 > limit


def _over_upper(icc: "Icc", spent: int) -> bool:
    """The same for a transaction that could not go online: 9F59 and 9F5C."""
    state = icc.state
    upper = icc.byte("9F59")
    if upper is not None and state.atc - state.last_online > upper:
        return True
    total = icc.number("9F5C")
    return total is not None and icc.values.get("5F2A") == icc.element("9F51") and state.ctta + spent > total


def count(icc: "Icc", spent: int) -> None:
    """An offline approval goes into the counters."""
    state, values = icc.state, icc.values
    if values.get("5F2A") == icc.element("9F51"):
        state.ctta += spent
    else:
        state.currency_count = min(state.currency_count + 1, 255)
    if "9F1A" in values and values["9F1A"] != icc.element("9F57"):
        state.country_count = min(state.country_count + 1, 255)


def _note_failed_oda(icc: "Icc") -> None:
    """A decline remembers that the terminal could not authenticate the card offline (TVR byte 1)."""
    tvr = icc.values.get("95", b"\0")[:1]
    if tvr and tvr[0] & 0x40:
        icc.state.flags |= SDA_FAILED
    if tvr and tvr[0] & 0x0C:
        icc.state.flags |= DDA_FAILED


def _purchase(icc: "Icc", asked: int, spent: int, values: dict[str, bytes]) -> tuple[int, bytes]:
    """E-cash on contacts: what GPO was told must still hold; a TC takes the amount off the balance."""
    state = icc.state
    kind = asked
    same = all(values[tag] == old for tag, old in icc.values.items() if tag in values and tag not in _NOT_COMPARED)
    if icc.blocked or not same:
        kind = AAC
    if kind == TC:
        balance = state.balance if icc.purse == 1 else state.balance2
        if spent > balance:
            kind = AAC
        elif icc.purse == 1:
            state.balance = balance - spent
        else:
            state.balance2 = balance - spent
    elif kind == ARQC:
        state.flags |= ONLINE_INCOMPLETE
    return kind, bytes((0x03, _FIRST[kind] | icc.cvr1, 0, third(icc)))


def external_authenticate(icc: "Icc", data: bytes) -> bytes:
    """00 82 with ARPC and response code, once, after an ARQC."""
    expected = icc.session("ac").arpc(icc.arqc, data[8:])
    icc.auth = hmac.compare_digest(expected, data[:8])
    if icc.auth:
        icc.state.flags &= ~(AUTH_FAILED | AUTH_MISSING)
        return OK
    icc.state.flags |= AUTH_FAILED
    return NOT_AUTHENTIC


def _second(icc: "Icc", asked: int, spent: int) -> tuple[int, bytes]:
    """The second GENERATE AC: the host's answer, or that there was none."""
    state = icc.state
    ada = icc.byte("9F52") or 0
    arc = icc.values["8A"]
    first = icc.cvr1
    second = icc.cvr2
    kind = AAC
    if arc in UNABLE:
        first |= 0x01
        if asked == TC and not _declined_offline(icc, ada, spent):
            kind = TC
            count(icc, spent)
    else:
        mandatory = bool((icc.byte("9F56") or 0) & 0x80)
        missing = icc.auth is None and mandatory
        if icc.auth is False:
            first |= 0x08
        if missing:
            state.flags |= AUTH_MISSING
            second |= 0x04
        refused = (icc.auth is False and ada & _ADA_AUTH_DECLINE) or (missing and ada & _ADA_AUTH_MISSING_DECLINE)
        if asked == TC and arc in APPROVALS and not refused and not icc.blocked:
            kind = TC
        if icc.auth or (icc.auth is None and not mandatory):
            _settle(icc, kind)
    state.flags &= ~ONLINE_INCOMPLETE
    return kind, bytes((0x03, _RESULT[kind] << 2 | 0x20 | first, second, third(icc)))


def _declined_offline(icc: "Icc", ada: int, spent: int) -> bool:
    """Whether a card that was to go online and could not declines."""
    state = icc.state
    if icc.blocked or _over_upper(icc, spent):
        return True
    if state.last_online == 0 and ada & _ADA_NEW_UNABLE:
        return True
    return state.pin_tries == 0 and bool(ada & _ADA_PIN_ONLINE_ONLY)


def _settle(icc: "Icc", kind: int) -> None:
    """The issuer has spoken: an approval starts the counters anew; what failed before is told and forgotten."""
    state = icc.state
    state.flags &= ~(AUTH_FAILED | AUTH_MISSING | SDA_FAILED | DDA_FAILED)
    if not icc.script_seen:
        state.scripts = 0
        state.flags &= ~SCRIPT_FAILED
    if kind == TC:
        state.last_online = state.atc
        state.ctta = state.ctta2 = 0
        state.currency_count = state.country_count = 0


def issuer_data(icc: "Icc", spec: Application, suite: str, cvr: bytes, balance: int) -> bytes:
    """9F10: key index, cryptogram version, CVR, algorithm and, by the profile, issuer data with their MAC."""
    head = bytes((0x07, spec.dki, spec.cvn)) + cvr + ALGORITHM_BYTE[suite]
    if not spec.idd:
        return head
    state = icc.state
    if spec.idd == 1:
        data = _five(balance)
    elif spec.idd == 2:
        data = _five(state.ctta)
    elif spec.idd == 3:
        data = _five(balance) + _five(state.ctta)
    elif spec.idd == 4:
        data = _five(state.ctta) + _five(icc.number("9F54") or 0)
    else:
        data = _five(max(0, (icc.number("9F54") or 0) - state.ctta))
    return head + bytes((len(data) + 5, spec.idd)) + data + icc.session("mac").iad_mac(state.atc, data)


def _five(number: int) -> bytes:
    return bytes.fromhex(f"{number % 10**10:010d}")


def cryptogram(icc: "Icc", spec: Application, path: Path, iad: bytes) -> bytes:
    """The application cryptogram over the transaction's values; what the lists did not ask for counts as zeros."""
    values = icc.values
    values["82"], values["9F36"] = path.aip, icc.atc
    for tag, size in _SIZES:
        if tag not in values:
            values[tag] = bytes(size)
    return icc.session("ac").cryptogram(ac_input(spec.cvn, values, iad))


_SIZES: Final = (("9F02", 6), ("9F03", 6), ("9F1A", 2), ("95", 5), ("5F2A", 2), ("9A", 3), ("9C", 1), ("9F37", 4))


def _answer(icc: "Icc", app: "ImageApplication", path: Path, kind: int, cvr: bytes, cda: bool) -> bytes:
    state, spec = icc.state, app.spec
    iad = issuer_data(icc, spec, path.suite, cvr, state.balance if icc.purse == 1 else state.balance2)
    ac = cryptogram(icc, spec, path, iad)
    if not icc.first_ac:
        icc.first_ac = ac
    if kind == ARQC:
        icc.arqc = ac
    elif kind == TC:
        logs.add_trade(icc, app, ac)
    cid = kind
    if kind == AAC and (icc.byte("9F52") or 0) & _ADA_ADVICE:
        cid |= 0x08
    if cda and kind != AAC and path.aip[0] & 0x01:
        return _signed(icc, path, cid, ac, iad)
    body = bytes((cid,)) + icc.atc + ac + iad
    return bytes((0x80, len(body))) + body + OK


def _signed(icc: "Icc", path: Path, cid: int, ac: bytes, iad: bytes) -> bytes:
    """The answer of CDA: the cryptogram travels inside the signature (9F4B)."""
    told = b"\x9f\x27\x01" + bytes((cid,)) + b"\x9f\x36\x02" + icc.atc
    issuer = b"\x9f\x10" + bytes((len(iad),)) + iad
    signed = icc.image.sign_cda(
        path.suite, icc.atc, cid, ac, icc.order + told + issuer, icc.values["9F37"], icc.entropy(32)
    )
    size = len(signed)
    body = told + b"\x9f\x4b" + (bytes((size,)) if size < 128 else bytes((0x81, size))) + signed + issuer
    return b"\x77" + (bytes((len(body),)) if len(body) < 128 else bytes((0x81, len(body)))) + body + OK
