"""The page Prometheus reads. Numbers are kept elsewhere as plain ints; only a scrape turns them into metrics.

A page is made in the loop, between two messages: about a millisecond, and the numbers of one page belong together.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from switch.timings import LOCAL_BOUNDS_S, Timings

REQUEST_MAX: Final = 8192
REQUEST_S: Final = 5.0
LAG_EVERY_S: Final = 0.1

Sample: TypeAlias = tuple[tuple[str, ...], float | Timings]
"""Label values, and a number (or the Timings of a histogram)."""


class Family(NamedTuple):
    """One metric: its full name (a counter's ends in _total), what it means, its labels, and where to read it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    read: Callable[[], Iterable[Sample]]

    def metric(self) -> Metric:
        """The metric as it stands now."""
        if self.kind == "counter":
            return _plain(CounterMetricFamily(self.name, self.help, labels=self.labels), self.read())
        if self.kind == "gauge":
            return _plain(GaugeMetricFamily(self.name, self.help, labels=self.labels), self.read())
        family = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        for values, timings in self.read():
            if isinstance(timings, Timings):
                family.add_metric(values, _buckets(timings), timings.total)
        return family


def _plain(family: CounterMetricFamily | GaugeMetricFamily, samples: Iterable[Sample]) -> Metric:
    for values, number in samples:
        if not isinstance(number, Timings):
            family.add_metric(values, number)
    return family


def _buckets(timings: Timings) -> Sequence[tuple[str, float]]:
    """Upper bound and how many up to it, as the exposition wants them."""
    seen, buckets = 0, []
    for bound, count in zip((*timings.bounds, math.inf), timings.counts, strict=True):
        seen += count
        buckets.append(("+Inf" if bound == math.inf else repr(bound), float(seen)))
    return buckets


class _Page(Collector):
    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            yield family.metric()


class LoopLag:
    """How late the loop is with a timer, again and again: what every message waits for when the loop is busy."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.timings = Timings(LOCAL_BOUNDS_S)
        self._last_s = 0.0
        self._loop = loop
        # uvloop's clock moves by whole milliseconds, and once a turn: too coarse for the timings.
        self._due = self._due_by_loop = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._again()

    def _again(self) -> None:
        self._due = time.perf_counter() + LAG_EVERY_S
        self._due_by_loop = self._loop.time() + LAG_EVERY_S
        self._timer = self._loop.call_later(LAG_EVERY_S, self._look)

    def _look(self) -> None:
        self._last_s = max(0.0, time.perf_counter() - self._due)
        self.timings.add(self._last_s)
        self._again()

    def late_s(self, now: float) -> float:
        """How late it was the last time, or is by now, on the loop's clock (read anyway: 0.8 us a turn)."""
        late = now - self._due_by_loop
        return late if late > self._last_s else self._last_s

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class MetricsPage:
    """`GET /metrics` of one process; `families` makes its metrics around the lag of the running loop, `gather` is
    waited for before each answer (where other processes have to be asked first)."""

    def __init__(
        self,
        families: Callable[[LoopLag], Sequence[Family]],
        gather: Callable[[], Awaitable[None]] | None = None,
        lag: LoopLag | None = None,
    ) -> None:
        self._gather = gather
        self._lag = lag or LoopLag(asyncio.get_running_loop())
        self._registry = CollectorRegistry()
        self._registry.register(_Page(families(self._lag)))
        ProcessCollector(registry=self._registry)
        self._server: asyncio.Server | None = None

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page and its content type, in the newest format the reader accepts."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    async def listen(self, host: str, port: int) -> None:
        """Answer on an address. Raises OSError where it is taken."""
        self._server = await asyncio.start_server(self._talk, host, port, limit=REQUEST_MAX)

    def close(self) -> None:
        self._lag.close()
        if self._server is not None:
            self._server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection; whoever is slow or says nonsense is let go."""
        with contextlib.suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError, TimeoutError):
            request = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_S)
            if self._gather is not None:
                await self._gather()
            writer.write(self._answer(request.decode("latin-1")))
            await asyncio.wait_for(writer.drain(), REQUEST_S)
        writer.close()

    def _answer(self, request: str) -> bytes:
        lines = request.split("\r\n")
        method, _, rest = lines[0].partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return _response("405 Method Not Allowed", b"GET only\n")
        if path != "/metrics":
            return _response("404 Not Found", b"the metrics are at /metrics\n")
        accept = next((line.partition(":")[2] for line in lines[1:] if line.lower().startswith("accept:")), "")
        body, content_type = self.render(accept.strip())
        return _response("200 OK", body, content_type, only_head=method == "HEAD")


def _response(status: str, body: bytes, content_type: str = "text/plain", only_head: bool = False) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if only_head else body)
