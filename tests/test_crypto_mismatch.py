"""A wrong cryptogram's likely cause: each mistake, made on purpose, is named."""

import pytest

from switch.crypto import cryptogram, mismatch
from switch.crypto.cryptogram import SessionKey
from switch.crypto.errors import CryptoError
from switch.crypto.mac import pad_zero
from switch.crypto.mismatch import Presented

IMK = bytes(range(16))
PAN, PSN, ATC = "6228000000183117", "01", 0x12
VALUES = {
    "9F02": bytes.fromhex("000000001234"),
    "9F03": bytes(6),
    "9F1A": b"\x01\x56",
    "95": bytes.fromhex("0000008000"),
    "5F2A": b"\x01\x56",
    "9A": bytes.fromhex("261122"),
    "9C": b"\x00",
    "9F37": bytes.fromhex("11223344"),
    "82": b"\x7c\x00",
    "9F36": b"\x00\x12",
}
IAD = bytes.fromhex("07010103A0000001")
DATA = cryptogram.ac_input(1, VALUES, IAD)
UDK = cryptogram.card_key("3des", IMK, PAN, PSN)
SK = cryptogram.session_key("3des", UDK, ATC)
RIGHT = cryptogram.application_cryptogram("3des", SK, DATA)


def presented(ac: bytes) -> Presented:
    return Presented("3des", IMK, PAN, PSN, ATC, VALUES, IAD, ac)


def made(**changes: object) -> bytes:
    """The cryptogram with one thing done otherwise."""
    given = {"imk": IMK, "pan": PAN, "psn": PSN, "atc": ATC, "data": DATA, **changes}
    return cryptogram.steps("3des", **given).cryptogram  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ac", "en"),
    [
        (cryptogram.steps("sm4", IMK, PAN, PSN, ATC, DATA).cryptogram, "made with sm4 instead of 3des"),
        (made(psn="00"), "card key derived with sequence number 00"),
        (made(atc=0x11), "session key of an ATC -1"),
        (made(atc=0x13), "session key of an ATC +1"),
        (cryptogram.application_cryptogram("3des", UDK, DATA), "card key used as it is, without a session key"),
        (
            cryptogram.application_cryptogram("3des", cryptogram.session_key("3des", IMK, ATC), DATA),
            "issuer master key used as it is",
        ),
        (
            cryptogram.application_cryptogram("3des", cryptogram.emv_session_key(UDK, b"\0\x12" + bytes(6)), DATA),
            "EMV common session key instead of PBOC's",
        ),
        (SessionKey("3des", SK).mac(pad_zero(DATA, 8)), "padded with 00 instead of 80"),
        (made(data=cryptogram.ac_input(0x17, VALUES, IAD)), "covers what cryptogram version 17 covers"),
        (made(data=cryptogram.ac_input(1, {**VALUES, "95": bytes(5)}, IAD)), "covers zeros for 95"),
    ],
)
def test_each_mistake_is_named(ac: bytes, en: str) -> None:
    cause = mismatch.likely_cause(presented(ac))
    assert cause is not None
    assert cause.en == en
    assert cause.zh
    assert mismatch.first_difference(RIGHT, ac) == next(n for n in range(8) if RIGHT[n] != ac[n])


def test_no_cause_for_a_right_one_or_for_noise() -> None:
    assert mismatch.likely_cause(presented(RIGHT)) is None
    assert mismatch.likely_cause(presented(bytes(8))) is None
    assert mismatch.likely_cause(presented(RIGHT)._replace(suite="sm4", ac=bytes(8))) is None
    with pytest.raises(CryptoError, match="version 00 is not known"):
        mismatch.likely_cause(presented(RIGHT)._replace(iad=b""))
    assert repr(presented(RIGHT)) == "Presented(3des)"


def test_first_difference() -> None:
    assert mismatch.first_difference(b"abc", b"abc") == -1
    assert mismatch.first_difference(b"abc", b"abx") == 2
    assert mismatch.first_difference(b"abc", b"ab") == 2
