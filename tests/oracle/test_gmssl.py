"""Ours against gmssl's own SM3 and SM4, which shares no code with OpenSSL.

Its ECB always pads and its contexts remember their direction, so single rounds are used, with a key set up for each.
"""

import pytest
from gmssl import sm3 as gm_sm3
from gmssl.sm4 import SM4_DECRYPT, SM4_ENCRYPT, CryptSM4
from hypothesis import given, settings
from hypothesis import strategies as st

from switch.crypto import mac, pinblock
from switch.crypto.block import cbc_encrypt, cipher, kcv
from switch.crypto.digest import sm3
from switch.crypto.hsm import Hsm

KEYS = st.binary(min_size=16, max_size=16)
few = settings(max_examples=25, deadline=None)


def rounds(key: bytes, data: bytes, direction: int = SM4_ENCRYPT) -> bytes:
    """gmssl's SM4 over whole blocks, without its padding."""
    box = CryptSM4()
    box.set_key(key, direction)
    return b"".join(bytes(box.one_round(box.sk, list(data[at : at + 16]))) for at in range(0, len(data), 16))


def chained(key: bytes, data: bytes) -> list[bytes]:
    """CBC from a zero vector, block by block."""
    blocks, last = [], bytes(16)
    for at in range(0, len(data), 16):
        last = rounds(key, bytes(a ^ b for a, b in zip(last, data[at : at + 16], strict=True)))
        blocks.append(last)
    return blocks


@few
@given(st.binary(max_size=260))
def test_sm3(data: bytes) -> None:
    assert sm3(data).hex() == gm_sm3.sm3_hash(list(data))


@few
@given(KEYS, st.binary(min_size=16, max_size=64).map(lambda data: data[: len(data) // 16 * 16]))
def test_sm4(key: bytes, data: bytes) -> None:
    ours = cipher("sm4", key)
    assert ours.encrypt(data) == rounds(key, data)
    assert ours.decrypt(data) == rounds(key, data, SM4_DECRYPT)
    assert cbc_encrypt("sm4", key, bytes(16), data) == b"".join(chained(key, data))
    assert kcv("sm4", key, 16) == rounds(key, bytes(16))


@few
@given(KEYS, st.binary(max_size=220))
def test_macs_under_sm4(key: bytes, message: bytes) -> None:
    padded = message + bytes(-len(message) % 16)
    assert mac.sm4_cbc_mac(key, message) == chained(key, padded or bytes(16))[-1]
    folded = bytearray(16)
    for at, byte in enumerate(message):
        folded[at % 16] ^= byte
    text = folded.hex().upper().encode()
    first = rounds(key, text[:16])
    last = rounds(key, bytes(a ^ b for a, b in zip(first, text[16:], strict=True)))
    steps = mac.cup_ecb_steps(cipher("sm4", key), message)
    assert steps.a == first
    assert steps.c == last
    assert mac.cup_ecb_mac(cipher("sm4", key), message) == last.hex().upper()[:8].encode()


@few
@given(KEYS, KEYS, st.text("0123456789", min_size=4, max_size=12))
def test_pin_translation_into_sm4(pik: bytes, zpk: bytes, pin: str) -> None:
    pan = "6212140000000000030"
    hsm = Hsm(bytes(32), lambda count: bytes(count))
    hsm.import_clear("pik", "pik", "3des", pik)
    hsm.import_clear("zpk", "zpk", "sm4", zpk)
    block = cipher("3des", pik).encrypt(pinblock.encode("iso0", pin, pan))
    translated = hsm.translate_pin("pik", "iso0", "zpk", "sm4", pan, block)
    assert rounds(zpk, translated, SM4_DECRYPT) == pinblock.encode("sm4", pin, pan)


def test_wrapped_working_keys() -> None:
    tmk, pik = bytes(range(16)), bytes(range(16, 32))
    hsm = Hsm(bytes(32), lambda count: bytes(count))
    hsm.import_clear("tmk", "tmk", "sm4", tmk)
    hsm.import_key("pik", "pik", "sm4", rounds(tmk, pik), "tmk", rounds(pik, bytes(16))[:4])
    assert hsm.export("pik", "tmk").wrapped == rounds(tmk, pik)


@pytest.mark.parametrize("aligned", [True, False])
def test_its_cbc_agrees_before_the_padding(aligned: bool) -> None:
    key, data = bytes(range(16)), bytes(48 if aligned else 41)
    box = CryptSM4()
    box.set_key(key, SM4_ENCRYPT)
    theirs = box.crypt_cbc(bytes(16), data)
    whole = len(data) // 16 * 16
    assert theirs[:whole] == cbc_encrypt("sm4", key, bytes(16), data[:whole])
