"""Single DES chained over a message, by the OpenSSL that Python itself is linked with, where there is one.

The library of `block` has no single DES, only 3DES under the same key thrice: three times the work in each of the 17
blocks of a network's MAC (5.0 us; here 2.0, `shoudan bench switch`). One call does the whole chain, fills the last
block up with zeros, and nothing is kept between two messages. Without the library `mac` does as it always did.
"""

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from switch.crypto.libcrypto import libcrypto

_BLOCK: Final = 8
_SCHEDULE: Final = 128
"""Bytes of an expanded key: sixteen rounds of eight."""
_PROOF: Final = ("0123456789abcdef", b"7654321 Now is the time for ", "f1d30f6849312ca4")
"""Key, text and checksum of FIPS 113's example."""
_ENCRYPT: Final = 1
_FUNCTIONS: Final = ("DES_set_key_unchecked", "DES_cbc_cksum", "DES_ede3_cbc_encrypt")
"""What is called. Their arguments are bytes, places in memory (`byref`, made once a key) and small ints: ctypes takes
these as they are, where declared types cost a conversion each (1 us over the two calls of a MAC)."""

LastBlock = Callable[[bytes], bytes]


@lru_cache(maxsize=1)
def _library() -> ctypes.PyDLL | None:
    """The system's libcrypto, once it has proved itself on a known answer."""
    library = libcrypto(*_FUNCTIONS)
    if library is None:
        return None
    for function in _FUNCTIONS:
        getattr(library, function).restype = None
    key, data, checksum = _PROOF
    return library if _chain(library, bytes.fromhex(key))(data).hex() == checksum else None


def _chain(library: ctypes.PyDLL, key: bytes) -> LastBlock:
    room, (keyed, out) = _room(_SCHEDULE, _BLOCK)
    library.DES_set_key_unchecked(key, keyed)
    checksum, zeros = library.DES_cbc_cksum, bytes(_BLOCK)

    def last_block(data: bytes) -> bytes:
        checksum(data, out, len(data), keyed, zeros)
        made: bytes = room[-_BLOCK:]
        return made

    return last_block


def _room(*sizes: int) -> tuple[Any, list[Any]]:
    """Memory for parts of these sizes, and where each begins."""
    room = (ctypes.c_char * sum(sizes))()
    return room, [ctypes.byref(room, sum(sizes[:part])) for part in range(len(sizes))]


def _two_keys(library: ctypes.PyDLL, key: bytes, *sizes: int) -> tuple[Any, list[Any]]:
    """Room that begins with the schedules of both halves of a key of 16 bytes."""
    room, places = _room(_SCHEDULE, _SCHEDULE, *sizes)
    library.DES_set_key_unchecked(key[:_BLOCK], places[0])
    library.DES_set_key_unchecked(key[_BLOCK:], places[1])
    return room, places


def chain(key: bytes) -> LastBlock | None:
    """A function from data to the last block of its DES CBC from a zero vector, under a key of 8 bytes, the data filled
    up with zeros to whole blocks; None where this system has no such library."""
    library = _library()
    return _chain(library, key) if library is not None else None


def retail(key: bytes, size: int = _BLOCK) -> LastBlock | None:
    """ISO 9797-1 algorithm 3 with padding method 1, under a key of 16 bytes, as a function of the data to the first
    `size` bytes; None where this system has no such library.

    The chain under the left half ends one block early and is the vector of the last, under 3DES.
    """
    library = _library()
    if library is None:
        return None
    room, (left, right, vector, last) = _two_keys(library, key, _BLOCK, _BLOCK)
    checksum, triple, zeros = library.DES_cbc_cksum, library.DES_ede3_cbc_encrypt, bytes(_BLOCK)
    begin = 2 * _SCHEDULE + _BLOCK
    wanted = slice(begin, begin + size)

    def mac(data: bytes) -> bytes:
        length = len(data) or 1  # no data are one block of zeros, as one zero is: the byte that ends every bytes
        at = (length - 1) & ~7
        checksum(data, vector, at, left, zeros)
        triple(data[at:], last, length - at, left, right, left, vector, _ENCRYPT)
        made: bytes = room[wanted]
        return made

    return mac


def two_blocks(key: bytes) -> LastBlock | None:
    """A function from two blocks to the last block of their 3DES CBC from a zero vector, under a key of 8 or 16 bytes;
    None for other keys, and where this system has no such library.

    A key's schedules are 256 bytes in one place, its context in the library of `block` is several objects and more than
    1 KiB: where thousands of terminals take turns it is not in the cache any more.
    """
    library = _library()
    if library is None or len(key) not in (_BLOCK, 2 * _BLOCK):
        return None
    if len(key) == _BLOCK:
        return _chain(library, key)
    room, (left, right, out) = _two_keys(library, key, 2 * _BLOCK)
    triple = library.DES_ede3_cbc_encrypt

    def last_block(data: bytes) -> bytes:
        vector = bytes(_BLOCK)  # its own each time: the call leaves the last block in it
        triple(data, out, 2 * _BLOCK, left, right, left, vector, _ENCRYPT)
        made: bytes = room[-_BLOCK:]
        return made

    return last_block


def retail_once(key: bytes, data: bytes) -> bytes | None:
    """`retail` under a key that makes but this one MAC, as a chip's session key does: no room is taken for it and no
    function made (3 us; `retail` and its function 4, two contexts of `block` 15). None where this system has no such
    library."""
    library = _library()
    if library is None:
        return None
    room, (left, right, vector, out) = _bench()
    library.DES_set_key_unchecked(key[:_BLOCK], left)
    library.DES_set_key_unchecked(key[_BLOCK:], right)
    length = len(data) or 1
    at = (length - 1) & ~7
    library.DES_cbc_cksum(data, vector, at, left, bytes(_BLOCK))
    library.DES_ede3_cbc_encrypt(data[at:], out, length - at, left, right, left, vector, _ENCRYPT)
    made: bytes = room[-_BLOCK:]
    ctypes.memset(room, 0, len(room))
    return made


@lru_cache(maxsize=1)
def _bench() -> tuple[Any, list[Any]]:
    """Room for two schedules and two blocks, and where they are."""
    return _room(_SCHEDULE, _SCHEDULE, _BLOCK, _BLOCK)
