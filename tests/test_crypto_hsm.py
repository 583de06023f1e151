"""The Hsm at work: keys in and out, MACs, PIN translation, sealing; and that a wrong use is refused."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switch.crypto import pinblock
from switch.crypto.block import cipher, kcv
from switch.crypto.errors import CryptoError, KcvMismatch, MacMismatch, PinFormatError
from switch.crypto.hsm import Hsm
from switch.crypto.track import encrypt_track

LMK = bytes(range(32))
TMK = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
PIK = bytes.fromhex("1A2B3C4D5E6F70818293A4B5C6D7E8F9")
MAK = bytes.fromhex("C24A8FB57AA20123")
TDK = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
PAN = "6212142000000000012"
PINS = st.text("0123456789", min_size=4, max_size=12)
PANS = st.text("0123456789", min_size=8, max_size=19)
MESSAGES = st.binary(min_size=1, max_size=220)


def seeded(seed: int = 1) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


@pytest.fixture
def hsm() -> Hsm:
    """Keys of both suites: a terminal's pik, mak8, mak, tdk under tmk; its SM4 twins; zpk, zak; store, hash, pvk."""
    box = Hsm(LMK, seeded())
    box.import_clear("tmk", "tmk", "3des", TMK)
    box.import_key("pik", "pik", "3des", bytes.fromhex("41B1F3D154C3079A5673ACFAB058D6A4"), "tmk")
    box.import_key("mak8", "mak", "3des", bytes.fromhex("018BC9D09EE9B816" + "00" * 8), "tmk")
    box.import_key("tdk", "tdk", "3des", bytes.fromhex("31A7364CAC91CA39C0489F69BEC54FA2"), "tmk")
    box.generate("mak", "mak", "3des")
    box.import_clear("tmk.sm4", "tmk", "sm4", TMK)
    for usage in ("pik", "mak", "tdk"):
        box.generate(f"{usage}.sm4", usage, "sm4")
    for suite in ("3des", "sm4"):
        box.generate(f"zmk.{suite}", "zmk", suite)
        box.generate(f"zpk.{suite}", "zpk", suite)
        box.generate(f"zak.{suite}", "zak", suite)
    for usage in ("store", "hash", "pvk"):
        box.generate(usage, usage, "aes", 32)
    return box


# Keys in and out


def test_sign_in_keys_of_the_field(hsm: Hsm) -> None:
    """The sign-in reply with TMK, PIK, single-length MAK and TDK: cipher text and check values as published."""
    assert hsm.export("pik", "tmk") == (bytes.fromhex("41B1F3D154C3079A5673ACFAB058D6A4"), bytes.fromhex("14902E4D"))
    assert hsm.export("mak8", "tmk") == (bytes.fromhex("018BC9D09EE9B816"), bytes.fromhex("0547DB3E"))
    assert hsm.export("tdk", "tmk") == (bytes.fromhex("31A7364CAC91CA39C0489F69BEC54FA2"), bytes.fromhex("FB097599"))
    hsm.import_key(
        "pik.sm4",
        "pik",
        "sm4",
        bytes.fromhex("09325C4853832DCB9337A5984F671B9A"),
        "tmk.sm4",
        bytes.fromhex("72EBA303"),
    )
    assert hsm.kcv("pik.sm4").hex() == "72eba303"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([("3des", 8), ("3des", 16), ("3des", 24), ("sm4", 16)]), st.sampled_from(["3des", "sm4"]))
def test_export_and_import_meet(kind: tuple[str, int], under: str) -> None:
    suite, length = kind
    ours, theirs = Hsm(LMK, seeded(2)), Hsm(bytes(32), seeded(3))
    for box in (ours, theirs):
        box.import_clear("zmk", "zmk", under, TMK)
    ours.generate("zak", "zak", suite, length)
    if under == "sm4" and length % 16:
        with pytest.raises(CryptoError, match="whole blocks"):
            ours.export("zak", "zmk")
        return
    wrapped, check = ours.export("zak", "zmk")
    assert len(wrapped) == length
    assert len(check) == 4
    theirs.import_key("zak", "zak", suite, wrapped, "zmk", check)
    assert theirs.mac("zak", "cup-ecb", b"0800") == ours.mac("zak", "cup-ecb", b"0800")


@pytest.mark.parametrize("suite", ["3des", "sm4"])
def test_keys_issued_together_are_those_exported_one_by_one(hsm: Hsm, suite: str) -> None:
    hsm.import_clear("tmk/1", "tmk", suite, TMK)
    wanted = [("pik", 16), ("mak", 8 if suite == "3des" else 16), ("tdk", 16)]
    issued = hsm.issue("1", suite, wanted)
    assert [record for _, record in issued] == [hsm.record(f"{usage}/1") for usage, _ in wanted]
    for (usage, length), (wrapped, record) in zip(wanted, issued, strict=True):
        assert (wrapped, record.kcv) == hsm.export(f"{usage}/1", "tmk/1")
        assert len(wrapped) == length
        assert kcv(suite, cipher(suite, TMK).decrypt(wrapped)) == record.kcv
    assert len({wrapped for wrapped, _ in issued}) == 3
    with pytest.raises(CryptoError, match="carries no keys of"):
        hsm.issue("1", "sm4" if suite == "3des" else "3des", [("pik", 16)])
    with pytest.raises(CryptoError, match="carries no zpk"):
        hsm.issue("1", suite, [("pik", 16), ("zpk", 16)])
    assert hsm.record("pik/1") == issued[0].record, "nothing was put in its place"


def test_a_wrong_check_value_leaves_the_key_that_was_there(hsm: Hsm) -> None:
    before = hsm.record("pik")
    wrapped = hsm.export("pik", "tmk").wrapped
    for check in (b"\x00\x00\x00\x00", b"", b"\x14\x90", before.kcv[:3] + b"\xff", before.kcv + b"\x00" * 5):
        with pytest.raises(KcvMismatch, match="check value of key 'pik' does not match"):
            hsm.import_key("pik", "pik", "3des", wrapped, "tmk", check)
    assert hsm.record("pik") == before
    hsm.import_key("pik", "pik", "3des", wrapped, "tmk", kcv("3des", PIK, 8))


def test_a_new_working_key_takes_effect_at_once(hsm: Hsm) -> None:
    first = hsm.mac("mak", "cup-ecb", b"message")
    hsm.generate("mak", "mak", "3des")
    assert hsm.mac("mak", "cup-ecb", b"message") != first


def test_a_copy_outlives_its_original(hsm: Hsm) -> None:
    mac = hsm.mac("zak.sm4", "network", b"0800")
    hsm.copy("zak.sm4", "zak.old")
    hsm.generate("zak.sm4", "zak", "sm4")
    assert hsm.verify_mac("zak.old", "network", b"0800", mac)
    assert not hsm.verify_mac("zak.sm4", "network", b"0800", mac)
    assert hsm.record("zak.old").usage == "zak"
    with pytest.raises(CryptoError, match="'pik' is a pik; forget it"):
        hsm.copy("mak", "pik")


def test_a_ceremony_of_components() -> None:
    box = Hsm(LMK, seeded())
    first, second = bytes(range(16)), bytes(range(7, 23))
    parts = [first, second, bytes(a ^ b ^ c for a, b, c in zip(first, second, TMK, strict=True))]
    box.import_clear("zmk", "zmk", "3des", *parts)
    assert box.kcv("zmk") == kcv("3des", TMK)
    for wrong in ((), (bytes(16), bytes(8))):
        with pytest.raises(CryptoError, match="components of a key are of one length"):
            box.import_clear("zmk", "zmk", "3des", *wrong)


def test_generated_des_keys_have_parity_and_unlike_halves() -> None:
    given_ = iter([b"\x11" * 16, bytes(range(16)), bytes(64 * 12)])
    box = Hsm(LMK, lambda count: next(given_)[:count])
    box.generate("tmk", "tmk", "3des")
    assert box.kcv("tmk") == kcv("3des", bytes(range(16)))


# Wrong use

WRONG_USES: list[tuple[str, Callable[[Hsm], Any]]] = [
    ("'pik' is a pik, not one to cup-ecb with", lambda h: h.mac("pik", "cup-ecb", b"")),
    ("'tmk' is a tmk, not one to x9.9 with", lambda h: h.verify_mac("tmk", "x9.9", b"", b"")),
    ("'mak' is a mak, not one to open PINs", lambda h: h.translate_pin("mak", "iso0", "pik", "iso0", PAN, bytes(8))),
    ("'tdk' is a tdk, not one to seal PINs", lambda h: h.translate_pin("pik", "iso0", "tdk", "iso0", PAN, good(h))),
    ("'pik' is a pik, not one to open tracks", lambda h: h.decrypt_track("pik", "6" * 37)),
    ("'hash' is a hash, not one to seal", lambda h: h.seal("hash", b"", b"")),
    ("'store' is a store, not one to hash", lambda h: h.keyed_hash("store", b"")),
    ("'hash' is a hash, not one to refer to PINs", lambda h: h.pin_reference("hash", PAN, "1234")),
    ("'tmk' is a tmk and carries no zpk", lambda h: h.export("zpk.3des", "tmk")),
    ("'zmk.3des' is a zmk and carries no pik", lambda h: h.export("pik", "zmk.3des")),
    ("'pik' is a pik and carries no mak", lambda h: h.export("mak", "pik")),
    ("'tmk' is a tmk and carries no store", lambda h: h.export("store", "tmk")),
    ("'zmk.sm4' is a zmk and carries no tdk", lambda h: h.import_key("n", "tdk", "sm4", bytes(16), "zmk.sm4")),
    ("'pik' is a pik; forget it", lambda h: h.generate("pik", "mak", "3des")),
    ("unknown key usage 'any'", lambda h: h.generate("n", "any", "3des")),
    ("unknown cipher suite 'rc4'", lambda h: h.generate("n", "mak", "rc4")),
    ("no sm4 key has 8 bytes", lambda h: h.generate("n", "mak", "sm4", 8)),
    ("a store key is an aes key", lambda h: h.generate("n", "store", "sm4")),
    ("unknown MAC algorithm 'wrap'", lambda h: h.mac("tmk", "wrap", bytes(8))),
    ("a key label has 1 to 64", lambda h: h.generate("", "mak", "sm4")),
    ("a key label has 1 to 64", lambda h: h.generate("a\0b", "mak", "sm4")),
    ("a key label has 1 to 64", lambda h: h.generate("a" * 65, "mak", "sm4")),
    ("does not take a 3des key of 16 bytes", lambda h: h.mac("mak", "x9.9", b"")),
    ("blocks of 16 bytes", lambda h: h.translate_pin("pik.sm4", "iso0", "pik", "iso0", PAN, bytes(8))),
    ("blocks of 8 bytes", lambda h: h.translate_pin("pik", "iso0", "pik", "sm4", PAN, good(h))),
    ("the PAN would be lost", lambda h: h.translate_pin("pik", "iso0", "pik", "plain", PAN, good(h))),
    ("no key under label 'none'", lambda h: h.mac("none", "cup-ecb", b"")),
    ("no key under label 'none'", lambda h: h.forget("none")),
    ("no key under label 'none'", lambda h: h.export("mak", "none")),
]


def good(hsm: Hsm, pin: str = "123456") -> bytes:
    """An iso0 block under the key pik."""
    return cipher("3des", PIK).encrypt(pinblock.encode("iso0", pin, PAN))


@pytest.mark.parametrize(("text", "use"), WRONG_USES)
def test_wrong_uses_are_refused(hsm: Hsm, text: str, use: Callable[[Hsm], Any]) -> None:
    before = [hsm.record(label) for label in hsm.labels()]
    with pytest.raises(CryptoError, match=text):
        use(hsm)
    assert [hsm.record(label) for label in hsm.labels()] == before


# MACs


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MESSAGES, st.data())
def test_a_mac_verifies_and_any_flipped_bit_does_not(hsm: Hsm, message: bytes, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, len(message) * 8 - 1))
    flipped = (int.from_bytes(message, "big") ^ (1 << bit)).to_bytes(len(message), "big")
    for label, algorithm in (
        ("mak8", "cup-ecb"),
        ("mak", "cup-ecb"),
        ("mak.sm4", "cup-ecb"),
        ("mak8", "x9.9"),
        ("zak.3des", "x9.19"),
        ("zak.sm4", "sm4-cbc"),
        ("zak.3des", "network"),
        ("zak.sm4", "network"),
    ):
        mac = hsm.mac(label, algorithm, message)
        assert hsm.verify_mac(label, algorithm, message, mac)
        hsm.check_mac(label, algorithm, message, mac)
        assert not hsm.verify_mac(label, algorithm, flipped, mac)
        mac_bit = data.draw(st.integers(0, 63))
        wrong = (int.from_bytes(mac, "big") ^ (1 << mac_bit)).to_bytes(8, "big")
        assert not hsm.verify_mac(label, algorithm, message, wrong)
        assert not hsm.verify_mac(label, algorithm, message, mac[:7])
        with pytest.raises(MacMismatch, match="MAC does not match"):
            hsm.check_mac(label, algorithm, message, wrong)


def test_the_single_length_mak_of_the_field(hsm: Hsm) -> None:
    message = bytes.fromhex(
        "0200302004C020C0981100000000000000005100183402100006324392260000000024D1312101000000003136363838303134303030303030"
        "303030303030303031313536ACF46E73838A82F92600000000000000000822000001"
    )
    assert hsm.mac("mak8", "cup-ecb", message) == b"4914C6E9"


# PINs


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PINS, PANS)
def test_translation_round_trips(hsm: Hsm, pin: str, pan: str) -> None:
    block = cipher("3des", PIK).encrypt(pinblock.encode("iso0", pin, pan))
    reference = hsm.pin_reference("pvk", pan, pin)
    there = hsm.translate_pin("pik", "iso0", "zpk.sm4", "sm4", pan, block)
    assert len(there) == 16
    assert hsm.pin_matches("zpk.sm4", "sm4", pan, there, reference)
    assert hsm.translate_pin("zpk.sm4", "sm4", "pik", "iso0", pan, there) == block
    same = hsm.translate_pin("pik", "iso0", "zpk.3des", "iso0", pan, block)
    assert hsm.translate_pin("zpk.3des", "iso0", "pik", "iso0", pan, same) == block
    plain = cipher("3des", PIK).encrypt(pinblock.encode("plain", pin))
    assert hsm.translate_pin("pik", "plain", "pik", "iso0", pan, plain) == block


def test_field_example_of_an_sm4_block(hsm: Hsm) -> None:
    hsm.import_clear("zpk.sm4", "zpk", "sm4", TDK)
    block = hsm.translate_pin("pik", "iso0", "zpk.sm4", "sm4", PAN, bytes.fromhex("6F2860B60AE1B36F"))
    assert block.hex().upper() == "6DDD5EB77372372F2BFE6E5F3A188D3B"


def test_malformed_blocks_are_format_errors(hsm: Hsm) -> None:
    for block in (bytes(8), good(hsm)[:7], good(hsm) + b"x", bytes(16), b""):
        with pytest.raises(PinFormatError) as caught:
            hsm.translate_pin("pik", "iso0", "zpk.sm4", "sm4", PAN, block)
        assert "123456" not in str(caught.value)
    with pytest.raises(PinFormatError):
        hsm.translate_pin("zpk.sm4", "sm4", "pik", "iso0", PAN, bytes(16))
    with pytest.raises(PinFormatError, match="unknown PIN block format"):
        hsm.translate_pin("pik", "iso7", "pik", "iso0", PAN, good(hsm))


def test_another_pan_is_not_the_same_pin(hsm: Hsm) -> None:
    other = "6212140000000000030"
    reference = hsm.pin_reference("pvk", PAN, "123456")
    assert hsm.pin_matches("pik", "iso0", PAN, good(hsm), reference)
    assert not hsm.pin_matches("pik", "iso0", PAN, good(hsm, "123457"), reference)
    assert hsm.pin_reference("pvk", other, "123456") != reference
    with pytest.raises(PinFormatError):
        hsm.translate_pin("pik", "iso0", "zpk.3des", "iso0", other, good(hsm))


# Sealing, hashes, tracks


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=64), st.binary(max_size=32), st.data())
def test_sealed_data_opens_only_whole(hsm: Hsm, clear: bytes, aad: bytes, data: st.DataObject) -> None:
    sealed = hsm.seal("store", clear, aad)
    assert hsm.open("store", sealed, aad) == clear
    assert hsm.seal("store", clear, aad) != sealed
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    flipped = (int.from_bytes(sealed, "big") ^ (1 << bit)).to_bytes(len(sealed), "big")
    for wrong, other in ((flipped, aad), (sealed, aad + b"x"), (sealed[:-1], aad), (b"", aad), (sealed[:20], aad)):
        with pytest.raises(CryptoError, match="sealed data does not open under key 'store'"):
            hsm.open("store", wrong, other)


def test_keyed_hash(hsm: Hsm) -> None:
    first = hsm.keyed_hash("hash", b"6212142000000000012")
    assert len(first) == 16
    assert hsm.keyed_hash("hash", b"6212142000000000012") == first
    assert hsm.keyed_hash("hash", b"6212142000000000013") != first
    hsm.generate("other", "hash", "sm4")
    assert hsm.keyed_hash("other", b"6212142000000000012") != first


def test_tracks_are_deciphered(hsm: Hsm) -> None:
    track = "6226090000000154D49121200000000000000"
    assert hsm.decrypt_track("tdk", encrypt_track(cipher("3des", TDK), track)) == track
    hsm.import_clear("tdk.sm4", "tdk", "sm4", TDK)
    assert hsm.decrypt_track("tdk.sm4", encrypt_track(cipher("sm4", TDK), track)) == track
