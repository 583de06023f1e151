"""ISO 9797-1 algorithm 3 under a key that is used once or twice, by the libcrypto of `des`, where there is one.

A chip's session key lives for one transaction: expanded here it costs 5 us with its MAC, against 15 for two contexts of
`block` that would be thrown away. Nothing is kept between two messages but the expanded key.
"""

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from switch.crypto import des
from switch.crypto.block import Transform, ecb_update
from switch.crypto.mac import CbcMac

_SCHEDULE: Final = 128
"""Bytes of an expanded key: sixteen rounds of eight."""
_CHAINED, _LAST, _END = 2 * _SCHEDULE, 2 * _SCHEDULE + 8, 2 * _SCHEDULE + 16
"""Behind the two halves of the key: the chain before the last block, and what comes of that one."""
_ZEROS: Final = bytes(8)

_Room = ctypes.c_char * _END
_Function = Callable[..., None]


@lru_cache(maxsize=1)
def _functions() -> tuple[_Function, _Function, _Function] | None:
    """Key expansion, chain and 3DES of the library that has proved itself to `des`."""
    library = des._library()
    if library is None:
        return None
    library.DES_ede3_cbc_encrypt.argtypes = [
        ctypes.c_char_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p,
        ctypes.c_void_p, ctypes.c_int,
    ]  # fmt: skip
    library.DES_ede3_cbc_encrypt.restype = None
    return library.DES_set_key_unchecked, library.DES_cbc_cksum, library.DES_ede3_cbc_encrypt


def retail(key: bytes) -> Transform:
    """A function from whole blocks of 8 bytes, one at least, to their MAC block under a key of 16 bytes.

    Of a single block it is the 3DES: E(left), D(right), E(left) of the last block is the whole key over it.
    """
    functions = _functions()
    return _by_contexts(key) if functions is None else _by_library(key, *functions)


def _by_library(key: bytes, expand: _Function, chain: _Function, triple: _Function) -> Transform:
    room = _Room()
    left = ctypes.addressof(room)
    right, chained, last = left + _SCHEDULE, left + _CHAINED, left + _LAST
    expand(key[:8], left)
    expand(key[8:], right)

    def mac(padded: bytes, held: Any = room) -> bytes:
        before = padded[:-8]
        if before:
            chain(before, chained, len(before), left, _ZEROS)
        else:
            ctypes.memset(chained, 0, 8)
        triple(padded[-8:], last, 8, left, right, left, chained, 1)
        made: bytes = held[_LAST:_END]
        return made

    return mac


def _by_contexts(key: bytes) -> Transform:
    chain, encrypt = CbcMac("3des", key[:8]).last_block, ecb_update("3des", key)

    def mac(padded: bytes) -> bytes:
        last = padded[-8:]
        if len(padded) > 8:
            crossed = int.from_bytes(last, "big") ^ int.from_bytes(chain(padded[:-8]), "big")
            last = crossed.to_bytes(8, "big")
        return encrypt(last)

    return mac
