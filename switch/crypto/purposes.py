"""What a key may be used for. It serves one purpose, which its usage says.

Key-encrypting keys `tmk` and `zmk`; PIN keys `pik` and `zpk`; MAC keys `mak` and `zak`; track keys `tdk`; issuer master
keys of chip cards `imk`; `store` seals data, `hash` makes keyed hashes, `pvk` PIN references.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from switch.crypto import numbers
from switch.crypto.block import Transform, ecb_decryptor, ecb_encryptor, ecb_update, suite_of
from switch.crypto.cryptogram import IssuerKey
from switch.crypto.digest import keyed_digest
from switch.crypto.mac import ALGORITHMS, message_mac

CARRIES: Final = {"tmk": frozenset({"tmk", "pik", "mak", "tdk"}), "zmk": frozenset({"zmk", "zpk", "zak"})}
"""Which keys may travel under which: a terminal's under its TMK, the network's under the ZMK."""
USAGES: Final = frozenset({*CARRIES["tmk"], *CARRIES["zmk"], "store", "hash", "pvk", "imk"})
_PIN_KEYS: Final = frozenset({"pik", "zpk"})
_MAC_KEYS: Final = frozenset({"mak", "zak"})


class PinCipher(NamedTuple):
    """The block of a PIN key's cipher, and its bare function: what it is given has that size (0.3 us)."""

    block: int
    transform: Transform


PURPOSES: Final[dict[str, tuple[frozenset[str], Callable[[str, bytes], Any]]]] = {
    "wrap": (frozenset(CARRIES), ecb_encryptor),
    "unwrap": (frozenset(CARRIES), ecb_decryptor),
    "seal PINs": (_PIN_KEYS, lambda suite, key: PinCipher(suite_of(suite).block, ecb_update(suite, key))),
    "open PINs": (_PIN_KEYS, lambda suite, key: PinCipher(suite_of(suite).block, ecb_update(suite, key, False))),
    "open tracks": (frozenset({"tdk"}), ecb_decryptor),
    "seal": (frozenset({"store"}), lambda suite, key: AESGCM(key)),
    "seal numbers": (frozenset({"store"}), lambda suite, key: numbers.sealer(key)),
    "open numbers": (frozenset({"store"}), lambda suite, key: numbers.opener(key)),
    "hash": (frozenset({"hash"}), lambda suite, key: keyed_digest(key)),
    "refer to PINs": (frozenset({"pvk"}), lambda suite, key: keyed_digest(key)),
    "derive": (frozenset({"imk"}), IssuerKey),
    **{name: (_MAC_KEYS, partial(message_mac, name)) for name in ALGORITHMS},
}
"""What can be done with a key: the usages that allow it, and the maker of its context from suite and clear key."""

PURPOSES_OF: Final = {usage: [name for name, (usages, _) in PURPOSES.items() if usage in usages] for usage in USAGES}
