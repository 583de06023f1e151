"""A switch of our own beside a fleet: its ground laid in a directory, its process started, asked, ended.

It has no line to any network: terminals sign in, and what they ask beyond that is refused. A fleet that pays needs a
host with issuers behind it; `lay_list` writes the terminals such a host has to know.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from switch.crypto.block import ecb_encryptor, kcv
from switch.crypto.hsm import Hsm
from switch.wire.roster import TRANSPORT_KEY, TerminalRow, write_terminals
from terminals.fleet import Terminal
from terminals.own import TransportKey

LIST, KEYS = "terminals.csv", "transport-keys.csv"
START_S: Final = 600.0
_STOP_S: Final = 60.0


class HostFailed(Exception):
    """A switch that did not start; the text has its last words."""


@dataclass(slots=True)
class Beside:
    """A switch that runs: its address, its process, and its control socket."""

    port: int
    control: Path
    process: "subprocess.Popen[bytes]"
    start_s: float

    @property
    def rss_mib(self) -> float | None:
        """Its resident memory."""
        return rss_mib(self.process.pid)

    def ask(self, do: str = "status") -> Any:
        """Ask it over its control socket. OSError, ValueError."""
        return ask(self.control, do)


def ask(control: Path, do: str, timeout_s: float = 30.0, **arguments: Any) -> Any:
    """Ask a process over its control socket. OSError, ValueError."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(timeout_s)
        line.connect(str(control))
        line.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
        with line.makefile("rb") as answers:
            answer = json.loads(answers.readline())
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer["ok"]


def rss_mib(pid: int) -> float | None:
    """Resident memory of a process; None where it cannot be seen."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def cpu_s(pid: int) -> float:
    """CPU, user and system, that a process has used, in seconds; 0 where it cannot be seen."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def lay_list(directory: Path, terminals: Iterable[Terminal], key: TransportKey) -> None:
    """Write terminals.csv, master keys under a transport key, and that key beside it."""
    encrypt = ecb_encryptor(key.suite, key.key)
    write_terminals(
        directory / LIST,
        (
            TerminalRow(
                one.tid, one.mid, one.mcc, one.merchant_name, one.suite, one.model, one.capabilities, one.district,
                one.topology, encrypt(one.tmk), kcv(one.suite, one.tmk), key.label,
            )
            for one in terminals
        ),
    )  # fmt: skip
    keys = directory / KEYS
    keys.touch(mode=0o600)
    value = kcv(key.suite, key.key).hex()
    keys.write_text(f"label,suite,key,kcv\n{key.label},{key.suite},{key.key.hex()},{value}\n")


def fresh_key() -> TransportKey:
    """A transport key that nobody has yet."""
    return TransportKey(TRANSPORT_KEY, "sm4", secrets.token_bytes(16))


def lay(directory: Path, terminals: Iterable[Terminal], speaks: str, hsm_ops: int = 0) -> None:
    """Write all that a switch for these terminals needs into `directory`; `speaks` is their profile."""
    lay_keys(directory, terminals).save(directory / "switch.keys")
    profile = str(Path(speaks).resolve()) if Path(speaks).is_file() else speaks
    model = f"hsm_ops = {hsm_ops}\n" if hsm_ops else ""
    (port,) = free_ports(1)
    lay_config(directory, port, profile, f"counterparts = []\n{model}")


def lay_keys(directory: Path, terminals: Iterable[Terminal]) -> Hsm:
    """The list of a switch's terminals, its local master key, and the keys it has under it, which are still to save."""
    key, lmk = fresh_key(), secrets.token_bytes(32)
    lay_list(directory, terminals, key)
    (directory / "switch.lmk").touch(mode=0o600)
    (directory / "switch.lmk").write_text(lmk.hex() + "\n")
    hsm = Hsm(lmk, secrets.token_bytes)
    hsm.generate("store/journal", "store", "aes", 32)
    hsm.generate("hash/journal", "hash", "aes", 32)
    hsm.import_clear(key.label, "tmk", key.suite, key.key)
    return hsm


def lay_config(directory: Path, port: int, profile: str, more: str) -> None:
    """Write switch.toml: what every switch has beside its `profile`, then `more`."""
    (directory / "switch.toml").write_text(
        f"""listen = "127.0.0.1:{port}"
profile = "{profile}"
journal = "switch.db"
lmk = "switch.lmk"
keys = "switch.keys"
terminals = "{LIST}"
control = "switch.sock"
{more}""",
        encoding="utf-8",
    )


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on right now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def beside(directory: Path) -> Iterator[Beside]:
    """The switch of a directory that `lay` has laid, until the block ends. Raises HostFailed."""
    port = int((directory / "switch.toml").read_text(encoding="utf-8").partition(":")[2].partition('"')[0])
    began = time.monotonic()
    with (directory / "switch.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "switch.app.cli", "serve", str(directory / "switch.toml")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
    running = Beside(port, directory / "switch.sock", process, 0.0)
    try:
        _wait(running, directory / "switch.log", began)
        running.start_s = time.monotonic() - began
        yield running
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(running: Beside, log: Path, began: float) -> None:
    while True:
        with suppress(OSError, ValueError):
            running.ask()
            return
        if running.process.poll() is not None:
            words = log.read_text(errors="replace").strip().splitlines() or ["no message"]
            raise HostFailed(f"the switch ended with code {running.process.returncode}: {words[-1]}")
        if time.monotonic() - began > START_S:
            raise HostFailed(f"the switch is not ready after {START_S:g} s; see {log}")
        time.sleep(0.05)
