"""How the house is built on this ground: keys, profiles, fleet, the switch and its counterparts as blueprints."""

import random
from functools import lru_cache
from typing import Any, Final

from scenarios.world.cards import chip_table, issue
from scenarios.world.host import Blueprint
from switch.clearing.schema import CHIPS, ISSUER_TABLES, LEDGER, PINS, SWITCH_TABLES
from switch.crypto.hsm import Hsm, KeyRecord
from switch.engine.books import Terminal
from switch.engine.counterpart import Counterpart
from switch.engine.engine import Engine
from switch.engine.office import HASH, STORE
from switch.engine.route import Routes
from switch.issuer.centre import Centre
from switch.issuer.host import PAN_HASH_KEY, PIN_REFERENCE_KEY, Bank
from switch.issuer.masterkeys import take_master_keys
from switch.issuer.portfolio import STANDARD_ISSUERS
from switch.issuer.rules import RuleBook, read_rules
from switch.machine import Now, Out
from switch.wire.profile import NetworkProfile, PosProfile, framing_of, load_profile
from terminals.device.dialogue import Line
from terminals.fleet import Terminal as Minted
from terminals.fleet import mint, mint_machines

LINES: Final = ("cups", "core")
BEHIND: Final[dict[str, tuple[int, ...]]] = {
    "cups": tuple(n for n, issuer in enumerate(STANDARD_ISSUERS) if not issuer.own),
    "core": tuple(n for n, issuer in enumerate(STANDARD_ISSUERS) if issuer.own),
}
ACQUIRER: Final = "04384530"
_LMK: Final = bytes(range(32))
_ZMK: Final = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")


@lru_cache(maxsize=4)
def network(name: str) -> NetworkProfile:
    """A shipped network profile."""
    profile = load_profile(name)
    if not isinstance(profile, NetworkProfile):
        raise TypeError(name)
    return profile


@lru_cache(maxsize=1)
def pos_profile() -> PosProfile:
    """The terminals' profile."""
    profile = load_profile("unionpay-pos")
    if not isinstance(profile, PosProfile):
        raise TypeError("a terminals' profile is needed")
    return profile


@lru_cache(maxsize=1)
def terminal_line() -> Line:
    """The terminals' link, made ready once a process."""
    return Line(pos_profile())


def _recover_centre(machine: Centre, rows: list[tuple[str, tuple[Any, ...]]], now: Now, out: Out) -> None:
    """The ledger's rows, those of PINs and those of chips, each in order."""
    machine.recover(*([row for name, row in rows if name == table.name] for table in (LEDGER, PINS, CHIPS)))


class Ground:
    """What outlives the processes of one world: key files, the cards, the fleet, the counterparts' configuration.

    `rules` are the operator rules in force at each counterpart, `dates` the settlement date each is started with.
    `kind` is what the switch is.
    """

    kind: type[Engine] = Engine

    def __init__(self, seed: int, terminals: int, machines: int, entropy: random.Random, date: str) -> None:
        self.fleet: list[Minted] = [*mint(seed, terminals), *mint_machines(seed, machines)]
        self.portfolio, self.minter = issue(seed)
        self.pos, self.chips = pos_profile(), chip_table()
        self.networks = {name: network(name) for name in LINES}
        self.lay(entropy, date)

    def lay(self, entropy: random.Random, date: str) -> None:
        """Key files and configuration for the fleet, cards and profiles there are."""
        self.entropy = entropy.randbytes
        self.rules: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in LINES}
        self.dates = dict.fromkeys(LINES, date)
        self.hsms: dict[str, Hsm] = {}
        self._files = {name: self._key_file(name) for name in ("switch", *LINES)}

    def _key_file(self, name: str) -> list[KeyRecord]:
        hsm = Hsm(_LMK, self.entropy)
        lines = LINES if name == "switch" else (name,)
        if name == "switch":
            hsm.generate(STORE, "store", "aes", 32)
            hsm.generate(HASH, "hash", "aes", 32)
            for terminal in self.fleet:
                hsm.import_clear(f"tmk/{terminal.tid}", "tmk", terminal.suite, terminal.tmk)
        else:
            hsm.generate(PAN_HASH_KEY, "hash", "aes", 32)
            hsm.generate(PIN_REFERENCE_KEY, "pvk", "aes", 32)
            take_master_keys(hsm, self.portfolio, [STANDARD_ISSUERS[n] for n in BEHIND[name]])
        for line in lines:
            hsm.import_clear(f"zmk/{line}", "zmk", self.networks[line].keys.suite, _ZMK)
        return [hsm.record(label) for label in hsm.labels()]

    def _hsm(self, name: str) -> Hsm:
        hsm = self.hsms[name] = Hsm(_LMK, self.entropy)
        for record in self._files[name]:
            hsm.restore(record)
        return hsm

    def engine(self) -> Engine:
        """The switch, as its configuration says."""
        hsm = self._hsm("switch")
        counterparts = {name: Counterpart(name, self.networks[name], hsm, own=name == "core") for name in LINES}
        bins = {prefix: name for name, them in BEHIND.items() for n in them for prefix in STANDARD_ISSUERS[n].bins}
        terminals = [Terminal(t.tid, t.mid, t.mcc, t.merchant_name, t.suite) for t in self.fleet]
        return self.kind(terminals, hsm, counterparts, Routes(bins, "cups"), self.pos, ACQUIRER, self.chips)

    def centre(self, name: str) -> Centre:
        """A counterpart, as its configuration says."""
        hsm, profile = self._hsm(name), self.networks[name]
        banks = [Bank(self.portfolio, n, hsm) for n in BEHIND[name]]
        return Centre(
            name, profile, profile.header.destination, banks, hsm, rules=read_rules(self.rules[name].values()),
            settlement_date=self.dates[name],
        )  # fmt: skip

    def rule_book(self, name: str) -> RuleBook:
        """The rules in force at a counterpart, from nought."""
        return RuleBook(read_rules(self.rules[name].values()))

    def switch_plan(self) -> Blueprint:
        """How the switch's process is started."""
        framing = {"": framing_of(self.pos), **{name: framing_of(self.networks[name]) for name in LINES}}
        plan = Blueprint(
            self.engine, lambda machine, rows, now, out: machine.recover(rows, now, out), framing, SWITCH_TABLES
        )
        plan.idle_s = self.pos.timers.idle_s
        plan.reconnect_s = self.networks["cups"].timers.reconnect_s
        return plan

    def centre_plan(self, name: str) -> Blueprint:
        """How a counterpart's process is started."""
        return Blueprint(
            lambda: self.centre(name),
            _recover_centre,
            {name: framing_of(self.networks[name])},
            ISSUER_TABLES,
        )
