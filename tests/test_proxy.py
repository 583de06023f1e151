"""The fault proxy: what it is told, how it cuts, and what two ends see through it."""

import asyncio
import contextlib
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from scenarios.proxy.control import command, follow, read_schedule
from scenarios.proxy.faults import Active, FaultError, flipped, read_fault
from scenarios.proxy.frames import Cutter
from scenarios.proxy.relay import Proxy
from switch.wire.framing import Framing
from terminals.beside import free_ports

BARE = Framing(tpdu=False, header=0)
NETWORK = Framing(length="ascii4", tpdu=False, header=46)


def frame(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


# frames


def test_frames_are_cut_however_they_come() -> None:
    stream = frame("one") + frame("two") + frame("three")
    cutter, found = Cutter(BARE), []
    for byte in stream:
        found += cutter.feed(bytes((byte,)))
    assert found == [frame("one"), frame("two"), frame("three")]
    assert cutter.feed(frame("four")[:4]) == []
    assert cutter.end() == frame("four")[:4]


def test_keep_alives_and_prefixes_that_count_themselves() -> None:
    assert Cutter(NETWORK).feed(b"00000003abc") == [b"0000", b"0003abc"]
    assert Cutter(Framing(tpdu=False, header=0, counts_itself=True)).feed(b"\x00\x05abc") == [b"\x00\x05abc"]


def test_bytes_that_are_no_frames_go_on_as_they_are() -> None:
    cutter = Cutter(NETWORK)
    assert cutter.feed(b"0003abcHELLO") == [b"0003abc", b"HELLO"]
    assert cutter.lost
    assert cutter.feed(b"0003abc") == [b"0003abc"]
    raw = Cutter(None)
    assert raw.feed(b"\xff\xff\x01") == [b"\xff\xff\x01"]


# faults as they are written


def test_a_fault_is_read() -> None:
    fault = read_fault("duplicate:down,every=3,times=4")
    assert (fault.kind, fault.directions, fault.every, fault.values["times"]) == ("duplicate", ("down",), 3, 4)
    assert read_fault("latency").values == {"ms": 100.0, "jitter": 0.0}
    assert read_fault("drop:both").directions == ("up", "down")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("drip", "no fault is called 'drip'"),
        ("drop:sideways", "direction 'sideways'"),
        ("drop:up,ms=3", "no key 'ms'"),
        ("latency:up,every=3", "no key 'every'"),
        ("drop:up,share=2", "not in 0..1"),
        ("drop:up,share=nan", "not in 0..1"),
        ("drop:up,every=1.5", "not a whole number"),
        ("drop:up,every=2,share=0.5", "every or share"),
        ("bandwidth:up,bps=0", "out of range"),
        ("latency:up,ms=x", "not a number"),
    ],
)
def test_a_fault_that_makes_no_sense_says_why(text: str, reason: str) -> None:
    with pytest.raises(FaultError, match=reason.replace("(", r"\(")):
        read_fault(text)


def test_every_nth_and_a_share() -> None:
    draw = random.Random(1)
    third = read_fault("drop:up,every=3")
    assert [third.strikes("up", draw) for _ in range(7)] == [False, False, True, False, False, True, False]
    assert not third.strikes("down", draw)
    assert third.fired == {"up": 2, "down": 0}
    some = read_fault("drop:up,share=0.25")
    assert 200 < sum(some.strikes("up", draw) for _ in range(1000)) < 300


def test_flipped_bits_spare_the_length() -> None:
    whole = frame("x" * 40)
    changed = flipped(whole, 2, 3, random.Random(7))
    assert changed[:2] == whole[:2]
    assert sum((a ^ b).bit_count() for a, b in zip(whole, changed, strict=True)) in (1, 3)
    assert flipped(b"0000", 4, 3, random.Random(7)) == b"0000"


def test_counts_outlive_their_fault() -> None:
    active = Active()
    active.set("a", read_fault("drop:up"))
    active.faults["a"].strikes("up", random.Random(1))
    active.set("a", read_fault("drop:down"))
    active.faults["a"].strikes("down", random.Random(1))
    assert active.clear("a")
    assert not active.clear("a")
    assert active.fired() == {"drop": {"up": 1, "down": 1}}


# schedules


def test_a_schedule_is_read_in_the_order_of_its_seconds(tmp_path: Path) -> None:
    path = tmp_path / "evening.txt"
    path.write_text("# what happens\n2 clear a\n\n0.5 set a drop:up,every=2  # now\n3 cut\n")
    assert [(step.at, step.command) for step in read_schedule(path)] == [
        (0.5, "set a drop:up,every=2"), (2.0, "clear a"), (3.0, "cut"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x cut", "plan:1: 'x' is not a number of seconds"),
        ("1 cut\n2 stop", "plan:2: a schedule holds set, clear and cut"),
        ("1 set a drip", "plan:1: no fault is called 'drip'"),
        ("1 set a", "plan:1: set NAME FAULT"),
    ],
)
def test_a_bad_schedule_is_named_by_its_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "plan"
    path.write_text(text)
    with pytest.raises(FaultError, match=reason):
        read_schedule(path)


# through real sockets


class Two:
    """An echoing host, the proxy before it, and a client's connection."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.proxy, self.reader, self.writer = proxy, reader, writer

    async def say(self, *texts: str) -> None:
        self.writer.write(b"".join(map(frame, texts)))
        await self.writer.drain()

    async def hear(self, count: int, most_s: float = 3.0) -> list[str]:
        found: list[str] = []
        async with asyncio.timeout(most_s):
            while len(found) < count:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
                found.append((await self.reader.readexactly(size)).decode())
        return found

    async def silent(self, for_s: float = 0.15) -> bool:
        try:
            async with asyncio.timeout(for_s):
                return not await self.reader.read(1)
        except TimeoutError:
            return True


def play(scene: Callable[[Two], Awaitable[None]], *faults: str, seed: int = 1) -> Proxy:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def main() -> Proxy:
        host = await asyncio.start_server(echo, "127.0.0.1", 0)
        proxy = Proxy("127.0.0.1", host.sockets[0].getsockname()[1], BARE, seed)
        for number, text in enumerate(faults):
            proxy.active.set(str(number), read_fault(text))
        port = await proxy.listen("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await scene(Two(proxy, reader, writer))
        finally:
            writer.transport.abort()
            await proxy.close()
            host.close()
        return proxy

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


WORDS = [f"word {n}" for n in range(12)]


def test_without_faults_nothing_changes() -> None:
    async def scene(two: Two) -> None:
        await two.say(*WORDS)
        assert await two.hear(12) == WORDS

    proxy = play(scene)
    figures = proxy.as_dict()
    assert figures["up"]["frames_in"] == figures["down"]["frames_out"] == 12
    assert figures["faults"] == {}


def test_dropped_doubled_and_swapped() -> None:
    async def dropped(two: Two) -> None:
        await two.say(*WORDS)
        assert await two.hear(9) == [word for n, word in enumerate(WORDS, 1) if n % 4]

    async def doubled(two: Two) -> None:
        await two.say(*WORDS[:4])
        assert await two.hear(8) == ["word 0", "word 1", "word 1", "word 1", "word 2", "word 3", "word 3", "word 3"]

    async def swapped(two: Two) -> None:
        await two.say(*WORDS[:4])
        assert await two.hear(4) == ["word 0", "word 2", "word 1", "word 3"]

    play(dropped, "drop:up,every=4")
    play(doubled, "duplicate:down,every=2,times=3")
    play(swapped, "swap:up,every=2")


def test_a_swapped_frame_with_nothing_behind_it_comes_late() -> None:
    async def scene(two: Two) -> None:
        began = time.monotonic()
        await two.say("alone")
        assert await two.hear(1) == ["alone"]
        assert 0.4 < time.monotonic() - began < 5.0

    play(scene, "swap:down")


def test_latency_and_bandwidth() -> None:
    async def late(two: Two) -> None:
        began = time.monotonic()
        await two.say("late")
        await two.hear(1)
        assert 0.19 < time.monotonic() - began < 5.0

    async def narrow(two: Two) -> None:
        began = time.monotonic()
        await two.say("x" * 98)
        await two.hear(1)
        assert 0.19 < time.monotonic() - began < 5.0

    play(late, "latency:both,ms=100")
    play(narrow, "bandwidth:up,bps=500")


def test_sliced_frames_arrive_whole() -> None:
    async def scene(two: Two) -> None:
        await two.say(*WORDS)
        assert await two.hear(12) == WORDS

    assert play(scene, "slice:both,bytes=1,ms=0").as_dict()["faults"]["slice"] == {"up": 12, "down": 12}


def test_half_open_swallows_one_direction_and_heals() -> None:
    async def scene(two: Two) -> None:
        await two.say("lost")
        assert await two.silent()
        assert two.proxy.active.clear("0")
        await two.say("found")
        assert await two.hear(1) == ["found"]

    figures = play(scene, "blackhole:down").as_dict()
    assert figures["up"]["frames_out"] == 2
    assert figures["down"]["swallowed"] == 1


def test_reset_cut_and_refuse() -> None:
    async def reset(two: Two) -> None:
        await two.say("one", "two", "three")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await two.hear(3)

    async def cut(two: Two) -> None:
        await two.say("one")
        await two.hear(1)
        assert command(two.proxy, "cut") == "1 connections reset"
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await two.hear(1)

    async def refuse(two: Two) -> None:
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await two.hear(1)

    assert play(reset, "reset:up,every=3").as_dict()["connections"]["reset"] == 1
    play(cut)
    assert play(refuse, "refuse").as_dict()["connections"]["refused"] == 1


def test_the_same_seed_drops_the_same_frames() -> None:
    heard: list[list[str]] = []

    async def scene(two: Two) -> None:
        await two.say(*(str(n) for n in range(60)))
        found: list[str] = []
        await asyncio.sleep(0.2)
        two.proxy.active.clear("0")
        await two.say("end")
        while "end" not in found:
            found += await two.hear(1)
        heard.append(found)

    for seed in (5, 5, 6):
        play(scene, "duplicate:up,share=0.3", seed=seed)
    assert heard[0] == heard[1] != heard[2]
    assert 65 < len(heard[0]) < 95


def test_a_schedule_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    path.write_text("0 set a drop:up\n0.3 clear a\n")

    async def scene(two: Two) -> None:
        task = asyncio.get_running_loop().create_task(follow(two.proxy, read_schedule(path)))
        await asyncio.sleep(0.05)
        await two.say("gone")
        assert await two.silent(0.1)
        await task
        await two.say("here")
        assert await two.hear(1) == ["here"]

    play(scene)


# the command


def proxy_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "switch.app.cli", "proxy", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--listen", "x", "--to", "127.0.0.1:1"), "HOST:PORT is needed"),
        (("--listen", "127.0.0.1:0", "--to", "127.0.0.1:1"), "HOST:PORT is needed"),
        (("--listen", "127.0.0.1:7", "--to", "127.0.0.1:1", "--fault", "drip"), "no fault is called 'drip'"),
        (("--listen", "127.0.0.1:7", "--to", "127.0.0.1:1", "--schedule", "nowhere"), "nowhere: No such file"),
        (("--listen", "127.0.0.1:7", "--to", "127.0.0.1:1", "--profile", "none-such"), "none-such"),
    ],
)
def test_bad_usage_is_one_line(arguments: tuple[str, ...], reason: str) -> None:
    done = proxy_command(*arguments)
    assert done.returncode == 2
    assert reason in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_command_tells_what_it_did(tmp_path: Path) -> None:
    (port, control), figures = free_ports(2), tmp_path / "what.json"
    line = [
        sys.executable, "-m", "switch.app.cli", "proxy", "--listen", f"127.0.0.1:{port}", "--to", "127.0.0.1:1",
        "--control", f"127.0.0.1:{control}", "--json", str(figures),
    ]  # fmt: skip
    child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 20
        while True:
            try:
                talk = socket.create_connection(("127.0.0.1", control), 5)
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.05)
        with talk, talk.makefile("rwb") as lines:
            with socket.create_connection(("127.0.0.1", port), 5) as client, contextlib.suppress(ConnectionResetError):
                client.settimeout(5)
                assert client.recv(1) == b""
            for asked, answer in (
                (b"set a drop:up", b"ok a is in force"), (b"list", b"ok a=drop"), (b"clear b", b"error no fault"),
                (b"nonsense", b"error no command"), (b"quit", b"ok bye"),
            ):  # fmt: skip
                lines.write(asked + b"\n")
                lines.flush()
                assert lines.readline().startswith(answer)
        assert child.wait(10) == 0
    finally:
        child.kill()
        child.communicate()
    assert json.loads(figures.read_text())["connections"]["unreachable"] == 1
