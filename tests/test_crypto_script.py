"""Issuer scripts: the commands as the vectors have them, and the card that reads them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch.crypto import script
from switch.crypto.cryptogram import CardKey
from switch.crypto.errors import CryptoError, MacMismatch, PinFormatError
from switch.crypto.script import Script

MAC = bytes.fromhex("8B4F854F0831FBF2635A212E4DDDB92A")
ENC = bytes.fromhex("11220044556677881122330055667788")
AC = bytes.fromhex("1A6800BC3F37AAA0")
ATC = 0x12
SUITES = st.sampled_from(["3des", "sm4"])
PINS = st.text("0123456789", min_size=4, max_size=12)


def writer(suite: str = "3des") -> Script:
    return Script(CardKey(suite, MAC).session(ATC), ATC, AC, CardKey(suite, ENC).session(ATC))


def test_each_command_in_bytes() -> None:
    write = writer()
    load = write.put_data("9F79", bytes.fromhex("000000016000"))
    assert load.hex().upper() == "04DA9F790A0000000160002B5A0920"
    assert script.template([load]).hex().upper() == "7211860F04DA9F790A0000000160002B5A0920"
    assert write.app_unblock().hex().upper() == "84180000044EEF409B"
    assert write.app_block().hex().upper() == "841E0000042AB7F579"
    assert write.pin_unblock().hex().upper() == "8424000004BDBD40CB"
    assert write.card_block()[:5].hex() == "8416000004"
    assert write.update_record(1, 2, b"\x70\x00")[:7].hex() == "04dc020c067000"
    assert write.put_data("95", b"x")[:5].hex() == "04da009505"
    part = CardKey("3des", ENC).pin_part
    assert part.hex() == "55667788"
    assert script.pin_block(part, "1234").hex().upper() == "041234FFAA998877"
    assert write.pin_change(part, "1234").hex().upper() == "8424000214C71B906BF9C3C89B1681FE472780719DFC5EFEA1"
    assert write.pin_change(part, "1234", "9999")[:5].hex() == "8424000114"


def test_the_input_of_a_mac() -> None:
    header = bytes.fromhex("04DA9F790A")
    assert script.mac_input(header, ATC, AC, b"data") == header + b"\x00\x12" + AC + b"data"
    load = writer().put_data("9F79", bytes(6))
    mac = CardKey("3des", MAC).session(ATC).mac4(script.mac_input(load[:5], ATC, AC, bytes(6)))
    assert load[-4:] == mac


@settings(max_examples=50, deadline=None)
@given(SUITES, st.binary(max_size=200), st.data())
def test_a_card_reads_what_was_written_and_nothing_else(suite: str, data: bytes, draw: st.DataObject) -> None:
    command = writer(suite).command(0x04, 0xDA, 0x9F, 0x79, data)
    session = CardKey(suite, MAC).session(ATC)
    assert script.check(session, command, ATC, AC) == data
    place, bit = draw.draw(st.integers(0, len(command) - 1)), draw.draw(st.integers(0, 7))
    flipped = bytearray(command)
    flipped[place] ^= 1 << bit
    for wrong in ((bytes(flipped), ATC, AC), (command, ATC + 1, AC), (command, ATC, bytes(8)), (command[:-1], ATC, AC)):
        with pytest.raises(MacMismatch):
            script.check(session, *wrong)


@settings(max_examples=60, deadline=None)
@given(SUITES, PINS, st.none() | PINS, st.binary(min_size=4, max_size=4))
def test_a_pin_arrives(suite: str, pin: str, current: str | None, part: bytes) -> None:
    session = CardKey(suite, ENC).session(ATC)
    block = script.pin_block(part, pin, current)
    assert script.pin_of(part, script.deciphered(session, script.enciphered(session, block)), current) == pin
    command = writer(suite).pin_change(part, pin, current)
    assert script.deciphered(session, script.check(CardKey(suite, MAC).session(ATC), command, ATC, AC)) == block


def test_templates() -> None:
    one = writer().app_block()
    assert script.template([one], b"\0\0\0\1", script.BEFORE).hex().startswith("71129f180400000001" + "8609841e")
    assert script.template([one] * 12)[:3].hex() == "728184"
    assert script.template([]) == b"\x72\x00"
    with pytest.raises(CryptoError, match="too long"):
        script.template([one] * 30)
    with pytest.raises(CryptoError, match="4 bytes"):
        script.template([one], b"1")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda: script.pin_block(bytes(4), "123"), PinFormatError),
        (lambda: script.pin_block(bytes(4), "12a4"), PinFormatError),
        (lambda: script.pin_block(bytes(4), "1234", "1"), PinFormatError),
        (lambda: script.pin_block(bytes(3), "1234"), CryptoError),
        (lambda: script.pin_of(bytes(4), bytes(8)), PinFormatError),
        (lambda: script.pin_of(bytes(4), bytes.fromhex("0412345FFFFFFFFF")), PinFormatError),
        (lambda: script.pin_of(bytes(4), bytes.fromhex("041A34FFFFFFFFFF")), PinFormatError),
        (lambda: script.pin_of(bytes(4), bytes(7)), PinFormatError),
        (lambda: script.deciphered(CardKey("3des", ENC).session(1), bytes(16)), PinFormatError),
        (lambda: script.deciphered(CardKey("3des", ENC).session(1), bytes(8)), PinFormatError),
        (lambda: writer().command(4, 0xDA, 0, 0, bytes(252)), CryptoError),
        (lambda: Script(CardKey("3des", MAC).session(1), 1, AC).pin_change(bytes(4), "1234"), CryptoError),
        (lambda: Script(CardKey("3des", MAC).session(1), 1, AC[:7]).app_block(), CryptoError),
        (lambda: script.check(CardKey("3des", MAC).session(1), b"\x84\x1e\x00\x00", 1, AC), MacMismatch),
    ],
)
def test_what_does_not_fit_is_refused(wrong, error: type[Exception]) -> None:
    with pytest.raises(error) as refused:
        wrong()
    assert "1234" not in str(refused.value)
