"""A card number sealed for storage as one cipher block, together with the reference number it belongs to.

Twenty digits of number, filled with F, and twelve of reference are the 16 bytes of an AES block. A block cipher under a
key of its own is all it takes: no reference is given twice, so no block is; a block that was changed, or moved to
another reference, opens as another one, but for one in 2**48. AES-GCM would add nonce and tag, 28 bytes to each row,
and 2.5 us to an authorization.
"""

from binascii import unhexlify
from collections.abc import Callable
from hashlib import blake2s
from typing import Final

from switch.crypto.block import ecb_update
from switch.crypto.errors import CryptoError

_NUMBER: Final = 20
_BLOCK: Final = 16

Sealer = Callable[[str, str], bytes]


def _own(key: bytes) -> bytes:
    """The key of the blocks, from the storage key: what is sealed in another way has nothing to do with them."""
    return blake2s(key=key, person=b"numbers").digest()


def sealer(key: bytes) -> Sealer:
    """A function from card number (19 digits at most) and reference (12 digits) to the sealed block."""
    encrypt = ecb_update("aes", _own(key))

    def seal(number: str, reference: str) -> bytes:
        block = unhexlify(number.ljust(_NUMBER, "F") + reference)
        if len(block) != _BLOCK:  # a part of a block would stay inside the context
            raise CryptoError("a number of 19 digits at most and a reference of 12 are sealed")
        return encrypt(block)

    return seal


def opener(key: bytes) -> Callable[[bytes, str], str]:
    """A function from block and reference to the card number; CryptoError for a block that is not of that reference."""
    decrypt = ecb_update("aes", _own(key), False)

    def opened(block: bytes, reference: str) -> str:
        text = decrypt(block).hex() if len(block) == _BLOCK else ""
        number = text[:_NUMBER].rstrip("f")
        if text[_NUMBER:] != reference or not number.isdigit():
            raise CryptoError("a sealed number does not open under this key and reference")
        return number

    return opened
