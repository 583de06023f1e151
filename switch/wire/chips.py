"""What a switch tells terminals about chips, and by which it judges: one TOML table, checked whole, faults named.

AID records, certification authorities' keys, contactless limits, and who pays without a PIN (双免). The shipped table
is `profiles/chips.toml`; a switch's own says which file in its configuration. Values are those of the downloads
(docs/kernel.md, Parameters); lengths are checked here, so that no terminal is given half a
record.
"""

import tomllib
from collections.abc import Mapping, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from switch.wire import tlv
from switch.wire.errors import TlvError, WireError

SHIPPED_CHIPS: Final = Path(__file__).parent / "profiles" / "chips.toml"
ENTRIES_MAX: Final = 99
"""A terminal tells in two digits how many entries of a list it has."""


class ChipTableError(WireError):
    """A table that cannot be used: `where` is the file, the reason names the entry."""


class _Section(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A table of the file; keys it does not know are errors."""


class AidRecord(_Section, frozen=True, kw_only=True):
    """The parameters of one application, hexadecimal as they are downloaded; amounts in minor units.

    `e_cash_minor` is 9F7B; `contactless_*` are DF19 (from there on online), DF20 (the most), DF21 (from there on with a
    cardholder verification).
    """

    aid: str
    partial: bool = True
    version: str = "0020"
    tac_default: str = "D84000A800"
    tac_online: str = "D84004F800"
    tac_denial: str = "0010000000"
    floor_limit_minor: int = 0
    threshold_minor: int = 0
    target_max_percent: int = 0
    target_percent: int = 0
    ddol: str = "9F3704"
    online_pin: bool = True
    e_cash_minor: int = 100_000
    contactless_floor_minor: int = 100_000
    contactless_max_minor: int = 1_000_000
    contactless_cvm_minor: int = 100_001

    def items(self) -> tlv.Items:
        """The record as it is downloaded (0810/380). Raises ValueError, OverflowError for what does not fit."""
        return [
            ("9F06", _hex(self.aid, 5, 16)),
            ("DF01", b"\x00" if self.partial else b"\x01"),
            ("9F08", _hex(self.version, 2, 2)),
            ("DF11", _hex(self.tac_default, 5, 5)),
            ("DF12", _hex(self.tac_online, 5, 5)),
            ("DF13", _hex(self.tac_denial, 5, 5)),
            ("9F1B", self.floor_limit_minor.to_bytes(4, "big")),
            ("DF15", self.threshold_minor.to_bytes(4, "big")),
            ("DF16", _bcd(self.target_max_percent, 1)),
            ("DF17", _bcd(self.target_percent, 1)),
            ("DF14", _hex(self.ddol, 0, 252)),
            ("DF18", b"\x01" if self.online_pin else b"\x00"),
            ("9F7B", _bcd(self.e_cash_minor, 6)),
            *self.contactless()[1:],
        ]

    def contactless(self) -> tlv.Items:
        """The contactless limits alone (0810/394): AID, DF19, DF20, DF21."""
        return [
            ("9F06", _hex(self.aid, 5, 16)),
            ("DF19", _bcd(self.contactless_floor_minor, 6)),
            ("DF20", _bcd(self.contactless_max_minor, 6)),
            ("DF21", _bcd(self.contactless_cvm_minor, 6)),
        ]


class CaKeyRecord(_Section, frozen=True, kw_only=True):
    """A certification authority's public key. `key` is the RSA modulus or the SM2 point (64 bytes), hexadecimal;
    `exponent` is 03 where an RSA key has none, and DF04 of an SM2 key whatever that acquirer's terminals want there.
    `checksum` may be left out of an RSA key: SHA-1 over RID, index, modulus and exponent. `expiry` is YYYYMMDD."""

    rid: str
    index: str
    expiry: str
    algorithm: Literal["rsa", "sm2"] = "rsa"
    key: str
    exponent: str = ""
    checksum: str = ""

    @property
    def listed(self) -> tlv.Items:
        """The entry of the list (0830/372): RID, index, expiry."""
        return [("9F06", _hex(self.rid, 5, 5)), ("9F22", _hex(self.index, 1, 1)), ("DF05", _hex(self.expiry, 4, 4))]

    def items(self) -> tlv.Items:
        """The key as it is downloaded (0810/370, 373). Raises ValueError for a value that does not fit."""
        rid, index, key = _hex(self.rid, 5, 5), _hex(self.index, 1, 1), _hex(self.key, 1, 248)
        if self.algorithm == "sm2":
            if len(key) != 64:
                raise ValueError("an SM2 key has 64 bytes")
            kinds, exponent = (b"\x07", b"\x04"), _hex(self.exponent, 0, 3)
            proof = _hex(self.checksum, 20, 32)
        else:
            kinds, exponent = (b"\x01", b"\x01"), _hex(self.exponent or "03", 1, 3)
            made = sha1(rid + index + key + exponent, usedforsecurity=False).digest()
            proof = _hex(self.checksum, 20, 20) if self.checksum else made
            if proof != made:
                raise ValueError("checksum is not that of RID, index, modulus and exponent")
        return [
            *self.listed,
            ("DF06", kinds[0]),
            ("DF07", kinds[1]),
            ("DF02", key),
            ("DF04", exponent),
            ("DF03", proof),
        ]


class NoPin(_Section, frozen=True, kw_only=True):
    """Who pays without PIN and signature (双免): up to `limit_minor`, at these merchants ("all", or their DE42), with
    cards of these BINs and of none of `excluded` (4 to 10 digits)."""

    limit_minor: int = 100_000
    merchants: Literal["all"] | tuple[str, ...] = ()
    bins: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


class _File(_Section, frozen=True, kw_only=True):
    aids: tuple[AidRecord, ...] = ()
    keys: tuple[CaKeyRecord, ...] = ()
    no_pin: NoPin = NoPin()


class Entry(NamedTuple):
    """One entry of a download: what a list says of it, and its record."""

    listed: tlv.Items
    record: tlv.Items


class ChipTable:
    """A table read and checked. `lists` holds the entries of each kind by the digit of the header that announces it: 4
    keys of certification authorities, 5 applications, 9 contactless limits, B BINs without PIN, C cards never without.
    `versions` names what stands in each, "" for nothing, so that a change is seen."""

    __slots__ = ("_bins", "_excluded", "_merchants", "lists", "no_pin", "sm2_keys", "versions")

    def __init__(self, aids: tuple[AidRecord, ...], keys: tuple[CaKeyRecord, ...], no_pin: NoPin) -> None:
        self.no_pin = no_pin
        self._merchants = None if no_pin.merchants == "all" else frozenset(no_pin.merchants)
        self._bins, self._excluded = _by_length(no_pin.bins), _by_length(no_pin.excluded)
        rsa = tuple(Entry(key.listed, key.items()) for key in keys if key.algorithm == "rsa")
        self.sm2_keys = tuple(Entry(key.listed, key.items()) for key in keys if key.algorithm == "sm2")
        self.lists: dict[str, tuple[Entry, ...]] = {
            "4": rsa,
            "5": tuple(Entry(aid.items()[:1], aid.items()) for aid in aids),
            "9": tuple(Entry([], aid.contactless()) for aid in aids),
            "B": tuple(Entry([], [("42", _prefix(bin_))]) for bin_ in no_pin.bins),
            "C": tuple(Entry([], [("42", _prefix(bin_))]) for bin_ in no_pin.excluded),
        }
        told: dict[str, tuple[Entry, ...]] = {**self.lists, "4": rsa + self.sm2_keys}
        self.versions = {digit: _version(entries, no_pin if digit == "B" else None) for digit, entries in told.items()}

    def enrolled(self, mid: str) -> bool:
        """Whether a merchant asks no PIN for small contactless sales."""
        return self._merchants is None or mid in self._merchants

    def without_pin(self, mid: str, pan: str, amount_minor: int) -> bool:
        """Whether a contactless online sale that came without a PIN may have done so."""
        return (
            0 < amount_minor <= self.no_pin.limit_minor
            and self.enrolled(mid)
            and _among(self._bins, pan)
            and not _among(self._excluded, pan)
        )


def _hex(text: str, least: int, most: int) -> bytes:
    value = bytes.fromhex(text)
    if not least <= len(value) <= most:
        raise ValueError(f"{len(value)} bytes of {text[:20]!r} are not within {least} and {most}")
    return value


def _bcd(number: int, size: int) -> bytes:
    if not 0 <= number < 100**size:
        raise ValueError(f"{number} has not {2 * size} digits")
    return bytes.fromhex(f"{number:0{2 * size}d}")


def _prefix(text: str) -> bytes:
    if not (text.isascii() and text.isdigit() and 4 <= len(text) <= 10):
        raise ValueError(f"{text!r} is not a BIN of 4 to 10 digits")
    return bytes.fromhex(text + "F" * (len(text) % 2))


def _by_length(bins: tuple[str, ...]) -> Mapping[int, frozenset[str]]:
    return {size: frozenset(b for b in bins if len(b) == size) for size in {len(b) for b in bins}}


def _among(by_length: Mapping[int, frozenset[str]], pan: str) -> bool:
    return any(pan[:size] in bins for size, bins in by_length.items())


def _version(entries: tuple[Entry, ...], no_pin: NoPin | None) -> str:
    if not entries:
        return ""
    data = b"".join(tlv.write(entry.record) for entry in entries)
    if no_pin is not None:  # the first record of that download is made for each merchant
        data += f"{no_pin.limit_minor}{no_pin.merchants}".encode()
    return sha1(data, usedforsecurity=False).hexdigest()[:8]


NO_CHIPS: Final = ChipTable((), (), NoPin())
"""Nothing to download, and nobody pays without a PIN."""


def load_chips(path: Path = SHIPPED_CHIPS, more: Path | None = None) -> ChipTable:
    """The table of a file, with the keys of a second one (`[[keys]]` only, as `terminals/card` writes its test CAs).

    Raises ChipTableError naming file and entry; nothing is taken by halves.
    """
    first = _read(path)
    keys = first.keys
    if more is not None:
        second = _read(more)
        if second.aids or second.no_pin != NoPin():
            raise ChipTableError(str(more), None, "only [[keys]] stand in a file of keys")
        keys += second.keys
    _check(str(path), "aids", [(aid.aid, aid) for aid in first.aids])
    _check(str(path), "keys", [(f"{key.rid} {key.index} {key.algorithm}", key) for key in keys])
    try:
        return ChipTable(first.aids, keys, first.no_pin)
    except ValueError as error:
        raise ChipTableError(str(path), None, f"no_pin: {error}") from None


def _check(path: str, name: str, entries: Sequence[tuple[str, AidRecord | CaKeyRecord]]) -> None:
    """Every entry can be downloaded, and none stands there twice."""
    if len(entries) > ENTRIES_MAX:
        raise ChipTableError(path, None, f"{name}: more than {ENTRIES_MAX}")
    seen: set[str] = set()
    for n, (label, entry) in enumerate(entries, 1):
        if label.upper() in seen:
            raise ChipTableError(path, None, f"{name} {n} ({label}): stands there twice")
        seen.add(label.upper())
        try:
            tlv.write(entry.items())
        except (ValueError, OverflowError, TlvError) as error:
            raise ChipTableError(path, None, f"{name} {n} ({label}): {error}") from None


def _read(path: Path) -> _File:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except OSError as error:
        raise ChipTableError(str(path), None, error.strerror or "cannot be read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ChipTableError(str(path), None, str(error)) from None
