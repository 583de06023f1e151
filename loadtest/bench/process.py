"""Server processes under measurement: started, pinned, their CPU time read, ended."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from terminals.beside import ask

START_S = 20.0
END_S = 20.0


class BenchFailed(Exception):
    """A measurement that cannot be taken; the text says why."""


class Server:
    """A process pinned to one core and listening on a port of 127.0.0.1, with its workers if it has any."""

    def __init__(self, name: str, port: int, process: "subprocess.Popen[bytes]") -> None:
        self.name = name
        self.port = port
        self._process = process
        # Linux: the clock of another process's CPU time; its ticks are those of getrusage(RUSAGE_SELF) inside it,
        # user and system, to the nanosecond.
        self._clocks = [(~process.pid << 3) | 2]

    def take_in(self, *pids: int) -> None:
        """Count these processes' CPU as well."""
        self._clocks += [(~pid << 3) | 2 for pid in pids]

    def ask(self, control: Path) -> dict[str, Any]:
        """Its status, over its control socket."""
        told: dict[str, Any] = ask(control, "status", timeout_s=10.0)
        return told

    def cpu_s(self) -> float:
        """Seconds of CPU, user and system, of this server alone since it started."""
        try:
            return sum(map(time.clock_gettime, self._clocks))
        except OSError:
            raise BenchFailed(f"{self.name} has died with exit code {self._process.poll()}") from None

    def rss_mib(self) -> float:
        """Resident memory of the process."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1048576

    def wait_until_it_listens(self) -> None:
        end = time.monotonic() + START_S
        while True:
            if self._process.poll() is not None:
                raise BenchFailed(f"{self.name} ended with exit code {self._process.returncode} before it listened")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                if time.monotonic() > end:
                    raise BenchFailed(f"{self.name} does not listen after {START_S:g} s") from None
                time.sleep(0.02)

    def end(self) -> None:
        """SIGTERM, and after a while SIGKILL."""
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def server(name: str, port: int, module: str, arguments: Sequence[str], core: int, log: Path) -> Iterator[Server]:
    """Run `python -m module arguments...` pinned to `core`, its output going to `log`, until the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    os.sched_setaffinity(process.pid, {core})
    running = Server(name, port, process)
    try:
        yield running
    finally:
        running.end()


def two_cores() -> tuple[int, int]:
    """The core of the server and the one of everything else. BenchFailed where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchFailed("two cores are needed: one for the server, one for load and hosts")
    return cores[-1], cores[0]
