"""Offline data authentication opened: CA key, issuer's and card's certificate, signed data, each with what is wrong."""

from collections.abc import Iterator
from typing import Any, Final

from switch.crypto import oda
from switch.crypto.oda import CaKey, Opened, PublicKey, Signed
from switch.wire import apdu, tlv
from switch.wire.errors import ApduError, TlvError
from switch.wire.redact import mask_pan
from terminals.kernel import read
from terminals.look.glass import Taken
from terminals.look.opened import note

_AC, _GPO, _INTERNAL, _READ = 0xAE, 0xA8, 0x88, 0xB2
_OPEN_FILES_MAX: Final = 10
_NAMES: Final = {
    "ca": ("认证中心公钥", "CA public key"),
    "90": ("发卡行公钥证书", "issuer certificate"),
    "9F46": ("IC卡公钥证书", "card certificate"),
    "93": ("签名的静态数据 (SDA)", "signed static data (SDA)"),
    "dda": ("签名的动态数据 (DDA)", "signed dynamic data (DDA)"),
    "cda": ("签名的动态数据 (CDA)", "signed dynamic data (CDA)"),
    "fdda": ("签名的动态数据 (fDDA)", "signed dynamic data (fDDA)"),
}
_UNKNOWN: Final = ("终端没有这个认证中心公钥", "the terminal has no such CA key")


def certificates(taken: Taken) -> list[dict[str, Any]]:
    """Everything signed that the card showed, from the CA key down, as far as the keys reach."""
    return list(_chain(taken))


def faults(found: list[dict[str, Any]]) -> dict[str, str] | None:
    """What was wrong first, None if nothing."""
    first = next((one["fault"] for one in found if one["fault"]), None)
    return dict(first) if first else None


def _chain(taken: Taken) -> Iterator[dict[str, Any]]:
    values, kernel = taken.presented.values, taken.kernel
    index, today = values.get("8F", b""), taken.order.request.date
    if not index or not values.get("90"):
        return
    ca = kernel.parameters.ca_keys.get((taken.presented.aid[:5], index[0]))
    if ca is None or (ca.kind == "sm2" and not kernel.sm):
        yield _row("ca", "", {"index": f"{index[0]:02X}"}, note(*_UNKNOWN))
        return
    yield _row(
        "ca", ca.kind, {"index": f"{ca.index:02X}", "bits": _bits(ca), "expiry": ca.expiry}, _fault(ca.fault(today))
    )
    issuer = oda.open_issuer(ca, values["90"], values.get("92", b""), values.get("9F32", b""))
    yield _certificate("90", ca.kind, issuer, _holder_and_day(issuer, taken.presented.pan, today))
    if issuer.key is None:
        return
    static = static_data(taken)
    if values.get("93"):
        yield _signed("93", issuer.key.kind, oda.open_static(issuer.key, values["93"], static), "9F45")
    if not values.get("9F46"):
        return
    exponent = values.get("9F47", b"")
    card = oda.open_icc(issuer.key, values["9F46"], values.get("9F48", b""), exponent, static)
    yield _certificate("9F46", issuer.key.kind, card, _holder_and_day(card, taken.presented.pan, today))
    if card.key is not None:
        yield from _dynamic(taken, card.key)


def _dynamic(taken: Taken, card: PublicKey) -> Iterator[dict[str, Any]]:
    """What the card signed in this transaction: DDA, CDA or fDDA."""
    values = taken.presented.values
    if taken.order.interface == "contactless":
        if values.get("9F4B"):
            data = values.get("9F69", b"")
            first = data[:1] == b"\x01"
            terminal = oda.fdda_data(values["9F37"], values["9F02"], values["5F2A"], data if first else b"")
            row = _signed("fdda", card.kind, oda.open_dynamic(card, values["9F4B"], terminal), "9F4C")
            row["fields"]["version"] = "01" if first else "00"
            yield row
        return
    exchanged = b""
    for command, response in taken.said:
        sent, items = _parts(command, response)
        if command[1] == _GPO:
            exchanged = sent[3:] if sent[1:2] == b"\x81" else sent[2:]
        elif command[1] == _INTERNAL:
            signature = items.get("80") or dict(tlv.read(items.get("77", b""))).get("9F4B", b"")
            yield _signed("dda", card.kind, oda.open_dynamic(card, signature, sent), "9F4C")
        elif command[1] == _AC:
            exchanged += sent
            inner = tlv.read(items.get("77", b""))
            signature = dict(inner).get("9F4B", b"")
            if signature:
                rest = tlv.write([item for item in inner if item[0] != "9F4B"])
                yield _combined(card, signature, values["9F37"], exchanged + rest)


def _combined(card: PublicKey, signature: bytes, un: bytes, transaction: bytes) -> dict[str, Any]:
    combined, signed = oda.open_combined(card, signature, un, transaction)
    row = _signed("cda", card.kind, signed, "9F4C")
    if combined is not None:
        row["fields"] |= {"9F27": f"{combined.cid:02X}", "9F26": combined.ac.hex().upper()}
        row["fields"]["hash"] = combined.hashed.hex().upper()
    return row


def static_data(taken: Taken) -> bytes:
    """The signed records as the terminal gathers them, and the AIP where 9F4A lists it."""
    values = taken.presented.values
    records: dict[tuple[int, int], bytes] = {}
    for command, response in taken.said:
        if command[1] == _READ and response[-2:] == b"\x90\x00":
            records[command[3] >> 3, command[2]] = response[:-2]
    parts = []
    try:
        for sfi, number, signed in read.places(values.get("94", b"")):
            data = records.get((sfi, number), b"")
            if signed and data:
                parts.append(tlv.read(data)[0][1] if sfi <= _OPEN_FILES_MAX else data)
    except TlvError:
        return b""
    if values.get("9F4A") == b"\x82":
        parts.append(values.get("82", b""))
    return b"".join(parts)


def _parts(command: bytes, response: bytes) -> tuple[bytes, dict[str, bytes]]:
    try:
        return apdu.Command.parse(command).data, dict(tlv.read(response[:-2]))
    except (ApduError, TlvError):
        return b"", {}


def _bits(key: CaKey | PublicKey) -> int:
    return 256 if key.kind == "sm2" else 8 * len(key.modulus)


def _fault(name: str) -> dict[str, str] | None:
    return note(*oda.FAULTS[name]) if name else None


def _row(what: str, kind: str, fields: dict[str, Any], fault: dict[str, str] | None) -> dict[str, Any]:
    zh, en = _NAMES[what]
    tag = {"ca": "8F", "dda": "9F4B", "cda": "9F4B", "fdda": "9F4B"}.get(what, what)
    return {"what": what, "tag": tag, "zh": zh, "en": en, "kind": kind, "fields": fields, "fault": fault}


def _holder_and_day(opened: Opened, pan: str, today: str) -> str:
    """What is wrong with a certificate whose signature is right: another holder, or its time is over."""
    if opened.fault or opened.key is None:
        return opened.fault
    holder, month = opened.key.holder.rstrip("F"), opened.key.expiry
    if not pan.startswith(holder) or (len(opened.key.holder) > 8 and holder != pan):
        return "holder"
    return "expired" if month[2:] + month[:2] < today[:4] else ""


def _certificate(tag: str, kind: str, opened: Opened, fault: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if opened.key is not None:
        holder = opened.key.holder.rstrip("F")
        fields = {
            "holder": mask_pan(holder) if len(holder) > 8 else holder,
            "expiry": f"{opened.key.expiry[:2]}/{opened.key.expiry[2:]}",
            "serial": opened.key.serial,
            "bits": _bits(opened.key),
        }
    return _row(tag, kind, fields, _fault(fault))


def _signed(what: str, kind: str, signed: Signed, tag: str) -> dict[str, Any]:
    told = signed.data if tag == "9F45" else signed.number
    return _row(what, kind, {tag: told.hex().upper()}, _fault(signed.fault))
