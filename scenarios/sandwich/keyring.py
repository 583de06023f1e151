"""The recorder's keys: it holds the master keys of both sides and learns the working keys from the wire.

Nothing in clear comes out. A PIN block of either side is enciphered again under one key and in one format, so that
blocks with the same PIN of the same card are equal and tell nothing else; a card number becomes a keyed digest.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from scenarios.sandwich.seen import ABSENT, NO_KEY, VALID, WRONG
from switch.crypto.errors import CryptoError
from switch.crypto.hsm import Hsm
from switch.machine import Entropy
from switch.wire.errors import WireError
from switch.wire.mab import network_mab
from switch.wire.private import NEW_PIN, read_new_pin, read_sm_pin
from switch.wire.private_62 import read_keys, read_sm_pin_62
from switch.wire.private_network import read_48_usages, read_new_key
from switch.wire.profile import NetworkProfile, PosProfile, SuiteSection

DIGEST: Final = "hash/sandwich"
COMPARE: Final = "zpk/sandwich"
_FORMAT: Final = "iso0"
_USAGE: Final = {"1": "zpk", "2": "zak"}
"""DE53, first digit of a key reset: which key it brings."""


class Keyring:
    """Keys of the terminals (tmk/TID and what their sign-ins bring) and of the lines (zmk/NAME and what resets bring).

    `pos` is the terminals' profile, `lines` the member's profile of each line.
    """

    def __init__(self, pos: PosProfile, lines: Mapping[str, NetworkProfile], entropy: Entropy) -> None:
        self._pos = pos
        self._lines = dict(lines)
        self._hsm = Hsm(entropy(32), entropy)
        self._hsm.generate(DIGEST, "hash", "aes", 32)
        self._hsm.generate(COMPARE, "zpk", "3des")
        self._suites: dict[str, SuiteSection] = {}
        self._offered: dict[tuple[str, str], tuple[str, bytes]] = {}

    def __repr__(self) -> str:
        return f"Keyring({len(self._suites)} terminals, {len(self._lines)} lines)"

    def add_terminal(self, tid: str, suite: str, tmk: bytes, profile: PosProfile | None = None) -> None:
        """Take a terminal's master key; `profile` is its own where it is not the one of all. KeyError for a suite that
        the profile lacks."""
        self._suites[tid] = (profile or self._pos).suites[suite]  # type: ignore[index]
        self._hsm.import_clear(f"tmk/{tid}", "tmk", suite, tmk)

    def add_line(self, name: str, zmk: bytes) -> None:
        """Take a line's master key."""
        self._hsm.import_clear(f"zmk/{name}", "zmk", self._lines[name].keys.suite, zmk)

    # what the wire brings

    def sign_in(self, tid: str, de62: bytes) -> str:
        """Take the working keys of a sign-in reply, all or none; what is wrong with them, "" if nothing is."""
        section, hsm = self._suites[tid], self._hsm
        suite = hsm.record(f"tmk/{tid}").suite
        layout = [(block.name, block.bytes, block.pad, block.kcv) for block in section.keys]
        try:
            keys = read_keys(de62, layout)
            for key in keys:
                hsm.import_key(f"{key.name}/{tid}/new", key.name, suite, key.wrapped, f"tmk/{tid}", key.kcv)
        except (CryptoError, WireError) as error:
            return str(error)
        for key in keys:
            hsm.copy(f"{key.name}/{tid}/new", f"{key.name}/{tid}")
        return ""

    def offered(self, line: str, fields: Mapping[int, Any]) -> None:
        """The centre offers a key (0800/101); it counts once the member has taken it."""
        try:
            wrapped = read_new_key(fields[48]) if 48 in fields else fields[96]
            self._offered[line, fields[11]] = (_USAGE[fields[53][0]], wrapped)
        except (WireError, LookupError):
            return

    def taken(self, line: str, fields: Mapping[int, Any]) -> None:
        """The member's 0810: with 00 the key it answers is in force, and the one before it is kept as the old one."""
        usage, wrapped = self._offered.pop((line, fields.get(11, "")), ("", b""))
        if not usage or fields.get(39) != "00":
            return
        label = f"{usage}/{line}"
        if label in self._hsm:
            self._hsm.copy(label, f"{label}/old")
        self._hsm.import_key(label, usage, self._lines[line].keys.suite, wrapped, f"zmk/{line}")

    def line_ready(self, line: str) -> bool:
        """Whether both keys of a line are in force."""
        return all(f"{usage}/{line}" in self._hsm for usage in _USAGE.values())

    # MACs

    def front_mac(self, tid: str, body: bytes, fields: Mapping[int, Any]) -> str:
        """What is to be said of DE64."""
        if 64 not in fields:
            return ABSENT
        label = f"mak/{tid}"
        if label not in self._hsm:
            return NO_KEY
        section = self._suites[tid]
        return VALID if self._hsm.verify_mac(label, section.mac, body[:-8], fields[64]) else WRONG

    def back_mac(self, line: str, mti: str, fields: Mapping[int, Any]) -> str:
        """What is to be said of DE128, under the key in force or the one before it."""
        mac = fields.get(128)
        if mac is None:
            return ABSENT
        labels = self._labels("zak", line)
        if not labels:
            return NO_KEY
        covered, sent = network_mab(mti, fields), mac.encode("ascii", "replace")
        algorithm = self._lines[line].keys.mac
        return VALID if any(self._hsm.verify_mac(label, algorithm, covered, sent) for label in labels) else WRONG

    def _labels(self, usage: str, line: str) -> tuple[str, ...]:
        return tuple(label for label in (f"{usage}/{line}", f"{usage}/{line}/old") if label in self._hsm)

    # cards and PINs

    def digest(self, pan: str) -> str:
        """A card number as it may be compared."""
        return self._hsm.keyed_hash(DIGEST, pan.encode()).hex() if pan else ""

    def front_track(self, tid: str, fields: Mapping[int, Any], de: int) -> str | None:
        """DE35 or DE36 in clear; None where it cannot be opened."""
        track: str = fields[de]
        if fields.get(53, "000")[2:3] != "1":
            return track
        try:
            return self._hsm.decrypt_track(f"tdk/{tid}", track)
        except (CryptoError, ValueError):
            return None

    def front_pin(self, tid: str, fields: Mapping[int, Any], pan: str) -> tuple[bytes, ...] | None:
        """The PIN of a terminal's request as it may be compared."""
        control = fields.get(53, "0")[:1]
        if control not in ("1", "2"):
            return None
        section = self._suites[tid]
        return self._comparable(
            [f"pik/{tid}"],
            section.pin_format if control == "2" else "plain",
            pan,
            lambda: _terminal_block(section.pin_carrier, fields),
        )

    def back_pin(self, line: str, fields: Mapping[int, Any], pan: str) -> tuple[bytes, ...] | None:
        """The PIN of a request on a line as it may be compared."""
        keys = self._lines[line].keys
        carried = 63 if keys.pin_carrier == "de63-sm" else 52
        if carried not in fields or (carried == 63 and not fields[63].startswith(b"SM")):
            return () if any(fields.get(52, b"")) else None
        block = (lambda: read_sm_pin(fields[63])) if carried == 63 else (lambda: fields[52])
        return self._comparable(self._labels("zpk", line), keys.pin_format, pan, block)

    def front_new_pin(self, tid: str, fields: Mapping[int, Any], pan: str) -> tuple[bytes, ...] | None:
        """The new PIN of a terminal's PIN change as it may be compared."""
        section = self._suites[tid]
        block = _new_block(section.new_pin_carrier, fields)
        return None if block is None else self._comparable([f"pik/{tid}"], section.pin_format, pan, lambda: block)

    def back_new_pin(self, line: str, fields: Mapping[int, Any], pan: str) -> tuple[bytes, ...] | None:
        """The new PIN of a PIN change on a line as it may be compared."""
        keys = self._lines[line].keys
        block = _new_block(keys.new_pin_carrier, fields)
        if block is None:
            return None
        return self._comparable(self._labels("zpk", line), keys.pin_format, pan, lambda: block)

    def _comparable(self, labels: Iterable[str], fmt: str, pan: str, block: Callable[[], bytes]) -> tuple[bytes, ...]:
        found = []
        for label in labels:
            try:
                found.append(self._hsm.translate_pin(label, fmt, COMPARE, _FORMAT, pan, block()))
            except (CryptoError, WireError, LookupError, ValueError):
                continue  # not a PIN block under this key
        return tuple(found)


def _new_block(carrier: str, fields: Mapping[int, Any]) -> bytes | None:
    de = int(carrier[2:])
    try:
        if de == 48:
            return dict(read_48_usages(fields[48])).get(NEW_PIN)
        return read_new_pin(de, fields[de])
    except (WireError, LookupError):
        return None


def _terminal_block(carrier: str, fields: Mapping[int, Any]) -> bytes:
    if carrier == "de63-sm":
        return read_sm_pin(fields[63])
    if carrier == "de62-22":
        return read_sm_pin_62(fields[62])
    block: bytes = fields[52]
    return block
