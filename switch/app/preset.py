"""What keys a configuration needs: made, taken in, or named as missing."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import typer

from switch.app.ceremony import REFUSED, CeremonyError, alone, at_a_terminal, make_key_file, open_keys, write_keys
from switch.app.compose import take_terminals
from switch.app.config import CentreConfig, ConfigError, SwitchConfig, network_profile, pos_profile, read_config
from switch.crypto.hsm import Hsm
from switch.engine.office import HASH, STORE
from switch.issuer.host import PAN_HASH_KEY, PIN_REFERENCE_KEY
from switch.issuer.masterkeys import take_master_keys
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.wire.roster import TerminalRow, read_terminals
from switch.wire.table import TableError

Take = Callable[[Hsm, str, str, str, Sequence[Path], int | None], None]
"""Reads a key's components (HSM, label, usage, suite, files, how many) into the HSM."""

_SWITCH_KEYS: Final = ((STORE, "store"), (HASH, "hash"))
_CENTRE_KEYS: Final = ((PAN_HASH_KEY, "hash"), (PIN_REFERENCE_KEY, "pvk"))


class _Need(NamedTuple):
    """Where keys are kept, the keys to make (label, usage), the book written with them, suites of lines by name."""

    lmk: Path
    keys: Path
    book: Path
    made: tuple[tuple[str, str], ...]
    lines: dict[str, str]


def prepare_switch(path: Path, zmk: Sequence[str], count: int | None, take: Take) -> list[str]:
    """Keys for a switch.toml; what is still missing, one line each. Raises ConfigError, CeremonyError."""
    config = read_config(path, SwitchConfig)
    beside = path.resolve().parent
    lines = {one.name: network_profile(one.profile, beside).keys.suite for one in config.counterparts}
    suites = pos_profile(config.profile, beside).suites
    need = _Need(config.lmk, config.keys, config.journal, _SWITCH_KEYS, dict(lines))
    hsm, missing = _prepare(need, zmk, count, take)
    return missing + _terminals(config.terminals, hsm, suites, need)


def prepare_centre(path: Path, zmk: Sequence[str], count: int | None, take: Take) -> list[str]:
    """Keys for a centre.toml; what is still missing, one line each. Raises ConfigError, CeremonyError."""
    config = read_config(path, CentreConfig)
    suite = network_profile(config.profile, path.resolve().parent).keys.suite
    need = _Need(config.lmk, config.keys, config.ledger, _CENTRE_KEYS, {config.name: suite})
    hsm, missing = _prepare(need, zmk, count, take)
    _chip_keys(hsm, config, need)
    return missing


def _chip_keys(hsm: Hsm, config: CentreConfig, need: _Need) -> None:
    """The chip master keys of the invented issuers, which the seed gives to both sides."""
    portfolio = Portfolio(config.seed, STANDARD_ISSUERS, config.cards_per_issuer)
    with alone(need.keys):
        taken = take_master_keys(hsm, portfolio, (issuer for issuer in STANDARD_ISSUERS if issuer.own == config.own))
        if taken:
            write_keys(hsm, need.keys)
    for institution, count in taken.items():
        typer.echo(f"made     imk/{institution}  {count} chip master keys of an invented issuer, from the seed")


def _prepare(need: _Need, zmk: Sequence[str], count: int | None, take: Take) -> tuple[Hsm, list[str]]:
    files = _files_of(zmk, need.lines)
    missing: list[str] = []
    with alone(need.keys):
        if not need.keys.exists():
            make_key_file(need.lmk, need.keys)
        hsm = open_keys(need.keys, need.lmk)
        for label, usage in need.made:
            if label in hsm:
                missing += _unfit(hsm, label, usage, "aes")
            elif need.book.exists():
                raise CeremonyError(
                    f"{need.book}: was written with a {label} that {need.keys} does not have: bring the former key "
                    "file back, or move the book away",
                    REFUSED,
                )
            else:
                hsm.generate(label, usage, "aes", 32)
                write_keys(hsm, need.keys)
                typer.echo(f"made     {label}  check value {hsm.kcv(label).hex().upper()}")
        for name, suite in need.lines.items():
            label = f"zmk/{name}"
            if label in hsm:
                if name in files:
                    raise CeremonyError(f"--zmk: {label} is there already; `shoudan keys import --replace`", REFUSED)
                missing += _unfit(hsm, label, "zmk", suite)
            elif name in files or at_a_terminal():
                typer.echo(f"taking   {label}  {suite}")
                take(hsm, label, "zmk", suite, files.get(name, ()), count)
                write_keys(hsm, need.keys)
            else:
                missing.append(
                    f"missing {label} ({suite}): give --zmk {name}=FILE for each component, or answer the prompts"
                )
    return hsm, missing


def _files_of(zmk: Sequence[str], lines: dict[str, str]) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for given in zmk:
        name, sign, path = given.rpartition("=")
        # What was given is not repeated: it may be a component that should have stood in a file.
        if not sign or not path or name not in lines:
            raise CeremonyError(f"--zmk: NAME=FILE is needed, NAME one of {' '.join(lines)}")
        files.setdefault(name, []).append(Path(path))
    return files


def _unfit(hsm: Hsm, label: str, usage: str, suite: str) -> list[str]:
    record = hsm.record(label)
    if record.usage != usage:
        return [f"{label} is a {record.usage}, a {usage} is needed: forget it and begin again"]
    if usage == "zmk" and record.suite != suite:
        return [f"{label} is a {record.suite} key, the line's profile has {suite}: `shoudan keys import --replace`"]
    return []


def _terminals(path: Path, hsm: Hsm, suites: Any, need: _Need) -> list[str]:
    """What the list of terminals needs: transport keys first, then what the switch itself would say of the list."""
    try:
        rows = read_terminals(path)
    except TableError as error:
        return str(error).splitlines()
    fix = f"`shoudan keys import {need.keys} LABEL --usage tmk --suite 3des|sm4 --lmk {need.lmk}`"
    carriers: dict[str, list[TerminalRow]] = {}
    for row in rows:
        if row.tmk:
            carriers.setdefault(row.kek, []).append(row)
    missing = [
        f"missing {kek} (usage tmk), under which {path} has {len(carried)} master keys: {fix}"
        for kek, carried in carriers.items()
        if kek not in hsm
    ]
    if missing:
        return missing
    try:
        take_terminals(path, hsm, suites)
    except ConfigError as error:
        return str(error).splitlines()
    return []
