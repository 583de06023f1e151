"""What a terminal is told about applications and CA keys, and how it came by download (docs/kernel.md).

A set of parameters is never changed: a download makes a new one, which the next transaction finds in `Kernel`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from switch.crypto.oda import CaKey
from switch.wire import dol, tlv
from switch.wire.errors import TlvError

RID_UNIONPAY: Final = bytes.fromhex("A000000333")


class ParameterFault(ValueError):
    """A downloaded record that does not read; the text names the tag."""


@dataclass(frozen=True, slots=True)
class Aid:
    """One application the terminal takes.

    `partial`: cards may have a longer AID. `versions`: 9F09, the first is sent. Amounts in minor units, action codes as
    40-bit integers, percentages 0 to 99. `e_cash_max` is 9F7B; `tap_floor`, `tap_max`, `tap_cvm` are DF19, DF20, DF21;
    None where the record has none: no limit.
    """

    aid: bytes
    partial: bool = True
    versions: tuple[bytes, ...] = (b"\x00\x30", b"\x00\x20", b"\x00\x8c")
    tac_default: int = 0
    tac_online: int = 0
    tac_denial: int = 0
    floor_minor: int = 0
    threshold_minor: int = 0
    target: int = 0
    target_max: int = 0
    ddol: bytes = b""
    online_pin: bool = True
    e_cash_max: int | None = None
    tap_floor: int | None = None
    tap_max: int | None = None
    tap_cvm: int | None = None


@dataclass(frozen=True, slots=True)
class Parameters:
    """Everything a kernel is told from outside: applications in the order of preference, CA keys by RID and index."""

    aids: tuple[Aid, ...] = ()
    ca_keys: dict[tuple[bytes, int], CaKey] = field(default_factory=dict)

    def loaded(self, aids: Iterable[bytes] = (), ca_keys: Iterable[bytes] = ()) -> "Parameters":
        """These parameters with downloaded records put over them, each by its key. Raises ParameterFault."""
        known = {aid.aid: aid for aid in self.aids}
        known.update((aid.aid, aid) for aid in map(read_aid, aids))
        keys = dict(self.ca_keys)
        keys.update(((key.rid, key.index), key) for key in map(read_ca_key, ca_keys))
        return replace(self, aids=tuple(known.values()), ca_keys=keys)

    def with_ca_keys(self, keys: Iterable[CaKey]) -> "Parameters":
        """These parameters with more CA keys."""
        return replace(self, ca_keys=self.ca_keys | {(key.rid, key.index): key for key in keys})

    def matching(self, name: bytes) -> Aid | None:
        """The application a card's AID (or DF name) belongs to; the longest fitting entry, whole matches first."""
        found: Aid | None = None
        for aid in self.aids:
            if name == aid.aid:
                return aid
            if aid.partial and name.startswith(aid.aid) and (found is None or len(aid.aid) > len(found.aid)):
                found = aid
        return found


def read_aid(record: bytes, exact: bytes = b"\x01") -> Aid:
    """An AID record of the POS download. `exact` is the DF01 that forbids partial matches (networks differ).

    Raises ParameterFault.
    """
    items = _items(record)
    aid = items.get("9F06", b"")
    if not 5 <= len(aid) <= 16:
        raise ParameterFault("9F06: 5 to 16 bytes")
    versions = tuple(dict.fromkeys(items[tag] for tag in ("9F09", "9F08") if tag in items))
    if any(len(version) != 2 for version in versions):
        raise ParameterFault("9F08, 9F09: 2 bytes")
    ddol = items.get("DF14", b"")
    try:
        dol.parse(ddol)
    except TlvError:
        raise ParameterFault("DF14: not a list of data objects") from None
    return Aid(
        aid=aid,
        partial=items.get("DF01", b"\x00") != exact,
        versions=versions or Aid(aid).versions,
        tac_default=_binary(items, "DF11", 5) or 0,
        tac_online=_binary(items, "DF12", 5) or 0,
        tac_denial=_binary(items, "DF13", 5) or 0,
        floor_minor=_binary(items, "9F1B", 4) or 0,
        threshold_minor=_binary(items, "DF15", 4) or 0,
        target_max=_digits(items, "DF16", 1) or 0,
        target=_digits(items, "DF17", 1) or 0,
        ddol=ddol,
        online_pin=bool((_binary(items, "DF18", 1) or 0) & 1),
        e_cash_max=_digits(items, "9F7B", 6),
        tap_floor=_digits(items, "DF19", 6),
        tap_max=_digits(items, "DF20", 6),
        tap_cvm=_digits(items, "DF21", 6),
    )


def write_aid(aid: Aid, exact: bytes = b"\x01", partial: bytes = b"\x00") -> bytes:
    """The record `read_aid` reads: what a host sends."""
    items = [("9F06", aid.aid), ("DF01", partial if aid.partial else exact), ("9F09", aid.versions[0])]
    items += [(f"DF1{n}", code.to_bytes(5, "big")) for n, code in enumerate(_codes(aid), 1)]
    items += [("9F1B", aid.floor_minor.to_bytes(4, "big")), ("DF15", aid.threshold_minor.to_bytes(4, "big"))]
    items += [("DF16", _bcd(aid.target_max, 1)), ("DF17", _bcd(aid.target, 1)), ("DF14", aid.ddol)]
    items += [("DF18", b"\x01" if aid.online_pin else b"\x00")]
    limits = (("9F7B", aid.e_cash_max), ("DF19", aid.tap_floor), ("DF20", aid.tap_max), ("DF21", aid.tap_cvm))
    return tlv.write(items + [(tag, _bcd(limit, 6)) for tag, limit in limits if limit is not None])


def read_ca_key(record: bytes) -> CaKey:
    """A CA key record of the POS download (DF07: 01 RSA, 04 SM2). Raises ParameterFault, also for a wrong checksum.

    DF05 is eight digits, as BCD or as text. An expired key is taken: it fails when it is used.
    """
    items = _items(record)
    rid, index, modulus = items.get("9F06", b""), items.get("9F22", b""), items.get("DF02", b"")
    if len(rid) != 5 or len(index) != 1 or not modulus:
        raise ParameterFault("9F06, 9F22, DF02: a CA key has them all")
    kind = {b"\x01": "rsa", b"\x04": "sm2"}.get(items.get("DF07", b"\x01"))
    if kind is None:
        raise ParameterFault("DF07: 01 or 04")
    expiry = items.get("DF05", b"")
    digits = expiry.hex() if len(expiry) in (3, 4) else expiry.decode("ascii", "replace")
    if digits and not (digits.isdigit() and len(digits) in (6, 8)):
        raise ParameterFault("DF05: a date")
    exponent = items.get("DF04", b"") if kind == "rsa" else b""
    key = CaKey(rid, index[0], kind, modulus, exponent, digits, items.get("DF03", b"") if kind == "rsa" else b"")
    if key.fault():
        raise ParameterFault(f"DF02, DF03: {key.fault()}")
    return key


def write_ca_key(key: CaKey) -> bytes:
    """The record `read_ca_key` reads."""
    rsa = key.kind == "rsa"
    items = [("9F06", key.rid), ("9F22", bytes((key.index,))), ("DF05", key.expiry.encode())]
    items += [("DF06", b"\x01" if rsa else b"\x07"), ("DF07", b"\x01" if rsa else b"\x04"), ("DF02", key.modulus)]
    items += [("DF04", key.exponent), ("DF03", key.checksum)]
    return tlv.write([(tag, value) for tag, value in items if value])


def demo_parameters(ca_keys: Iterable[CaKey] = ()) -> Parameters:
    """What a shop's terminal might hold: UnionPay debit, credit, quasi-credit and pure electronic cash."""
    whole = Aid(
        aid=RID_UNIONPAY,
        tac_default=0xD84000A800,
        tac_online=0xD84004F800,
        tac_denial=0x0010000000,
        floor_minor=1,
        ddol=bytes.fromhex("9F3704"),
        e_cash_max=100_000,
        tap_floor=100_000,
        tap_max=5_000_000,
        tap_cvm=100_000,
    )
    aids = tuple(replace(whole, aid=bytes.fromhex(f"A0000003330101{last}")) for last in ("01", "02", "03", "06", "08"))
    return Parameters((*aids, replace(whole, aid=bytes.fromhex("A0000003330101")))).with_ca_keys(ca_keys)


def _codes(aid: Aid) -> tuple[int, int, int]:
    return aid.tac_default, aid.tac_online, aid.tac_denial


def _items(record: bytes) -> dict[str, bytes]:
    try:
        return dict(tlv.read(record))
    except TlvError as fault:
        raise ParameterFault(str(fault)) from None


def _binary(items: dict[str, bytes], tag: str, size: int) -> int | None:
    value = items.get(tag)
    if value is None:
        return None
    if len(value) != size:
        raise ParameterFault(f"{tag}: {size} bytes")
    return int.from_bytes(value, "big")


def _digits(items: dict[str, bytes], tag: str, size: int) -> int | None:
    value = items.get(tag)
    if value is None:
        return None
    if len(value) != size or not value.hex().isdecimal():
        raise ParameterFault(f"{tag}: {2 * size} digits")
    return int(value.hex())


def _bcd(number: int, size: int) -> bytes:
    return bytes.fromhex(f"{number:0{2 * size}d}")
