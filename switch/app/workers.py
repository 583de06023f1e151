"""`shoudan serve --workers N`: one switch in several processes, each with the merchants that are its share.

The parent takes the terminals' connections, looks whose the first frame is and hands the socket to that worker; it
passes on what the workers tell each other, answers for all of them (control, metrics), and starts a dead one again.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any, Final

from switch.app.config import ConfigError, SwitchConfig, host_and_port, pos_profile, read_config
from switch.app.journals import refuse_others
from switch.app.measures import WorkerState, worker_families
from switch.app.merged import merged_families, merged_status
from switch.app.serve import Life, open_control, open_metrics
from switch.engine.share import KEY
from switch.net.channel import Channel, pair
from switch.net.doorman import Doorman
from switch.net.metrics import Family
from switch.wire.codec import codec_of
from switch.wire.errors import DecodeError
from switch.wire.framing import Frame
from switch.wire.profile import dialect_of, framing_of
from switch.wire.roster import owner

log = logging.getLogger("shoudan")

WORKERS_MAX: Final = 64
ANSWER_S: Final = 20.0
AGREE_S: Final = 1.0
"""How long a worker has to answer, and to take a new key before it is acknowledged without it."""
SETTLED_S: Final = 10.0
AGAIN_S: Final = 0.5
AGAIN_MAX_S: Final = 15.0
"""Who has lived so long is started again at once; who dies earlier, after a pause that doubles."""
WAITING_MAX: Final = 4096
"""Connections kept for a worker that is away."""


class Worker:
    """One of them, as the parent sees it. `ready` means recovered and taking connections."""

    def __init__(self, place: int) -> None:
        self.place = place
        self.ready = False
        self.restarts = 0
        self.process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._waiting: list[socket.socket] = []
        self._ids = count(1)

    @property
    def pid(self) -> int:
        """0 while there is no process."""
        return self.process.pid if self.process is not None and self.process.returncode is None else 0

    async def start(
        self,
        source: Path,
        of: int,
        told: Callable[["Worker", list[Any]], None],
        relay: Callable[["Worker", dict[str, Any]], None],
    ) -> int:
        """Run it once; returns its exit code. `told` is given what it tells the others, `relay` what it says to one."""
        ours, theirs = pair()

        def heard(message: dict[str, Any], _: socket.socket | None) -> None:
            if "ready" in message:
                self._begin()
            elif "tell" in message:
                told(self, message["tell"])
            elif "to" in message:
                relay(self, message)
            else:
                self._answered(message)

        self._channel = Channel(ours, asyncio.get_running_loop(), heard, self._gone)
        with theirs:
            end = theirs.fileno()
            command = ("-m", "switch.app.worker", str(source), str(self.place), str(of), str(end))
            self.process = await asyncio.create_subprocess_exec(sys.executable, *command, pass_fds=(end,))
        try:
            return await self.process.wait()
        finally:
            self._gone()
            self._channel.close()

    def hand(self, sock: socket.socket) -> None:
        """Give it a terminal's connection, or keep that until it is back."""
        if self.ready and self._channel is not None:
            self._channel.say({}, sock)
        elif len(self._waiting) < WAITING_MAX:
            self._waiting.append(sock)
        else:
            sock.close()

    def say(self, message: dict[str, Any]) -> None:
        if self.ready and self._channel is not None:
            self._channel.say(message)

    async def ask(self, do: str, timeout_s: float = ANSWER_S, **arguments: Any) -> Any:
        """Its answer. Raises ConfigError with its refusal, or when it does not answer."""
        if not self.ready:
            raise ConfigError(f"worker {self.place + 1} is away")
        number = next(self._ids)
        self._asked[number] = answer = asyncio.get_running_loop().create_future()
        self.say({"id": number, "do": do, **arguments})
        try:
            return await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            raise ConfigError(f"worker {self.place + 1} does not answer") from None
        finally:
            self._asked.pop(number, None)

    def let_go(self) -> None:
        """Close the connections that wait for it."""
        for sock in self._waiting:
            sock.close()
        self._waiting.clear()

    def _begin(self) -> None:
        self.ready = True
        waiting, self._waiting = self._waiting, []
        for sock in waiting:
            self.hand(sock)

    def _answered(self, message: dict[str, Any]) -> None:
        answer = self._asked.get(message["id"])
        if answer is not None and not answer.done():
            if "error" in message:
                answer.set_exception(ConfigError(message["error"]))
            else:
                answer.set_result(message["ok"])

    def _gone(self) -> None:
        self.ready = False
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(ConfigError(f"worker {self.place + 1} is away"))


class _Parent:
    def __init__(self, source: Path, config: SwitchConfig, of: int, life: Life) -> None:
        self.workers = [Worker(place) for place in range(of)]
        self._source = source
        self._life = life
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        pos = pos_profile(config.profile, source.parent)
        self._codec = codec_of(dialect_of(pos))
        patience_s = pos.timers.sign_in_s or pos.timers.frame_s
        self.doorman = Doorman(self._loop, framing_of(pos), self._owner, self._hand, patience_s)
        self.all_ready = asyncio.Event()
        self.families: list[Family] = []

    def _owner(self, frame: Frame) -> int:
        """Whose a first frame is, by its merchant; one without goes to the first, who refuses it as it deserves."""
        try:
            mid = self._codec.peek(frame.body, (42,)).get(42, "")
        except DecodeError:
            return 0
        return owner(mid, len(self.workers))

    def _hand(self, place: int, sock: socket.socket) -> None:
        self.workers[place].hand(sock)

    # lives

    async def keep(self, worker: Worker) -> None:
        """Run a worker again and again. One that cannot even begin ends all of them."""
        pause_s = AGAIN_S
        while not self._life.over.is_set():
            since = self._loop.time()
            watch = self._loop.create_task(self._look(worker))
            code = await worker.start(self._source, len(self.workers), self._told, self._relay)
            watch.cancel()
            for other in self.workers:
                other.say({"gone": worker.place})
            if self._life.over.is_set():
                self._life.code = max(self._life.code, code)
                return
            if not self.all_ready.is_set():
                self._life.code = code or 1
                self._life.over.set()
                return
            lived = self._loop.time() - since
            pause_s = AGAIN_S if lived > SETTLED_S else min(2 * pause_s, AGAIN_MAX_S)
            log.error("worker %d ended with code %d, its merchants wait for %g s", worker.place + 1, code,
                      0 if lived > SETTLED_S else pause_s)  # fmt: skip
            worker.restarts += 1
            if lived <= SETTLED_S:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._life.over.wait(), pause_s)

    async def _look(self, worker: Worker) -> None:
        while not worker.ready:  # noqa: ASYNC110 - for as long as a recovery takes
            await asyncio.sleep(0.02)
        if all(one.ready for one in self.workers):
            self.all_ready.set()

    def end(self) -> None:
        for worker in self.workers:
            if worker.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGTERM)
            worker.let_go()

    # what they tell each other

    def _told(self, teller: Worker, news: list[Any]) -> None:
        others = [worker for worker in self.workers if worker is not teller and worker.ready]
        task = self._loop.create_task(self._pass_on(teller, others, news))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _relay(self, teller: Worker, message: dict[str, Any]) -> None:
        self.workers[int(message["to"])].say({**message, "from": teller.place})

    async def _pass_on(self, teller: Worker, others: Iterable[Worker], news: list[Any]) -> None:
        told = (worker.ask("told", AGREE_S, news=news) for worker in others)
        for answer in await asyncio.gather(*told, return_exceptions=True):
            if isinstance(answer, ConfigError):
                log.warning("%s: it was not told of %s", answer, news[0])
        if news[0] == KEY:
            teller.say({"agreed": news})

    # what is asked of all of them

    async def status(self, asked: dict[str, Any]) -> dict[str, Any]:
        """One answer for all: sums, and each worker's own beside them."""
        present = [worker for worker in self.workers if worker.ready]
        answers = await asyncio.gather(*(worker.ask("status") for worker in present))
        told = {worker.place: answer for worker, answer in zip(present, answers, strict=True)}
        rows = [
            {"pid": one.pid, "ready": one.ready, "restarts": one.restarts, **told.get(one.place, {})}
            for one in self.workers
        ]
        return {**merged_status(answers), "connections_waiting": self.doorman.waiting, "workers": rows}

    async def reload(self, asked: dict[str, Any]) -> str:
        """All of them take the changed configuration; they read the same files, so all do or none."""
        answers = await asyncio.gather(*(worker.ask("reload") for worker in self.workers), return_exceptions=True)
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        for error in errors:
            if not isinstance(error, ConfigError):
                raise error
        if len(errors) == len(answers):
            raise errors[0]
        if errors:
            raise ConfigError(f"{len(answers) - len(errors)} of {len(answers)} workers took it, not all: {errors[0]}")
        return "; ".join(f"worker {place}: {answer}" for place, answer in enumerate(answers, 1))

    async def gather(self) -> None:
        """Ask all workers for their metrics, for the page that is read next."""
        present = [worker for worker in self.workers if worker.ready]
        answers = await asyncio.gather(*(worker.ask("metrics") for worker in present), return_exceptions=True)
        told = {
            worker.place: answer
            for worker, answer in zip(present, answers, strict=True)
            if not isinstance(answer, BaseException)
        }
        self.families[:] = [
            *worker_families([WorkerState(one.place, one.ready, one.restarts, one.pid) for one in self.workers]),
            *merged_families(told),
        ]


def check_for_workers(config: SwitchConfig, of: int) -> None:
    """ConfigError for what several workers cannot do."""
    if not 1 <= of <= WORKERS_MAX:
        raise ConfigError(f"--workers {of}: 1 to {WORKERS_MAX}")
    if config.tls is not None:
        raise ConfigError(
            "tls: not with --workers: whose a connection is stands in its first frame, which TLS hides; "
            "put a TLS proxy before the switch, or use one worker"
        )
    for section in config.counterparts:
        if any(line.listen for line in section.all_lines):
            raise ConfigError(f"counterparts: {section.name}: one-way lines (listen) are for one worker only")
    refuse_others(config.journal, of)


async def serve_workers(source: Path, of: int) -> int:
    """The switch of a configuration (an absolute path) in `of` worker processes, until SIGTERM."""
    config = read_config(source, SwitchConfig)
    check_for_workers(config, of)
    life = Life()
    parent = _Parent(source, config, of, life)
    loop = asyncio.get_running_loop()
    keeping = [loop.create_task(parent.keep(worker)) for worker in parent.workers]
    over = loop.create_task(life.over.wait())
    ready = loop.create_task(parent.all_ready.wait())
    await asyncio.wait((over, ready), return_when=asyncio.FIRST_COMPLETED)
    control = page = None
    try:
        if not life.over.is_set():
            host, port = host_and_port(config.listen)
            parent.doorman.open(host, port)
            control = await open_control(config.control, {"status": parent.status, "reload": parent.reload})
            page = await open_metrics(config.metrics, lambda lag: parent.families, parent.gather)
            log.info("switch listens on %s, %d workers", config.listen, of)
            await life.over.wait()
    finally:
        life.over.set()
        ready.cancel()
        for door in (parent.doorman, control, page):
            if door:
                door.close()
        parent.end()
        await asyncio.gather(*keeping)
    return life.code
