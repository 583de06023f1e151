"""Offline data authentication (脱机数据认证), a terminal's side: keys out of certificates, SDA, DDA, CDA, fDDA.

RSA (EMV Book 2, JR/T 0025.7) hides what is signed inside the signature; SM2 (JR/T 0025.17) shows it beside. The kind
of the key that verifies says which it is. What a card or an issuer signs is made in `certify`.

Each `open_*` reads as far as it can and names the first fault; each `recover_*` and `verify_*` raises it as OdaError.
"""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha1
from typing import NamedTuple

from switch.crypto import rsa, sm2
from switch.crypto.digest import sm3
from switch.crypto.errors import CryptoError

FAULTS = {
    "length": ("长度不符", "lengths do not fit"),
    "recovery": ("恢复数据的头尾或格式不符", "header, trailer or format of the recovered data"),
    "hash": ("哈希不一致", "hash differs"),
    "signature": ("签名不正确", "signature is wrong"),
    "algorithm": ("算法标识未知", "algorithm is not known"),
    "point": ("公钥不在曲线上", "public key is not on the curve"),
    "holder": ("标识与卡号不符", "identifier does not fit the card number"),
    "expired": ("证书或密钥已过期", "certificate or key has expired"),
    "ca key": ("认证中心公钥校验和不符", "checksum of the CA key"),
    "cryptogram": ("密文信息与签名中的不一致", "cryptogram information differs from what is signed"),
    "transaction": ("交易数据哈希不一致", "hash of the transaction data differs"),
}
"""What can be wrong, in Chinese and in English."""


class OdaError(CryptoError):
    """Offline data authentication failed; `reason` is one of FAULTS, `where` what was being opened."""

    def __init__(self, reason: str, where: str) -> None:
        super().__init__(reason, where)
        self.reason = reason
        self.where = where

    def __str__(self) -> str:
        return f"{self.where}: {FAULTS[self.reason][1]}"


@dataclass(frozen=True, slots=True)
class CaKey:
    """A certification authority's public key. `modulus`: an RSA modulus, or a point of 64 bytes where `kind` is sm2.

    `expiry` is YYMMDD or YYYYMMDD, empty for none; `checksum` SHA-1 (RSA), empty where none came with the key.
    """

    rid: bytes
    index: int
    kind: str
    modulus: bytes
    exponent: bytes = b""
    expiry: str = ""
    checksum: bytes = b""

    def fault(self, today: str | None = None) -> str:
        """Empty, or what is wrong with the key itself on the day YYMMDD."""
        if self.kind == "sm2" and not sm2.on_curve(self.modulus):
            return "point"
        if self.kind == "rsa" and self.checksum and self.checksum != checksum(self):
            return "ca key"
        return "expired" if today and self.expiry and self.expiry[-6:] < today else ""


class PublicKey(NamedTuple):
    """A key out of a certificate. `holder`: issuer identifier (8 digits or F) or PAN (20); `expiry` MMYY."""

    kind: str
    modulus: bytes
    exponent: bytes
    holder: str
    expiry: str
    serial: str


class Opened(NamedTuple):
    """A certificate as far as it could be read.

    `clear` is the recovered (RSA) or signed (SM2) part, `fault` one of FAULTS, empty if nothing is wrong.
    """

    key: PublicKey | None
    clear: bytes
    fault: str


class Signed(NamedTuple):
    """Signed data opened: `data` is the DAC, or the card's dynamic data; `clear` as in Opened."""

    data: bytes
    clear: bytes
    fault: str

    @property
    def number(self) -> bytes:
        """The ICC dynamic number (9F4C) in dynamic data."""
        return self.data[1 : 1 + self.data[0]] if self.data else b""


class Combined(NamedTuple):
    """What a CDA signature says: dynamic number, cryptogram information (9F27), cryptogram (9F26), hash."""

    number: bytes
    cid: int
    ac: bytes
    hashed: bytes


def checksum(key: CaKey) -> bytes:
    """SHA-1 over RID, index, modulus and exponent: what a list of RSA CA keys carries with each."""
    whole = key.rid + bytes((key.index,)) + key.modulus + key.exponent
    return sha1(whole, usedforsecurity=False).digest()


def transaction_hash(kind: str, data: bytes) -> bytes:
    """The hash inside a CDA signature: plain SHA-1 for RSA, plain SM3 (no Z) for SM2.

    `data`: PDOL values, CDOL1 values, CDOL2 values if the second GENERATE AC answers, and the response's elements but
    9F4B in their order (SM2 cards: 9F27, 9F36, 9F10).
    """
    return sm3(data) if kind == "sm2" else sha1(data, usedforsecurity=False).digest()


def _rsa_open(key: PublicKey | CaKey, signature: bytes, form: int, extra: bytes, least: int) -> tuple[bytes, str]:
    """The recovered block and its fault; `extra` is hashed behind it."""
    if len(signature) != len(key.modulus) or len(signature) < least:
        return b"", "length"
    try:
        clear = rsa.recover(key.modulus, key.exponent, signature)
    except CryptoError:  # not smaller than the modulus
        return b"", "recovery"
    if clear[0] != 0x6A or clear[-1] != 0xBC or clear[1] != form:
        return clear, "recovery"
    if sha1(clear[1:-21] + extra, usedforsecurity=False).digest() != clear[-21:-1]:
        return clear, "hash"
    return clear, ""


def _rsa_certificate(
    signer: PublicKey | CaKey,
    form: int,
    holder: int,
    certificate: bytes,
    remainder: bytes,
    exponent: bytes,
    static: bytes,
) -> Opened:
    """`holder`: bytes of the identifier; behind it stand expiry, serial, algorithms, lengths and the key's digits."""
    at = 2 + holder
    clear, fault = _rsa_open(signer, certificate, form, remainder + exponent + static, at + 9 + 21)
    if not clear:
        return Opened(None, clear, fault)
    length, exponent_length = clear[at + 7], clear[at + 8]
    digits = (clear[at + 9 : -21] + remainder) if remainder else clear[at + 9 : -21][:length]
    identifier, expiry, serial = (
        clear[2:at].hex().upper(),
        clear[at : at + 2].hex(),
        clear[at + 2 : at + 5].hex().upper(),
    )
    key = PublicKey("rsa", digits, exponent, identifier, expiry, serial)
    if not fault and clear[at + 5 : at + 7] != b"\x01\x01":
        fault = "algorithm"
    if not fault and (len(digits) != length or len(exponent) != exponent_length or length > len(signer.modulus)):
        fault = "length"
    return Opened(key, clear, fault)


def _sm2_certificate(
    signer: PublicKey | CaKey, form: int, holder: int, certificate: bytes, static: bytes, user_id: bytes = sm2.USER_ID
) -> Opened:
    at = 1 + holder
    end = at + 9 + 64
    if len(certificate) != end + 64:
        return Opened(None, b"", "length")
    clear = certificate[:end]
    identifier, expiry, serial = (
        clear[1:at].hex().upper(),
        clear[at : at + 2].hex(),
        clear[at + 2 : at + 5].hex().upper(),
    )
    key = PublicKey("sm2", clear[-64:], b"", identifier, expiry, serial)
    if clear[0] != form or clear[at + 8] != 64:
        return Opened(key, clear, "recovery")
    if clear[at + 5 : at + 7] != b"\x04\x00":
        return Opened(key, clear, "algorithm")
    if not sm2.verify(signer.modulus, clear + static, certificate[end:], user_id):
        return Opened(key, clear, "signature")
    return Opened(key, clear, "" if sm2.on_curve(key.modulus) else "point")


def open_issuer(
    ca: CaKey, certificate: bytes, remainder: bytes = b"", exponent: bytes = b"", user_id: bytes = sm2.USER_ID
) -> Opened:
    """The issuer's certificate (90 with 92 and 9F32) under a CA key; `user_id` is that of an SM2 authority."""
    if ca.kind == "sm2":
        return _sm2_certificate(ca, 0x12, 4, certificate, b"", user_id)
    return _rsa_certificate(ca, 2, 4, certificate, remainder, exponent, b"")


def open_icc(
    issuer: PublicKey, certificate: bytes, remainder: bytes = b"", exponent: bytes = b"", static_data: bytes = b""
) -> Opened:
    """The card's certificate (9F46 with 9F48, 9F47); `static_data`: the signed records, and the AIP if 9F4A is 82."""
    if issuer.kind == "sm2":
        return _sm2_certificate(issuer, 0x14, 10, certificate, static_data)
    return _rsa_certificate(issuer, 4, 10, certificate, remainder, exponent, static_data)


def open_static(issuer: PublicKey, ssad: bytes, static_data: bytes) -> Signed:
    """Signed static data (93): its data is the data authentication code (9F45), 2 bytes."""
    if issuer.kind == "sm2":
        if len(ssad) != 67:
            return Signed(b"", b"", "length")
        clear = ssad[:3]
        fault = "recovery" if clear[0] != 0x13 else ""
        if not fault and not sm2.verify(issuer.modulus, clear + static_data, ssad[3:]):
            fault = "signature"
        return Signed(clear[1:], clear, fault)
    clear, fault = _rsa_open(issuer, ssad, 3, static_data, 26)
    if not fault and clear[2] != 1:
        fault = "algorithm"
    return Signed(clear[3:5], clear, fault)


def open_dynamic(icc: PublicKey, sdad: bytes, terminal_data: bytes) -> Signed:
    """Signed dynamic data (9F4B); `terminal_data`: DDOL values, the unpredictable number for CDA, or an fDDA's."""
    if icc.kind == "sm2":
        if len(sdad) < 2 + 64 or len(sdad) != 2 + sdad[1] + 64:
            return Signed(b"", b"", "length")
        clear, fault = sdad[:-64], "" if sdad[0] == 0x15 else "recovery"
        if not fault and not sm2.verify(icc.modulus, clear + terminal_data, sdad[-64:]):
            fault = "signature"
        return _dynamic(clear[2:], clear, fault)
    clear, fault = _rsa_open(icc, sdad, 5, terminal_data, 26)
    if not clear:
        return Signed(b"", clear, fault)
    if not fault and clear[2] != 1:
        fault = "algorithm"
    length = clear[3]
    if length > len(clear) - 25:
        return Signed(b"", clear, fault or "length")
    return _dynamic(clear[4 : 4 + length], clear, fault)


def _dynamic(data: bytes, clear: bytes, fault: str) -> Signed:
    if not fault and not (data and 2 <= data[0] <= 8 and len(data) > data[0]):
        fault = "length"
    return Signed(data, clear, fault)


def open_combined(icc: PublicKey, sdad: bytes, un: bytes, transaction: bytes | None) -> tuple[Combined | None, Signed]:
    """A CDA signature; `transaction` is what `transaction_hash` takes, None to leave the inner hash unchecked."""
    signed = open_dynamic(icc, sdad, un)
    size = 32 if icc.kind == "sm2" else 20
    at = 1 + len(signed.number)
    if len(signed.data) < at + 9 + size:
        return None, signed._replace(fault=signed.fault or "length")
    part = signed.data[at : at + 9 + size]
    combined = Combined(signed.number, part[0], part[1:9], part[9:])
    if not signed.fault and transaction is not None and transaction_hash(icc.kind, transaction) != combined.hashed:
        signed = signed._replace(fault="transaction")
    return combined, signed


def fdda_data(un: bytes, amount: bytes = b"", currency: bytes = b"", card_data: bytes = b"") -> bytes:
    """What an fDDA covers of the terminal's data: 9F37 alone (version 00), or 9F37, 9F02, 5F2A and the card's 9F69.

    The latter is version 01, where the card gave its authentication data (9F69).
    """
    return un + amount + currency + card_data if card_data else un


def _expired(expiry: str, today: str) -> bool:
    """`expiry` MMYY, valid to the end of the month; `today` YYMMDD. Years 50 to 99 are of the last century."""
    if not (expiry.isdigit() and "01" <= expiry[:2] <= "12"):
        return True
    century = {True: "19", False: "20"}
    until = century[expiry[2:] >= "50"] + expiry[2:] + expiry[:2]
    return until < century[today[:2] >= "50"] + today[:4]


def _holder_fits(holder: str, pan: str) -> bool:
    digits = holder.rstrip("F")
    if len(holder) == 8:
        return 3 <= len(digits) <= 8 and pan.startswith(digits)
    return digits == pan


def _accepted(opened: Opened, where: str, pan: str | None, today: str | None) -> PublicKey:
    if opened.fault or opened.key is None:
        raise OdaError(opened.fault or "length", where)
    if pan is not None and not _holder_fits(opened.key.holder, pan):
        raise OdaError("holder", where)
    if today is not None and _expired(opened.key.expiry, today):
        raise OdaError("expired", where)
    return opened.key


def recover_issuer_key(
    ca: CaKey,
    certificate: bytes,
    remainder: bytes = b"",
    exponent: bytes = b"",
    pan: str | None = None,
    today: str | None = None,
) -> PublicKey:
    """The issuer's key; OdaError. `pan` digits, `today` YYMMDD: each is checked where given."""
    if fault := ca.fault(today):
        raise OdaError(fault, "CA key")
    return _accepted(open_issuer(ca, certificate, remainder, exponent), "issuer certificate", pan, today)


def recover_icc_key(
    issuer: PublicKey,
    certificate: bytes,
    remainder: bytes = b"",
    exponent: bytes = b"",
    static_data: bytes = b"",
    pan: str | None = None,
    today: str | None = None,
) -> PublicKey:
    """The card's key; OdaError. `static_data` as for `open_icc`, `pan` and `today` as for `recover_issuer_key`."""
    opened = open_icc(issuer, certificate, remainder, exponent, static_data)
    return _accepted(opened, "ICC certificate", pan, today)


def verify_ssad(issuer: PublicKey, ssad: bytes, static_data: bytes) -> bytes:
    """SDA: the data authentication code (9F45); OdaError."""
    signed = open_static(issuer, ssad, static_data)
    if signed.fault:
        raise OdaError(signed.fault, "signed static data")
    return signed.data


def verify_sdad(icc: PublicKey, sdad: bytes, terminal_data: bytes) -> Signed:
    """DDA: the dynamic data with the dynamic number (9F4C); OdaError. `terminal_data`: the values of the DDOL."""
    signed = open_dynamic(icc, sdad, terminal_data)
    if signed.fault:
        raise OdaError(signed.fault, "signed dynamic data")
    return signed


def verify_cda(icc: PublicKey, sdad: bytes, un: bytes, transaction: bytes, cid: int | None = None) -> Combined:
    """CDA: what the signature says, the cryptogram among it; OdaError. `cid`: 9F27 as it came in clear."""
    combined, signed = open_combined(icc, sdad, un, transaction)
    if combined is None or signed.fault:
        raise OdaError(signed.fault, "signed dynamic data")
    if cid is not None and cid != combined.cid:
        raise OdaError("cryptogram", "signed dynamic data")
    return combined


def verify_fdda(
    icc: PublicKey, sdad: bytes, un: bytes, amount: bytes = b"", currency: bytes = b"", card_data: bytes = b""
) -> Signed:
    """fDDA: as `verify_sdad`, over `fdda_data` of 9F37, 9F02, 5F2A and 9F69 (the last empty: version 00)."""
    return verify_sdad(icc, sdad, fdda_data(un, amount, currency, card_data))


class KeyRing:
    """Keys once recovered, kept for the next card of the same issuer, and for the same card again.

    Holder and expiry are checked each time; what a signature cost, 0.05 to 9 ms, is paid once.
    """

    __slots__ = ("_cards", "_cards_max", "_issuers", "_issuers_max")

    def __init__(self, issuers_max: int = 256, cards_max: int = 1024) -> None:
        self._issuers: OrderedDict[tuple[bytes, ...], PublicKey] = OrderedDict()
        self._cards: OrderedDict[tuple[bytes, ...], PublicKey] = OrderedDict()
        self._issuers_max = issuers_max
        self._cards_max = cards_max

    def issuer_key(
        self,
        ca: CaKey,
        certificate: bytes,
        remainder: bytes = b"",
        exponent: bytes = b"",
        pan: str | None = None,
        today: str | None = None,
    ) -> PublicKey:
        """As `recover_issuer_key`."""
        where = (ca.modulus, ca.exponent, certificate, remainder, exponent)
        known = self._issuers.get(where)
        if known is None:
            known = recover_issuer_key(ca, certificate, remainder, exponent, pan, today)
            _keep(self._issuers, where, known, self._issuers_max)
            return known
        self._issuers.move_to_end(where)
        if fault := ca.fault(today):
            raise OdaError(fault, "CA key")
        return _accepted(Opened(known, b"", ""), "issuer certificate", pan, today)

    def icc_key(
        self,
        issuer: PublicKey,
        certificate: bytes,
        remainder: bytes = b"",
        exponent: bytes = b"",
        static_data: bytes = b"",
        pan: str | None = None,
        today: str | None = None,
    ) -> PublicKey:
        """As `recover_icc_key`."""
        where = (issuer.modulus, certificate, remainder, exponent, static_data)
        known = self._cards.get(where)
        if known is None:
            known = recover_icc_key(issuer, certificate, remainder, exponent, static_data, pan, today)
            _keep(self._cards, where, known, self._cards_max)
            return known
        self._cards.move_to_end(where)
        return _accepted(Opened(known, b"", ""), "ICC certificate", pan, today)


def _keep(
    shelf: OrderedDict[tuple[bytes, ...], PublicKey], where: tuple[bytes, ...], known: PublicKey, at_most: int
) -> None:
    shelf[where] = known
    if len(shelf) > at_most:
        shelf.popitem(last=False)
