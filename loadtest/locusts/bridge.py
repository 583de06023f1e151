"""The open-loop engine as a Locust worker: web page, shapes and reports are Locust's, the load is ours.

    python -m loadtest.locusts.bridge --ground DIR --master-host HOST --master-port PORT [--share 1/2]

This process speaks to the master by Locust's own worker runner; the engine is a process beside it
(`python -m loadtest.open.driven`), for asyncio and greenlets do not live together. Users that the master spawns here
are counted, and their number times `--per-user` is the engine's rate.
"""

import argparse
import json
import subprocess
import sys
from typing import Any, Final

import gevent
from gevent.fileobject import FileObject
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtest.locusts.arrivals import ArrivalUser

LOOK_S: Final = 0.2
RATE_MAX: Final = 1.0
"""The engine is asked to refuse nothing: how high it goes is the master's to say."""


class Lost(Exception):
    """A failure that the engine told of."""


class EngineFailed(Exception):
    """The engine could not begin; the text says why."""


class Bridge:
    """The engine's process, and a worker runner that joins the master once the engine's terminals are signed in: the
    first user has arrivals at once. Raises EngineFailed."""

    def __init__(self, ground: str, host: str, port: int, per_user: float, share: tuple[int, int] = (0, 1)) -> None:
        self.per_user = per_user
        self.told = 0
        self._rate = 0.0
        self.engine = subprocess.Popen(
            [sys.executable, "-m", "loadtest.open.driven", ground, str(RATE_MAX), *map(str, share)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.engine.stdout is not None
        self._lines = FileObject(self.engine.stdout, "rb")
        first = json.loads(self._lines.readline() or b'{"failed": "the engine ended at once"}')
        if "failed" in first:
            raise EngineFailed(first["failed"])
        self.environment = Environment(user_classes=[ArrivalUser])
        self.runner: WorkerRunner = self.environment.create_worker_runner(host, port)

    def run(self) -> int:
        """Until the master quits, or the engine ends."""
        reading = gevent.spawn(self._read, self._lines)
        throttle = gevent.spawn(self._throttle)
        # the runner's own greenlets end when the master says quit, or is gone
        gevent.wait([gevent.spawn(self.runner.greenlet.join), reading], count=1)
        throttle.kill()
        self._send({"stop": True})
        self.engine.wait(20)
        return 0

    def _throttle(self) -> None:
        """The rate follows the number of users the master has spawned here."""
        while True:
            asked = self.environment.parsed_options
            per_user = getattr(asked, "per_user", None) or self.per_user
            # Users are stopped before the runner says so: no arrivals without users.
            rate = self.runner.user_count * per_user if self.runner.state in ("spawning", "running") else 0.0
            if rate != self._rate:
                self._rate = rate
                self._send({"rate": rate})
            gevent.sleep(LOOK_S)

    def _send(self, told: dict[str, Any]) -> None:
        assert self.engine.stdin is not None
        try:
            self.engine.stdin.write(json.dumps(told).encode() + b"\n")
            self.engine.stdin.flush()
        except (BrokenPipeError, ValueError):
            return

    def _read(self, lines: Any) -> None:
        """Tell Locust of every transaction, as its own users would."""
        fire = self.environment.events.request.fire
        for line in lines:
            for kind, why, ms, times in json.loads(line).get("samples", ()):
                for _ in range(times):
                    self.told += 1
                    fire(
                        request_type="open", name=kind, response_time=ms, response_length=0, response=None, context={},
                        exception=Lost(why) if why else None, start_time=None, url=None,
                    )  # fmt: skip


def _share(text: str) -> tuple[int, int]:
    """ "1/2" as (0, 2)."""
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError("K/N is needed, as 1/2")
    return int(number) - 1, int(of)


def main() -> int:
    """Run a bridge."""
    parser = argparse.ArgumentParser(description="The open-loop engine as a Locust worker")
    parser.add_argument("--ground", required=True, help="directory of a house (shoudan load house)")
    parser.add_argument("--master-host", default="127.0.0.1")
    parser.add_argument("--master-port", type=int, default=5557)
    parser.add_argument("--per-user", type=float, default=1.0, help="arrivals a second that one user stands for")
    parser.add_argument("--share", type=_share, default=(0, 1), help="K/N: the K-th of N parts of the ground")
    asked = parser.parse_args()
    try:
        return Bridge(asked.ground, asked.master_host, asked.master_port, asked.per_user, asked.share).run()
    except EngineFailed as error:
        sys.stderr.write(f"shoudan: {error}\n")
        return 3


if __name__ == "__main__":
    sys.exit(main())
