"""Where a drill takes place: the switch under test, ours or not, and the processes around it.

Ours is laid fresh, as for a demo day whose other side behaves. Somebody else's is started by a command, or is already
there; network centre, core and terminals then stand on a ground of `shoudan sandwich --prepare`, whose keys and cards
that switch was given.
"""

import os
import resource
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from scenarios.ground import free_ports, lay
from scenarios.sandwich.ground import LineConfig, Setup, read
from switch.app.config import ConfigError, host_and_port
from switch.crypto.hsm import Hsm
from switch.engine.counterpart import wire_time
from switch.issuer.host import PAN_HASH_KEY, PIN_REFERENCE_KEY

START_S: Final = 30.0
STOP_S: Final = 20.0
SWITCH: Final = "switch"
FLEET: Final = "fleet"
MARK: Final = "drill.log"
"""Stands in every directory of a drill, so that a later one may clear it."""

CARDS_PER_ISSUER: Final = 20_000


class DrillFailed(Exception):
    """The drill could not be held to its end; the text says why and where to look."""


@dataclass(frozen=True, slots=True)
class Counter:
    """One counterpart of the switch, ours in any case: `own` marks the bank's core. Its name is that of its process and
    the stem of its files."""

    name: str
    own: bool
    port: int
    profile: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Yard:
    """The ground of a drill. `command` starts the switch under test, empty where it is simply there."""

    directory: Path
    host: str
    port: int
    command: tuple[str, ...]
    ours: bool
    seed: int
    counters: tuple[Counter, ...]
    terminals: Path
    transport_keys: Path
    profile: Path
    cards_per_issuer: int = CARDS_PER_ISSUER

    @property
    def journal(self) -> Path | None:
        """The switch's book, where it is ours to read."""
        return self.directory / "switch.db" if self.ours else None

    @property
    def ledgers(self) -> list[Path]:
        return [self.directory / f"{one.name}.db" for one in self.counters]

    @property
    def terminal_book(self) -> Path:
        return self.directory / "terminals.db"

    def control(self, name: str) -> Path:
        return self.directory / f"{name}.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line says of a yard."""

    directory: Path
    terminals: int = 200
    machines: int = 0
    seed: int = 20130501
    command: str = ""
    host: str = ""
    ground: Path | None = None
    pos_timers: Mapping[str, float] = field(default_factory=dict)


def make(wanted: Wanted) -> Yard:
    """Lay the ground. Raises ConfigError, DrillFailed."""
    if wanted.ground is not None or wanted.host or wanted.command:
        if wanted.ground is None:
            raise ConfigError("--command and --host need --ground DIR, as shoudan sandwich --prepare DIR writes it")
        return _foreign(wanted, wanted.ground)
    directory = _cleared(wanted.directory)
    ground = lay(directory, wanted.seed, wanted.terminals, wire_time(time.time())[:4], wanted.machines, rules=())
    if wanted.pos_timers:
        with (directory / "profile-pos.toml").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in wanted.pos_timers.items())
    return Yard(
        directory=directory, host="127.0.0.1", port=ground.switch_port, ours=True, seed=wanted.seed,
        command=(sys.executable, "-m", "switch.app.cli", "serve", str(ground.config(SWITCH))),
        counters=(
            Counter("centre", False, ground.centre_port, directory / "profile-cups.toml"),
            Counter("core", True, ground.core_port, directory / "profile-core.toml"),
        ),
        terminals=ground.terminal_list, transport_keys=ground.transport_keys, profile=directory / "profile-pos.toml",
    )  # fmt: skip


def _cleared(directory: Path) -> Path:
    """An empty directory; one that holds anything but an earlier drill is left alone."""
    if directory.exists() and any(directory.iterdir()):
        if not (directory / MARK).is_file():
            raise DrillFailed(f"{directory} is not empty and holds no earlier drill: name another with --dir")
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    os.chmod(directory, 0o700)
    (directory / MARK).touch()
    return directory


def _foreign(wanted: Wanted, ground: Path) -> Yard:
    setup = read(ground, wanted.host)
    directory = _cleared(wanted.directory)
    host, port = host_and_port(setup.config.front)
    counters = []
    for line in setup.config.lines:
        name = "core" if line.cards == "own" else "centre"
        _write_counter(directory, ground, setup, line, name)
        profile = (ground / line.profile).resolve()
        counters.append(Counter(name, line.cards == "own", host_and_port(line.listen)[1], profile))
    return Yard(
        directory=directory, host=host, port=port, ours=False, seed=setup.config.seed,
        command=tuple(shlex.split(wanted.command)), counters=tuple(counters),
        terminals=ground / setup.config.terminals, transport_keys=ground / setup.config.transport_keys,
        profile=(ground / setup.config.profile).resolve(), cards_per_issuer=setup.config.cards_per_issuer,
    )  # fmt: skip


def _write_counter(directory: Path, ground: Path, setup: Setup, line: LineConfig, name: str) -> None:
    """Configuration and keys of a counterpart of somebody else's switch."""
    lmk = secrets.token_bytes(32)
    file = directory / f"{name}.lmk"
    file.touch(mode=0o600)
    file.write_text(lmk.hex() + "\n")
    hsm = Hsm(lmk, secrets.token_bytes)
    hsm.generate(PAN_HASH_KEY, "hash", "aes", 32)
    hsm.generate(PIN_REFERENCE_KEY, "pvk", "aes", 32)
    suite = setup.lines[line.name].keys.suite
    hsm.import_clear(f"zmk/{line.name}", "zmk", suite, setup.line_keys[line.name])
    hsm.save(directory / f"{name}.keys")
    profile = (ground / line.profile).resolve()
    (directory / f"{name}.toml").write_text(
        f'name = "{line.name}"\nlisten = "{line.listen}"\nprofile = "{profile}"\n'
        f'institution = "{line.institution}"\nown = {"true" if line.cards == "own" else "false"}\n'
        f'ledger = "{name}.db"\nlmk = "{name}.lmk"\nkeys = "{name}.keys"\nseed = {setup.config.seed}\n'
        f'cards_per_issuer = {setup.config.cards_per_issuer}\nsettlement_date = "{wire_time(time.time())[:4]}"\n'
        f'control = "{name}.sock"\n'
    )


def gated(yard: Yard) -> tuple[Yard, dict[str, tuple[int, int]]]:
    """The yard with its counterparts moved to other ports, and by name (the port the switch dials, a free control
    port): between them a proxy can stand."""
    ports = free_ports(2 * len(yard.counters))
    gates, counters = {}, []
    for number, one in enumerate(yard.counters):
        moved, control = ports[2 * number], ports[2 * number + 1]
        config = yard.directory / f"{one.name}.toml"
        text = config.read_text()
        config.write_text(text.replace(f':{one.port}"', f':{moved}"'))
        gates[one.name] = (one.port, control)
        counters.append(replace(one, port=moved))
    return replace(yard, counters=tuple(counters)), gates


class Crew:
    """The processes of a drill, by name, each with its log."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._noted = (yard.directory / MARK).open("a", buffering=1)

    def note(self, text: str) -> None:
        """A line of the drill's own log."""
        self._noted.write(f"{time.monotonic():.6f} {text}\n")

    def start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a process of its own group."""
        with (self.yard.directory / f"{name}.log").open("a") as log:
            child = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._children[name] = child
        self.note(f"start {name}")
        return child

    def start_counter(self, one: Counter) -> None:
        """Start network centre or core."""
        config = str(self.yard.directory / f"{one.name}.toml")
        self.start(one.name, [sys.executable, "-m", "switch.app.cli", "centre", config])

    def start_switch(self, command: Sequence[str] = ()) -> bool:
        """Start the switch under test, where there is a command for it."""
        wanted = command or self.yard.command
        if wanted:
            self.start(SWITCH, wanted)
        return bool(wanted)

    def begin(self, name: str) -> None:
        """Start one of them by name."""
        if name == SWITCH:
            self.start_switch()
        else:
            self.start_counter(next(one for one in self.yard.counters if one.name == name))

    def await_port(self, name: str, host: str, port: int, most_s: float = START_S) -> None:
        """Until somebody listens there. Raises DrillFailed."""
        end = time.monotonic() + most_s
        while time.monotonic() < end:
            if name in self._children and self._children[name].poll() is not None:
                raise DrillFailed(f"{name} ended at once: {self.last_line(name)}")
            try:
                socket.create_connection((host, port), 1.0).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise DrillFailed(f"{name}: nobody listens on {host}:{port} after {most_s:g} s")

    def last_line(self, name: str) -> str:
        path = self.yard.directory / f"{name}.log"
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        return lines[-1] if lines else "it left no message"

    def code(self, name: str) -> int | None:
        """Its exit code, None while it runs."""
        return self._children[name].poll()

    def pid(self, name: str) -> int:
        return self._children[name].pid

    @property
    def ended(self) -> list[str]:
        """Those that do not run any more."""
        return [name for name, child in self._children.items() if child.poll() is not None]

    def limit_file_size(self, name: str, most: int) -> None:
        """No file of this process may grow beyond `most` bytes from now on: a full disk."""
        resource.prlimit(self.pid(name), resource.RLIMIT_FSIZE, (most, most))
        self.note(f"full {name} at {most}")

    def kill(self, name: str) -> None:
        """kill -9, its whole group."""
        child = self._children[name]
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        self.note(f"kill {name}")

    def freeze(self, name: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so many seconds, its whole group: nothing is lost, and everything waits."""
        group = self.pid(name)
        self.note(f"stop {name}")
        os.killpg(group, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.killpg(group, signal.SIGCONT)
        self.note(f"continue {name}")

    def wait(self, name: str, most_s: float) -> int | None:
        """Its exit code, None where it still runs after `most_s`."""
        try:
            return self._children[name].wait(most_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self, name: str) -> None:
        """SIGTERM."""
        child = self._children.get(name)
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """SIGTERM to all that are left, SIGKILL for those that do not go."""
        for name in self._children:
            self.end(name)
        for child in self._children.values():
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        self._noted.close()
