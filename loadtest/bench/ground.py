"""What a switch under measurement needs: keys, terminals, a profile and its configuration, in one directory.

The line's working keys stand in the key file already, so the issuer host has nothing to negotiate; terminals sign in as
they do anywhere.
"""

import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from switch.crypto.block import ecb_encryptor, kcv
from switch.crypto.hsm import Hsm
from switch.wire.profile import NetworkProfile, PosProfile, load_profile
from switch.wire.roster import TerminalRow, write_terminals
from terminals.fleet import Terminal, mint

LINE: Final = "cups"
SEED: Final = 20_260_401
_TRANSPORT: Final = "kek/bench"


@dataclass(frozen=True, slots=True)
class Ground:
    """A laid-out directory: what the load and the issuer host must know of it. `zak` is the line's MAC key."""

    directory: Path
    switch_port: int
    host_port: int
    pos: PosProfile
    network: NetworkProfile
    fleet: list[Terminal]
    zak: bytes

    @property
    def config(self) -> Path:
        return self.directory / "switch.toml"

    @property
    def control(self) -> Path:
        return self.directory / "switch.sock"


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on right now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def lay(directory: Path, terminals: int, suite: str = "3des", tls: tuple[Path, Path] | None = None) -> Ground:
    """Write everything one switch needs into `directory`; `tls` are certificate and key of its listener."""
    directory.mkdir(parents=True)
    switch_port, host_port, metrics_port = free_ports(3)
    network = directory / "profile-network.toml"
    network.write_text(
        f'extends = "{"core" if suite == "sm4" else "cups"}"\nname = "bench"\n[keys]\napply_at_sign_on = false\n'
    )
    fleet = mint(SEED, terminals, sm4_share=1.0 if suite == "sm4" else 0.0)
    zak = secrets.token_bytes(16)
    _keys(directory, suite, zak, fleet)
    secured = f'[tls]\ncert = "{tls[0].resolve()}"\nkey = "{tls[1].resolve()}"\n' if tls else ""
    (directory / "switch.toml").write_text(
        f"""listen = "127.0.0.1:{switch_port}"
profile = "unionpay-pos"
journal = "switch.db"
lmk = "switch.lmk"
keys = "switch.keys"
terminals = "terminals.csv"
control = "switch.sock"
metrics = "127.0.0.1:{metrics_port}"

[[counterparts]]
name = "{LINE}"
address = "127.0.0.1:{host_port}"
profile = "profile-network.toml"

[routes]
default = "{LINE}"

{secured}"""
    )
    pos, line = load_profile("unionpay-pos"), load_profile(network)
    if not isinstance(pos, PosProfile) or not isinstance(line, NetworkProfile):
        raise TypeError("a profile of the wrong kind")
    return Ground(directory, switch_port, host_port, pos, line, fleet, zak)


def _keys(directory: Path, suite: str, zak: bytes, fleet: list[Terminal]) -> None:
    lmk, transport = secrets.token_bytes(32), secrets.token_bytes(16)
    (directory / "switch.lmk").touch(mode=0o600)
    (directory / "switch.lmk").write_text(lmk.hex() + "\n")
    hsm = Hsm(lmk, secrets.token_bytes)
    hsm.generate("store/journal", "store", "aes", 32)
    hsm.generate("hash/journal", "hash", "aes", 32)
    hsm.import_clear(f"zmk/{LINE}", "zmk", suite, secrets.token_bytes(16))
    hsm.import_clear(f"zak/{LINE}", "zak", suite, zak)
    hsm.generate(f"zpk/{LINE}", "zpk", suite)
    hsm.import_clear(_TRANSPORT, "tmk", "sm4", transport)
    rows = []
    encrypt = ecb_encryptor("sm4", transport)
    for one in fleet:
        rows.append(
            TerminalRow(
                one.tid, one.mid, one.mcc, one.merchant_name, one.suite, one.model, one.capabilities, one.district,
                one.topology, encrypt(one.tmk), kcv(one.suite, one.tmk), _TRANSPORT,
            )
        )  # fmt: skip
    write_terminals(directory / "terminals.csv", rows)
    hsm.save(directory / "switch.keys")
