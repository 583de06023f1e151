"""What a chip holds, as data: applications, their records, file locators, limits and answers, read from TOML.

A profile says nothing about one card: numbers, keys and certificates are put in by `mint`. Profiles are read once,
whole and strictly; every fault is a ProfileFault with the name of the profile and the place.
"""

import tomllib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path as FilePath
from struct import Struct
from typing import Any, Final

from switch.crypto.cryptogram import AC_INPUTS
from switch.wire import dol
from switch.wire.errors import WireError

CONTACT: Final = "contact"
CONTACTLESS: Final = "contactless"
INTERFACES: Final = (CONTACT, CONTACTLESS)

PATHS: Final = ("contact", "ecash", "tap", "contact_sm", "ecash_sm", "tap_sm")
"""The answers GPO may give: standard and e-cash on contacts, contactless; `_sm` where the terminal knows SM2/3/4."""

PERSONAL: Final = frozenset({"57", "5A", "5F20", "5F24", "5F25", "5F34"})
CERTIFIED: Final = frozenset({"8F", "90", "92", "9F32", "93", "9F46", "9F47", "9F48"})
"""Elements a profile only names in a record: their values belong to one card."""

_OF_DATA: Final = frozenset({"93", "9F46", "9F47", "9F48"})
"""Those of them that vouch for the signed records, and so for one path only."""

KEPT: Final = frozenset({"9F13", "9F17", "9F36", "9F5D", "9F79", "DF79"})
"""Elements that live in the card's state, not in its image."""

DDOL: Final = "9F3704"
LOG_FORMAT: Final = bytes.fromhex("9A039F21039F02069F03069F1A025F2A029F4E149C019F3602")
LOAD_LOG_FORMAT: Final = bytes.fromhex("9A039F21039F3602")

_SHIPPED: Final = FilePath(__file__).parent / "profiles"


class ProfileFault(ValueError):
    """A card profile that does not read; the text names profile and place."""


class Layout:
    """Where a list's values stand, one after another: (tag, start, stop) each, and the length of all."""

    __slots__ = ("_cut", "_tags", "places", "size")

    def __init__(self, places: tuple[tuple[str, int, int], ...], size: int) -> None:
        self.places = places
        self.size = size
        self._tags = tuple(tag for tag, _, _ in places)
        self._cut = Struct("".join(f"{stop - start}s" for _, start, stop in places)).unpack

    def values(self, data: bytes) -> dict[str, bytes]:
        """Tag to value; `data` has been checked to have `size` bytes."""
        return dict(zip(self._tags, self._cut(data), strict=True))


@dataclass(frozen=True, slots=True)
class Path:
    """One answer to GPO: `suite` 3des (with RSA) or sm4 (with SM2), AIP, AFL; record keys are (SFI << 8) | record."""

    name: str
    suite: str
    aip: bytes
    afl: bytes
    records: tuple[int, ...]
    signed: tuple[int, ...]

    @property
    def last(self) -> int:
        """The record whose reading completes the transaction; 0 without records."""
        return self.records[-1] if self.records else 0


@dataclass(frozen=True, slots=True)
class Application:
    """One application of a chip. `objects` are elements GET DATA gives and scripts may change (tag to initial value),
    `numbers` the same read as decimal numbers, `data` the elements of records that all cards of the profile share.
    """

    index: int
    name: str
    payment: bool
    aid: bytes
    label: bytes
    priority: int
    cvn: int
    dki: int
    idd: int
    fdda: int
    pdol: Mapping[str, bytes]
    layouts: Mapping[str, Layout]
    cdol1: Layout
    cdol2: Layout
    paths: Mapping[str, Path]
    records: Mapping[int, tuple[str, ...]]
    data: Mapping[str, bytes]
    objects: Mapping[str, bytes]
    numbers: Mapping[str, int]
    log: tuple[int, int]
    load_log: tuple[int, int]
    interfaces: tuple[str, ...]

    def path_of(self, key: int) -> Path | None:
        """The path a record belongs to, whose keys sign it: None for a record no AFL names."""
        return next((path for path in self.paths.values() if key in path.records), None)


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of chip card. `stripe` tells a composite card: the same account on chip and magnetic stripe."""

    name: str
    zh: str
    en: str
    interfaces: tuple[str, ...]
    stripe: bool
    applications: tuple[Application, ...]


@lru_cache(64)
def load(name: str) -> Profile:
    """A profile by its shipped name, or by the path of the user's file. Raises ProfileFault."""
    return parse(name, _tree(name, 0))


def altered(name: str, over: Mapping[str, str]) -> Profile:
    """A profile with single values set otherwise, by their place ("application/main/objects/9F79"); "" takes one away.

    A list is written with commas. Raises ProfileFault for a place or a value that cannot be.
    """
    tree = deepcopy(_tree(name, 0))
    for place, value in over.items():
        *tables, key = place.split("/")
        table: Any = tree
        for one in tables:
            table = table.get(one) if isinstance(table, dict) else None
        if not isinstance(table, dict):
            raise ProfileFault(f"{name}: {place}: there is no such place")
        old = table.get(key)
        if not value:
            table.pop(key, None)
        elif isinstance(old, bool):
            table[key] = value == "true"
        elif isinstance(old, list):
            table[key] = [type(old[0])(part.strip()) if old else part.strip() for part in value.split(",")]
        else:
            table[key] = int(value) if isinstance(old, int) and value.isdecimal() else value
    return parse(name, tree)


def shipped() -> tuple[str, ...]:
    """The names of the profiles that come with the house."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.toml")))


def _tree(name: str, depth: int) -> dict[str, Any]:
    path = FilePath(name) if name.endswith(".toml") else _SHIPPED / f"{name}.toml"
    if depth > 4:
        raise ProfileFault(f"{name}: like: a ring of profiles")
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProfileFault(f"{name}: {type(error).__name__}: {error}") from None
    parent = tree.pop("like", None)
    return tree if parent is None else _merge(_tree(str(parent), depth + 1), tree)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`, table by table; an empty table takes the one below away."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if value == {}:
            merged.pop(key, None)
        else:
            merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


_PROFILE_KEYS: Final = frozenset({"zh", "en", "interfaces", "stripe", "application"})
_APPLICATION_KEYS: Final = frozenset(
    {"kind", "aid", "label", "priority", "cvn", "dki", "idd", "fdda", "pdol_contact", "pdol_tap", "log", "load_log"}
    | {"data", "objects", "path", "records", "interfaces"}
)


def parse(name: str, tree: Mapping[str, Any]) -> Profile:
    """A profile from its tables. Raises ProfileFault for whatever does not fit."""
    try:
        unknown = set(tree) - _PROFILE_KEYS
        if unknown:
            raise ValueError(f"unknown key {sorted(unknown)[0]}")
        interfaces = tuple(tree["interfaces"])
        if not interfaces or set(interfaces) - set(INTERFACES):
            raise ValueError("interfaces: contact, contactless")
        applications = tuple(
            _application(index, key, table, interfaces)
            for index, (key, table) in enumerate(tree["application"].items())
        )
        if not 1 <= len(applications) <= 8:
            raise ValueError("application: one to eight")
        return Profile(
            name, str(tree["zh"]), str(tree["en"]), interfaces, bool(tree.get("stripe", False)), applications
        )
    except KeyError as error:
        raise ProfileFault(f"{name}: {error.args[0]} is missing") from None
    except (ValueError, TypeError, AttributeError, WireError) as error:
        raise ProfileFault(f"{name}: {error}") from None


def _application(index: int, name: str, table: Mapping[str, Any], interfaces: tuple[str, ...]) -> Application:
    unknown = set(table) - _APPLICATION_KEYS
    if unknown:
        raise ValueError(f"{name}: unknown key {sorted(unknown)[0]}")
    data = _elements(table.get("data", {}))
    objects = _elements(table.get("objects", {}))
    pdol = {
        CONTACT: bytes.fromhex(table.get("pdol_contact", "")),
        CONTACTLESS: bytes.fromhex(table.get("pdol_tap", "")),
    }
    paths = {key: _path(key, value) for key, value in table.get("path", {}).items()}
    log, load_log = table.get("log", (0, 0)), table.get("load_log", (0, 0))
    application = Application(
        index=index,
        name=name,
        payment=table.get("kind", "payment") == "payment",
        aid=bytes.fromhex(table["aid"]),
        label=str(table["label"]).encode("ascii"),
        priority=int(table.get("priority", 0)),
        cvn=int(table.get("cvn", "01"), 16),
        dki=int(table.get("dki", "01"), 16),
        idd=int(table.get("idd", "00"), 16),
        fdda=int(table.get("fdda", "00"), 16),
        pdol=pdol,
        layouts={interface: _layout(value) for interface, value in pdol.items()},
        cdol1=_layout(data.get("8C", b"")),
        cdol2=_layout(data.get("8D", b"")),
        paths=paths,
        records={_record_key(key): tuple(tags) for key, tags in table.get("records", {}).items()},
        data=data,
        objects=objects,
        numbers={tag: int(value.hex()) for tag, value in objects.items() if value.hex().isdecimal()},
        log=_pair(log),
        load_log=_pair(load_log),
        interfaces=tuple(table.get("interfaces", interfaces)),
    )
    _check(application)
    return application


def _pair(value: Any) -> tuple[int, int]:
    sfi, count = value
    return int(sfi), int(count)


def _check(application: Application) -> None:
    """What a reader of the profile may rely on."""
    name = application.name
    if not 5 <= len(application.aid) <= 16 or not 1 <= len(application.label) <= 16:
        raise ValueError(f"{name}: aid has 5 to 16 bytes, label 1 to 16")
    if not 0 <= application.priority <= 255 or application.fdda not in (0, 1):
        raise ValueError(f"{name}: priority is one byte, fdda 00 or 01")
    if any(not (0 <= sfi <= 30 and 0 <= count <= 30) for sfi, count in (application.log, application.load_log)):
        raise ValueError(f"{name}: log and load_log are SFI and count, up to 30")
    for path in application.paths.values():
        for key in path.records:
            tags = application.records.get(key)
            if tags is None:
                raise ValueError(f"{name}: path {path.name} names record {key >> 8}.{key & 255}, which is not there")
            other = application.path_of(key)
            assert other is not None
            if CERTIFIED & set(tags) and other.suite != path.suite:
                raise ValueError(f"{name}: record {key >> 8}.{key & 255} certifies in two algorithms")
            if _OF_DATA & set(tags) and (other.aip, other.signed) != (path.aip, path.signed):
                raise ValueError(f"{name}: record {key >> 8}.{key & 255} certifies two different sets of data")
    for key, tags in application.records.items():
        for tag in tags:
            if "=" in tag:
                bytes.fromhex(tag.partition("=")[2])
            elif tag not in PERSONAL and tag not in CERTIFIED and tag not in application.data:
                raise ValueError(f"{name}: record {key >> 8}.{key & 255} names {tag}, which has no value")
    _check_sizes(application)
    if not application.payment:
        return
    if not {"contact", "tap"} & set(application.paths):
        raise ValueError(f"{name}: a payment application has a path contact or tap")
    if "contact" in application.paths:
        for tag in ("8C", "8D"):
            if tag not in application.data:
                raise ValueError(f"{name}: data.{tag} is missing")
        if application.cdol2.places[:1] != (("8A", 0, 2),):
            raise ValueError(f"{name}: data.8D begins with 8A02")
    if "tap" in application.paths:
        wanted = {"9F66", "9F02", "5F2A", "9F37"}
        if wanted - {tag for tag, _, _ in application.layouts[CONTACTLESS].places}:
            raise ValueError(f"{name}: pdol_tap asks for 9F66, 9F02, 5F2A and 9F37")


_SIZES: Final = {
    "9F66": 4, "9F02": 6, "9F03": 6, "9F1A": 2, "95": 5, "5F2A": 2, "9A": 3, "9C": 1, "9F37": 4, "9F21": 3, "9F7A": 1,
    "DF69": 1, "9F51": 2, "9F52": 2, "9F56": 1, "9F57": 2, "9F68": 4, "9F6C": 2, "DF71": 2,
}  # fmt: skip
_PDOL_BYTES_MAX: Final = 127
_AMOUNTS: Final = ("9F54", "9F5C", "9F6B", "9F6D", "9F77", "9F78", "9F79", "DF76", "DF77", "DF78", "DF79")


def _check_sizes(application: Application) -> None:
    """Elements the card reckons with have the size it expects, in lists and in values."""
    lists = (application.cdol1, application.cdol2, *application.layouts.values())
    for tag, start, stop in (place for layout in lists for place in layout.places):
        if stop - start != _SIZES.get(tag, stop - start):
            raise ValueError(f"{application.name}: a list asks for {stop - start} bytes of {tag}")
    for tag, value in application.objects.items():
        if len(value) != _SIZES.get(tag, len(value)) or not 1 <= len(value) <= 127:
            raise ValueError(f"{application.name}: objects.{tag} has {len(value)} bytes")
        if tag in _AMOUNTS and (len(value) != 6 or tag not in application.numbers):
            raise ValueError(f"{application.name}: objects.{tag} is twelve digits")
    if any(layout.size > _PDOL_BYTES_MAX for layout in application.layouts.values()):
        raise ValueError(f"{application.name}: a PDOL asks for {_PDOL_BYTES_MAX} bytes at most")
    if application.cvn not in AC_INPUTS:
        raise ValueError(f"{application.name}: cvn: one of {', '.join(f'{cvn:02X}' for cvn in AC_INPUTS)}")
    if not 0 <= application.idd <= 5 or not 0 <= application.dki <= 255:
        raise ValueError(f"{application.name}: idd is 00 to 05, dki one byte")


def _elements(table: Mapping[str, str]) -> dict[str, bytes]:
    return {tag.upper(): bytes.fromhex(value) for tag, value in table.items()}


def _path(name: str, table: Mapping[str, str]) -> Path:
    if name not in PATHS:
        raise ValueError(f"path {name}: one of {', '.join(PATHS)}")
    suite = table.get("suite", "3des")
    if suite not in ("3des", "sm4"):
        raise ValueError(f"path {name}: suite is 3des or sm4")
    aip, afl = bytes.fromhex(table["aip"]), bytes.fromhex(table.get("afl", ""))
    if len(aip) != 2 or len(afl) % 4:
        raise ValueError(f"path {name}: aip has two bytes, afl four for each entry")
    records: list[int] = []
    signed: list[int] = []
    for at in range(0, len(afl), 4):
        file, first, final, count = afl[at] >> 3, afl[at + 1], afl[at + 2], afl[at + 3]
        keys = [file << 8 | record for record in range(first, final + 1)]
        if not keys or count > len(keys) or not first or not file:
            raise ValueError(f"path {name}: afl entry {afl[at : at + 4].hex().upper()}")
        records += keys
        signed += keys[:count]
    return Path(name, suite, aip, afl, tuple(records), tuple(signed))


def _record_key(text: str) -> int:
    file, _, record = text.partition(".")
    key = int(file) << 8 | int(record)
    if not (1 <= key >> 8 <= 30 and 1 <= key & 255 <= 254):
        raise ValueError(f"records: {text} is not SFI.record")
    return key


@lru_cache(256)
def _layout(value: bytes) -> Layout:
    places: list[tuple[str, int, int]] = []
    at = 0
    for tag, size in dol.parse(value):
        places.append((tag, at, at + size))
        at += size
    return Layout(tuple(places), at)
