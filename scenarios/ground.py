"""The ground a demo day is played on: a directory with keys, terminals, profiles and one configuration a process.

Every party gets its own key file under its own local master key; what two parties share (a terminal's master key, a
line's master key) is derived from the seed, as a key ceremony would have put it on both sides.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from switch.crypto.block import adjust_parity
from switch.crypto.digest import sm3
from switch.crypto.hsm import Hsm
from switch.engine.office import HASH, STORE
from switch.issuer.host import PAN_HASH_KEY, PIN_REFERENCE_KEY
from switch.issuer.masterkeys import take_master_keys
from switch.issuer.portfolio import STANDARD_ISSUERS, Portfolio
from switch.wire.chips import SHIPPED_CHIPS
from switch.wire.roster import TRANSPORT_KEY
from terminals.beside import free_ports as free_ports
from terminals.beside import lay_list
from terminals.card.signing import ca_keys
from terminals.fleet import Operator, Terminal, mint, mint_machines, mint_operators
from terminals.own import TransportKey

NETWORK_ID, CORE_ID = "00010000", "04384531"
CARDS_PER_ISSUER: Final = 20_000
TRANSPORT_SUITE: Final = "sm4"

_PROFILES: Final = {
    "pos.toml": 'extends = "unionpay-pos"\nname = "demo-pos"\n[timers]\nreply_s = 10.0\n',
    "cups.toml": 'extends = "cups"\n[timers]\nreply_s = 3.0\nreconnect_s = 0.25\nline_test_s = 20.0\n'
    "[reversal]\nfirst_repeat_s = 2.0\nrepeat_max_s = 8.0\n",
    "core.toml": 'extends = "core"\n[timers]\nreply_s = 3.0\nreconnect_s = 0.25\nline_test_s = 20.0\n'
    "[reversal]\nfirst_repeat_s = 2.0\nrepeat_max_s = 8.0\n",
}
"""The shipped profiles with the patience of a day that lasts a minute."""

OPERATORS: Final = 1
"""Bus operators of a day."""

NO_PIN_BINS: Final = ("621214", "620100", "628800")
NO_PIN_EXCLUDED: Final = ("6212149000",)
"""Whose cards pay small contactless sales without PIN and signature (双免), and whose do not all the same."""

RULES: Final = (
    'action = "delay"\nevery = 521\ndelay_s = 4.5\nname = "late answer"',
    'action = "silence"\nevery = 607\nname = "lost request"',
    'action = "silence_after_posting"\nevery = 701\nname = "lost answer"',
    'action = "code"\nevery = 331\ncode = "96"\nname = "system malfunction"',
    'action = "silence"\nkind = "reversal"\nevery = 5\nname = "lost reversal"',
    'action = "silence_after_posting"\nkind = "refund"\nevery = 43\nname = "lost refund answer"',
    'action = "disconnect"\nevery = 6007\nname = "line cut"',
)
"""How the other side misbehaves now and then."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where everything of one day stands."""

    directory: Path
    seed: int
    terminals: int
    switch_port: int
    centre_port: int
    core_port: int
    atms: int = 0
    validators: int = 0

    @property
    def journal(self) -> Path:
        return self.directory / "switch.db"

    @property
    def ledgers(self) -> list[Path]:
        return [self.directory / "centre.db", self.directory / "core.db"]

    @property
    def terminal_book(self) -> Path:
        return self.directory / "terminals.db"

    @property
    def terminal_list(self) -> Path:
        return self.directory / "terminals.csv"

    @property
    def transport_keys(self) -> Path:
        return self.directory / "transport-keys.csv"

    @property
    def chips(self) -> Path:
        return self.directory / "chips.toml"

    @property
    def ca_keys(self) -> Path:
        return self.directory / "ca-keys.toml"

    def control(self, name: str) -> Path:
        return self.directory / f"{name}.sock"

    def config(self, name: str) -> Path:
        return self.directory / f"{name}.toml"


def lay(
    directory: Path,
    seed: int,
    terminals: int,
    settlement_date: str,
    atms: int = 0,
    rules: Sequence[str] = RULES,
    validators: int = 0,
) -> Ground:
    """Write everything a day needs into `directory`: for so many terminals of shops, machines and bus validators.

    `rules` are the misbehaviour of network and core, each the body of a `[[rules]]` table.
    """
    directory.mkdir(parents=True, exist_ok=True)
    switch_port, centre_port, core_port = free_ports(3)
    ground = Ground(directory, seed, terminals, switch_port, centre_port, core_port, atms, validators)
    for name, text in _PROFILES.items():
        (directory / f"profile-{name}").write_text(text)
    shops = mint(seed, terminals)
    offices = [terminal for operator in operators(seed, validators) for terminal in operator.terminals]
    key = TransportKey(TRANSPORT_KEY, TRANSPORT_SUITE, shared_key(seed, TRANSPORT_KEY, TRANSPORT_SUITE))
    lay_list(directory, shops + mint_machines(seed, atms) + offices, key)
    _write_chips(ground, shops)
    _switch_keys(ground)
    for name, line in (("centre", "cups"), ("core", "core")):
        _centre_keys(ground, name, line)
        own = name == "core"
        _write_centre(ground, name, line, own, settlement_date, rules)
    _write_switch(ground)
    return ground


def operators(seed: int, validators: int) -> list[Operator]:
    """The bus operators of a day, none without validators."""
    return mint_operators(seed, OPERATORS if validators else 0, validators)


def shared_key(seed: int, label: str, suite: str) -> bytes:
    """A key both ends of something hold, 16 bytes."""
    key = hmac.new(f"shoudan demo {seed}".encode(), label.encode(), hashlib.sha256).digest()[:16]
    return adjust_parity(key) if suite == "3des" else key


def _hsm(ground: Ground, name: str) -> Hsm:
    lmk = secrets.token_bytes(32)
    path = ground.directory / f"{name}.lmk"
    path.touch(mode=0o600)
    path.write_text(lmk.hex() + "\n")
    return Hsm(lmk, secrets.token_bytes)


def _line_keys(hsm: Hsm, seed: int, line: str) -> None:
    suite = "sm4" if line == "core" else "3des"
    hsm.import_clear(f"zmk/{line}", "zmk", suite, shared_key(seed, f"zmk/{line}", suite))


def _switch_keys(ground: Ground) -> None:
    hsm = _hsm(ground, "switch")
    hsm.generate(STORE, "store", "aes", 32)
    hsm.generate(HASH, "hash", "aes", 32)
    for line in ("cups", "core"):
        _line_keys(hsm, ground.seed, line)
    hsm.import_clear(TRANSPORT_KEY, "tmk", TRANSPORT_SUITE, shared_key(ground.seed, TRANSPORT_KEY, TRANSPORT_SUITE))
    hsm.save(ground.directory / "switch.keys")


def _centre_keys(ground: Ground, name: str, line: str) -> None:
    hsm = _hsm(ground, name)
    hsm.generate(PAN_HASH_KEY, "hash", "aes", 32)
    hsm.generate(PIN_REFERENCE_KEY, "pvk", "aes", 32)
    _line_keys(hsm, ground.seed, line)
    own = name == "core"
    take_master_keys(
        hsm, Portfolio(ground.seed, STANDARD_ISSUERS, CARDS_PER_ISSUER), (i for i in STANDARD_ISSUERS if i.own == own)
    )
    hsm.save(ground.directory / f"{name}.keys")


def _write_chips(ground: Ground, shops: Iterable[Terminal]) -> None:
    """What terminals download: the shipped applications, the test CAs' keys, and who pays without PIN: every second
    merchant takes part."""
    merchants = sorted({terminal.mid for terminal in shops})[::2]
    shipped = SHIPPED_CHIPS.read_text(encoding="utf-8").split("\n[[aids]]", 1)[1]
    quoted = {"merchants": merchants, "bins": NO_PIN_BINS, "excluded": NO_PIN_EXCLUDED}
    lists = "".join(f"{name} = [{', '.join(repr(entry) for entry in entries)}]\n" for name, entries in quoted.items())
    ground.chips.write_text(f"[no_pin]\nlimit_minor = 100000\n{lists}\n[[aids]]{shipped}")
    keys = []
    for key in ca_keys():
        proof = sm3(key.rid + bytes((key.index,)) + key.modulus)
        exponent = f'exponent = "{key.exponent.hex()}"\n' if key.kind == "rsa" else f'checksum = "{proof.hex()}"\n'
        keys.append(
            f'[[keys]]\nrid = "{key.rid.hex()}"\nindex = "{key.index:02x}"\nexpiry = "20{key.expiry}"\n'
            f'algorithm = "{key.kind}"\nkey = "{key.modulus.hex()}"\n{exponent}'
        )
    ground.ca_keys.write_text("\n".join(keys))


def _write_switch(ground: Ground) -> None:
    bins = "\n".join(
        f'"{prefix}" = {{ to = "{"core" if i.own else "cups"}", card = "{"credit" if i.credit else "debit"}" }}'
        for i in STANDARD_ISSUERS
        for prefix in i.bins
    )
    ground.config("switch").write_text(
        f"""# The switch of a demo day.
listen = "127.0.0.1:{ground.switch_port}"
profile = "profile-pos.toml"
journal = "switch.db"
lmk = "switch.lmk"
keys = "switch.keys"
terminals = "terminals.csv"
chips = "chips.toml"
ca_keys = "ca-keys.toml"
control = "switch.sock"

[[counterparts]]
name = "cups"
address = "127.0.0.1:{ground.centre_port}"
profile = "profile-cups.toml"

[[counterparts]]
name = "core"
address = "127.0.0.1:{ground.core_port}"
profile = "profile-core.toml"
own = true

[routes]
default = "cups"

[routes.bins]
{bins}
"""
    )


def _write_centre(
    ground: Ground, name: str, line: str, own: bool, settlement_date: str, misbehaviour: Sequence[str]
) -> None:
    rules = "\n".join(f"[[rules]]\n{rule}\n" for rule in misbehaviour)
    ground.config(name).write_text(
        f"""# {"The bank's own core" if own else "The network centre and the issuers behind it"}.
name = "{line}"
listen = "127.0.0.1:{ground.core_port if own else ground.centre_port}"
profile = "profile-{line}.toml"
institution = "{CORE_ID if own else NETWORK_ID}"
own = {"true" if own else "false"}
ledger = "{name}.db"
lmk = "{name}.lmk"
keys = "{name}.keys"
seed = {ground.seed}
cards_per_issuer = {CARDS_PER_ISSUER}
settlement_date = "{settlement_date}"
control = "{name}.sock"

{rules}"""
    )
