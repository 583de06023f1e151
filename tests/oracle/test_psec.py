"""Ours against psec: DES keys and check values, PIN blocks, CBC and retail MACs."""

import psec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch.crypto import mac, pinblock
from switch.crypto.block import adjust_parity, cipher, kcv
from switch.crypto.errors import PinFormatError

DOUBLE = st.binary(min_size=16, max_size=16)
SINGLE = st.binary(min_size=8, max_size=8)
PINS = st.text("0123456789", min_size=4, max_size=12)
PANS = st.text("0123456789", min_size=13, max_size=19)
few = settings(max_examples=50, deadline=None)


@few
@given(st.one_of(SINGLE, DOUBLE, st.binary(min_size=24, max_size=24)), SINGLE)
def test_des(key: bytes, data: bytes) -> None:
    assert cipher("3des", key).encrypt(data) == psec.des.encrypt_tdes_ecb(key, data)
    assert cipher("3des", key).decrypt(data) == psec.des.decrypt_tdes_ecb(key, data)
    assert kcv("3des", key) == psec.des.generate_kcv(key, 4)
    assert adjust_parity(key) == psec.des.adjust_key_parity(key)


@few
@given(PINS, PANS)
def test_pin_blocks(pin: str, pan: str) -> None:
    assert pinblock.encode("iso0", pin, pan) == psec.pinblock.encode_pinblock_iso_0(pin, pan)
    assert pinblock.encode("iso2", pin) == psec.pinblock.encode_pinblock_iso_2(pin)
    assert pinblock.iso4_pan_field(pan) == psec.pinblock.encode_pan_field_iso_4(pan)


@few
@given(st.one_of(SINGLE, st.binary(min_size=7, max_size=7).map(lambda rest: b"\x04" + rest)), PANS)
def test_whatever_we_decode_it_decodes_alike(block: bytes, pan: str) -> None:
    try:
        pin = pinblock.decode("iso0", block, pan)
    except PinFormatError:
        return
    assert psec.pinblock.decode_pinblock_iso_0(block, pan) == pin


@few
@given(SINGLE, DOUBLE, st.binary(min_size=1, max_size=220))
def test_macs(single: bytes, double: bytes, message: bytes) -> None:
    assert mac.x9_9(single, message) == psec.mac.generate_cbc_mac(single, message, 1)
    assert mac.x9_19(double, message) == psec.mac.generate_retail_mac(double[:8], double[8:], message, 1)
    assert mac.iso9797_alg3(double, message, 2) == psec.mac.generate_retail_mac(double[:8], double[8:], message, 2)


@pytest.mark.parametrize("pin", ["123", "1234567890123", "12a4"])
def test_both_refuse_the_same_pins(pin: str) -> None:
    with pytest.raises(PinFormatError):
        pinblock.encode("iso0", pin, "6212140000000000030")
    with pytest.raises(ValueError, match="PIN"):
        psec.pinblock.encode_pinblock_iso_0(pin, "6212140000000000030")
