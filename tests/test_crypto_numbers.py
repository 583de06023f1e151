"""Card numbers sealed as one block with their reference: what stands in the block, and what does not open."""

from hashlib import blake2s

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st

from switch.crypto import numbers
from switch.crypto.errors import CryptoError
from switch.crypto.hsm import Hsm

KEY = bytes(range(16))
NUMBER, REFERENCE = "6200000000000001", "325000000007"

digits = st.integers(0, 10**12 - 1).map(lambda value: f"{value:012d}")


def test_number_fill_and_reference_are_one_block_under_a_key_of_its_own() -> None:
    block = numbers.sealer(KEY)(NUMBER, REFERENCE)
    own = blake2s(key=KEY, person=b"numbers").digest()
    assert own != KEY
    assert Cipher(AES(own), ECB()).decryptor().update(block).hex() == "6200000000000001ffff325000000007"


@given(st.text("0123456789", min_size=8, max_size=19), digits)
def test_it_opens_with_its_reference(number: str, reference: str) -> None:
    assert numbers.opener(KEY)(numbers.sealer(KEY)(number, reference), reference) == number


def test_the_same_number_is_another_block_with_each_reference() -> None:
    seal = numbers.sealer(KEY)
    assert len({seal(NUMBER, f"{count:012d}") for count in range(1000)}) == 1000
    assert seal(NUMBER, REFERENCE) == seal(NUMBER, REFERENCE), "rows of one transaction say the same"


@given(digits.filter(lambda other: other != REFERENCE), st.integers(0, 127))
def test_moved_changed_or_under_another_key_it_does_not_open(other: str, bit: int) -> None:
    block, opened = numbers.sealer(KEY)(NUMBER, REFERENCE), numbers.opener(KEY)
    changed = (int.from_bytes(block, "big") ^ (1 << bit)).to_bytes(16, "big")
    for wrong, reference in ((block, other), (changed, REFERENCE), (block[:-1], REFERENCE), (b"", REFERENCE)):
        with pytest.raises(CryptoError, match="does not open"):
            opened(wrong, reference)
    with pytest.raises(CryptoError, match="does not open"):
        numbers.opener(KEY[::-1])(block, REFERENCE)


@pytest.mark.parametrize(("number", "reference"), [("1" * 21, REFERENCE), (NUMBER, "1" * 11), (NUMBER, "1" * 14)])
def test_what_is_no_block_is_refused_and_leaves_the_context_alone(number: str, reference: str) -> None:
    seal = numbers.sealer(KEY)
    before = seal(NUMBER, REFERENCE)
    with pytest.raises((CryptoError, ValueError)):
        seal(number, reference)
    assert seal(NUMBER, REFERENCE) == before


def test_only_a_store_key_seals_numbers() -> None:
    hsm = Hsm(bytes(32), lambda n: bytes(at & 0xFF for at in range(n)))
    hsm.generate("store", "store", "aes", 32)
    hsm.generate("hash", "hash", "sm4")
    block = hsm.number_sealer("store")(NUMBER, REFERENCE)
    assert hsm.open_number("store", block, REFERENCE) == NUMBER
    with pytest.raises(CryptoError, match="'hash' is a hash, not one to seal numbers"):
        hsm.number_sealer("hash")
