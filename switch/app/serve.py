"""Processes: a machine, its disk and its links on one uvloop, until told to stop."""

import asyncio
import contextlib
import gc
import logging
import re
import secrets
import signal
from collections.abc import Callable, Coroutine, Iterator
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
from switch.app.measures import centre_families, switch_families
from switch.app.reload import began, reload_centre, reload_engine
from switch.clearing.schema import CHIPS, ISSUER_TABLES, JOURNAL, LEDGER, PINS, SWITCH_TABLES
from switch.engine.archive import Recall
from switch.engine.engine import Engine
from switch.engine.line import BOTH, IN, OUT
from switch.net.chain import BrokenChain
from switch.net.disk import Disk, StorageFailed, StoreInUse
from switch.net.listen import Patience, Secured, dial, listen
from switch.net.metrics import Family, LoopLag, MetricsPage
from switch.net.perform import Performer
from switch.net.stranger import Strangers
from switch.wire.profile import framing_of

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


class _Life:
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


async def serve_switch(source: Path) -> int:
    """The acquiring switch of a configuration (an absolute path): recover, dial, listen, serve until SIGTERM, drain."""
    config = read_config(source, SwitchConfig)
    start = began(source, config)
    engine, pos = build_engine(config, source.parent, secrets.token_bytes)
    life = _Life()
    disk = open_disk(config.journal, SWITCH_TABLES)
    loop = asyncio.get_running_loop()
    performer = Performer(engine.hsm_queue or engine, disk, loop, life.failed)
    engine.recalls(_read_back(disk, performer))
    with _whole(config.journal):
        performer.call(lambda now, out: engine.recover(disk.history(), now, out))
    performer.flush()
    lag = performer.lag = LoopLag(loop)
    lines, doors = await connect_lines(performer, config, engine)
    host, port = host_and_port(config.listen)
    timers, tls = pos.timers, listening_tls(config.tls)
    strangers = Strangers(timers.sign_in_s)
    framing = framing_of(pos)
    server = await listen(
        performer, host, port, framing, timers.frame_s, idle_s=timers.idle_s, tls=tls, strangers=strangers
    )

    def status(_: dict[str, Any]) -> dict[str, Any]:
        return {
            **engine.status(),
            "connections": performer.connections,
            "connections_refused": performer.connections_refused,
            "connections_max": performer.connections_max,
            "connections_cut": dict(performer.cut),
            "commits": disk.commits,
            "rows": disk.rows,
        }

    def reload(_: dict[str, Any]) -> str:
        return reload_engine(engine, start, read_config(source, SwitchConfig), secrets.token_bytes)

    control = await _control(config.control, {"status": status, "reload": reload})
    page = await _metrics(config.metrics, lambda lag: switch_families(engine, performer, lag), lag)
    log.info("switch listens on %s, journal at row %d", config.listen, disk.durable)
    await life.over.wait()
    for door in (server, control, page):
        if door:
            door.close()
    if life.code == 0:
        engine.drain()
        await _drain(lambda: sum(len(c.inflight) for c in engine.office.counterparts.values()), config.drain_s)
        performer.flush()
    lag.close()
    for line in lines:
        line.cancel()
    for door in doors:
        door.close()
    performer.close_all()
    return _finish(disk, life.code)


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
    life = _Life()
    disk = open_disk(config.ledger, ISSUER_TABLES)
    loop = asyncio.get_running_loop()
    performer = Performer(centre, disk, loop, life.failed)
    with _whole(config.ledger):
        disk.check()
    ledger, pins, chips = ((row for _, row in disk.history(table.name)) for table in (LEDGER, PINS, CHIPS))
    centre.recover(ledger, pins, chips)
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
    control = await _control(config.control, {**commands, "check": lambda _: centre.check()})
    page = await _metrics(config.metrics, lambda lag: centre_families(centre, performer, lag))
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


async def _control(path: Path | None, commands: dict[str, Command]) -> asyncio.Server | None:
    return await serve_control(path, commands) if path else None


async def _metrics(
    address: str, families: Callable[[LoopLag], list[Family]], lag: LoopLag | None = None
) -> MetricsPage | None:
    """The page of metrics, where an address for it is configured."""
    if not address:
        return None
    host, port = host_and_port(address)
    page = MetricsPage(families, lag)
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
