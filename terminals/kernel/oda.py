"""Offline data authentication: which method, with which keys, and the bits that say how it went (EMV Book 2)."""

from typing import Final

from switch.crypto.oda import OdaError, PublicKey, verify_cda, verify_fdda, verify_sdad, verify_ssad
from switch.wire import apdu, bits, dol, tlv
from switch.wire.errors import TlvError
from terminals.flow import Flow
from terminals.kernel.session import Session, exchange

_UN: Final = "9F37"
_AIP_LISTED: Final = b"\x82"


class _Missing(Exception):
    """Data the method needs are not on the card."""


def authenticate(session: Session) -> Flow[None]:
    """SDA or DDA now, or the keys for CDA: sets TVR byte 1 and TSI. A failure is a bit, never an exception."""
    aip, can = session.aip, session.kernel.capabilities
    if aip & bits.AIP_CDA and can & bits.TERMINAL_CDA:
        failed = bits.TVR_CDA_FAILED
    elif aip & bits.AIP_DDA and can & bits.TERMINAL_DDA:
        failed = bits.TVR_DDA_FAILED
    elif aip & bits.AIP_SDA and can & bits.TERMINAL_SDA:
        failed = bits.TVR_SDA_FAILED
    else:
        session.tvr |= bits.TVR_ODA_NOT_PERFORMED
        return
    session.tsi |= bits.TSI_ODA
    try:
        if failed == bits.TVR_SDA_FAILED:
            issuer = _issuer_key(session)
            session.values["9F45"] = verify_ssad(issuer, _needed(session, "93"), _static(session))
            return
        session.icc_key = icc_key(session)
        if failed == bits.TVR_CDA_FAILED:
            session.cda = True
            return
        yield from _dynamic(session, session.icc_key)
    except _Missing:
        session.tvr |= bits.TVR_ICC_DATA_MISSING | failed
    except OdaError:
        session.tvr |= failed


def combined(session: Session, items: tlv.Items, more: bytes = b"") -> bool:
    """Check the signature of a GENERATE AC that was asked for CDA; its cryptogram is taken from what is signed.

    `more`: CDOL2 values, when the second answers. Sets the TVR when it fails.
    """
    found = dict(items)
    transaction = session.pdol_values + session.cdol1_values + more
    transaction += tlv.write([item for item in items if item[0] != "9F4B"])
    try:
        if session.icc_key is None or "9F4B" not in found:
            raise _Missing
        signed = verify_cda(session.icc_key, found["9F4B"], session.values[_UN], transaction, session.cid)
    except (OdaError, _Missing):
        session.tvr |= bits.TVR_CDA_FAILED
        return False
    session.values["9F26"] = signed.ac
    session.values["9F4C"] = signed.number
    return True


def of_tap(session: Session) -> bool:
    """fDDA (9F4B) after the card has left: version 01 where the card gave 9F69, else 00. False when it fails."""
    values = session.values
    data = values.get("9F69", b"")
    try:
        key = icc_key(session)
        amount, currency = (values["9F02"], values["5F2A"]) if data[:1] == b"\x01" else (b"", b"")
        card = data if data[:1] == b"\x01" else b""
        signed = verify_fdda(key, _needed(session, "9F4B"), values[_UN], amount, currency, card)
    except (OdaError, _Missing):
        return False
    values["9F4C"] = signed.number
    return True


def icc_key(session: Session) -> PublicKey:
    """The card's public key through the chain of certificates. Raises OdaError, _Missing."""
    values = session.values
    issuer = _issuer_key(session)
    exponent = _needed(session, "9F47") if issuer.kind == "rsa" else b""
    certificate = _needed(session, "9F46")
    return session.kernel.ring.icc_key(
        issuer, certificate, values.get("9F48", b""), exponent, _static(session), session.pan, session.request.date
    )


def _issuer_key(session: Session) -> PublicKey:
    values, kernel = session.values, session.kernel
    index, certificate = _needed(session, "8F"), _needed(session, "90")
    ca = kernel.parameters.ca_keys.get((session.name[:5], index[0]))
    if ca is None or (ca.kind == "sm2" and not kernel.sm):
        raise OdaError("ca key", "CA key")
    exponent = _needed(session, "9F32") if ca.kind == "rsa" else b""
    today = session.request.date
    return kernel.ring.issuer_key(ca, certificate, values.get("92", b""), exponent, session.pan, today)


def _needed(session: Session, tag: str) -> bytes:
    value = session.values.get(tag)
    if not value:
        raise _Missing
    return value


def _static(session: Session) -> bytes:
    """The signed records, and the AIP where the card lists it (9F4A), which may list nothing else."""
    listed = session.values.get("9F4A")
    if listed is None:
        return session.signed
    if listed != _AIP_LISTED:
        raise OdaError("recovery", "static data tag list")
    return session.signed + session.values["82"]


def _dynamic(session: Session, key: PublicKey) -> Flow[None]:
    """INTERNAL AUTHENTICATE (DDA). A status word other than 9000 is a failure like a wrong signature."""
    ddol = session.values.get("9F49") or (session.aid.ddol if session.aid else b"")
    try:
        if _UN not in dol.tags(ddol):
            raise OdaError("transaction", "DDOL")
        asked = dol.build(ddol, session.values)
    except TlvError:
        raise OdaError("length", "DDOL") from None
    data, sw = yield from exchange(apdu.internal_auth(asked))
    if sw != apdu.OK:
        raise OdaError("signature", "INTERNAL AUTHENTICATE")
    try:
        items = tlv.read(data)
        signature = items[0][1] if items and items[0][0] == "80" else dict(tlv.read(dict(items)["77"]))["9F4B"]
    except (TlvError, KeyError):
        raise OdaError("length", "INTERNAL AUTHENTICATE") from None
    session.values["9F4C"] = verify_sdad(key, signature, asked).number
