"""The ground of a sandwich: a directory with what both the tool and the switch under test must know.

    sandwich.toml       addresses, lines, cards
    terminals.csv       terminals and merchants, each master key wrapped under the transport key, with check value
    line-keys.csv       the lines' master keys (ZMK), likewise
    transport-keys.csv  the transport key itself
    bins.csv            which card numbers go to which line
    profile-*.toml      how terminals and lines speak

All keys and cards are invented. The files may be edited, or replaced by the user's own.
"""

import csv
import os
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from scenarios.ground import CORE_ID, NETWORK_ID, lay, shared_key
from switch.app.config import ConfigError, host_and_port, network_profile, pos_profile
from switch.crypto.block import ecb_decryptor
from switch.crypto.block import kcv as check_value
from switch.issuer.portfolio import STANDARD_ISSUERS
from switch.wire.profile import NetworkProfile, PosProfile
from switch.wire.roster import SUITES, TRANSPORT_KEY, TerminalRow, hexadecimal, key_label, one_of, write_terminals
from switch.wire.table import Column, TableError, read_table
from terminals.fleet import Terminal, mint, mint_machines
from terminals.own import TransportKey, own_terminals, read_transport_keys, wrap

CONFIG: Final = "sandwich.toml"
OWN_SWITCH: Final = "own-switch"
TRANSPORT_SUITE: Final = "3des"
CARDS_PER_ISSUER: Final = 2_000

_PROFILES: Final = {
    "pos": 'extends = "unionpay-pos"\nname = "under-test"\n[timers]\nreply_s = 60.0  # how long a terminal waits\n',
    "atm": 'extends = "unionpay-atm"\nname = "machines-under-test"\n[timers]\nreply_s = 60.0\n',
    "cups": 'extends = "cups"\n[timers]\nreply_s = 30.0  # how long the switch under test waits for the network\n'
    "[reversal]\nfirst_repeat_s = 60.0  # when it repeats a reversal\n",
    "core": 'extends = "core"\n[timers]\nreply_s = 30.0\n[reversal]\nfirst_repeat_s = 60.0\n',
}
_LINE_KEY_COLUMNS: Final = (
    Column("label", key_label, required=True, unique=True),
    Column("suite", one_of(SUITES), required=True),
    Column("key", hexadecimal(16, 16), required=True),
    Column("kcv", hexadecimal(3, 8), required=True),
    Column("kek", key_label, TRANSPORT_KEY),
)


class LineConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One line of the switch under test. `cards` says whose cards it takes."""

    name: str
    listen: str
    profile: str
    institution: str
    cards: Literal["own", "others", "all"]

    def takes(self, own: bool) -> bool:
        """Whether cards of the own bank, or of the others, go to this line."""
        return self.cards == "all" or (self.cards == "own") == own


class SandwichConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """`sandwich.toml`; paths are relative to it."""

    front: str
    seed: int
    lines: list[LineConfig]
    profile: str = "profile-pos.toml"
    machine_profile: str = "unionpay-atm"
    terminals: str = "terminals.csv"
    line_keys: str = "line-keys.csv"
    transport_keys: str = "transport-keys.csv"
    cards_per_issuer: int = CARDS_PER_ISSUER


@dataclass(frozen=True, slots=True, repr=False)
class Setup:
    """A ground that has been read and checked."""

    config: SandwichConfig
    pos: PosProfile
    machines: PosProfile
    lines: dict[str, NetworkProfile]
    terminals: list[Terminal]
    line_keys: dict[str, bytes]

    def __repr__(self) -> str:
        return f"Setup({len(self.terminals)} terminals, {len(self.lines)} lines)"


def read(directory: Path, front: str = "", back: Sequence[str] = (), terminals: Path | None = None) -> Setup:
    """Read a ground. `front`, `back` ([NAME=]HOST:PORT for each line) and `terminals` stand over the files.

    Raises ConfigError with file, line and reason.
    """
    path = directory / CONFIG
    try:
        config = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), SandwichConfig)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; write a ground first: shoudan sandwich --prepare DIR") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if front:
        config = msgspec.structs.replace(config, front=front)
    config = msgspec.structs.replace(config, lines=_moved(config.lines, back))
    if not config.lines:
        raise ConfigError(f"{path}: lines: at least one is needed")
    for address in (config.front, *(line.listen for line in config.lines)):
        host_and_port(address)
    pos, machines = (pos_profile(name, directory) for name in (config.profile, config.machine_profile))
    if machines.framing != pos.framing:
        raise ConfigError(f"{path}: machine_profile: another framing than the terminals', at the same address")
    lines = {line.name: network_profile(line.profile, directory) for line in config.lines}
    try:
        transport = read_transport_keys(directory / config.transport_keys)
        fleet = own_terminals(terminals or directory / config.terminals, transport, pos.suites.keys() & machines.suites)
        keys = _line_keys(directory / config.line_keys, transport, lines)
    except TableError as error:
        raise ConfigError(str(error)) from None
    return Setup(config, pos, machines, lines, fleet, keys)


def _moved(lines: list[LineConfig], back: Sequence[str]) -> list[LineConfig]:
    """The lines at other addresses: named ones by name, others in their order."""
    places = {line.name: line for line in lines}
    unnamed = [text for text in back if "=" not in text]
    if len(unnamed) > len(lines):
        raise ConfigError(f"--back-listen: the ground has {len(lines)} lines, {len(unnamed)} addresses were given")
    for line, text in zip(lines, unnamed, strict=False):
        places[line.name] = msgspec.structs.replace(line, listen=text)
    for text in back:
        name, named, address = text.partition("=")
        if not named:
            continue
        if name not in places:
            raise ConfigError(f"--back-listen: no line is called {name!r}, the lines are {', '.join(places)}")
        places[name] = msgspec.structs.replace(places[name], listen=address)
    return list(places.values())


def _line_keys(path: Path, transport: list[TransportKey], lines: dict[str, NetworkProfile]) -> dict[str, bytes]:
    open_under = {key.label: ecb_decryptor(key.suite, key.key) for key in transport}

    def opened(label: str, suite: str, key: bytes, kcv: bytes, kek: str, line: int) -> tuple[str, bytes]:
        if kek not in open_under:
            raise ValueError(f"kek: no transport key {kek!r} was given")
        clear = open_under[kek](key)
        if check_value(suite, clear, len(kcv)) != kcv:
            raise ValueError(f"kcv: the key has another check value under transport key {kek!r}")
        return label, clear

    keys = dict(read_table(path, _LINE_KEY_COLUMNS, opened))
    for name in lines:
        if f"zmk/{name}" not in keys:
            raise ConfigError(f"{path}: key zmk/{name} is missing")
    return {name: keys[f"zmk/{name}"] for name in lines}


def prepare(
    directory: Path, seed: int, count: int, settlement_date: str, front: str, back: Sequence[str], machines: int = 0
) -> Path:
    """Write a ground for `count` terminals and so many cash machines; the path of its `sandwich.toml`.

    Without `front` it is one for our own switch, whose configuration is written into `own-switch/`. One address in
    `back` makes one line for all cards, two make a network and a core. Raises ConfigError for a directory that holds
    something else.
    """
    path = directory / CONFIG
    if directory.exists() and any(directory.iterdir()) and not path.is_file():
        raise ConfigError(f"{directory} is not empty and holds no sandwich: name another directory")
    directory.mkdir(parents=True, exist_ok=True)
    os.chmod(directory, 0o700)
    profiles = dict(_PROFILES)
    if (directory / OWN_SWITCH).exists():
        shutil.rmtree(directory / OWN_SWITCH)  # its journal would not open under new keys
    if not front:
        own = lay(directory / OWN_SWITCH, seed, count, settlement_date, machines)
        front = f"127.0.0.1:{own.switch_port}"
        back = (f"127.0.0.1:{own.centre_port}", f"127.0.0.1:{own.core_port}")
        profiles |= {name: (own.directory / f"profile-{name}.toml").read_text() for name in ("pos", "cups", "core")}
        profiles["atm"] = profiles["pos"].replace("unionpay-pos", "unionpay-atm")
        for name in ("centre", "core"):
            for suffix in ("toml", "lmk", "keys"):
                (own.directory / f"{name}.{suffix}").unlink()
    lines = _lines(back)
    for name in ("pos", "atm", *(line.name for line in lines)):
        (directory / f"profile-{name}.toml").write_text(profiles[name], encoding="utf-8")
    _write_keys(directory, seed, mint(seed, count) + mint_machines(seed, machines), [line.name for line in lines])
    _write_bins(directory / "bins.csv", lines)
    path.write_text(_toml(front, seed, lines), encoding="utf-8")
    return path


def _lines(back: Sequence[str]) -> list[LineConfig]:
    addresses = [text.rpartition("=")[2] for text in back] or ["127.0.0.1:7002", "127.0.0.1:7003"]
    if len(addresses) > 2:
        raise ConfigError("--back-listen: a ground has one line, or a network's and a core's")
    for address in addresses:
        host_and_port(address)
    network = LineConfig(
        name="cups", listen=addresses[0], profile="profile-cups.toml", institution=NETWORK_ID,
        cards="all" if len(addresses) == 1 else "others",
    )  # fmt: skip
    if len(addresses) == 1:
        return [network]
    core = LineConfig(
        name="core", listen=addresses[1], profile="profile-core.toml", institution=CORE_ID, cards="own"
    )  # fmt: skip
    return [network, core]


def _toml(front: str, seed: int, lines: list[LineConfig]) -> str:
    blocks = [
        f"# Terminals in front of a switch and its counterparts behind it.\n"
        f'front = "{front}"  # where the switch under test listens for terminals\nseed = {seed}\n'
        'machine_profile = "profile-atm.toml"\n'
    ]
    for line in lines:
        rows = "\n".join(f'{name} = "{value}"' for name, value in msgspec.structs.asdict(line).items())
        blocks.append(f"[[lines]]  # the switch under test connects to it and signs on\n{rows}\n")
    return "\n".join(blocks)


def _write_keys(directory: Path, seed: int, fleet: list[Terminal], lines: list[str]) -> None:
    """terminals.csv, line-keys.csv and transport-keys.csv."""
    key = TransportKey(TRANSPORT_KEY, TRANSPORT_SUITE, shared_key(seed, "transport", TRANSPORT_SUITE))
    rows = []
    for t in fleet:
        tmk, check = wrap(key, t.suite, t.tmk)
        rows.append(
            TerminalRow(
                t.tid, t.mid, t.mcc, t.merchant_name, t.suite, t.model, tmk=tmk, kcv=check, district=t.district
            )
        )  # fmt: skip
    write_terminals(directory / "terminals.csv", rows)
    with (directory / "line-keys.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([column.name for column in _LINE_KEY_COLUMNS])
        for name in lines:
            suite = "sm4" if name == "core" else "3des"
            wrapped, check = wrap(key, suite, shared_key(seed, f"zmk/{name}", suite))
            writer.writerow([f"zmk/{name}", suite, wrapped.hex().upper(), check.hex().upper(), key.label])
    path = directory / "transport-keys.csv"
    path.touch(mode=0o600)
    check = check_value(key.suite, key.key, 4)
    path.write_text(f"label,suite,key,kcv\n{key.label},{key.suite},{key.key.hex().upper()},{check.hex().upper()}\n")


def _write_bins(path: Path, lines: list[LineConfig]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("bin", "digits", "institution", "name_zh", "name_en", "line"))
        for issuer in STANDARD_ISSUERS:
            line = next(line.name for line in lines if line.takes(issuer.own))
            for prefix in issuer.bins:
                writer.writerow((prefix, issuer.pan_digits, issuer.institution, issuer.name_zh, issuer.name_en, line))
