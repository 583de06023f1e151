"""What Locust's side costs: users of ours, and a bare echo client on greenlets, in a process of their own.

    python -m loadtest.locusts.measured taps GROUND USERS SECONDS
    python -m loadtest.locusts.measured echo PORT CONNECTIONS SECONDS

Prints one JSON object: how many were done, and the CPU seconds they took (user and system, of this process alone).
"""

from locust import User  # noqa: I001 - patches the standard library before anything else is imported

import json
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from gevent import socket
from locust.env import Environment

from loadtest.garbage import collected_seldom
from loadtest.locusts.figures import sharpen
from loadtest.locusts.ground import Ground
from loadtest.locusts.users import TapUser

FRAME = b"\x01\x2c" + bytes(300)
CARDS = 256
_WARM_S = 1.5


def taps(ground: Path, users: int, seconds: float) -> dict[str, Any]:
    """TapUsers on a local runner as the locustfile has them, counted after a second."""
    sharpen()
    classes: list[type[User]] = [TapUser]
    environment: Any = Environment(user_classes=classes)
    environment.ground = Ground(ground, "", cards=CARDS)
    environment.ground.people("tap")
    runner = environment.create_local_runner()
    with collected_seldom():
        runner.start(users, spawn_rate=users)
        gevent.sleep(_WARM_S)
        total = runner.stats.total
        done, cpu = total.num_requests, time.process_time()
        gevent.sleep(seconds)
        result = {"done": total.num_requests - done, "cpu_s": time.process_time() - cpu, "failed": total.num_failures}
        runner.quit()
    return result


def echo(port: int, connections: int, seconds: float) -> dict[str, Any]:
    """Greenlets that send a frame of a tap's size and wait for it to come back."""
    done = 0
    ended = False

    def one() -> None:
        nonlocal done
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not ended:
                line.sendall(FRAME)
                left = len(FRAME)
                while left:
                    left -= len(line.recv(8192))
                done += 1

    clients = [gevent.spawn(one) for _ in range(connections)]
    gevent.sleep(0.3)
    before, cpu = done, time.process_time()
    gevent.sleep(seconds)
    result = {"done": done - before, "cpu_s": time.process_time() - cpu, "failed": 0}
    ended = True
    gevent.joinall(clients, timeout=2)
    return result


def main() -> int:
    """Measure what the command line says."""
    what, where, count, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    told = taps(Path(where), count, seconds) if what == "taps" else echo(int(where), count, seconds)
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
