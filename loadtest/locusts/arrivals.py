"""What the master of a bridge is given: `locust -f loadtest/locusts/arrivals.py --master`.

A user here is a part of the arrival rate, not somebody who waits: the open-loop engine does the work (`bridge.py`).
"""

from typing import Any

import gevent
from locust import User, events, task

from loadtest.locusts.figures import sharpen

__all__ = ["ArrivalUser"]

sharpen()


@events.init_command_line_parser.add_listener
def options(parser: Any, **_: Any) -> None:
    """How much a user stands for; the workers are told when the test starts."""
    parser.add_argument("--per-user", type=float, default=1.0, help="Arrivals a second that one user stands for")


class ArrivalUser(User):
    """One part of the rate."""

    @task
    def stand(self) -> None:
        """Stand for it."""
        gevent.sleep(1.0)
