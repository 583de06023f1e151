"""Offline data authentication, the signing side: certificates, and what an issuer and a card sign.

A signer is an `RsaKey` or an `Sm2Key`; SM2 takes a nonce of 32 bytes for each signature, RSA none. Layouts as in `oda`.
"""

from hashlib import sha1
from typing import NamedTuple, TypeAlias

from switch.crypto import rsa, sm2
from switch.crypto.errors import CryptoError
from switch.crypto.oda import transaction_hash
from switch.crypto.rsa import RsaKey
from switch.crypto.sm2 import Sm2Key

Signer: TypeAlias = RsaKey | Sm2Key

SM2_PARAMETERS = b"\x11"
"""The curve's parameter byte of certificates in the field (a test card of the standard's body has 04)."""


class Certificate(NamedTuple):
    """A certificate as a card stores it: 90, 92, 9F32, or 9F46, 9F48, 9F47; the last two are empty for SM2."""

    certificate: bytes
    remainder: bytes
    exponent: bytes


def kind_of(signer: Signer) -> str:
    """`rsa` or `sm2`."""
    return "rsa" if isinstance(signer, RsaKey) else "sm2"


def _sealed(signer: RsaKey, body: bytes, extra: bytes) -> bytes:
    """The clear block: 6A, body, SHA-1 over body and `extra`, BC."""
    if len(body) != signer.size - 22:
        raise CryptoError(f"{len(body)} bytes do not fill a block of {signer.size}")
    return b"\x6a" + body + sha1(body + extra, usedforsecurity=False).digest() + b"\xbc"


def _sm2_signed(signer: Sm2Key, clear: bytes, extra: bytes, nonce: bytes) -> bytes:
    return clear + sm2.sign(signer, clear + extra, nonce)


def _digits(text: str, size: int, what: str) -> bytes:
    try:
        value = bytes.fromhex(text.ljust(size * 2, "F"))
    except ValueError:
        value = b""
    if len(value) != size:
        raise CryptoError(f"{what} does not fit {size} bytes")
    return value


def _certificate(
    signer: Signer, subject: Signer, form: int, head: bytes, static_data: bytes, nonce: bytes
) -> Certificate:
    if isinstance(signer, Sm2Key) and isinstance(subject, Sm2Key):
        clear = bytes((0x10 | form,)) + head + b"\x04\x00" + SM2_PARAMETERS + b"\x40" + subject.public
        return Certificate(_sm2_signed(signer, clear, static_data, nonce), b"", b"")
    if not (isinstance(signer, RsaKey) and isinstance(subject, RsaKey)):
        raise CryptoError("a key is certified under a key of its own kind")
    modulus, exponent = subject.modulus, subject.exponent
    if len(modulus) > signer.size:
        raise CryptoError("an RSA key is certified under one that is as long at least")
    room = signer.size - 22 - 5 - len(head)
    remainder = modulus[room:]
    body = bytes((form,)) + head + b"\x01\x01" + bytes((len(modulus), len(exponent)))
    block = _sealed(signer, body + modulus[:room].ljust(room, b"\xbb"), remainder + exponent + static_data)
    return Certificate(rsa.sign(signer, block), remainder, exponent)


def issue_issuer_certificate(
    ca: Signer, issuer: Signer, issuer_id: str, expiry: str, serial: bytes, nonce: bytes = b""
) -> Certificate:
    """The authority's word for an issuer's key. `issuer_id`: 3 to 8 leading digits of its PANs; `expiry` MMYY."""
    head = _digits(issuer_id, 4, "an issuer identifier") + _digits(expiry, 2, "an expiry") + _serial(serial)
    return _certificate(ca, issuer, 2, head, b"", nonce)


def issue_icc_certificate(
    issuer: Signer, icc: Signer, pan: str, expiry: str, serial: bytes, static_data: bytes, nonce: bytes = b""
) -> Certificate:
    """The issuer's word for a card's key and its static data (signed records, and the AIP if 9F4A is 82)."""
    head = _digits(pan, 10, "a PAN") + _digits(expiry, 2, "an expiry") + _serial(serial)
    return _certificate(issuer, icc, 4, head, static_data, nonce)


def _serial(serial: bytes) -> bytes:
    if len(serial) != 3:
        raise CryptoError(f"a certificate's serial number has 3 bytes, not {len(serial)}")
    return serial


def sign_static_data(issuer: Signer, dac: bytes, static_data: bytes, nonce: bytes = b"") -> bytes:
    """Signed static data (93) with a data authentication code of 2 bytes."""
    if len(dac) != 2:
        raise CryptoError(f"a data authentication code has 2 bytes, not {len(dac)}")
    if isinstance(issuer, Sm2Key):
        return _sm2_signed(issuer, b"\x13" + dac, static_data, nonce)
    body = (b"\x03\x01" + dac).ljust(issuer.size - 22, b"\xbb")
    return rsa.sign(issuer, _sealed(issuer, body, static_data))


def dynamic_block(icc: RsaKey, data: bytes, terminal_data: bytes) -> bytes:
    """The clear block of signed dynamic data, before RSA."""
    if len(data) > icc.size - 25:
        raise CryptoError(f"an RSA key of {icc.size} bytes signs no dynamic data of {len(data)}")
    body = (b"\x05\x01" + bytes((len(data),)) + data).ljust(icc.size - 22, b"\xbb")
    return _sealed(icc, body, terminal_data)


def dynamic_data(number: bytes) -> bytes:
    """A card's dynamic data: the dynamic number (9F4C) behind its length; PBOC cards give the ATC, 2 bytes."""
    if not 2 <= len(number) <= 8:
        raise CryptoError(f"an ICC dynamic number has 2 to 8 bytes, not {len(number)}")
    return bytes((len(number),)) + number


def combined_data(number: bytes, cid: int, ac: bytes, hashed: bytes) -> bytes:
    """The dynamic data of CDA; `hashed` is an `oda.transaction_hash`."""
    return dynamic_data(number) + bytes((cid,)) + ac + hashed


def sign_dynamic_data(icc: Signer, data: bytes, terminal_data: bytes, nonce: bytes = b"") -> bytes:
    """Signed dynamic data (9F4B) over dynamic data as they are."""
    if isinstance(icc, Sm2Key):
        return _sm2_signed(icc, b"\x15" + bytes((len(data),)) + data, terminal_data, nonce)
    return rsa.sign(icc, dynamic_block(icc, data, terminal_data))


def sign_dynamic(icc: Signer, number: bytes, terminal_data: bytes, nonce: bytes = b"") -> bytes:
    """Signed dynamic data (9F4B) for DDA (`terminal_data`: DDOL values) and fDDA (`oda.fdda_data`)."""
    return sign_dynamic_data(icc, dynamic_data(number), terminal_data, nonce)


def sign_cda(
    icc: Signer, number: bytes, cid: int, ac: bytes, transaction: bytes, un: bytes, nonce: bytes = b""
) -> bytes:
    """Signed dynamic data (9F4B) for CDA: the cryptogram is inside, and `un` (9F37) covered.

    `transaction` is what `oda.transaction_hash` takes.
    """
    hashed = transaction_hash(kind_of(icc), transaction)
    return sign_dynamic_data(icc, combined_data(number, cid, ac, hashed), un, nonce)
