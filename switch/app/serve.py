"""Processes: a machine, its disk and its links on one uvloop, until told to stop."""

import asyncio
import contextlib
import gc
import logging
import re
import secrets
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import uvloop
from uvloop._version import __version__ as uvloop_version

from switch.app.compose import build_centre, build_engine
from switch.app.config import (
    CentreConfig,
    ConfigError,
    CounterpartConfig,
    SwitchConfig,
    dialling_tls,
    host_and_port,
    listening_tls,
    read_config,
)
from switch.app.control import Command, serve_control
from switch.app.journals import journal_of, refuse_others
from switch.app.measures import centre_families, switch_families
from switch.app.reload import Began, began, reload_centre, reload_engine
from switch.clearing.schema import CHIPS, ISSUER_TABLES, JOURNAL, LEDGER, PINS, SWITCH_TABLES
from switch.engine.archive import Recall
from switch.engine.engine import Engine
from switch.engine.line import BOTH, IN, OUT
from switch.engine.share import WHOLE, Share, Tell
from switch.machine import Machine
from switch.net.disk import Disk, StorageFailed, StoreInUse
from switch.net.listen import Patience, Secured, dial, listen
from switch.net.metrics import Family, LoopLag, MetricsPage
from switch.net.perform import Performer
from switch.net.stranger import Strangers
from switch.net.witness import BrokenChain
from switch.wire.profile import PosProfile, framing_of

log = logging.getLogger("shoudan")

STORAGE_FAILED = 4
"""Exit code after a storage error: start again, the recovered journal decides."""

UVLOOP_MIN = (0, 23)


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run a process on uvloop. Refuses versions that can hand one connection's bytes to another (uvloop issue 645)."""
    version = tuple(int(part) for part in re.findall(r"\d+", uvloop_version)[:2])
    if version < UVLOOP_MIN:
        main.close()
        raise ConfigError(f"uvloop {uvloop_version} is too old: pip install 'uvloop>=0.23.0'")
    spare_the_old()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def spare_the_old() -> None:
    """Let the garbage collector look at young objects only.

    A switch keeps millions of objects (its exchanges) that die by reference count or not at all; a full collection
    walks all of them and stands still for it, longer every hour.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 1_000_000)


class Life:
    """When a process ends, and with which exit code."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.code = 0
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.over.set)

    def failed(self, error: Exception) -> None:
        log.error("storage failed, stopping: %s", error)
        self.code = STORAGE_FAILED
        self.over.set()


def open_disk(path: Path, tables: Any) -> Disk:
    """The store, or ConfigError where another process holds it, or it is shorter than its witness."""
    with _whole(path):
        try:
            return Disk(path, tables)
        except StoreInUse as error:
            raise ConfigError(f"{error}; is another switch running on this journal?") from None


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[None]:
    """ConfigError, naming the row, where a book is not what was written to it: nobody goes on with such a one."""
    try:
        yield
    except BrokenChain as error:
        raise ConfigError(f"{path}: {error}; nothing was started, see `shoudan clearing verify`") from None
    except apsw.Error as error:
        raise ConfigError(f"{path}: {error}; nothing was started") from None


@dataclass(slots=True)
class Switch:
    """A running switch, or one worker's share of it: recovered, its lines dialled, without terminals yet."""

    config: SwitchConfig
    start: Began[SwitchConfig]
    engine: Engine
    pos: PosProfile
    performer: Performer
    life: Life
    lag: LoopLag
    lines: list[asyncio.Task[None]] = field(default_factory=list)
    doors: list[asyncio.Server] = field(default_factory=list)

    @property
    def strangers(self) -> Strangers:
        return Strangers(self.pos.timers.sign_in_s)

    def status(self, _: dict[str, Any]) -> dict[str, Any]:
        """For a status request."""
        performer = self.performer
        return {
            **self.engine.status(),
            "connections": performer.connections,
            "connections_refused": performer.connections_refused,
            "connections_max": performer.connections_max,
            "connections_cut": dict(performer.cut),
            "commits": performer.disk.commits,
            "rows": performer.disk.rows,
            "tasks": len(asyncio.all_tasks()),
        }

    def reload(self, _: dict[str, Any]) -> str:
        """Take the changed configuration. Raises ConfigError."""
        fresh = read_config(self.start.source, SwitchConfig)
        return reload_engine(self.engine, self.start, fresh, secrets.token_bytes)

    async def end(self) -> int:
        """Let what is under way finish, then close everything. Returns the exit code."""
        if self.life.code == 0:
            self.engine.drain()
            counterparts = self.engine.office.counterparts.values()
            await _drain(lambda: sum(len(c.inflight) for c in counterparts), self.config.drain_s)
            self.performer.flush()
        self.lag.close()
        for line in self.lines:
            line.cancel()
        for door in self.doors:
            door.close()
        self.performer.close_all()
        return _finish(self.performer.disk, self.life.code)


async def begin_switch(
    source: Path,
    share: Share = WHOLE,
    tell: Tell | None = None,
    around: Callable[[Engine, PosProfile], Machine] = lambda engine, pos: engine.hsm_queue or engine,
) -> Switch:
    """Recover the switch of a configuration (an absolute path), or a worker's share of it, and dial its lines. Raises
    ConfigError, CannotListen.

    `tell` hears what other workers must know, `around` may stand a machine before the engine.
    """
    config = read_config(source, SwitchConfig)
    start = began(source, config)
    refuse_others(config.journal, share.of)
    engine, pos = build_engine(config, source.parent, secrets.token_bytes, share)
    if tell is not None:
        engine.tell(tell)
    life = Life()
    journal = journal_of(config.journal, share)
    disk = open_disk(journal, SWITCH_TABLES)
    loop = asyncio.get_running_loop()
    performer = Performer(around(engine, pos), disk, loop, life.failed)
    engine.recalls(_read_back(disk, performer))
    with _whole(journal):
        performer.call(lambda now, out: engine.recover(disk.history(), now, out))
    performer.flush()
    lag = performer.lag = LoopLag(loop)
    switch = Switch(config, start, engine, pos, performer, life, lag)
    switch.lines, switch.doors = await connect_lines(performer, config, engine)
    return switch


async def serve_switch(source: Path) -> int:
    """The acquiring switch of a configuration (an absolute path): recover, dial, listen, serve until SIGTERM, drain."""
    switch = await begin_switch(source)
    config, performer, timers = switch.config, switch.performer, switch.pos.timers
    host, port = host_and_port(config.listen)
    server = await listen(
        performer, host, port, framing_of(switch.pos), timers.frame_s, idle_s=timers.idle_s,
        tls=listening_tls(config.tls), strangers=switch.strangers,
    )  # fmt: skip
    control = await open_control(config.control, {"status": switch.status, "reload": switch.reload})
    page = await open_metrics(
        config.metrics, lambda lag: switch_families(switch.engine, performer, lag), lag=switch.lag
    )
    log.info("switch listens on %s, journal at row %d", config.listen, performer.disk.durable)
    await switch.life.over.wait()
    for door in (server, control, page):
        if door:
            door.close()
    return await switch.end()


def _read_back(disk: Disk, performer: Performer) -> Recall:
    """Rows of the journal by number; a storage error stops the process, as at a commit."""

    def recall(number: int) -> tuple[Any, ...] | None:
        try:
            return disk.row(JOURNAL.name, number)
        except StorageFailed as error:
            performer.stop(error)
            raise

    return recall


async def connect_lines(
    performer: Performer, config: SwitchConfig, engine: Engine
) -> tuple[list[asyncio.Task[None]], list[asyncio.Server]]:
    """Dial all lines of all counterparts, and open the doors at which the other side connects to send (one-way lines).

    Raises CannotListen, ConfigError.
    """
    lines: list[asyncio.Task[None]] = []
    doors: list[asyncio.Server] = []
    for section in config.counterparts:
        profile = engine.office.counterparts[section.name].profile
        waits, framing, name = profile.timers, framing_of(profile), section.name
        patience = Patience(waits.frame_s, waits.reconnect_s, waits.keep_alive_s)
        for place, line in enumerate(section.all_lines):
            host, port = host_and_port(line.address)
            way = OUT if line.listen else BOTH
            dialled = dial(performer, host, port, framing, name, patience, _secured(section), place=place, way=way)
            lines.append(asyncio.get_running_loop().create_task(dialled))
            if line.listen:
                host, port = host_and_port(line.listen)
                tls = listening_tls(section.tls)
                opened = listen(performer, host, port, framing, waits.frame_s, name=name, tls=tls, place=place, way=IN)
                doors.append(await opened)
    return lines, doors


async def serve_centre(source: Path) -> int:
    """The other side: a network centre with issuers, or the bank's core."""
    config = read_config(source, CentreConfig)
    start = began(source, config)
    centre, profile = build_centre(config, source.parent, secrets.token_bytes)
    life = Life()
    disk = open_disk(config.ledger, ISSUER_TABLES)
    loop = asyncio.get_running_loop()
    performer = Performer(centre, disk, loop, life.failed)
    with _whole(config.ledger):
        disk.check()
    centre.recover(*(disk.table(table.name) for table in (LEDGER, PINS, CHIPS)))
    host, port = host_and_port(config.listen)
    framing, tls = framing_of(profile), listening_tls(config.tls)
    server = await listen(performer, host, port, framing, profile.timers.frame_s, name=config.name, tls=tls)

    def cutover(asked: dict[str, Any]) -> bool:
        date, window_s = str(asked["date"]), float(asked.get("window_s", 1.0))
        return bool(performer.call(lambda now, out: centre.cutover(date, window_s, now, out)))

    def status(_: dict[str, Any]) -> dict[str, Any]:
        return {**centre.statistics(), "settlement_date": centre.settlement_date, "commits": disk.commits}

    def reload(_: dict[str, Any]) -> str:
        return reload_centre(centre, start, read_config(source, CentreConfig))

    commands: dict[str, Command] = {"status": status, "cutover": cutover, "reload": reload}
    control = await open_control(config.control, {**commands, "check": lambda _: centre.check()})
    page = await open_metrics(config.metrics, lambda lag: centre_families(centre, performer, lag))
    log.info("%s listens on %s", config.name, config.listen)
    await life.over.wait()
    server.close()
    if control:
        control.close()
    if page:
        page.close()
    if life.code == 0:
        performer.flush()
    performer.close_all()
    return _finish(disk, life.code)


def _secured(section: CounterpartConfig) -> Secured | None:
    context = dialling_tls(section.tls)
    return Secured(context, section.tls.name if section.tls else "") if context else None


async def open_control(path: Path | None, commands: dict[str, Command]) -> asyncio.Server | None:
    """The control socket, where one is configured."""
    return await serve_control(path, commands) if path else None


async def open_metrics(
    address: str,
    families: Callable[[LoopLag], list[Family]],
    gather: Callable[[], Awaitable[None]] | None = None,
    lag: LoopLag | None = None,
) -> MetricsPage | None:
    """The page of metrics, where an address for it is configured. Raises ConfigError where it is taken."""
    if not address:
        return None
    host, port = host_and_port(address)
    page = MetricsPage(families, gather, lag)
    try:
        await page.listen(host, port)
    except OSError as error:
        raise ConfigError(f"metrics {address}: {error.strerror or error}") from None
    return page


async def _drain(outstanding: Callable[[], int], most_s: float) -> None:
    """Let what is in flight finish, for a while."""
    loop = asyncio.get_running_loop()
    end = loop.time() + most_s
    while outstanding() and loop.time() < end:  # noqa: ASYNC110 - a machine's state, not an event
        await asyncio.sleep(0.05)


def _finish(disk: Disk, code: int) -> int:
    try:
        disk.close()
    except StorageFailed as error:
        log.error("storage failed at the end: %s", error)
        return STORAGE_FAILED
    return code
