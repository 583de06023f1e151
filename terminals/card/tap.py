"""Contactless: one GPO decides and answers it all (qPBOC, JR/T 0025.12); the last record's reading pays."""

from typing import TYPE_CHECKING, Final, NamedTuple

from switch.wire import qpboc
from terminals.card import genac, logs
from terminals.card.profile import Path
from terminals.card.words import DONE, OK, TAP_PENDING, WRONG_DATA, WRONG_ORDER, amount, bcd

if TYPE_CHECKING:
    from terminals.card.card import Icc
    from terminals.card.image import ImageApplication

_KIND: Final = {qpboc.TC: genac.TC, qpboc.ARQC: genac.ARQC, qpboc.AAC: genac.AAC}
_CVR1: Final = {genac.TC: 0x90, genac.ARQC: 0xA0, genac.AAC: 0x80}
_SIGNATURE_IN_GPO_MAX: Final = 128
"""A longer signature travels in the last record: the answer to GPO has room for 256 bytes in all."""

_LIMITS: Final = {1: ("9F78", "9F6D"), 2: ("DF78", "DF76")}


class Pending(NamedTuple):
    """A debit that waits for the last record."""

    spent: int
    balance: int
    ac: bytes


def gpo(icc: "Icc", app: "ImageApplication", values: dict[str, bytes]) -> bytes:
    """The answer to GPO in the field: template 77, or 6985 where the card wants its contacts or finds no CVM."""
    paths, state, spec = app.spec.paths, icc.state, app.spec
    path = paths.get("tap_sm") if values.get("DF69") == genac.SM_YES else None
    path = path or paths.get("tap")
    icc.phase = DONE
    if path is None:
        return WRONG_ORDER
    icc.path = path
    purse = genac.purse_of(icc, values["5F2A"])
    icc.purse = purse or 1
    before = state.balance2 if purse == 2 else state.balance
    spent = amount(values["9F02"])
    if spent is None:
        return WRONG_DATA
    decision = decide(icc, values, purse, before, spent)
    if decision.result == qpboc.USE_OTHER_INTERFACE:
        return WRONG_ORDER
    kind = _KIND[decision.result] if not icc.blocked else genac.AAC
    after = before - spent if decision.debit and kind != genac.AAC else before
    cvr = bytes((3, _CVR1[kind], _cvr2(icc, decision.velocity), genac.third(icc)))
    iad = genac.issuer_data(icc, spec, path.suite, cvr, after)
    ac = genac.cryptogram(icc, spec, path, iad)
    icc.first_ac = ac
    ctq = _ctq(icc, decision.ctq)
    if kind == genac.TC:
        icc.pending = Pending(spent, after, ac)
        return _approved(icc, app, path, values, iad, ctq)
    if after != before:
        _debit(icc, after)
        logs.add_trade(icc, app, ac)
    return _told(icc, app, path, iad, ac, ctq, after)


def decide(icc: "Icc", values: dict[str, bytes], purse: int, before: int, spent: int) -> qpboc.Decision:
    """The decision on a payment of `spent` out of a purse (0: none of the card's currencies) that holds `before`."""
    state = icc.state
    single, threshold = _LIMITS[purse or 1]
    cvm_limit = icc.number("9F6B")
    return qpboc.decide(
        qpboc.Tap(
            values["9F66"],
            spent,
            before,
            icc.number(single) or 0,
            icc.number(threshold) or 0,
            10**12 if cvm_limit is None else cvm_limit,
            icc.element("9F68") or bytes(4),
            bool(purse),
            state.last_online,
            state.pin_tries == 0,
            False,
            state.ctta2 if purse == 2 else state.ctta,
            icc.number("9F54") or 0,
            icc.number("9F5C"),
        )
    )


def _cvr2(icc: "Icc", velocity: bool) -> int:
    value = 0x20 if velocity else 0
    return value | 0x40 if icc.state.pin_tries == 0 else value


def _ctq(icc: "Icc", first: int) -> bytes:
    """9F6C: the decision's bits over what the issuer set for failures of authentication and expiry."""
    base = icc.element("9F6C") or b"\0\0"
    return bytes((base[0] & 0x3F | first, base[1]))


def _told(icc: "Icc", app: "ImageApplication", path: Path, iad: bytes, ac: bytes, ctq: bytes, balance: int) -> bytes:
    """Template 77 of an ARQC or AAC: no file locator, nothing to be read."""
    body = (
        b"\x82\x02" + path.aip + b"\x9f\x36\x02" + icc.atc + app.track2 + b"\x9f\x10" + bytes((len(iad),)) + iad
        + b"\x9f\x26\x08" + ac + app.sequence + b"\x9f\x6c\x02" + ctq + _available(icc, balance) + app.product
    )  # fmt: skip
    return _template(body)


def _available(icc: "Icc", balance: int) -> bytes:
    """9F5D, where the card tells it (9F68 byte 1 bit 1)."""
    processing = icc.element("9F68")
    return b"\x9f\x5d\x06" + bcd(balance) if processing and processing[0] & 1 else b""


def _template(body: bytes) -> bytes:
    size = len(body)
    return (b"\x77" + bytes((size,)) if size < 128 else b"\x77\x81" + bytes((size,))) + body + OK


def _approved(
    icc: "Icc", app: "ImageApplication", path: Path, values: dict[str, bytes], iad: bytes, ctq: bytes
) -> bytes:
    """Template 77 of a TC, with the signature of fDDA; a long one, and the card's own random, in the last record."""
    assert icc.pending is not None
    signature = appended = b""
    if path.aip[0] & 0x20:
        terminal = values["9F37"]
        if app.spec.fdda == 1 and values["9F66"][3] & 0x80:
            own = b"\x01" + icc.entropy(4) + ctq + (icc.element("DF61") or b"\0")[:1]
            appended = b"\x9f\x69" + bytes((len(own),)) + own
            terminal += values["9F02"] + values["5F2A"] + own
        signed = icc.image.sign_dynamic(path.suite, icc.atc, terminal, icc.entropy(32))
        size = len(signed)
        signature = b"\x9f\x4b" + (bytes((size,)) if size < 128 else bytes((0x81, size))) + signed
        if size > _SIGNATURE_IN_GPO_MAX:
            appended += signature
            signature = b""
    if appended and path.last:
        static = app.record(path.last, icc.state)
        if static is not None:
            icc.written = {path.last: app.extended(static, appended)}
    body = (
        b"\x82\x02" + path.aip + b"\x94" + bytes((len(path.afl),)) + path.afl + b"\x9f\x36\x02" + icc.atc + app.track2
        + b"\x9f\x10" + bytes((len(iad),)) + iad + b"\x9f\x26\x08" + icc.pending.ac + app.sequence + signature
        + b"\x9f\x6c\x02" + ctq + _available(icc, icc.pending.balance)
    )  # fmt: skip
    icc.phase = TAP_PENDING
    if not path.last:
        commit(icc, app)
    return _template(body)


def _debit(icc: "Icc", balance: int) -> None:
    if icc.purse == 2:
        icc.state.balance2 = balance
    else:
        icc.state.balance = balance


def commit(icc: "Icc", app: "ImageApplication") -> None:
    """The last record has been read: balance, total, proof and log change together."""
    pending, state = icc.pending, icc.state
    if pending is None:
        return
    icc.pending = None
    icc.phase = DONE
    _debit(icc, pending.balance)
    if icc.purse == 2:
        state.ctta2 += pending.spent
    else:
        state.ctta += pending.spent
    processing = icc.element("9F68")
    logs.add_trade(icc, app, pending.ac, written=bool(processing and processing[1] & 0x10))
