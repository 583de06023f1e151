"""The keys of test CAs, test issuers and test cards that come with the house: an RSA pool, and an SM2 CA.

Everybody has these keys: a signature under them proves nothing outside this simulator.
"""

import hashlib
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from switch.crypto import sm2
from switch.crypto.rsa import RsaKey, key_from_primes

RID: Final = "A000000333"
CA_RSA: Final = (0xF1, 0xF2)
CA_SM2: Final = 0xF9
"""Indices (8F) of the test CAs: two RSA, one SM2."""

_EXPONENT: Final = 3
_POOL: Final = Path(__file__).parent / "pool.toml"


class Pool(NamedTuple):
    """The keys by what they are for."""

    ca: tuple[RsaKey, ...]
    issuer: tuple[RsaKey, ...]
    icc: tuple[RsaKey, ...]


@lru_cache(1)
def pool() -> Pool:
    """The keys that come with the house."""
    table = tomllib.loads(_POOL.read_text(encoding="utf-8"))
    return Pool(*(tuple(_key(line) for line in table[name]) for name in Pool._fields))


def _key(line: str) -> RsaKey:
    p, _, q = line.partition(":")
    return key_from_primes(int(p, 16), int(q, 16), _EXPONENT)


@lru_cache(1)
def ca_sm2() -> sm2.Sm2Key:
    """The SM2 test CA's key."""
    return sm2.key_from_seed(hashlib.sha256(b"shoudan test CA").digest())
