"""MACs: the steps of the CUP ECB MAC, the chains that never start anew, every bit counted."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch.crypto import des, mac
from switch.crypto.block import cbc_encrypt, cipher
from switch.crypto.errors import CryptoError

VECTORS = json.loads((Path(__file__).parent / "vectors" / "vectors.json").read_text(encoding="utf-8"))
SINGLE = bytes.fromhex("C24A8FB57AA20123")
DOUBLE = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
TEXT = (
    b"0200 196212142000000000012 000000 000000008000 0713035021 001085 4900 00"
    b" 0804384530 0804384530 10000147 810000949000001"
)


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["kind"] == "mac-cup-ecb"], ids=lambda v: v["id"])
def test_cup_ecb_steps(vector: dict[str, Any]) -> None:
    given_, expected = vector["inputs"], vector["expected"]
    under = cipher(given_["algorithm"], bytes.fromhex(given_["key"]))
    message = bytes.fromhex(given_["message"])
    steps = mac.cup_ecb_steps(under, message)
    assert [step.hex().upper() for step in steps] == [expected[name] for name in "rabc"]
    assert mac.cup_ecb_mac(under, message) == expected["de64"].encode()


def test_network_macs() -> None:
    assert mac.x9_9(SINGLE, TEXT).hex().upper() == "22BEB7AA512C53FE"
    assert mac.x9_19(DOUBLE, TEXT).hex().upper() == "81FA8F00FFB8F9E7"
    assert mac.message_mac("network", "3des", SINGLE)(TEXT) == b"22BEB7AA"
    assert mac.message_mac("network", "3des", DOUBLE)(TEXT) == b"81FA8F00"
    assert mac.message_mac("network", "sm4", DOUBLE)(TEXT) == mac.sm4_cbc_mac(DOUBLE, TEXT)[:4].hex().upper().encode()


@given(st.binary(max_size=300), st.sampled_from([8, 16]))
def test_fold_is_the_exclusive_or_of_all_blocks(data: bytes, block: int) -> None:
    folded = bytearray(block)
    for at, byte in enumerate(data):
        folded[at % block] ^= byte
    assert mac.fold(data, block) == bytes(folded)


@given(st.lists(st.binary(max_size=260), min_size=1, max_size=6))
def test_a_chain_answers_like_a_new_context_each_time(messages: list[bytes]) -> None:
    for suite, key, block in (("3des", SINGLE, 8), ("3des", DOUBLE, 8), ("sm4", DOUBLE, 16)):
        chain = mac.CbcMac(suite, key)
        for message in messages:
            padded = mac.pad_zero(message, block)
            assert chain.last_block(padded) == cbc_encrypt(suite, key, bytes(block), padded)[-block:]
            with pytest.raises(CryptoError, match="whole blocks"):
                chain.last_block(padded + b"x")
            with pytest.raises(CryptoError, match="whole blocks"):
                chain.last_block(b"")


@settings(max_examples=50)
@given(st.binary(min_size=1, max_size=220), st.data())
def test_any_flipped_bit_changes_every_mac(message: bytes, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, len(message) * 8 - 1))
    flipped = bytearray(message)
    flipped[bit // 8] ^= 1 << bit % 8
    for algorithm, suite, key in (
        ("cup-ecb", "3des", SINGLE),
        ("cup-ecb", "3des", DOUBLE),
        ("cup-ecb", "sm4", DOUBLE),
        ("x9.9", "3des", SINGLE),
        ("x9.19", "3des", DOUBLE),
        ("sm4-cbc", "sm4", DOUBLE),
    ):
        compute = mac.message_mac(algorithm, suite, key)
        first = compute(message)
        assert len(first) == 8
        assert first == first.upper()
        assert compute(bytes(flipped)) != first
        assert compute(message) == first


def test_paddings() -> None:
    assert mac.pad_zero(b"", 8) == bytes(8)
    assert mac.pad_zero(b"12345678", 8) == b"12345678"
    assert mac.pad_zero(b"123456789", 8) == b"123456789" + bytes(7)
    assert mac.pad_one_zero(b"", 8) == b"\x80" + bytes(7)
    assert mac.pad_one_zero(b"12345678", 8) == b"12345678\x80" + bytes(7)
    assert mac.pad_one_zero(b"1234567", 8) == b"1234567\x80"


@pytest.mark.parametrize(
    ("algorithm", "suite", "key", "text"),
    [
        ("x9.9", "3des", DOUBLE, "'x9.9' does not take a 3des key of 16 bytes"),
        ("x9.19", "3des", SINGLE, "'x9.19' does not take a 3des key of 8 bytes"),
        ("sm4-cbc", "3des", DOUBLE, "'sm4-cbc' does not take a 3des key of 16 bytes"),
        ("x9.9", "sm4", DOUBLE, "'x9.9' does not take a sm4 key of 16 bytes"),
        ("hmac", "sm4", DOUBLE, "unknown MAC algorithm 'hmac'"),
    ],
)
def test_an_algorithm_refuses_keys_that_are_not_its_own(algorithm: str, suite: str, key: bytes, text: str) -> None:
    with pytest.raises(CryptoError, match=text):
        mac.message_mac(algorithm, suite, key)


def test_functions_refuse_wrong_lengths() -> None:
    with pytest.raises(CryptoError, match=r"X9\.9 takes a key of 8 bytes, not 16"):
        mac.x9_9(DOUBLE, b"")
    with pytest.raises(CryptoError, match=r"X9\.19 takes a key of 16 bytes, not 24"):
        mac.x9_19(bytes(24), b"")
    with pytest.raises(CryptoError, match="padding method 1 or 2, not 3"):
        mac.iso9797_alg3(DOUBLE, b"", pad=3)


@given(st.binary(max_size=220), st.sampled_from(["3des", "sm4"]))
def test_the_mac_in_one_function_is_the_one_by_steps(data: bytes, suite: str) -> None:
    assert mac.message_mac("cup-ecb", suite, DOUBLE)(data) == mac.cup_ecb_mac(cipher(suite, DOUBLE), data)


@given(st.binary(min_size=1, max_size=220))
def test_the_retail_mac_ends_as_algorithm_3_says(data: bytes) -> None:
    """CBC under the left half, then D under the right and E under the left, step by step."""
    padded = mac.pad_zero(data, 8)
    left, right = cipher("3des", DOUBLE[:8]), cipher("3des", DOUBLE[8:])
    last = cbc_encrypt("3des", DOUBLE[:8], bytes(8), padded)[-8:]
    assert mac.x9_19(DOUBLE, data) == left.encrypt(right.decrypt(last))


def test_a_part_of_a_block_never_reaches_the_context() -> None:
    retail = mac._retail(DOUBLE)
    for size in (0, 3, 11):
        with pytest.raises(CryptoError, match="whole blocks"):
            retail(bytes(size))
    assert retail(TEXT[:8]) == mac.x9_19(DOUBLE, TEXT[:8])


@given(st.binary(min_size=8, max_size=8), st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=4))
def test_the_systems_single_des_is_ours(key: bytes, messages: list[bytes]) -> None:
    theirs, ours = des.chain(key), mac.CbcMac("3des", key)
    if theirs is None:
        pytest.skip("this system has no libcrypto with single DES")
    for data in messages:
        assert theirs(data) == ours.last_block(mac.pad_zero(data, 8))


@given(st.binary(min_size=16, max_size=16), st.lists(st.binary(max_size=200), min_size=1, max_size=4))
def test_the_systems_retail_mac_is_ours(key: bytes, messages: list[bytes]) -> None:
    theirs = des.retail(key)
    if theirs is None:
        pytest.skip("this system has no libcrypto with single DES")
    for data in messages:
        assert theirs(data) == des.retail_once(key, data) == mac._retail(key)(mac.pad_zero(data, 8))


@given(
    st.sampled_from([8, 16]).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
    st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=4),
)
def test_two_blocks_by_the_system_are_ours(key: bytes, messages: list[bytes]) -> None:
    theirs, ours, chain = des.two_blocks(key), mac._two_blocks("3des", key), mac.CbcMac("3des", key)
    if theirs is None:
        pytest.skip("this system has no libcrypto with single DES")
    for data in messages:
        assert theirs(data) == ours(data) == chain.last_block(data)
    assert des.two_blocks(bytes(24)) is None


@given(st.sampled_from(["3des", "sm4"]), st.lists(st.binary(max_size=200), min_size=1, max_size=5))
def test_one_mac_leaves_nothing_to_the_next(suite: str, messages: list[bytes]) -> None:
    """The context goes on from message to message; each MAC is that of a new one."""
    kept = mac.message_mac("cup-ecb", suite, DOUBLE)
    for data in messages:
        assert kept(data) == mac.cup_ecb_mac(cipher(suite, DOUBLE), data)


def test_without_the_systems_single_des_the_macs_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    key, data = bytes(range(1, 17)), bytes(range(109))
    wanted = (("x9.19", key), ("x9.9", key[:8]), ("cup-ecb", key), ("cup-ecb", key[:8]))
    with_it = [mac.message_mac(algorithm, "3des", one)(data) for algorithm, one in wanted]
    monkeypatch.setattr(des, "_library", lambda: None)
    assert des.chain(key[:8]) is None
    assert des.retail(key) is None
    assert des.retail_once(key, data) is None
    assert des.two_blocks(key) is None
    assert with_it == [mac.message_mac(algorithm, "3des", one)(data) for algorithm, one in wanted]
