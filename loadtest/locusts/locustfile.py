"""The file that `locust -f` is given: users, options, shapes and thresholds.

    locust -f loadtest/locusts/locustfile.py --ground DIR --headless -u 50 -r 50 -t 60s

Exits 0, 1 when a threshold is broken, 3 when the set-up failed.
"""

import contextlib
import json
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from loadtest.garbage import collected_seldom
from loadtest.locusts.figures import BROKEN, SET_UP_FAILED, broken, sharpen
from loadtest.locusts.gates import ValidatorUser
from loadtest.locusts.ground import Ground, NoGround
from loadtest.locusts.shapes import SHAPES
from loadtest.locusts.users import AtmUser, PosUser, TapUser

__all__ = ["AtmUser", "PosUser", "TapUser", "ValidatorUser"]

sharpen()

_SET_UP = "shoudan_set_up_failed"


@events.init_command_line_parser.add_listener
def options(parser: Any, **_: Any) -> None:
    """The options of our own; they are in the web page's form too."""
    parser.add_argument("--ground", default="", env_var="SHOUDAN_GROUND", help="Directory of the terminals and keys")
    parser.add_argument("--shape", default="", choices=["", *SHAPES], help="Users over time, in place of -u and -r")
    parser.add_argument("--shape-seconds", type=float, default=60.0, help="How long the shape lasts")
    parser.add_argument("--shape-users", type=int, default=50, help="Users at the shape's usual top")
    parser.add_argument("--max-p50-ms", type=float, default=0.0, help="Threshold; 0: none")
    parser.add_argument("--max-p99-ms", type=float, default=0.0, help="Threshold; 0: none")
    parser.add_argument("--max-failed-share", type=float, default=0.01, help="Threshold; below 0: none")
    parser.add_argument("--min-rate", type=float, default=0.0, help="Threshold, answers a second; 0: none")


@events.init.add_listener
def begin(environment: Any, **_: Any) -> None:
    """The ground of this process, the shape, and who hears of a set-up that failed."""
    asked, runner = environment.parsed_options, environment.runner
    environment.ground = None
    if len(environment.user_classes) > 1 and not _has_gates(asked.ground):
        environment.user_classes = [user for user in environment.user_classes if user is not ValidatorUser]
    environment.set_up_failed = lambda text: _set_up_failed(environment, text)
    if isinstance(runner, MasterRunner):
        runner.register_message(
            _SET_UP, lambda environment, msg, **_: _set_up_failed(environment, str(msg.data["text"]))
        )
    if not isinstance(runner, WorkerRunner) and asked.shape:
        environment.shape_class = SHAPES[asked.shape](
            asked.shape_users, asked.shape_seconds, Path(asked.ground) if asked.ground else None
        )
    if not isinstance(runner, MasterRunner | WorkerRunner):
        # Now, for the cards take a second or two that would be the run's; a worker does not know its part yet.
        with contextlib.suppress(NoGround):
            environment.ground = _ground(environment)


def _has_gates(ground: str) -> bool:
    """Whether a ground has bus gates; one that does not read is for others to tell."""
    try:
        return bool(json.loads((Path(ground) / "load.json").read_text(encoding="utf-8")).get("validators"))
    except (OSError, ValueError):
        return False


@events.test_start.add_listener
def lay(environment: Any, **_: Any) -> None:
    """Take this process's share of the terminals; a master has none."""
    runner = environment.runner
    if isinstance(runner, MasterRunner):
        return
    try:
        if environment.ground is None:
            environment.ground = _ground(environment)
    except NoGround as error:
        _set_up_failed(environment, str(error))
        return
    environment.seldom = ExitStack()
    environment.seldom.enter_context(collected_seldom())


@events.test_stop.add_listener
def leave(environment: Any, **_: Any) -> None:
    """The garbage collector goes back to its habits."""
    getattr(environment, "seldom", ExitStack()).close()


def _ground(environment: Any) -> Ground:
    """This process's share of the terminals, its cards at hand. Raises NoGround."""
    runner, asked = environment.runner, environment.parsed_options
    share, shares = 0, 1
    if isinstance(runner, WorkerRunner):
        # Workers that join later take what is left: the field is cut into more parts than there are workers at first.
        share, shares = max(0, runner.worker_index), _parts(asked)
    if not asked.ground:
        raise NoGround("--ground DIR is needed")
    ground = Ground(Path(asked.ground), asked.host or "", share % shares, shares)
    if any(user.kind in ("tap", "gate") for user in environment.user_classes):
        ground.people("tap")
        # Timers count from the loop's own clock, which has stood still meanwhile: a run would end before it begins.
        gevent.get_hub().loop.update_now()
    return ground


def _parts(asked: Any) -> int:
    return max(2, asked.expect_workers or 0, asked.processes or 0)


def _set_up_failed(environment: Any, text: str) -> None:
    if environment.process_exit_code == SET_UP_FAILED:
        return
    environment.process_exit_code = SET_UP_FAILED
    logging.getLogger("shoudan").error("set-up failed: %s", text)
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        runner.send_message(_SET_UP, {"text": text})
    elif runner is not None:
        runner.quit()


@events.quitting.add_listener
def judge(environment: Any, **_: Any) -> None:
    """Thresholds set the exit code; a set-up that failed keeps its own."""
    if environment.process_exit_code == SET_UP_FAILED or isinstance(environment.runner, WorkerRunner):
        return
    total = environment.runner.stats.total
    p50, p99, p999 = (total.get_response_time_percentile(share) for share in (0.5, 0.99, 0.999))
    logging.getLogger("shoudan").info("p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms", p50, p99, p999)
    told = broken(environment.runner.stats, environment.parsed_options)
    for text in told:
        logging.getLogger("shoudan").error("threshold: %s", text)
    environment.process_exit_code = BROKEN if told else 0
