"""The other stages: against a host over sockets, as a host of real terminals, in pytest; and the command itself."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scenarios.sandwich.ground import prepare
from scenarios.sandwich.ground import read as read_ground
from scenarios.story.casting import SEED, cast
from scenarios.story.live import Wardrobe, preflight
from scenarios.story.reading import Story, read_story
from scenarios.story.result import StoryResult, Verdict
from scenarios.story.run import play, run_live, run_sandwiched
from scenarios.story.serve import Prompter, ServedStage, hosted, server
from switch.engine.counterpart import wire_time
from switch.wire.profile import PosProfile, load_profile
from terminals.device import pos
from terminals.device.dialogue import Line
from terminals.drive.blocking import Session
from terminals.fleet import Terminal, memory_of

pytest_plugins = ["pytester"]
BOOK = Path(__file__).parent.parent / "scenarios" / "book"
NOWHERE = ("127.0.0.1", 0)
EMPTY = "[]\n"


def story_file(tmp_path: Path, steps: str, more: str = "live: true\n", name: str = "a") -> Path:
    path = tmp_path / f"{name}.yaml"
    path.write_text(
        f"id: XY-{len(list(tmp_path.iterdir())) + 1:03d}\ntitle: {name}\n{more}"
        "cast:\n  t1: {terminal: tap-shop, signed-in: true}\n  c1: {card: dual}\n"
        f"steps:{' ' if steps == EMPTY else chr(10)}{steps}"
    )
    return path


def spoken() -> PosProfile:
    profile = load_profile("unionpay-pos")
    assert isinstance(profile, PosProfile)
    return profile


def tills(story: Story) -> list[Terminal]:
    return [till.terminal for till in cast(story).tills.values()]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[str, int, list[Terminal]]]:
    """The house as a host: its address, and the terminals it knows."""
    (tmp_path / "host").mkdir()
    story = read_story(story_file(tmp_path / "host", EMPTY, "limit: 60 s\n", "host"))
    stage = ServedStage(story, cast(story), NOWHERE, lambda words: None)
    stage.open()
    over = threading.Event()
    thread = threading.Thread(target=stage.run, args=(lambda: not over.is_set(), 50.0), daemon=True)
    thread.start()
    yield (*stage.address, tills(story))
    over.set()
    thread.join(10)
    stage.close()


# live


STEPS = """\
- do: sale
  amount: 1200.00
  entry: chip
  force-online: true
  as: s
  expect:
    answer: "00"
    request: {de: {22: "051", 55.9F36: present}, mac: right}
    reply: {de: {11: {echo: request}, 37: {capture: rrn}}, mac: right}
    to-host: {mti: "0200"}
    count: {request 0200: 1, to-host 0200: 1}
    card: {certificate: TC, tvr: {online-pin: true}, balance: 100.00}
    terminal: {receipt: {contains: $rrn}, totals: {debit: 1200.00}}
    books: {state: answered}
- {do: sale, amount: 10.00, entry: tap, expect: {answer: Y1, request: none}}
- {do: upload, expect: {terminal: {offline: 0}}}
- do: sale
  amount: 5.00
  entry: chip
  e-cash: false
  faults: {on: t1, what: alter, which: {mti: "0210"}, de: {39: "51"}, mac: wrong}
  expect: {answer: "51"}
- {do: sale-void, of: s, expect: {answer: "00", terminal: {items: 4}}}
- {pass: 1 s}
"""


def played_live(host: tuple[str, int, list[Terminal]], *paths: Path) -> list[StoryResult]:
    wardrobe = Wardrobe(host[0], host[1], spoken(), host[2], SEED, scale=20.0)
    assert preflight(wardrobe, 3.0) == ""
    found = run_live(list(paths), wardrobe)
    assert (found.evidence.stage, found.evidence.host) == ("live", f"{host[0]}:{host[1]}")
    return list(found.stories)


def test_a_story_against_a_host_over_sockets(host: tuple[str, int, list[Terminal]], tmp_path: Path) -> None:
    [result] = played_live(host, story_file(tmp_path, STEPS))
    assert (result.verdict, result.findings, result.stage) == (Verdict.PASSED, (), "live")
    assert result.not_seen == ("line 17: expect.to-host", "line 18: expect.count.to-host 0200", "line 21: expect.books")
    assert [one.title for one in result.passings if one.kind == "message"][:2] == ["0200 sale", "0210 sale"]
    assert len(result.receipts) == 3
    assert {cell.response for cell in result.cells} >= {"00", "51"}


def test_what_is_not_so_live_is_told_as_in_the_house(host: tuple[str, int, list[Terminal]], tmp_path: Path) -> None:
    path = story_file(tmp_path, "- {do: sale, amount: 1200.00, entry: chip, e-cash: false, expect: {answer: '51'}}\n")
    [result] = played_live(host, path)
    assert [(one.line, one.expected, one.actual) for one in result.findings] == [(8, "51", "00")]


@pytest.mark.parametrize(
    ("steps", "more", "why"),
    [
        (EMPTY, "", "not marked live"),
        ("- restart: switch\n", "live: true\n", "line 8: restart is for the virtual stage"),
        ("- fault: {on: cups, what: drop}\n", "live: true\n", "line 8: drop on cups is for the virtual stage"),
        ("- {send: {mti: '0820'}, from: cups}\n", "live: true\n", "line 8: send is for the virtual stage"),
    ],
)
def test_what_this_stage_cannot_play_is_not_run(
    host: tuple[str, int, list[Terminal]], tmp_path: Path, steps: str, more: str, why: str
) -> None:
    path = story_file(tmp_path, steps, more)
    [result] = played_live(host, path)
    assert result.verdict is Verdict.NOT_RUN
    assert result.reason.partition("line ")[2][2:] == why.partition("line ")[2][2:]
    assert "line" in result.reason or result.reason == why


def test_nobody_fits_the_part(host: tuple[str, int, list[Terminal]], tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_text("id: XY-009\ntitle: b\nlive: true\ncast: {t1: {terminal: atm}}\nsteps: []\n")
    [result] = played_live(host, path)
    assert result.reason == "no terminal is left that reads stripe, contact, contactless on 3des"


def peer(behave: Callable[[socket.socket], Any]) -> tuple[int, threading.Thread]:
    """A host that does one thing to each who connects."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection, server:
            behave(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return server.getsockname()[1], thread


@pytest.mark.parametrize(
    ("behave", "why"),
    [
        (lambda one: one.sendall(b"SSH-2.0-x\r\n"), "the host speaks first (11 bytes)"),
        (lambda one: one.recv(100) and one.recv(100), "takes the connection and never answers"),
        (lambda one: None, "hangs up before anything was said"),
        (lambda one: one.recv(100), "hangs up on an echo test"),
    ],
)
def test_a_host_that_speaks_first_or_never_is_said_clearly(behave: Any, why: str) -> None:
    port, thread = peer(behave)
    story = story_of_a_shop()
    told = preflight(Wardrobe("127.0.0.1", port, spoken(), tills(story), SEED), 0.5)
    thread.join(5)
    assert why in told
    assert f"127.0.0.1:{port}" in told


def story_of_a_shop() -> Story:
    return read_story(next((BOOK / "entry").glob("*.yaml")))


def test_no_host_at_all() -> None:
    told = preflight(Wardrobe("127.0.0.1", 1, spoken(), tills(story_of_a_shop()), SEED), 0.5)
    assert told.startswith("127.0.0.1:1: no connection")


# serve


SERVED = """\
- do: sign-in
  expect: {answer: "00", terminal: {signed-in: true}}
- do: sale
  amount: 12.00
  faults: {on: cups, what: alter, which: {mti: "0210"}, de: {39: "51"}}
  expect:
    answer: "51"
    request: {de: {4: {amount: 12.00}}, mac: right}
    to-host: {de: {90: absent}}
    books: {state: answered}
- {do: sale, amount: 13.00, expect: {answer: "51", request: {de: {4: {amount: 14.00}}}}}
"""


def test_a_real_terminal_is_judged_as_its_messages_arrive(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "id: XY-001\ntitle: served\nlimit: 20 s\ncast: {t1: {terminal: shop}, c1: {card: debit-stripe}}\n"
        f"steps:\n{SERVED}"
    )
    prompts: list[str] = []
    made: list[ServedStage] = []

    def make(story: Story) -> ServedStage:
        made.append(server(NOWHERE, prompts.append, lambda one: hosted((), one))(story))
        return made[0]

    results: list[StoryResult] = []
    thread = threading.Thread(target=lambda: results.append(play(read_story(path), make, "serve", Prompter)))
    thread.start()
    while not prompts and thread.is_alive():
        thread.join(0.01)
    troupe = made[0].troupe
    line, card = Line(spoken()), troupe.holders["c1"].card
    memory = memory_of(troupe.tills["t1"].terminal)
    session = Session(line, *made[0].address)
    for number, flow in enumerate((
        pos.sign_in(memory, line), pos.sale(memory, line, card, 1200), pos.sale(memory, line, card, 1300),
    ), 1):  # fmt: skip
        while len(prompts) < number and thread.is_alive():
            thread.join(0.01)
        session.run(flow, lambda asked: card.pin)
    thread.join(20)
    session.close()
    assert prompts == ["sign-in", "sale amount 12.00", "sale amount 13.00"]
    [result] = results
    assert result.verdict is Verdict.FAILED
    assert [(one.line, one.path, one.actual) for one in result.findings] == [
        (16, "expect.answer", "00"), (16, "expect.request.de.4", "000000001300"),
    ]  # fmt: skip
    assert result.not_seen == ("line 7: expect.terminal",)


# pytest


def test_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        def test_a_sale(terminal, switch, centre, card):
            sale = terminal.do("sale", amount=12, expect={"answer": "00", "books": {"balanced": True}})
            assert sale.seen("to-host")[0].fields[4] == "000000001200"
            assert "12.00" in sale.receipt
            assert [row["state"] for row in switch.journal()] == ["sent", "answered"]
            assert len(centre.ledger()) == len(switch.sent("0200")) == 1
            centre.rules({"action": "code", "code": "51"})
            assert terminal.do("sale", amount="5.00").answer == "51"
            terminal.send(like="sale", amount=1, mac="wrong").expect(answer="A0")
            switch.restart()
            assert switch.status["counterparts"]["cups"]["ready"]

        @pytest.mark.story(terminal="tap-shop", card="dual")
        def test_a_tap(terminal, card, house):
            assert card.chip == "dual"
            terminal.do("sale", amount=10, entry="tap", expect={"answer": "Y1", "card": {"balance": 90.00}})

        EVERYBODY = {"a": {"terminal": "shop", "signed-in": True}, "b": {"card": "own-stripe"}}

        @pytest.mark.story(cast=EVERYBODY, hosts="poor")
        def test_a_cast(house):
            assert house.terminals["a"].do("sale", card="b", amount=1).answer == "51"

        def test_it_is_told(terminal, centre, house):
            centre.fault("drop", which={"mti": "0210"})
            terminal.do("sale", amount=12, expect={"answer": "00", "books": {"state": "answered"}, "within": "1 s"})
        """
    )
    loaded = any(one.value == "scenarios.story.plugin" for one in entry_points(group="pytest11"))
    result = pytester.runpytest(*(() if loaded else ("-p", "scenarios.story.plugin")))
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*expect.answer: expected 00, actual 98*", "*to the host: no answer*"])


# the command


@pytest.fixture
def shoudan() -> Any:
    from scenarios.world.cli import scenario

    return lambda *words: CliRunner().invoke(scenario, list(map(str, words)))


def test_the_command_tells_its_verdict_by_its_exit_code(shoudan: Any, tmp_path: Path) -> None:
    good = story_file(tmp_path, "- {do: sale, amount: 1.00, entry: tap, expect: {answer: Y1}}\n", name="good")
    wrong = story_file(tmp_path, "- {do: sale, amount: 1.00, entry: tap, expect: {answer: '00'}}\n", name="wrong")
    bad = story_file(tmp_path, "- {do: sail}\n", name="bad")
    assert shoudan("run", good).exit_code == 0
    told = shoudan("run", good, wrong, "--lang", "en")
    assert told.exit_code == 1
    assert f"{wrong}:8: expect.answer: expected 00, actual Y1 (offline)" in told.output
    told = shoudan("run", good, bad)
    assert told.exit_code == 2
    assert 'unknown transaction "sail"' in told.output
    told = shoudan("run", good, "--live", "127.0.0.1:1", "--terminals", tmp_path / "none.csv", "--seed", 1)
    assert told.exit_code != 0


def test_json_has_stories_passed_failed_and_seconds(shoudan: Any, tmp_path: Path) -> None:
    story_file(tmp_path, "- {do: sale, amount: 1.00, entry: tap, expect: {answer: Y1}}\n", name="good")
    story_file(tmp_path, "- {do: sale, amount: 1.00, entry: tap, expect: {answer: '00'}}\n", name="wrong")
    out = tmp_path / "out"
    told = shoudan(
        "run", tmp_path, "--json", out, "--junit", tmp_path / "j", "--html", tmp_path / "h", "--processes", 2
    )
    assert told.exit_code == 1
    data = json.loads(out.read_text(encoding="utf-8"))
    assert (data["passed"], data["failed"], len(data["stories"])) == (1, 1, 2)
    assert 0 < data["seconds"] < 30
    assert data["stories"][1]["findings"][0]["expected"] == "00"
    assert len(data["evidence"]["configuration_hash"]) == 16
    assert (tmp_path / "j").read_bytes().startswith(b"<?xml")
    assert "<html" in (tmp_path / "h").read_text(encoding="utf-8")
    one = shoudan("run", tmp_path, "--only", data["stories"][0]["id"], "--json", "-")
    assert one.exit_code == 0
    assert '"passed": 1' in one.output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("run", "nowhere"), "nowhere: no such file or directory"),
        (("run", BOOK, "--only", "ZZ-999"), "no story there with the id ZZ-999"),
        (("run", BOOK, "--lang", "fr"), "--lang fr: zh or en"),
        (("run", BOOK, "--live", "127.0.0.1:1"), "which terminals does the host know?"),
    ],
)
def test_bad_usage_is_one_line(shoudan: Any, words: tuple[Any, ...], why: str) -> None:
    told = shoudan(*words)
    assert why in str(told.exception)


def test_every_chapter_has_stories_that_a_host_of_yes_fails(shoudan: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = shoudan("run", BOOK, "--host-answers-00", "--json", out, "--processes", 2)
    assert told.exit_code == 1
    stories = json.loads(out.read_text(encoding="utf-8"))["stories"]
    failed = {story["chapter"] for story in stories if story["verdict"] in ("failed", "stuck")}
    assert failed == {story["chapter"] for story in stories}
    assert [story["reason"] for story in stories if story["verdict"] == "broken"] == []


# around a switch


AROUND = """\
- do: sale
  card: c1
  amount: 12.00
  as: s
  expect:
    answer: "00"
    to-host: {de: {4: {amount: 12.00}, 37: {echo: reply}}, mac: right}
    from-host: {de: {39: "00"}}
    books: {state: answered, account: {posted: 12.00}}
- rules: {cups: {action: code, code: "51", times: 1}}
- {do: sale, card: c1, amount: 5.00, expect: {answer: "51"}}
- {host: cups, ask: key-reset, expect: {count: {from-host 0800: 2, to-host 0810: 2}, within: 5 s}}
- {do: sale-void, of: s, expect: {answer: "00", to-host: {de: {90: {pattern: ^0200}}}}}
"""


def test_a_story_around_a_switch(tmp_path: Path) -> None:
    ground = tmp_path / "ground"
    prepare(ground, 5, 8, wire_time(time.time())[:4], "", ())
    path = tmp_path / "a.yaml"
    path.write_text(
        "id: XY-001\ntitle: around\ncast:\n  t1: {terminal: shop, signed-in: true}\n"
        f"  c1: {{card: debit-stripe, balance: 20.00}}\nsteps:\n{AROUND}"
    )
    other = tmp_path / "b.yaml"
    other.write_text("id: XY-002\ntitle: b\ncast: {t1: {terminal: shop}}\nsteps:\n- restart: switch\n")
    command = [sys.executable, "-m", "switch.app.cli", "serve", str(ground / "own-switch" / "switch.toml")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found = run_sandwiched([path, other], read_ground(ground))
    finally:
        process.terminate()
        process.wait(20)
    around, restart = found.stories
    assert [(one.line, one.path, one.expected, one.actual) for one in around.findings] == []
    assert (around.verdict, around.reason) == (Verdict.PASSED, "")
    assert around.not_seen == ("line 15: books.state",)
    assert {one.dst for one in around.passings if one.kind == "message"} == {"terminal", "switch", "cups"}
    assert (restart.verdict, restart.reason) == (Verdict.NOT_RUN, "line 5: restart is for the virtual stage")
    assert found.evidence.stage == "sandwich"
