"""Card keys, session keys, cryptograms: published and derived values, intermediate ones too, and what is refused."""

import pickle

import pytest
from gmssl.sm4 import SM4_ENCRYPT, CryptSM4
from hypothesis import given, settings
from hypothesis import strategies as st

from switch.crypto import cryptogram, des, mac
from switch.crypto.cryptogram import CardKey, IssuerKey, SessionKey
from switch.crypto.errors import CryptoError
from switch.crypto.mac import iso9797_alg3

IMK = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
UDK = bytes.fromhex("0D2E3CB0BC1F9E03AED58F663A2F9679")
AC_DATA = bytes.fromhex("0000000012340000000000340156D86004A800015612051601010101017C00000E03A4B904")
ARQC = bytes.fromhex("F294D7022FA9B058")
VALUES = {
    "9F02": bytes.fromhex("000000001234"),
    "9F03": bytes.fromhex("000000000034"),
    "9F1A": b"\x01\x56",
    "95": bytes.fromhex("D86004A800"),
    "5F2A": b"\x01\x56",
    "9A": bytes.fromhex("120516"),
    "9C": b"\x01",
    "9F37": b"\x01\x01\x01\x01",
    "82": b"\x7c\x00",
    "9F36": b"\x00\x0e",
}
IAD = bytes.fromhex("07020103A4B904010A0100000000001BFC423C")


def sm4(key: bytes, block: bytes) -> bytes:
    """One block by gmssl."""
    box = CryptSM4()
    box.set_key(key, SM4_ENCRYPT)
    return bytes(box.one_round(box.sk, list(block)))


def test_a_published_run_of_a_card() -> None:
    assert cryptogram.ac_input(0x01, VALUES, IAD) == AC_DATA
    assert len(AC_DATA) == 37
    sk = cryptogram.session_key("3des", UDK, 0x000E)
    assert sk.hex().upper() == "C3D3F062E9992B4E923D338D66193526"
    assert cryptogram.application_cryptogram("3des", sk, AC_DATA) == ARQC
    assert cryptogram.arpc("3des", sk, ARQC, b"00").hex().upper() == "3846EEB4C8D34271"
    session = CardKey("3des", UDK).session(0x000E)
    assert (session.cryptogram(AC_DATA), session.cryptogram(AC_DATA)) == (ARQC, ARQC)
    assert session.arpc(ARQC, b"00").hex().upper() == "3846EEB4C8D34271"


def test_cvn_17_takes_four_values() -> None:
    iad = bytes.fromhex("07011703A00000010A0100000038787C90F25B")
    values = {"9F02": bytes.fromhex("000000000100"), "9F37": bytes.fromhex("2B29EBE4"), "9F36": b"\x0a\xdc"}
    assert cryptogram.ac_input(0x17, values, iad).hex().upper() == "0000000001002B29EBE40ADCA0"
    assert cryptogram.suite_of_iad(iad) == "3des"


@pytest.mark.parametrize(
    ("suite", "udk"),
    [("3des", "8338791E9119E0AC200572F84A6A78C6"), ("sm4", "9F29FF18ABC9EAA4168F21FC9B33228F")],
)
def test_card_keys(suite: str, udk: str) -> None:
    pan = "6227001234567890123"
    assert cryptogram.diversifier(pan, "01").hex() == "0123456789012301"
    assert cryptogram.card_key(suite, IMK, pan, "01").hex().upper() == udk
    assert IssuerKey(suite, IMK).card(pan, "01").session(7).cryptogram(b"x") == SessionKey(
        suite, cryptogram.session_key(suite, bytes.fromhex(udk), 7)
    ).cryptogram(b"x")


def test_diversifiers() -> None:
    assert cryptogram.diversifier("6228000", "").hex() == "0000000622800000"
    assert cryptogram.diversifier("6228000", "7").hex() == "0000000622800007"
    assert cryptogram.diversifier("9901234567890123", "45", "B") == cryptogram.diversifier("9901234567890123", "45")
    assert cryptogram.diversifier("12345678901234567", "45", "B") != cryptogram.diversifier("12345678901234567", "45")


def test_steps_show_every_intermediate_of_sm4_as_gmssl_makes_it() -> None:
    steps = cryptogram.steps("sm4", IMK, "6227001234567890123", "01", 0x12, AC_DATA)
    x = bytes.fromhex("0123456789012301")
    udk = sm4(IMK, x + bytes(b ^ 0xFF for b in x))
    assert (steps.diversifier, steps.card_key) == (x, udk)
    assert (steps.left.hex(), steps.right.hex()) == ("0000000000000012", "000000000000ffed")
    sk = sm4(udk, steps.left + steps.right)
    assert steps.session_key == sk
    assert steps.padded == AC_DATA + b"\x80" + bytes(10)
    last, chain = bytes(16), []
    for at in range(0, 48, 16):
        last = sm4(sk, bytes(a ^ b for a, b in zip(last, steps.padded[at : at + 16], strict=True)))
        chain.append(last)
    assert steps.chain == tuple(chain)
    assert steps.cryptogram == last[:8]
    assert steps.cryptogram == IssuerKey("sm4", IMK).card("6227001234567890123", "01").session(0x12).cryptogram(AC_DATA)
    y = bytes(a ^ b for a, b in zip(steps.cryptogram, b"00" + bytes(6), strict=True))
    assert SessionKey("sm4", sk).arpc(steps.cryptogram, b"00") == sm4(sk, y + bytes(8))[:8]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["3des", "sm4"]),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 0xFFFF),
    st.binary(max_size=300),
)
def test_steps_agree_with_the_contexts(suite: str, imk: bytes, atc: int, data: bytes) -> None:
    steps = cryptogram.steps(suite, imk, "6228000000183117", "01", atc, data)
    session = IssuerKey(suite, imk).card("6228000000183117", "01").session(atc)
    assert session.cryptogram(data) == steps.cryptogram == steps.chain[-1][:8]
    assert session.mac4(data) == steps.cryptogram[:4] == cryptogram.message_mac4(suite, steps.session_key, data)
    assert session.decrypt(session.encrypt(bytes(32))) == bytes(32)
    assert repr(steps) == f"Steps({suite})"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["3des", "sm4"]), st.binary(min_size=1, max_size=64), st.data())
def test_a_flipped_bit_or_another_atc_gives_another_cryptogram(suite: str, data: bytes, draw: st.DataObject) -> None:
    card = CardKey(suite, IMK)
    place, bit = draw.draw(st.integers(0, len(data) - 1)), draw.draw(st.integers(0, 7))
    flipped = bytearray(data)
    flipped[place] ^= 1 << bit
    right = card.session(5).cryptogram(data)
    assert card.session(5).cryptogram(bytes(flipped)) != right
    assert card.session(6).cryptogram(data) != right
    assert card.session(5).cryptogram(data) == right


def test_iad_mac_is_padded_to_eight_for_both() -> None:
    assert cryptogram.iad_mac_input(0x12, bytes.fromhex("0000015000")).hex() == "0012000001500000"
    assert len(cryptogram.iad_mac_input(0x12, bytes(10))) == 16
    mac = bytes.fromhex("8B4F854F0831FBF2635A212E4DDDB92A")
    assert CardKey("sm4", mac).session(0x12).iad_mac(0x12, bytes.fromhex("0000015000")).hex().upper() == "B01CB042"
    assert CardKey("3des", mac).session(0x12).iad_mac(0x12, bytes.fromhex("0000015000")).hex().upper() == "DE383BDF"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: cryptogram.ac_input(0x18, VALUES, IAD), "version 18 is not known"),
        (lambda: cryptogram.ac_input(1, VALUES, IAD[:6]), "holds no CVR"),
        (lambda: cryptogram.ac_input(1, {**VALUES, "95": b""}, IAD), "tag 95 has 0 bytes"),
        (lambda: cryptogram.ac_input(1, {"9F02": bytes(6)}, IAD), "tag 9F03 is absent"),
        (lambda: cryptogram.suite_of_iad(IAD[:7] + b"\x02"), "algorithm 02"),
        (lambda: cryptogram.diversifier("62280000001831171234", "01"), "1 to 19 digits"),
        (lambda: cryptogram.diversifier("62280000", "012"), "1 to 19 digits"),
        (lambda: cryptogram.diversifier("６228", "01"), "1 to 19 digits"),
        (lambda: cryptogram.diversifier("62280000", "01", "C"), "option A or B"),
        (lambda: cryptogram.session_key("3des", UDK, 0x10000), "ATC"),
        (lambda: cryptogram.session_key("aes", UDK, 1), "3des or sm4"),
        (lambda: SessionKey("3des", UDK[:8]), "16 bytes"),
        (lambda: IssuerKey("sm4", UDK + UDK), "16 bytes"),
        (lambda: cryptogram.emv_session_key(UDK, b"1"), "8 bytes"),
        (lambda: cryptogram.arpc("3des", UDK, ARQC, b"0"), "response code of 2"),
        (lambda: SessionKey("3des", UDK).arpc_csu(ARQC, b"0"), "method 2"),
        (lambda: SessionKey("sm4", UDK).mac(b"123"), "whole blocks"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, said: str) -> None:
    with pytest.raises(CryptoError, match=said) as refused:
        wrong()
    assert UDK.hex() not in str(refused.value).lower()
    assert "62280000" not in str(refused.value)


@pytest.mark.parametrize("thing", [SessionKey("3des", UDK), CardKey("sm4", UDK), IssuerKey("3des", IMK)])
def test_contexts_show_no_key(thing: object) -> None:
    assert repr(thing) in ("SessionKey(3des)", "CardKey(sm4)", "IssuerKey(3des)")
    with pytest.raises(TypeError):
        pickle.dumps(thing)


def test_a_card_keeps_one_session() -> None:
    card = CardKey("3des", UDK)
    assert card.session(1) is card.session(1)
    first = card.session(1)
    assert card.session(2) is not first
    assert card.session(1) is not first


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_a_session_key_macs_alike_with_and_without_the_systems_library(
    monkeypatch: pytest.MonkeyPatch, blocks: int
) -> None:
    key, data = bytes(range(1, 17)), bytes(range(200, 200 + 8 * blocks))
    ours = mac.retail(key)
    assert ours(data) == ours(data) == iso9797_alg3(key, data)
    session = SessionKey("3des", key)
    assert session.mac(data) == session.mac(data) == ours(data)
    monkeypatch.setattr(des, "_library", lambda: None)
    assert mac.retail(key)(data) == session.mac(data) == session.mac(data) == ours(data)


@pytest.mark.parametrize("suite", ["3des", "sm4"])
@pytest.mark.parametrize("data", [b"", bytes(7), bytes(20)])
def test_a_session_key_macs_whole_blocks_alone(suite: str, data: bytes) -> None:
    with pytest.raises(CryptoError, match="whole blocks"):
        SessionKey(suite, bytes(range(16))).mac(data)
