"""One worker of `shoudan serve --workers`: a share of the switch, whose terminals the parent hands over.

    python -m switch.app.worker CONFIG PLACE OF DESCRIPTOR

Started by `switch.app.workers` and by nobody else; the descriptor is its end of the channel. It ends on SIGTERM, and
when the parent is gone.
"""

import asyncio
import logging
import socket
import sys
from pathlib import Path
from typing import Any

from switch.app.config import ConfigError
from switch.app.measures import switch_families
from switch.app.relay import Relay
from switch.app.serve import Switch, begin_switch, run_loop
from switch.engine.engine import Engine
from switch.engine.share import Share
from switch.net.channel import Channel
from switch.net.listen import CannotListen, connections_max
from switch.timings import Timings
from switch.wire.profile import PosProfile, framing_of

BAD_USAGE = 2
log = logging.getLogger("shoudan")


class _Worker:
    """What the parent may ask of a running share."""

    def __init__(self, end: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self.channel = Channel(end, self._loop, self._heard, self._orphaned)
        self.relay: Relay | None = None
        self._switch: Switch | None = None
        self._taking: set[asyncio.Task[None]] = set()

    def around(self, engine: Engine, pos: PosProfile) -> Relay:
        """The engine, with others' frames passed on."""
        self.relay = Relay(engine, framing_of(pos), self.channel.say)
        return self.relay

    def begin(self, switch: Switch) -> None:
        """Recovered, and ready for terminals."""
        if self.relay is not None:
            self.relay.performer = switch.performer
        self._switch = switch
        switch.performer.connections_max = connections_max()
        self._families = switch_families(switch.engine, switch.performer, switch.lag)
        self.channel.say({"ready": True})

    def _orphaned(self) -> None:
        if self._switch is not None:
            self._switch.life.over.set()

    def _heard(self, message: dict[str, Any], hand: socket.socket | None) -> None:
        switch = self._switch
        if switch is None:  # the parent says nothing before it has heard that we are ready
            return
        if hand is not None:
            task = self._loop.create_task(self._take(switch, hand))
            self._taking.add(task)
            task.add_done_callback(self._taking.discard)
        elif "from" in message and self.relay is not None:
            self.relay.heard(message)
        elif "gone" in message and self.relay is not None:
            self.relay.gone(int(message["gone"]))
        elif "agreed" in message:
            switch.performer.call(lambda now, out: switch.engine.agreed(message["agreed"], now, out))
        else:
            self.channel.say({"id": message["id"], **self._answer(switch, message)})

    def _answer(self, switch: Switch, message: dict[str, Any]) -> dict[str, Any]:
        try:
            match message["do"]:
                case "status":
                    return {"ok": switch.status(message)}
                case "reload":
                    return {"ok": switch.reload(message)}
                case "metrics":
                    return {"ok": self._metrics()}
                case _:
                    switch.performer.call(lambda now, out: switch.engine.told(message["news"], now, out))
                    return {"ok": True}
        except ConfigError as error:
            return {"error": str(error)}

    def _metrics(self) -> list[Any]:
        """Each family with its samples; a histogram as bounds, counts and total."""
        return [
            (*family[:4], [
                (labels, (value.bounds, value.counts, value.total) if isinstance(value, Timings) else value)
                for labels, value in family.read()
            ])
            for family in self._families
        ]  # fmt: skip

    async def _take(self, switch: Switch, sock: socket.socket) -> None:
        """A terminal's connection, from here on as if it had been accepted here."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        timers, framing = switch.pos.timers, framing_of(switch.pos)

        def make() -> asyncio.Protocol:
            return switch.performer.protocol(framing, timers.frame_s, idle_s=timers.idle_s, strangers=switch.strangers)

        try:
            await self._loop.connect_accepted_socket(make, sock)
        except OSError as error:
            log.debug("a connection was gone before it was taken: %s", error)
            sock.close()

    def close(self) -> None:
        self.channel.close()


async def serve_worker(source: Path, share: Share, end: socket.socket) -> int:
    """Serve a share of the switch until SIGTERM or the parent's end, drain; returns the exit code."""
    worker = _Worker(end)
    switch = await begin_switch(source, share, lambda news: worker.channel.say({"tell": news}), worker.around)
    worker.begin(switch)
    log.info("worker %d of %d is ready, journal at row %d", share.place + 1, share.of, switch.performer.disk.durable)
    await switch.life.over.wait()
    code = await switch.end()
    worker.close()
    return code


def main() -> int:
    """Entry point. Errors are one line."""
    source, place, of, descriptor = sys.argv[1:]
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s %(levelname)s worker {int(place) + 1}: %(message)s", stream=sys.stderr
    )
    end = socket.socket(fileno=int(descriptor))
    try:
        return run_loop(serve_worker(Path(source), Share(int(place), int(of)), end))
    except (ConfigError, CannotListen) as error:
        log.error("%s", error)
        return BAD_USAGE


if __name__ == "__main__":
    sys.exit(main())
