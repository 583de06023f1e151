"""PIN blocks: published examples, round trips, and every way in which a block can be malformed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.crypto import pinblock
from switch.crypto.errors import CryptoError, PinFormatError

PAN = "6212142000000000012"
PINS = st.text("0123456789", min_size=4, max_size=12)
PANS = st.text("0123456789", min_size=8, max_size=19)


@pytest.mark.parametrize(
    ("fmt", "pin", "pan", "block"),
    [
        ("iso0", "123456", "123456789012345678", "061253DFFEDCBA98"),
        ("iso0", "123456", "1234567890123456", "0612713176FEDCBA"),
        ("iso0", "123456", PAN, "06121456FFFFFFFE"),
        ("plain", "123456", "", "06123456FFFFFFFF"),
        ("iso2", "1234", "", "241234FFFFFFFFFF"),
        ("iso2", "123456789012", "", "2C123456789012FF"),
        ("sm4", "123456", PAN, "06123456FFFFFFFFFFFFDFFFFFFFFFFE"),
    ],
)
def test_examples(fmt: str, pin: str, pan: str, block: str) -> None:
    assert pinblock.encode(fmt, pin, pan).hex().upper() == block
    assert pinblock.decode(fmt, bytes.fromhex(block), pan) == pin


def test_twelve_digits_of_the_pan() -> None:
    assert pinblock.pan12("123456789012345678") == "678901234567"
    assert pinblock.pan12("12345678") == "000001234567"
    assert pinblock.iso4_pan_field("112233445566778899").hex().upper() == "61122334455667788990000000000000"
    assert pinblock.iso4_pan_field("12345678").hex().upper() == "00000123456780000000000000000000"


@given(st.sampled_from(sorted(pinblock.FORMATS)), PINS, PANS)
def test_round_trip(fmt: str, pin: str, pan: str) -> None:
    block = pinblock.encode(fmt, pin, pan)
    assert len(block) == pinblock.FORMATS[fmt].size
    assert pinblock.decode(fmt, block, pan) == pin


@given(st.sampled_from(sorted(pinblock.FORMATS)), st.binary(min_size=8, max_size=16), PANS)
def test_a_block_that_decodes_is_the_one_that_would_be_made(fmt: str, block: bytes, pan: str) -> None:
    try:
        pin = pinblock.decode(fmt, block, pan)
    except PinFormatError:
        return
    assert pinblock.encode(fmt, pin, pan) == block


@pytest.mark.parametrize(
    ("fmt", "block", "text"),
    [
        ("plain", "16123456FFFFFFFF", "control or length"),
        ("iso2", "06123456FFFFFFFF", "control or length"),
        ("plain", "03123FFFFFFFFFFF", "control or length"),
        ("plain", "0D1234567890123F", "control or length"),
        ("plain", "0612345AFFFFFFFF", "other than digits"),
        ("plain", "061234FFFFFFFFFF", "other than digits"),
        ("plain", "06123456FFFFFFF0", "fill"),
        ("plain", "061234567FFFFFFF", "fill"),
        ("plain", "06123456FFFFFF", "has 8 bytes, not 7"),
        ("sm4", "06123456FFFFFFFF", "has 16 bytes, not 8"),
        ("iso9", "06123456FFFFFFFF", "unknown PIN block format 'iso9'"),
    ],
)
def test_malformed_blocks(fmt: str, block: str, text: str) -> None:
    with pytest.raises(PinFormatError, match=text) as caught:
        pinblock.decode(fmt, bytes.fromhex(block), PAN)
    assert isinstance(caught.value, CryptoError)
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize("pin", ["", "123", "1234567890123", "12a4", "١٢٣٤", "12 4"])
def test_pins_that_fit_no_block(pin: str) -> None:
    with pytest.raises(PinFormatError, match="a PIN has 4 to 12 digits"):
        pinblock.encode("plain", pin)


@pytest.mark.parametrize("pan", ["", "1234567", "1" * 20, "62121420000000x0012", "６２１２１４２０００００"])
def test_pans_that_fit_no_block(pan: str) -> None:
    for call in (lambda: pinblock.encode("iso0", "1234", pan), lambda: pinblock.decode("iso0", bytes(8), pan)):
        with pytest.raises(PinFormatError, match="a PAN has 8 to 19 digits"):
            call()
    with pytest.raises(PinFormatError, match="a PAN has 8 to 19 digits"):
        pinblock.iso4_pan_field(pan)
