"""A switch, a network centre and a core as processes, to be put under load; and what each process uses."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from terminals.beside import ask

START_S: Final = 40.0
STOP_S: Final = 20.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class HouseFailed(Exception):
    """A process that did not start; the text says which, and its last words."""


@dataclass(slots=True)
class House:
    """Running processes by name, the switch's port, and the files of its terminals."""

    directory: Path
    port: int
    seed: int
    cards_per_issuer: int
    metrics: dict[str, int] = field(default_factory=dict)
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def pids(self) -> dict[str, int]:
        """Process numbers by name."""
        return {name: one.pid for name, one in self.processes.items()}

    def ask(self, name: str, do: str, **arguments: Any) -> Any:
        """Ask a process over its control socket. OSError, ValueError."""
        return ask(self.directory / f"{name}.sock", do, timeout_s=5.0, **arguments)


def cpu_s(pid: int) -> float:
    """Seconds of CPU, user and system, that a process has used. OSError where it is gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@contextmanager
def house(
    directory: Path, terminals: int, seed: int, atms: int = 0, workers: int = 1, validators: int = 0,
    forgetful: bool = False,
) -> Iterator[House]:  # fmt: skip
    """A house of our own in `directory` (which must not hold one), its switch in `workers` processes, until the block
    ends; `forgetful` for a soak (`loadtest.stage`). Raises HouseFailed."""
    directory.mkdir(parents=True, exist_ok=True)
    os.chmod(directory, 0o700)
    date = time.strftime("%m%d", time.gmtime(time.time() + 8 * 3600))
    counts = (terminals, seed, date, atms, validators)
    command = [sys.executable, "-m", "loadtest.stage", str(directory), *map(str, counts)]
    command += ["forgetful"] if forgetful else []
    laid = subprocess.run(command, capture_output=True, text=True, check=False)
    if laid.returncode:
        raise HouseFailed(f"the ground could not be laid: {_last(laid.stderr)}")
    told = json.loads(laid.stdout) | {"seed": seed}
    (directory / "load.json").write_text(json.dumps(told) + "\n")
    running = House(directory, told["port"], seed, told["cards_per_issuer"], told["metrics"])
    try:
        for name in ("centre", "core", "switch"):
            _start(running, name, workers)
        _wait_until(
            running, lambda: all(line["ready"] for line in running.ask("switch", "status")["counterparts"].values())
        )
        yield running
    finally:
        for process in running.processes.values():
            process.terminate()
        for process in running.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
                continue
            process.kill()
            process.wait()


def _start(running: House, name: str, workers: int) -> None:
    config = str(running.directory / f"{name}.toml")
    command = ["serve", config, "--workers", str(workers)] if name == "switch" else ["centre", config]
    with (running.directory / f"{name}.log").open("ab") as log:
        running.processes[name] = subprocess.Popen(
            [sys.executable, "-m", "switch.app.cli", *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
    _wait_until(running, lambda: running.ask(name, "status") is not None)


def _wait_until(running: House, ready: Any) -> None:
    end = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError, ValueError, KeyError):
            if ready():
                return
        for name, process in running.processes.items():
            if process.poll() is not None:
                text = (running.directory / f"{name}.log").read_text(errors="replace")
                raise HouseFailed(f"{name} ended with code {process.returncode}: {_last(text)}")
        if time.monotonic() > end:
            raise HouseFailed(f"the switch is not ready after {START_S:g} s; see {running.directory / 'switch.log'}")
        time.sleep(0.02)


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it left no message"
