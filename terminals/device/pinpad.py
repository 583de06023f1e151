"""The PIN pad (密码键盘): the terminal's keys, and all that is done with them.

The terminal master key (TMK) is put in once; the working keys come in DE62 of each sign-in reply, under the TMK. No key
is ever handed out, printed, copied or pickled. See docs/security.md sections 1 to 5.
"""

import hmac
from collections.abc import Callable, Iterable
from typing import NoReturn

from switch.crypto import pinblock
from switch.crypto.block import BlockCipher, Transform, ecb_decryptor, ecb_update, kcv
from switch.crypto.errors import CryptoError, KcvMismatch
from switch.crypto.mac import message_mac
from switch.crypto.track import encrypt_track
from switch.wire.profile import KeyBlock


class PinPad:
    """The keys of one terminal. `suite` is "3des" or "sm4"; `tmk` has 16 bytes, of no use but to open working keys.

    Working keys are kept as they came, under the TMK; ciphers are made of them when they are first used.
    """

    __slots__ = ("_algorithm", "_layout", "_mac", "_seal_pin", "_tdk", "_tmk", "suite", "wrapped")

    def __init__(self, suite: str, tmk: bytes) -> None:
        if suite not in ("3des", "sm4"):
            raise CryptoError(f"a terminal's suite is 3des or sm4, not {suite!r}")
        if len(tmk) != 16:
            raise CryptoError(f"a terminal master key has 16 bytes, not {len(tmk)}")
        self.suite = suite
        self._tmk = tmk
        self.wrapped = b""
        self._layout: tuple[KeyBlock, ...] = ()
        self._algorithm = ""
        self._seal_pin: Transform | None = None
        self._mac: Callable[[bytes], bytes] | None = None
        self._tdk: BlockCipher | None = None

    @property
    def ready(self) -> bool:
        """Whether working keys are in place."""
        return bool(self.wrapped)

    def load_keys(self, de62: bytes, layout: Iterable[KeyBlock], mac: str = "cup-ecb") -> None:
        """Take the working keys of a sign-in reply, all or none of them.

        `layout` is the profile's description of DE62; `mac` the algorithm they are for. Raises KcvMismatch (with the
        key's name) when a check value differs, CryptoError when DE62 has another length or lacks the PIN or the MAC
        key.
        """
        blocks = tuple(layout)
        keys = self._opened(de62, blocks)
        if "pik" not in keys or "mak" not in keys:
            raise CryptoError("DE62 brings no PIN key or no MAC key")
        self.keep_keys(de62, blocks, mac)

    def keep_keys(self, de62: bytes, layout: tuple[KeyBlock, ...], mac: str) -> None:
        """Take working keys again that `load_keys` has taken before: they are checked when they are first used."""
        self.forget_keys()
        self.wrapped, self._layout, self._algorithm = de62, layout, mac

    def _opened(self, de62: bytes, blocks: tuple[KeyBlock, ...]) -> dict[str, bytes]:
        """The working keys by name, each with its check value compared."""
        size = sum(block.bytes + block.pad + block.kcv for block in blocks)
        if len(de62) != size:
            raise CryptoError(f"DE62 holds {len(de62)} bytes of keys, its layout {size}")
        unwrap = ecb_decryptor(self.suite, self._tmk)
        keys: dict[str, bytes] = {}
        at = 0
        for block in blocks:
            key = unwrap(de62[at : at + block.bytes])
            at += block.bytes + block.pad
            if not hmac.compare_digest(kcv(self.suite, key, block.kcv), de62[at : at + block.kcv]):
                raise KcvMismatch(block.name)
            at += block.kcv
            keys[block.name] = key
        return keys

    def _ready(self) -> None:
        """Make the ciphers of the working keys, where there are any."""
        if self.wrapped and self._mac is None:
            keys = self._opened(self.wrapped, self._layout)
            self._tdk = BlockCipher(self.suite, keys["tdk"]) if "tdk" in keys else None
            self._seal_pin = ecb_update(self.suite, keys["pik"])  # a PIN block is whole
            self._mac = message_mac(self._algorithm, self.suite, keys["mak"])

    def forget_keys(self) -> None:
        """Wipe the working keys; the TMK stays."""
        self.wrapped = b""
        self._seal_pin = self._mac = self._tdk = None

    def pin_block(self, pin: str, pan: str, fmt: str) -> bytes:
        """The PIN under the PIN key: 8 bytes, 16 for format "sm4". PinFormatError for a PIN that fits no block."""
        if self._seal_pin is None:
            self._ready()
        if self._seal_pin is None:
            raise CryptoError("the PIN pad has no PIN key yet")
        return self._seal_pin(pinblock.encode(fmt, pin, pan))

    def mac(self, data: bytes) -> bytes:
        """DE64 over `data`: 8 ASCII bytes."""
        if self._mac is None:
            self._ready()
        if self._mac is None:
            raise CryptoError("the PIN pad has no MAC key yet")
        return self._mac(data)

    def verify(self, data: bytes, mac: bytes) -> bool:
        """Whether `mac` is ours over `data`."""
        return hmac.compare_digest(self.mac(data), mac)

    def track(self, track: str) -> str:
        """A track with its run of digits under the track key (DE53 digit 3 = 1)."""
        self._ready()
        if self._tdk is None:
            raise CryptoError("the PIN pad has no track key")
        return encrypt_track(self._tdk, track)

    def __repr__(self) -> str:
        return f"PinPad({self.suite}{', keys loaded' if self.ready else ''})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a PIN pad is not to be pickled or copied")
