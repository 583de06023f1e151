"""Block ciphers on persistent contexts: 3DES, SM4 and AES in ECB, check values, DES parity.

A context of the library costs 3 to 11 us to make and 0.2 to 0.6 us to use once made. ECB carries nothing from one whole
block to the next, so one context per key and direction serves for ever. Contexts belong to one thread.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple, NoReturn

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

from switch.crypto import once
from switch.crypto.errors import CryptoError

Transform = Callable[[bytes], bytes]


class Suite(NamedTuple):
    """A cipher of the house: its block and the key lengths it takes, in bytes."""

    block: int
    lengths: tuple[int, ...]


_SUITES = {"3des": Suite(8, (8, 16, 24)), "sm4": Suite(16, (16,)), "aes": Suite(16, (16, 24, 32))}
_ODD_PARITY = bytes((byte & 0xFE) | ((byte >> 1).bit_count() & 1 ^ 1) for byte in range(256))


def suite_of(name: str) -> Suite:
    """The suite called `3des`, `sm4` or `aes`; CryptoError for any other name."""
    try:
        return _SUITES[name]
    except KeyError:
        raise CryptoError(f"unknown cipher suite {name!r}") from None


def expand_des(key: bytes) -> bytes:
    """Any DES key as 24 bytes: K becomes KKK (single DES), K1K2 becomes K1K2K1.

    The library is about to refuse shorter ones, and would expand them no differently.
    """
    if len(key) == 8:
        return key * 3
    return key + key[:8] if len(key) == 16 else key


def adjust_parity(key: bytes) -> bytes:
    """The DES key with odd parity in every byte; the cipher and its check value do not depend on it."""
    return key.translate(_ODD_PARITY)


def _algorithm(suite: str, key: bytes) -> BlockCipherAlgorithm:
    if len(key) not in suite_of(suite).lengths:
        raise CryptoError(f"a {suite} key has {' or '.join(map(str, suite_of(suite).lengths))} bytes, not {len(key)}")
    if suite == "3des":
        return TripleDES(expand_des(key))
    return SM4(key) if suite == "sm4" else AES(key)


def _whole_blocks(context: CipherContext, suite: str, block: int) -> Transform:
    update = context.update

    def transform(data: bytes) -> bytes:
        # A part of a block would stay inside the context and poison every later answer.
        if len(data) % block:
            raise CryptoError(f"{suite} works on whole blocks of {block} bytes, not on {len(data)}")
        return update(data)

    return transform


def ecb_encryptor(suite: str, key: bytes) -> Transform:
    """A function that enciphers whole blocks under one key, on a context of its own."""
    return _whole_blocks(Cipher(_algorithm(suite, key), ECB()).encryptor(), suite, suite_of(suite).block)


def ecb_decryptor(suite: str, key: bytes) -> Transform:
    """A function that deciphers whole blocks under one key, on a context of its own."""
    return _whole_blocks(Cipher(_algorithm(suite, key), ECB()).decryptor(), suite, suite_of(suite).block)


def ecb_update(suite: str, key: bytes, encrypting: bool = True) -> Transform:
    """The library's bare function, for callers that never give it a part of a block (0.2 us less a call)."""
    cipher = Cipher(_algorithm(suite, key), ECB())
    return (cipher.encryptor() if encrypting else cipher.decryptor()).update


class BlockCipher:
    """One key, both directions; each direction's context is made at its first use."""

    __slots__ = ("_algorithm", "_decrypt", "_encrypt", "block", "suite")

    def __init__(self, suite: str, key: bytes) -> None:
        self._algorithm = _algorithm(suite, key)
        self._encrypt: Transform | None = None
        self._decrypt: Transform | None = None
        self.suite = suite
        self.block = suite_of(suite).block

    def encrypt(self, data: bytes) -> bytes:
        """Encipher whole blocks in ECB; CryptoError for a part of a block."""
        if self._encrypt is None:
            self._encrypt = _whole_blocks(Cipher(self._algorithm, ECB()).encryptor(), self.suite, self.block)
        return self._encrypt(data)

    def decrypt(self, data: bytes) -> bytes:
        """Decipher whole blocks in ECB; CryptoError for a part of a block."""
        if self._decrypt is None:
            self._decrypt = _whole_blocks(Cipher(self._algorithm, ECB()).decryptor(), self.suite, self.block)
        return self._decrypt(data)

    def __repr__(self) -> str:
        return f"BlockCipher({self.suite})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a cipher under a key is not to be pickled or copied")


@lru_cache(maxsize=4096)
def cipher(suite: str, key: bytes) -> BlockCipher:
    """The cipher of a clear key, for those who hold one (a PIN pad, a tool); contexts are kept for the last 4,096 keys.

    The Hsm does not come through here: its keys stay out of shared memory.
    """
    return BlockCipher(suite, key)


def cbc_encryptor(suite: str, key: bytes, iv: bytes | None = None) -> CipherContext:
    """A fresh CBC encryption context; the vector is zero unless given."""
    block = suite_of(suite).block
    vector = bytes(block) if iv is None else iv
    if len(vector) != block:
        raise CryptoError(f"a {suite} initial vector has {block} bytes, not {len(vector)}")
    return Cipher(_algorithm(suite, key), CBC(vector)).encryptor()


def cbc_encrypt(suite: str, key: bytes, iv: bytes, data: bytes) -> bytes:
    """Encipher whole blocks in CBC, without padding."""
    block = suite_of(suite).block
    if len(data) % block:
        raise CryptoError(f"{suite} works on whole blocks of {block} bytes, not on {len(data)}")
    return cbc_encryptor(suite, key, iv).update(data)


_ONCE: Final = {
    ("3des", 16): "DES-EDE-ECB", ("3des", 24): "DES-EDE3-ECB", ("sm4", 16): "SM4-ECB",
    ("aes", 16): "AES-128-ECB", ("aes", 24): "AES-192-ECB", ("aes", 32): "AES-256-ECB",
}  # fmt: skip


@lru_cache
def _once(suite: str, size: int) -> once.Once | None:
    """The system's cipher for keys of so many bytes, once it has proved itself beside ours."""
    made = once.encryptor(_ONCE[suite, size]) if (suite, size) in _ONCE else None
    key, data = bytes(range(size)), bytes(range(2 * suite_of(suite).block))
    return made if made is not None and made(key, data) == ecb_encryptor(suite, key)(data) else None


def encrypt_once(suite: str, key: bytes, data: bytes) -> bytes:
    """Whole blocks in ECB under a key that is used this once."""
    whole = key * 2 if suite == "3des" and len(key) == 8 else key
    encrypt = _once(suite, len(whole))
    if encrypt is None or len(data) % suite_of(suite).block:
        return ecb_encryptor(suite, key)(data)
    return encrypt(whole, data)


def kcv(suite: str, key: bytes, length: int = 4) -> bytes:
    """The check value (校验值): the first bytes of a zero block under the key.

    Single DES for an 8-byte key, 3DES for 16 and 24; 16 zero bytes for SM4 and AES.
    """
    return encrypt_once(suite, key, bytes(suite_of(suite).block))[:length]
