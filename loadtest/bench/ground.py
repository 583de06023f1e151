"""What a switch under measurement needs: keys, terminals, a profile and its configuration, in one directory.

The line's working keys stand in the key file already, so the issuer host has nothing to negotiate; terminals sign in as
they do anywhere.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from switch.wire.profile import NetworkProfile, PosProfile, load_profile
from terminals.beside import free_ports, lay_config, lay_keys
from terminals.fleet import Terminal, mint

LINE: Final = "cups"
SEED: Final = 20_260_401


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
    hsm = lay_keys(directory, fleet)
    hsm.import_clear(f"zmk/{LINE}", "zmk", suite, secrets.token_bytes(16))
    hsm.import_clear(f"zak/{LINE}", "zak", suite, zak)
    hsm.generate(f"zpk/{LINE}", "zpk", suite)
    hsm.save(directory / "switch.keys")
    secured = f'[tls]\ncert = "{tls[0].resolve()}"\nkey = "{tls[1].resolve()}"\n' if tls else ""
    lay_config(
        directory, switch_port, "unionpay-pos",
        f"""metrics = "127.0.0.1:{metrics_port}"

[[counterparts]]
name = "{LINE}"
address = "127.0.0.1:{host_port}"
profile = "profile-network.toml"

[routes]
default = "{LINE}"

{secured}""",
    )  # fmt: skip
    pos, line = load_profile("unionpay-pos"), load_profile(network)
    if not isinstance(pos, PosProfile) or not isinstance(line, NetworkProfile):
        raise TypeError("a profile of the wrong kind")
    return Ground(directory, switch_port, host_port, pos, line, fleet, zak)
