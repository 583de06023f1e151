"""What differs between acquirers and networks: one TOML profile per link, checked whole, with defaults.

A profile file names the profile it `extends` (one shipped in `profiles/`, or another file beside it) and changes what
it needs to; an unknown key is refused with its place. Nothing about a dialect needs Python.
"""

import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from switch.wire.dialects import NETWORK, POS, Dialect
from switch.wire.errors import WireError
from switch.wire.framing import Framing
from switch.wire.private_62 import write_parameters
from switch.wire.transactions import BY_NAME, BY_NETWORK, ROWS, Transaction

SHIPPED = Path(__file__).parent / "profiles"


class ProfileError(WireError):
    """A profile that cannot be used: `where` is the file and key."""


class _Section(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A table of a profile; keys it does not know are errors."""


class FramingSection(_Section, frozen=True, kw_only=True):
    """How a frame stands on the wire."""

    length: Literal["bin2", "ascii4", "none"] = "bin2"
    tpdu: bool = True
    header: Literal[0, 6, 46] = 6
    counts_itself: bool = False
    frame_max: int = 4096


class KeyBlock(_Section, frozen=True, kw_only=True):
    """One key in DE62 of the sign-in reply: ciphertext, zero filler, check value (bytes each)."""

    name: Literal["pik", "mak", "tdk"]
    bytes: Literal[8, 16] = 16
    pad: int = 0
    kcv: int = 4


class SuiteSection(_Section, frozen=True, kw_only=True):
    """How terminals of one algorithm suite sign in and protect their messages.

    `new_pin_carrier` is where a PIN change has its second block, in usage NP (unverified).
    """

    sign_in_code: str
    keys: tuple[KeyBlock, ...]
    algorithm_digit: str
    pin_format: Literal["iso0", "plain", "sm4"]
    pin_carrier: Literal["de52", "de63-sm", "de62-22"] = "de52"
    new_pin_carrier: Literal["de63", "de62"] = "de63"
    mac: Literal["cup-ecb", "x9.9", "x9.19", "sm4-cbc"] = "cup-ecb"


class CodesSection(_Section, frozen=True, kw_only=True):
    """What names a transaction on this link where it is not what the matrix says; "" leaves it.

    `condition` is DE25, `type_code` DE60.1 (terminals' links only).
    """

    processing_code: str = ""
    condition: str = ""
    type_code: str = ""


class PosHeaderSection(_Section, frozen=True, kw_only=True):
    """Contents of the 6-byte header and the TPDU a terminal sends."""

    application_class: str = "60"
    software_version: str = "31"
    tail: str = "000000"
    tpdu: str = "6000030000"
    reply_tpdu: Literal["swap", "echo"] = "swap"


class PosReversalSection(_Section, frozen=True, kw_only=True):
    """Reasons a terminal gives in DE39 of its 0400, how often it repeats, and what ends it."""

    no_reply: str = "98"
    bad_reply: str = "96"
    bad_mac: str = "A0"
    attempts_max: int = 3
    accepted: tuple[str, ...] = ("00", "12", "25")


class PosTimers(_Section, frozen=True, kw_only=True):
    """Seconds."""

    reply_s: float = 60.0
    idle_s: float = 300.0
    sign_in_s: float = 30.0
    frame_s: float = 5.0


class PosChipSection(_Section, frozen=True, kw_only=True):
    """How this acquirer's terminals speak of chips.

    `icc_required`: a request of a card whose chip was read carries DE55, else 30. The stripe of a chip card is answered
    `stripe_refused` ("" lets it pass) where the terminal reads chips, unless it is marked as a fallback in one of the
    ways of `fallback`: "02" is DE22 02x with DE60.5 2, "80" is DE22 80x. `loads` says what loads are in the totals.
    """

    icc_required: bool = True
    stripe_refused: str = "58"
    fallback: tuple[Literal["02", "80"], ...] = ("02", "80")
    loads: Literal["none", "debit", "credit"] = "none"


class PosProfile(_Section, frozen=True, kw_only=True, tag_field="dialect", tag="pos"):
    """A terminal link. `pads` maps a DE to the pad nibble this acquirer writes where it is not 0; `fields` maps a DE to
    its format on this link where it is not the dialect's own (`62 = "b...512"`, the notation of `dialects.py`).
    `parameters` are what a terminal is given at a parameter download, by code (`private_62.PARAMETER_WIDTHS`)."""

    name: str
    framing: FramingSection = FramingSection()
    header: PosHeaderSection = PosHeaderSection()
    suites: dict[Literal["3des", "sm4"], SuiteSection]
    reversal: PosReversalSection = PosReversalSection()
    timers: PosTimers = PosTimers()
    pads: dict[str, str] = {}
    fields: dict[str, str] = {}
    scheme: str = "CUP"
    operator: str = "01 "
    merchant_name_in_reply: bool = False
    parameters: dict[str, str] = {}
    transactions: dict[str, CodesSection] = {}
    chips: PosChipSection = PosChipSection()


class NetworkHeaderSection(_Section, frozen=True, kw_only=True):
    """Contents of the 46-byte header."""

    version: Literal[1, 2, 129, 130] = 2
    destination: str = "00010000"
    source: str = "00000000"


class NetworkKeysSection(_Section, frozen=True, kw_only=True):
    """Keys between member and network: their suite, and how a reset names them in DE53."""

    suite: Literal["3des", "sm4"] = "3des"
    mac: Literal["network", "x9.9", "x9.19", "sm4-cbc"] = "network"
    mac_key_bytes: Literal[8, 16] = 16
    pin_format: Literal["iso0", "sm4"] = "iso0"
    pin_carrier: Literal["de52", "de63-sm"] = "de52"
    new_pin_carrier: Literal["de63", "de48"] = "de63"
    algorithm_digit: str = "6"
    apply_at_sign_on: bool = True
    mac_key_proves_itself: bool = True
    overlap_s: float = 30.0


class NetworkReversalSection(_Section, frozen=True, kw_only=True):
    """DE60.1 reasons, the MTI of a repeat and when to repeat; up to `ordered_tries` what is behind an advice waits,
    after `alarm_tries` somebody should look, after `expire_s` what is stored is settled by hand."""

    timeout: str = "0000"
    terminal: str = "4351"
    repeat_mti: Literal["0420", "0421"] = "0420"
    first_repeat_s: float = 60.0
    repeat_max_s: float = 900.0
    ordered_tries: int = 3
    alarm_tries: int = 6
    expire_s: float = 86_400.0
    accepted: tuple[str, ...] = ("00", "25", "12", "94")
    suspicious: tuple[str, ...] = ("25",)


class NetworkChipSection(_Section, frozen=True, kw_only=True):
    """Chips on this line: whether a script notice has a MAC, which DE3 the notice of a kind has where it is not the
    kind's own, and whether DE60 of a chip's transaction goes on to medium and application (60.3.6, 60.3.7)."""

    notice_mac: bool = False
    notice_codes: dict[str, str] = {}
    medium: bool = True


class NetworkTimers(_Section, frozen=True, kw_only=True):
    """Seconds. So many requests in a row without an answer (`breaker_timeouts`, 0: never) break a line; it must answer
    a line test within `breaker_s` before it is given anything more."""

    reply_s: float = 30.0
    keep_alive_s: float = 30.0
    line_test_s: float = 60.0
    breaker_timeouts: int = 10
    breaker_s: float = 5.0
    reconnect_s: float = 1.0
    frame_s: float = 5.0


class NetworkCodes(_Section, frozen=True, kw_only=True):
    """What the terminal is told when this link gives no answer."""

    no_reply: str = "98"
    link_down: str = "91"
    rejected: str = "96"


class NetworkProfile(_Section, frozen=True, kw_only=True, tag_field="dialect", tag="network"):
    """A link to a network or to the bank's own core.

    `acquirer` is DE32 and `forwarder` DE33, eight digits each; `response_map` turns codes of this link into those the
    terminal is told; `fields` changes the format of fields as in PosProfile.
    """

    name: str
    framing: FramingSection = FramingSection(length="ascii4", tpdu=False, header=46)
    header: NetworkHeaderSection = NetworkHeaderSection()
    acquirer: str = "00000000"
    forwarder: str = "00000000"
    keys: NetworkKeysSection = NetworkKeysSection()
    reversal: NetworkReversalSection = NetworkReversalSection()
    timers: NetworkTimers = NetworkTimers()
    codes: NetworkCodes = NetworkCodes()
    response_map: dict[str, str] = {}
    fields: dict[str, str] = {}
    terminal_type: str = "03"
    transactions: dict[str, CodesSection] = {}
    chips: NetworkChipSection = NetworkChipSection()


Profile: TypeAlias = PosProfile | NetworkProfile


def coded(row: Transaction, profile: Profile) -> Transaction:
    """A row of the matrix with the codes it has on this link; the row itself where the profile changes none."""
    changes = profile.transactions.get(row.name)
    if changes is None:
        return row
    if isinstance(profile, NetworkProfile):
        return row._replace(
            network_processing_code=changes.processing_code or row.network_processing_code,
            network_condition=changes.condition or row.network_condition,
        )
    return row._replace(
        processing_code=changes.processing_code or row.processing_code,
        condition=changes.condition or row.condition,
        type_code=changes.type_code or row.type_code,
    )


def rows_by_key(profile: PosProfile) -> dict[tuple[str, str, str, str], Transaction]:
    """The matrix by MTI, DE3, DE25 and DE60.1 as this link has them. ProfileError where two rows become one."""
    rows = {coded(row, profile).key: row for row in ROWS}
    if len(rows) != len(ROWS):
        raise ProfileError(f"profile {profile.name}", None, "transactions: two of them have the same codes")
    return rows


def rows_by_network(profile: NetworkProfile) -> dict[tuple[str, str, str], Transaction]:
    """The matrix by MTI, DE3 and DE25 as this network has them, the first of those alike. ProfileError where a changed
    row becomes one with another."""
    rows = {coded(row, profile).network_key: row for row in reversed(ROWS)}
    if len(rows) != len(BY_NETWORK):
        raise ProfileError(f"profile {profile.name}", None, "transactions: two of them have the same codes")
    return rows


def _check_codes(profile: Profile, where: str) -> None:
    for name, codes in profile.transactions.items():
        if name not in BY_NAME:
            raise ProfileError(f"profile {where}", None, f"transactions: there is no {name!r}")
        for text, size in ((codes.processing_code, 6), (codes.condition, 2), (codes.type_code, 2)):
            if text and not (len(text) == size and text.isascii() and text.isdigit()):
                raise ProfileError(f"profile {where}", None, f"transactions.{name}: {text!r} has not {size} digits")
    if isinstance(profile, PosProfile):
        for name, suite in profile.suites.items():
            if (suite.pin_carrier, suite.new_pin_carrier) == ("de62-22", "de62"):
                raise ProfileError(f"profile {where}", None, f"suites.{name}: DE62 cannot carry both PIN blocks")
        rows_by_key(profile)
    else:
        rows_by_network(profile)


def framing_of(profile: Profile) -> Framing:
    """The profile's framing as the value the deframer takes."""
    section = profile.framing
    return Framing(
        length=section.length,
        tpdu=section.tpdu,
        header=section.header,
        counts_itself=section.counts_itself,
        frame_max=section.frame_max,
    )


@lru_cache(maxsize=16)
def _dialect(base: Dialect, changes: tuple[tuple[str, str], ...]) -> Dialect:
    return base.adapted({int(de): written for de, written in changes})


def dialect_of(profile: Profile) -> Dialect:
    """The profile's dialect: its link's own, with the fields this profile changes. Equal profiles share one."""
    base = POS if isinstance(profile, PosProfile) else NETWORK
    return _dialect(base, tuple(sorted(profile.fields.items()))) if profile.fields else base


def load_profile(name: str | Path) -> Profile:
    """A shipped profile by name ("unionpay-pos"), or a TOML file by path.

    Raises ProfileError with file and key for anything the profile may not hold.
    """
    table = _read(_locate(str(name), Path()), 0)
    return profile_from(table, str(name))


def profile_from(table: dict[str, Any], where: str) -> Profile:
    """A profile from a table already read (`where` names it in errors)."""
    try:
        profile: Profile = msgspec.convert(table, PosProfile | NetworkProfile)
        for de in (*profile.fields, *getattr(profile, "pads", ())):
            if not de.isdigit():
                raise ProfileError(f"profile {where}", None, f"{de!r} is not the number of a field")
        dialect_of(profile)
        _check_codes(profile, where)
        write_parameters(sorted(getattr(profile, "parameters", {}).items()))
    except msgspec.ValidationError as error:
        raise ProfileError(f"profile {where}", None, str(error)) from None
    except ProfileError:
        raise
    except WireError as error:
        raise ProfileError(f"profile {where}", None, f"fields and parameters: {error}") from None
    return profile


def _locate(name: str, beside: Path) -> Path:
    shipped = SHIPPED / f"{name}.toml"
    if shipped.is_file():
        return shipped
    path = beside / name
    if path.is_file():
        return path
    known = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml") if file.stem != "chips"))
    raise ProfileError(f"profile {name}", None, f"no such file, and not one of the shipped profiles ({known})")


def _read(path: Path, depth: int) -> dict[str, Any]:
    if depth > 8:
        raise ProfileError(f"profile {path}", None, "extends itself")
    table = _toml(path)
    parent = table.pop("extends", None)
    if parent is None:
        return table
    return _merge(_read(_locate(str(parent), path.parent), depth + 1), table)


@lru_cache(maxsize=64)
def _text(path: Path, mtime_ns: int) -> str:
    return path.read_text(encoding="utf-8")


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path, path.stat().st_mtime_ns))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"profile {path}", None, str(error)) from None


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged
