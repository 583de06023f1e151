"""The keys between the centre and its member: in force, newly offered, and lately replaced."""

from collections.abc import Mapping
from typing import Any, Final

from switch.crypto.hsm import Hsm
from switch.issuer.verify import PinBlock
from switch.wire.mab import network_mab
from switch.wire.private import NEW_PIN, read_sm_pin, read_usages
from switch.wire.private_network import read_48_usages
from switch.wire.profile import NetworkKeysSection

PIN_KEY: Final = "1"
MAC_KEY: Final = "2"
"""First digit of DE53 of a key reset."""

_USAGES: Final = {PIN_KEY: "zpk", MAC_KEY: "zak"}


class LinkKeys:
    """Keys under the HSM labels zmk/NAME, zpk/NAME and zak/NAME; `/new` while a reset is not yet acknowledged, `/old`
    for `overlap_s` after it.

    Digits name the keys: "1" the PIN key, "2" the MAC key.
    """

    __slots__ = ("_hsm", "_labels", "_old_until", "_section", "_zmk")

    def __init__(self, hsm: Hsm, name: str, section: NetworkKeysSection) -> None:
        self._hsm = hsm
        self._section = section
        self._zmk = f"zmk/{name}"
        self._labels = {digit: f"{usage}/{name}" for digit, usage in _USAGES.items()}
        self._old_until = dict.fromkeys(_USAGES, float("-inf"))

    def has(self, digit: str) -> bool:
        """Whether this key is in force."""
        return self._labels[digit] in self._hsm

    def mac(self, mti: str, fields: Mapping[int, Any], key_reset: bool = False, new: bool = False) -> str:
        """DE128 of a message, under the MAC key in force (or the one newly offered)."""
        label = self._labels[MAC_KEY] + ("/new" if new else "")
        return self._hsm.mac(label, self._section.mac, network_mab(mti, fields, key_reset)).decode("ascii")

    def verify(
        self, mti: str, fields: Mapping[int, Any], mono: float, key_reset: bool = False, new: bool = False
    ) -> bool:
        """Whether DE128 is right under the key in force, the one replaced (while it overlaps), or, if `new`, the one
        offered. A message without DE128 is not."""
        mac = fields.get(128)
        if mac is None or not mac.isascii():
            return False
        covered, sent = network_mab(mti, fields, key_reset), mac.encode("ascii")
        labels = self._in_force(MAC_KEY, mono)
        if new:
            labels = (self._labels[MAC_KEY] + "/new", *labels)
        return any(self._hsm.verify_mac(label, self._section.mac, covered, sent) for label in labels)

    def pin(self, fields: Mapping[int, Any], mono: float) -> PinBlock | None:
        """The PIN block of a request and the keys it may be under, None without one. DecodeError for a bad DE63."""
        block = fields.get(52)
        if self._section.pin_carrier == "de63-sm":
            carried = fields.get(63)
            block = None if carried is None else read_sm_pin(carried)
        if block is None:
            return None
        return PinBlock(block, self._section.pin_format, self._in_force(PIN_KEY, mono))

    def new_pin(self, fields: Mapping[int, Any], mono: float) -> PinBlock | None:
        """The second PIN block of a PIN change, None without one. DecodeError for a field that cannot be read."""
        if self._section.new_pin_carrier == "de48":
            usages = read_48_usages(fields[48]) if 48 in fields else ()
        else:
            usages = read_usages(63, fields[63]) if 63 in fields else ()
        block = dict(usages).get(NEW_PIN)
        return None if block is None else PinBlock(block, self._section.pin_format, self._in_force(PIN_KEY, mono))

    def _in_force(self, digit: str, mono: float) -> tuple[str, ...]:
        """The labels to try; none before the first reset. The key offered is one of them: over another line its member
        may use it before its acknowledgement is here."""
        label = self._labels[digit]
        if label not in self._hsm:
            return ()
        labels = (label,) if mono >= self._old_until[digit] else (label, label + "/old")
        return (*labels, label + "/new") if label + "/new" in self._hsm else labels

    def offer(self, digit: str) -> bytes:
        """Make a new key and return it under the ZMK (8 or 16 bytes); one offered before is gone."""
        length = self._section.mac_key_bytes if digit == MAC_KEY and self._section.suite == "3des" else 16
        label = self._labels[digit] + "/new"
        self._hsm.generate(label, _USAGES[digit], self._section.suite, length)
        return self._hsm.export(label, self._zmk).wrapped

    def withdraw(self, digit: str) -> None:
        """The offered key was refused or not acknowledged."""
        if self._labels[digit] + "/new" in self._hsm:
            self._hsm.forget(self._labels[digit] + "/new")

    def adopt(self, digit: str, mono: float) -> None:
        """The offered key comes into force; the one before is taken for a while yet."""
        label = self._labels[digit]
        if label in self._hsm:
            self._move(digit, label, label + "/old")
            self._old_until[digit] = mono + self._section.overlap_s
        self._move(digit, label + "/new", label)
        self._hsm.forget(label + "/new")

    def _move(self, digit: str, source: str, target: str) -> None:
        # A record is bound to its label; only through the ZMK can a key change its label.
        wrapped = self._hsm.export(source, self._zmk).wrapped
        self._hsm.import_key(target, _USAGES[digit], self._section.suite, wrapped, self._zmk)
