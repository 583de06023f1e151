"""What an issuer asks of its Hsm about chips: right answers, no key out, contexts bounded and never stale."""

import pytest

from switch.crypto import cardkeys, cryptogram, pinblock, script
from switch.crypto.block import ecb_encryptor
from switch.crypto.cardkeys import CardKeys
from switch.crypto.cryptogram import CardKey
from switch.crypto.errors import CryptoError, KeyNotFound, PinFormatError
from switch.crypto.hsm import Hsm

BANK = "01020000"
PAN, PSN, ATC = "6228000000183117", "01", 0x12
KEYS = {"ac": bytes(range(16)), "mac": bytes(range(16, 32)), "enc": bytes(range(32, 48))}
ZPK = bytes(range(64, 80))
DATA = bytes(range(37))


def entropy(count: int) -> bytes:
    return bytes(at & 0xFF for at in range(count))


@pytest.fixture
def hsm() -> Hsm:
    hsm = Hsm(bytes(32), entropy)
    for suite in ("3des", "sm4"):
        for use, key in KEYS.items():
            hsm.import_clear(cardkeys.label(BANK, suite, use), "imk", suite, key)
    hsm.import_clear("zpk", "zpk", "3des", ZPK)
    return hsm


def session(suite: str, use: str, atc: int = ATC) -> cryptogram.SessionKey:
    return CardKey(suite, cryptogram.card_key(suite, KEYS[use], PAN, PSN)).session(atc)


@pytest.mark.parametrize("suite", ["3des", "sm4"])
def test_an_authorization(hsm: Hsm, suite: str) -> None:
    keys = CardKeys(hsm)
    arqc = session(suite, "ac").cryptogram(DATA)
    chip = keys.chip(BANK, suite, PAN, PSN, ATC)
    assert chip.verify(DATA, arqc)
    assert chip.expected(DATA) == arqc
    assert not chip.verify(DATA, arqc[:-1] + bytes([arqc[-1] ^ 1]))
    assert not chip.verify(DATA, b"")
    assert not keys.chip(BANK, suite, PAN, PSN, ATC + 1).verify(DATA, arqc)
    assert not keys.chip(BANK, suite, PAN, "02", ATC).verify(DATA, arqc)
    assert chip.arpc(arqc, b"00") == session(suite, "ac").arpc(arqc, b"00")
    assert chip.iad_mac(bytes(5)) == session(suite, "mac").iad_mac(ATC, bytes(5))
    assert chip.verify_iad_mac(bytes(5), chip.iad_mac(bytes(5)))
    assert not chip.verify_iad_mac(bytes(5), bytes(4))
    assert keys.verify(BANK, suite, PAN, PSN, ATC, DATA, arqc)
    assert keys.arpc(BANK, suite, PAN, PSN, ATC, arqc, b"00") == chip.arpc(arqc, b"00")
    assert keys.iad_mac(BANK, suite, PAN, PSN, ATC, bytes(5)) == chip.iad_mac(bytes(5))
    command = chip.script(arqc).put_data("9F79", bytes(6))
    assert script.check(session(suite, "mac"), command, ATC, arqc) == bytes(6)


@pytest.mark.parametrize("suite", ["3des", "sm4"])
@pytest.mark.parametrize("part", ["ac", "enc"])
def test_a_new_pin_goes_through_without_being_seen(hsm: Hsm, suite: str, part: str) -> None:
    block = ecb_encryptor("3des", ZPK)(pinblock.encode("iso0", "845200", PAN))
    chip = CardKeys(hsm).chip(BANK, suite, PAN, PSN, ATC)
    command = chip.pin_change(bytes(8), "zpk", "iso0", block, PAN, part)
    data = script.check(session(suite, "mac"), command, ATC, bytes(8))
    part_of = CardKey(suite, cryptogram.card_key(suite, KEYS[part], PAN, PSN)).pin_part
    assert script.pin_of(part_of, script.deciphered(session(suite, "enc"), data)) == "845200"
    with pytest.raises(PinFormatError):
        chip.pin_change(bytes(8), "zpk", "iso0", bytes(8), PAN)


def test_keys_that_are_absent_or_for_something_else(hsm: Hsm) -> None:
    keys = CardKeys(hsm)
    with pytest.raises(KeyNotFound, match="imk/09999999/3des/ac"):
        keys.chip("09999999", "3des", PAN, PSN, ATC).verify(DATA, bytes(8))
    hsm.import_clear("imk/09999999/3des/ac", "zak", "3des", bytes(range(16)))
    with pytest.raises(CryptoError, match="is a zak"):
        keys.chip("09999999", "3des", PAN, PSN, ATC).verify(DATA, bytes(8))
    with pytest.raises(CryptoError, match="is a imk"):
        hsm.mac(cardkeys.label(BANK, "3des", "ac"), "x9.19", b"data")
    for suite, key in (("aes", bytes(16)), ("3des", bytes(range(24))), ("3des", bytes(8))):
        with pytest.raises(CryptoError):
            hsm.import_clear("imk/x", "imk", suite, key)
    hsm.generate("imk/x", "imk", "sm4")
    assert len(hsm.kcv("imk/x")) == 4


def test_a_replaced_master_key_is_the_one_in_force(hsm: Hsm) -> None:
    keys = CardKeys(hsm)
    arqc = session("3des", "ac").cryptogram(DATA)
    assert keys.chip(BANK, "3des", PAN, PSN, ATC).verify(DATA, arqc)
    hsm.import_clear(cardkeys.label(BANK, "3des", "ac"), "imk", "3des", bytes(range(1, 17)))
    assert not keys.chip(BANK, "3des", PAN, PSN, ATC).verify(DATA, arqc)


def test_contexts_are_bounded_and_silent(hsm: Hsm) -> None:
    keys = CardKeys(hsm, cards_max=2)
    for psn in ("01", "02", "03", "02"):
        keys.chip(BANK, "3des", PAN, psn, ATC).expected(DATA)
    assert repr(keys) == "CardKeys(2 at hand)"
    assert repr(keys.chip(BANK, "3des", PAN, PSN, ATC)) == f"Chip({BANK}, 3des)"
    one = keys.card_key(cardkeys.label(BANK, "3des", "ac"), PAN, "02")
    assert keys.card_key(cardkeys.label(BANK, "3des", "ac"), PAN, "02") is one


def test_records_of_master_keys_survive(hsm: Hsm, tmp_path) -> None:
    hsm.save(tmp_path / "keys")
    again = Hsm.load(tmp_path / "keys", bytes(32), entropy)
    arqc = session("sm4", "ac").cryptogram(DATA)
    assert CardKeys(again).chip(BANK, "sm4", PAN, PSN, ATC).verify(DATA, arqc)
