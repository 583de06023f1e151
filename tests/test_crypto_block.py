"""Block ciphers: published answers, key lengths, contexts that keep nothing between calls."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.crypto import block, once
from switch.crypto.block import (
    BlockCipher,
    adjust_parity,
    cbc_encrypt,
    cipher,
    ecb_decryptor,
    ecb_encryptor,
    encrypt_once,
    expand_des,
    kcv,
    suite_of,
)
from switch.crypto.digest import sm3
from switch.crypto.errors import CryptoError

KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")


def test_published_answers() -> None:
    assert cipher("sm4", KEY).encrypt(KEY).hex() == "681edf34d206965e86b3e94f536e4246"
    assert kcv("3des", bytes.fromhex("11223344006677881122334455007788"), 3).hex() == "97dcb0"
    assert kcv("sm4", bytes.fromhex("11223344006677881122334455007788"), 3).hex() == "8447eb"
    assert sm3(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    # FIPS 197, appendix C.1
    assert (
        cipher("aes", bytes(range(16))).encrypt(bytes.fromhex("00112233445566778899aabbccddeeff")).hex()
        == "69c4e0d86a7b0430d8cdb78070b4c55a"
    )


def test_a_des_key_of_any_length_is_expanded_to_24_bytes() -> None:
    assert expand_des(b"abcdefgh") == b"abcdefgh" * 3
    assert expand_des(b"abcdefghABCDEFGH") == b"abcdefghABCDEFGHabcdefgh"
    assert expand_des(bytes(range(24))) == bytes(range(24))
    assert kcv("3des", KEY[:8]) == kcv("3des", KEY[:8] * 2) == kcv("3des", KEY[:8] * 3)


@pytest.mark.parametrize(
    ("suite", "length", "text"),
    [
        ("3des", 7, "a 3des key has 8 or 16 or 24 bytes, not 7"),
        ("3des", 0, "a 3des key has 8 or 16 or 24 bytes, not 0"),
        ("sm4", 8, "a sm4 key has 16 bytes, not 8"),
        ("aes", 17, "a aes key has 16 or 24 or 32 bytes, not 17"),
        ("des", 8, "unknown cipher suite 'des'"),
    ],
)
def test_wrong_keys_are_refused(suite: str, length: int, text: str) -> None:
    with pytest.raises(CryptoError, match=text):
        cipher(suite, bytes(length))


@given(st.sampled_from([("3des", 8), ("3des", 16), ("3des", 24), ("sm4", 16), ("aes", 32)]), st.data())
def test_a_context_has_no_memory(kind: tuple[str, int], data: st.DataObject) -> None:
    suite, length = kind
    key = data.draw(st.binary(min_size=length, max_size=length))
    one = BlockCipher(suite, key)
    blocks = data.draw(st.lists(st.binary(min_size=one.block, max_size=one.block), min_size=1, max_size=4))
    for text in blocks:
        secret = one.encrypt(text)
        with pytest.raises(CryptoError, match="whole blocks"):
            one.encrypt(text[1:])
        with pytest.raises(CryptoError, match="whole blocks"):
            one.decrypt(text + b"x")
        assert one.decrypt(secret) == text
        assert secret == ecb_encryptor(suite, key)(text)
        assert ecb_decryptor(suite, key)(secret) == text
    assert one.encrypt(b"".join(blocks)) == b"".join(map(one.encrypt, blocks))


@given(st.binary(min_size=16, max_size=16))
def test_parity_is_odd_and_changes_nothing_for_the_cipher(key: bytes) -> None:
    adjusted = adjust_parity(key)
    assert all(byte.bit_count() % 2 for byte in adjusted)
    assert all(a & 0xFE == b & 0xFE for a, b in zip(key, adjusted, strict=True))
    assert kcv("3des", key, 8) == kcv("3des", adjusted, 8)


def test_cbc_wants_whole_blocks_and_a_whole_vector() -> None:
    assert cbc_encrypt("sm4", KEY, bytes(16), bytes(16)) == cipher("sm4", KEY).encrypt(bytes(16))
    with pytest.raises(CryptoError, match="initial vector has 16 bytes, not 8"):
        cbc_encrypt("sm4", KEY, bytes(8), bytes(16))
    with pytest.raises(CryptoError, match="whole blocks of 16 bytes, not on 15"):
        cbc_encrypt("sm4", KEY, bytes(16), bytes(15))


def test_a_cipher_shows_and_gives_away_nothing() -> None:
    one = cipher("3des", KEY)
    assert repr(one) == "BlockCipher(3des)"
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not to be pickled or copied"):
            attempt(one)


ONCE = st.sampled_from([("3des", 8), ("3des", 16), ("3des", 24), ("sm4", 16), ("aes", 16), ("aes", 24), ("aes", 32)])


@given(ONCE.flatmap(lambda kind: st.tuples(st.just(kind[0]), st.binary(min_size=kind[1], max_size=kind[1]))), st.data())
def test_blocks_under_a_key_used_once_are_those_of_a_context(kind: tuple[str, bytes], data: st.DataObject) -> None:
    suite, key = kind
    size = suite_of(suite).block * data.draw(st.integers(1, 4))
    text = data.draw(st.binary(min_size=size, max_size=size))
    assert encrypt_once(suite, key, text) == ecb_encryptor(suite, key)(text)


def test_the_systems_cipher_is_taken_where_it_is_and_missed_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    text, made = bytes(range(32)), {}
    kinds = [("3des", KEY), ("3des", KEY[:8]), ("sm4", KEY), ("aes", KEY * 2)]
    for suite, key in kinds:
        made[suite, key] = encrypt_once(suite, key, text)
    monkeypatch.setattr(once, "_library", lambda: None)
    assert once.encryptor("SM4-ECB") is None
    monkeypatch.setattr(block, "_once", lambda suite, size: None)
    assert made == {(suite, key): encrypt_once(suite, key, text) for suite, key in kinds}


def test_a_cipher_that_openssl_does_not_know_is_none() -> None:
    assert once.encryptor("NO-SUCH-ECB") is None


@pytest.mark.parametrize(("suite", "key", "data"), [("sm4", 8, 16), ("3des", 8, 12), ("3des", 7, 8), ("sm4", 16, 8)])
def test_a_key_used_once_is_of_the_right_length_and_its_blocks_are_whole(suite: str, key: int, data: int) -> None:
    with pytest.raises(CryptoError):
        encrypt_once(suite, bytes(key), bytes(data))
