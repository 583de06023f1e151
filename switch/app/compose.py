"""Machines from configurations: the one place where rooms are put together. No sockets here."""

from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

from switch.app.config import (
    BinConfig,
    CentreConfig,
    ConfigError,
    CounterpartConfig,
    SwitchConfig,
    host_and_port,
    network_profile,
    pos_profile,
    tariff_for,
)
from switch.clearing.tariff import Tariff
from switch.crypto.errors import CryptoError, KcvMismatch, KeyNotFound
from switch.crypto.hsm import Hsm
from switch.crypto.metered import MeteredHsm
from switch.engine.books import Terminal
from switch.engine.counterpart import Counterpart
from switch.engine.engine import Engine
from switch.engine.hsmqueue import HsmQueue
from switch.engine.limits import Limits
from switch.engine.office import HASH, STORE
from switch.engine.route import Route, Routes
from switch.engine.share import WHOLE, Share
from switch.engine.standin import OFF, StandIn
from switch.issuer.centre import Centre
from switch.issuer.host import Bank
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.issuer.rules import Rule, RuleError, read_rules
from switch.issuer.shelf import Shelf
from switch.machine import Entropy
from switch.wire import roster
from switch.wire.chips import SHIPPED_CHIPS, ChipTable, ChipTableError, load_chips
from switch.wire.profile import NetworkProfile, PosProfile
from switch.wire.table import TableError


def open_hsm(lmk: Path, keys: Path, entropy: Entropy, kind: type[Hsm] = Hsm) -> Hsm:
    """The key file under the local master key of 64 hexadecimal digits in `lmk`. Raises ConfigError."""
    try:
        master = bytes.fromhex(lmk.read_text().strip())
        if len(master) != 32:
            raise ValueError
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{lmk}: a local master key is 64 hexadecimal digits") from None
    try:
        return kind.load(keys, master, entropy)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    except CryptoError as error:
        raise ConfigError(f"{keys}: {error}; is {lmk.name} the local master key it was saved under?") from None


def take_terminals(path: Path, hsm: Hsm, suites: Container[str], share: Share = WHOLE) -> list[Terminal]:
    """The terminals of a CSV, their master keys in the HSM: out of the table, or there before. Those of other workers
    are not taken, and their keys not looked at.

    A wrapped key of the table is opened under the transport key its row names, which stands in the key file (usage
    tmk). Raises ConfigError, naming each line at fault; then the HSM is not to be used.
    """

    same: dict[str, str] = {}

    def one(text: str) -> str:
        """The same text is one object: a merchant has several terminals, a province 150,000 merchants."""
        return same.setdefault(text, text)

    def accept(row: roster.TerminalRow) -> Terminal | None:
        if not share.owns(row.mid):
            return None
        fault = _master_key(row, hsm) if row.suite in suites else f"suite: the profile has none for {row.suite}"
        if fault:
            raise ValueError(fault)
        return Terminal(row.tid, one(row.mid), one(row.mcc), one(row.merchant_name), one(row.suite))

    try:
        return [terminal for terminal in roster.accept_terminals(path, accept) if terminal is not None]
    except TableError as error:
        raise ConfigError(str(error)) from None


def _master_key(row: roster.TerminalRow, hsm: Hsm) -> str:
    """Put a terminal's master key into the HSM; what is wrong with it, "" if nothing."""
    label = f"tmk/{row.tid}"
    if not row.tmk:
        return "" if label in hsm else f"tmk: empty, and the key file has no key {label}"
    try:
        hsm.import_key(label, "tmk", row.suite, row.tmk, row.kek, row.kcv)
    except KeyNotFound:
        return f"kek: the key file has no key {row.kek!r}"
    except KcvMismatch:
        return f"kcv: the master key has another check value under {row.kek!r}"
    except CryptoError as error:
        return f"tmk: {error}"
    return ""


class Parts(NamedTuple):
    """What a switch's configuration comes to, checked whole: enough to build an engine, or to reload one."""

    hsm: Hsm
    terminals: list[Terminal]
    routes: Routes
    pos: PosProfile
    lines: dict[str, NetworkProfile]
    chips: ChipTable
    tariff: Tariff


def read_parts(config: SwitchConfig, beside: Path, entropy: Entropy, share: Share = WHOLE) -> Parts:
    """All that the configuration names, read and checked; of the terminals a worker's own. Raises ConfigError."""
    if config.hsm_ops < 0:
        raise ConfigError("hsm_ops: an HSM does 1 operation a second or more; 0 is no model of one")
    hsm = open_hsm(config.lmk, config.keys, entropy, MeteredHsm if config.hsm_ops else Hsm)
    for label in (STORE, HASH, *(f"zmk/{section.name}" for section in config.counterparts)):
        if label not in hsm:
            raise ConfigError(f"{config.keys}: key {label} is missing")
    for section in config.counterparts:
        for line in section.all_lines:
            for address in (line.address, line.listen):
                if address:
                    host_and_port(address)
    lines = {section.name: network_profile(section.profile, beside) for section in config.counterparts}
    bins = {prefix: _route(given) for prefix, given in config.routes.bins.items()}
    for name in {config.routes.default, *(route.link for route in bins.values())} - {""}:
        if name not in lines:
            raise ConfigError(f"routes: no counterpart is called {name!r}")
    for prefix in bins:
        if not (prefix.isascii() and prefix.isdigit() and 4 <= len(prefix) <= 10):
            raise ConfigError(f"routes: {prefix!r} is not a BIN of 4 to 10 digits")
    pos = pos_profile(config.profile, beside)
    terminals = take_terminals(config.terminals, hsm, pos.suites, share)
    tariff = tariff_for(config.tariff, beside)
    try:
        chips = load_chips(config.chips or SHIPPED_CHIPS, config.ca_keys)
    except ChipTableError as error:
        raise ConfigError(str(error)) from None
    return Parts(hsm, terminals, Routes(bins, config.routes.default), pos, lines, chips, tariff)


def _route(given: str | BinConfig) -> Route:
    return Route(given) if isinstance(given, str) else Route(given.to, given.card)


def _stand_in(section: CounterpartConfig) -> StandIn:
    """Raises ConfigError where it is asked for somebody else's cards."""
    given = section.stand_in
    if given is None:
        return OFF
    if not section.own:
        raise ConfigError(f"counterparts: {section.name}: stand_in is for the bank's own core (own = true) only")
    return StandIn(given.floor_minor, given.count_max)


def build_engine(
    config: SwitchConfig, beside: Path, entropy: Entropy, share: Share = WHOLE
) -> tuple[Engine, PosProfile]:
    """The switch of a configuration, or a worker's share of it, and the profile its terminals speak."""
    hsm, terminals, routes, pos, lines, chips, tariff = read_parts(config, beside, entropy, share)
    counterparts = {
        section.name: Counterpart(section.name, lines[section.name], hsm, section.own, _stand_in(section), share)
        for section in config.counterparts
    }
    wait = config.limits
    limits = Limits(wait.admitted_max, wait.inflight_max, wait.stored_max, wait.late_max_s, wait.keep_days, wait.code)
    engine = Engine(terminals, hsm, counterparts, routes, pos, config.acquirer, chips, limits, share)
    engine.tariff = tariff
    if isinstance(hsm, MeteredHsm):
        engine.hsm_queue = HsmQueue(engine, hsm, config.hsm_ops)
    return engine, pos


def centre_rules(config: CentreConfig) -> tuple[Rule, ...]:
    """The operator rules of a configuration. Raises ConfigError."""
    try:
        return read_rules(config.rules)
    except RuleError as error:
        raise ConfigError(f"rules: {error}") from None


def build_centre(config: CentreConfig, beside: Path, entropy: Entropy) -> tuple[Centre, NetworkProfile]:
    """A network centre, or the bank's core, of a configuration."""
    hsm = open_hsm(config.lmk, config.keys, entropy)
    profile = network_profile(config.profile, beside)
    portfolio = Portfolio(config.seed, STANDARD_ISSUERS, config.cards_per_issuer)
    keep = config.keep_days
    banks = [
        Bank(portfolio, n, hsm, keep_days=keep) for n, issuer in enumerate(STANDARD_ISSUERS) if issuer.own == config.own
    ]
    try:
        if config.cards is not None:
            banks.append(Bank(Shelf(roster.read_cards(config.cards)), 0, hsm, keep_days=keep))
    except TableError as error:
        raise ConfigError(str(error)) from None
    rules = centre_rules(config)
    centre = Centre(
        config.name, profile, config.institution, banks, hsm, rules=rules, settlement_date=config.settlement_date
    )
    return centre, profile
