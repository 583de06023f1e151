"""Configuration: one TOML file a process, checked whole before anything starts. Paths are relative to the file.

Only values are checked here; `compose` builds from them.
"""

import ssl
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from switch.clearing.tariff import SHIPPED, Tariff, load_tariff
from switch.issuer.register import KEEP_ORIGINALS_DAYS
from switch.wire.errors import WireError
from switch.wire.profile import NetworkProfile, PosProfile, Profile, load_profile
from switch.wire.tls import client_context, server_context


class ConfigError(Exception):
    """A configuration that cannot be used; the text names file, key and reason."""


class _Section(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    pass


class TlsConfig(_Section, frozen=True, kw_only=True):
    """TLS of a link. Listening: `cert` and `key`, and `ca` to ask for client certificates. Dialling: `ca` to believe,
    `cert` and `key` to show, `name` where the peer's certificate has another name than its address."""

    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    name: str = ""


class LineConfig(_Section, frozen=True, kw_only=True):
    """A line to a counterpart: dialled at `address`; with `listen` it is a pair of one-way sockets, and the other side
    connects there to send."""

    address: str
    listen: str = ""


class StandInConfig(_Section, frozen=True, kw_only=True):
    """What the switch itself approves for the bank's own core while it cannot be asked (`switch.engine.standin`)."""

    floor_minor: int
    count_max: int = 3


class CounterpartConfig(_Section, frozen=True, kw_only=True):
    """A network or core the switch dials, at `address` or over `lines`, the primary first. `own` marks the bank's own
    core."""

    name: str
    profile: str
    address: str = ""
    lines: list[LineConfig] = []
    own: bool = False
    stand_in: StandInConfig | None = None
    tls: TlsConfig | None = None

    @property
    def all_lines(self) -> list[LineConfig]:
        """Those of `lines`, or the one of `address`. Raises ConfigError where there is not one or the other."""
        if bool(self.address) == bool(self.lines):
            raise ConfigError(f"counterparts: {self.name}: either address or lines is needed")
        return self.lines or [LineConfig(address=self.address)]


class BinConfig(_Section, frozen=True, kw_only=True):
    """Where the cards of a BIN go, and of what type they are ("" where it is not known)."""

    to: str
    card: Literal["", "debit", "credit"] = ""


class RoutesConfig(_Section, frozen=True, kw_only=True):
    """BIN to counterpart, with the type of card or without; `default` takes all other cards."""

    default: str = ""
    bins: dict[str, str | BinConfig] = {}


class LimitsConfig(_Section, frozen=True, kw_only=True):
    """How much may wait at a time, and how late all may be (`switch.engine.limits`)."""

    admitted_max: int = 20_000
    inflight_max: int = 10_000
    stored_max: int = 100_000
    late_max_s: float = 2.0
    keep_days: int = 30
    code: str = "96"


class SwitchConfig(_Section, frozen=True, kw_only=True):
    """`shoudan serve`."""

    listen: str
    journal: Path
    lmk: Path
    keys: Path
    terminals: Path
    counterparts: list[CounterpartConfig]
    profile: str = "unionpay-pos"
    acquirer: str = "04384530"
    routes: RoutesConfig = RoutesConfig()
    tariff: str = SHIPPED
    tls: TlsConfig | None = None
    control: Path | None = None
    metrics: str = ""
    drain_s: float = 10.0
    chips: Path | None = None
    ca_keys: Path | None = None
    limits: LimitsConfig = LimitsConfig()
    hsm_ops: int = 0


class CentreConfig(_Section, frozen=True, kw_only=True):
    """`shoudan centre`: a network centre with the issuers behind it, or (own = true) the bank's core."""

    name: str
    listen: str
    ledger: Path
    lmk: Path
    keys: Path
    seed: int
    settlement_date: str
    profile: str
    institution: str = "00010000"
    own: bool = False
    cards_per_issuer: int = 20_000
    keep_days: Annotated[int, msgspec.Meta(ge=1)] = KEEP_ORIGINALS_DAYS
    cards: Path | None = None
    rules: list[dict[str, Any]] = []
    tls: TlsConfig | None = None
    control: Path | None = None
    metrics: str = ""


C = TypeVar("C", SwitchConfig, CentreConfig)


def read_config(path: Path, kind: type[C]) -> C:
    """Read and check a file; relative paths in it become absolute. Raises ConfigError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    where = path.resolve().parent

    def place(wanted: type, value: Any) -> Any:
        """A path of the file, made absolute."""
        if wanted is Path and isinstance(value, str):
            return where / value
        raise NotImplementedError

    try:
        return msgspec.convert(table, kind, dec_hook=place)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from None


def profile_for(name: str, beside: Path) -> Profile:
    """A profile by name or by a path relative to `beside`. Raises ConfigError."""
    try:
        return load_profile(beside / name if (beside / name).is_file() else name)
    except WireError as error:
        raise ConfigError(str(error)) from None


def pos_profile(name: str, beside: Path) -> PosProfile:
    """A terminals' profile, or ConfigError."""
    profile = profile_for(name, beside)
    if not isinstance(profile, PosProfile):
        raise ConfigError(f"profile {name}: a terminals' profile is needed, this one is for a network")
    return profile


def network_profile(name: str, beside: Path) -> NetworkProfile:
    """A network's profile, or ConfigError."""
    profile = profile_for(name, beside)
    if not isinstance(profile, NetworkProfile):
        raise ConfigError(f"profile {name}: a network's profile is needed, this one is for terminals")
    return profile


def tariff_for(name: str, beside: Path) -> Tariff:
    """A tariff by name or by a path relative to `beside`. Raises ConfigError with every fault and its line."""
    try:
        return load_tariff(name, beside)
    except WireError as error:
        raise ConfigError(str(error)) from None


def listening_tls(section: TlsConfig | None) -> ssl.SSLContext | None:
    """The context of a listener, None without TLS. Raises ConfigError."""
    if section is None:
        return None
    if section.cert is None or section.key is None:
        raise ConfigError("tls: a listener needs cert and key")
    try:
        return server_context(section.cert, section.key, section.ca)
    except WireError as error:
        raise ConfigError(f"tls: {error}") from None


def dialling_tls(section: TlsConfig | None) -> ssl.SSLContext | None:
    """The context of a line that is dialled, None without TLS. Raises ConfigError."""
    if section is None:
        return None
    try:
        return client_context(section.ca, section.cert, section.key)
    except WireError as error:
        raise ConfigError(f"tls: {error}") from None


def host_and_port(address: str) -> tuple[str, int]:
    """ "127.0.0.1:7001" taken apart. Raises ConfigError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"address {address!r}: HOST:PORT is needed")
    return host.strip("[]"), int(port)
