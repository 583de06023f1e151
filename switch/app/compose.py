"""Machines from configurations: the one place where rooms are put together. No sockets here."""

import csv
from collections.abc import Iterator
from pathlib import Path

from switch.app.config import CentreConfig, ConfigError, SwitchConfig, network_profile, pos_profile
from switch.crypto.errors import CryptoError
from switch.crypto.hsm import Hsm
from switch.engine.books import Terminal
from switch.engine.counterpart import Counterpart
from switch.engine.engine import Engine
from switch.engine.office import HASH, STORE
from switch.engine.route import Routes
from switch.issuer.centre import Centre
from switch.issuer.host import Bank
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.issuer.rules import RuleError, read_rules
from switch.machine import Entropy
from switch.wire.profile import NetworkProfile, PosProfile

TERMINAL_COLUMNS = ("tid", "mid", "mcc", "merchant_name", "suite")


def open_hsm(lmk: Path, keys: Path, entropy: Entropy) -> Hsm:
    """The key file under the local master key of 64 hexadecimal digits in `lmk`. Raises ConfigError."""
    try:
        master = bytes.fromhex(lmk.read_text().strip())
        return Hsm.load(keys, master, entropy)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{lmk}: a local master key is 64 hexadecimal digits") from None
    except CryptoError as error:
        raise ConfigError(f"{keys}: {error}") from None


def read_terminals(path: Path) -> Iterator[Terminal]:
    """Terminals from a CSV with the columns TERMINAL_COLUMNS. Raises ConfigError with the line."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = set(TERMINAL_COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise ConfigError(f"{path}: line 1: column {min(missing)} is missing")
            seen: set[str] = set()
            for row in reader:
                fault = _fault(row, seen)
                if fault:
                    raise ConfigError(f"{path}: line {reader.line_num}: {fault}")
                seen.add(row["tid"])
                yield Terminal(*(row[name] for name in TERMINAL_COLUMNS))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def _fault(row: dict[str, str], seen: set[str]) -> str:
    if row["tid"] in seen:
        return f"terminal {row['tid']} stands here twice"
    if len(row["tid"]) != 8 or len(row["mid"]) != 15:
        return "a terminal has 8 characters, a merchant 15"
    if row["suite"] not in ("3des", "sm4"):
        return f"suite {row['suite']!r} is neither 3des nor sm4"
    return ""


def build_engine(config: SwitchConfig, beside: Path, entropy: Entropy) -> tuple[Engine, PosProfile]:
    """The switch of a configuration, and the profile its terminals speak."""
    hsm = open_hsm(config.lmk, config.keys, entropy)
    for label in (STORE, HASH):
        if label not in hsm:
            raise ConfigError(f"{config.keys}: key {label} is missing")
    counterparts = {}
    for section in config.counterparts:
        profile = network_profile(section.profile, beside)
        if f"zmk/{section.name}" not in hsm:
            raise ConfigError(f"{config.keys}: key zmk/{section.name} is missing")
        counterparts[section.name] = Counterpart(section.name, profile, hsm, section.own)
    for name in {config.routes.default, *config.routes.bins.values()} - {""}:
        if name not in counterparts:
            raise ConfigError(f"routes: no counterpart is called {name!r}")
    pos = pos_profile(config.profile, beside)
    routes = Routes(config.routes.bins, config.routes.default)
    terminals = list(read_terminals(config.terminals))
    for terminal in terminals:
        if f"tmk/{terminal.tid}" not in hsm:
            raise ConfigError(f"{config.keys}: key tmk/{terminal.tid} is missing")
        if terminal.suite not in pos.suites:
            raise ConfigError(f"profile {config.profile}: terminal {terminal.tid} needs suite {terminal.suite}")
    return Engine(terminals, hsm, counterparts, routes, pos, config.acquirer), pos


def build_centre(config: CentreConfig, beside: Path, entropy: Entropy) -> tuple[Centre, NetworkProfile]:
    """A network centre, or the bank's core, of a configuration."""
    hsm = open_hsm(config.lmk, config.keys, entropy)
    profile = network_profile(config.profile, beside)
    portfolio = Portfolio(config.seed, STANDARD_ISSUERS, config.cards_per_issuer)
    banks = [Bank(portfolio, n, hsm) for n, issuer in enumerate(STANDARD_ISSUERS) if issuer.own == config.own]
    try:
        rules = read_rules(config.rules)
    except RuleError as error:
        raise ConfigError(f"rules: {error}") from None
    centre = Centre(
        config.name, profile, config.institution, banks, hsm, rules=rules, settlement_date=config.settlement_date
    )
    return centre, profile
