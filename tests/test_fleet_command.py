"""`shoudan fleet`: own terminals and cards against the demo's switch, and against hosts that are no help."""

import contextlib
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer
from terminals_host import MID, TID, TMK, ScriptedHost, new_line, silence
from typer.testing import CliRunner

from scenarios.demo import Processes, next_day
from scenarios.ground import Ground, lay
from switch.wire.framing import Deframer, reply_tpdu
from switch.wire.roster import TRANSPORT_KEY, TerminalRow, write_terminals
from terminals.beside import free_ports
from terminals.cli import register
from terminals.own import TransportKey, wrap

PANS = tuple(
    f"623000000000{tail}"
    for tail in ("0000015", "0000023", "0000031", "0000049", "0000056", "0000064", "0000072", "0000080")
)
COMMAND = (sys.executable, "-m", "switch.app.cli", "fleet")


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)


def write_cards(path: Path) -> Path:
    rows = [f"{pan},3612,{(n % 2 and '123456') or ''},100000000" for n, pan in enumerate(PANS)]
    path.write_text("pan,expiry,pin,balance_minor\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The demo's switch, centre and core, well-behaved; the centre knows the user's cards as well."""
    directory = tmp_path_factory.mktemp("own")
    laid = lay(directory, 11, 24, next_day(time.time())[0])
    cards = write_cards(directory / "cards.csv")
    for name, more in (("centre", f'cards = "{cards.name}"\n'), ("core", "")):
        laid.config(name).write_text(laid.config(name).read_text().partition("[[rules]]")[0] + more)
    processes = Processes(laid)
    try:
        processes.open()
        yield laid
    finally:
        processes.stop()


def files(ground: Ground) -> list[str]:
    return [
        "--terminals", str(ground.terminal_list), "--cards", str(ground.directory / "cards.csv"),
        "--profile", str(ground.directory / "profile-pos.toml"),
    ]  # fmt: skip


def test_a_run_against_the_demos_switch(ground: Ground, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(
        "--host", f"127.0.0.1:{ground.switch_port}", *files(ground), "--kek-file", str(ground.transport_keys),
        "--seconds", "2.5", "--rate", "60", "--amount", "1-20", "--out", str(out), "--json", "-",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data == json.loads((out / "fleet.json").read_text(encoding="utf-8"))
    assert (data["terminals"], data["cards"], data["open"], data["faults"]) == (24, len(PANS), [], {})
    assert data["authorizations"] == data["approved"] + data["declined"] + data["unknown"] > 60
    assert data["business_success_rate"] > 0.8
    assert sum(data["settlements"].values()) > 10
    assert data["connects"] <= 2 * 24
    with closing(sqlite3.connect(out / "terminals.db")) as book:
        items = book.execute("SELECT kind, state, reversal, response_code FROM terminals").fetchall()
    assert len(items) == data["authorizations"]
    assert sum(state == "approved" for _, state, _, _ in items) == data["approved"]
    assert not any(reversal == "pending" for _, _, reversal, _ in items)
    assert "签购单" in (out / "slips.txt").read_text(encoding="utf-8")
    for words in ("transactions 交易", "Answers 应答", "settlements 结算", "00 approved"):
        assert words in done.stderr
    scan([done.stdout.encode(), done.stderr.encode(), *(path.read_bytes() for path in out.iterdir())])
    scan(path.read_bytes() for path in ground.directory.iterdir() if path.is_file() and path.name != "cards.csv")


def scan(contents: Any) -> None:
    """No card number, in clear or packed."""
    for content in contents:
        for pan in PANS:
            assert pan.encode() not in content
            assert bytes.fromhex(pan[:-1]) not in content
            assert bytes.fromhex(pan[1:]) not in content


def test_one_connection_a_transaction_and_batches_left_open(ground: Ground) -> None:
    key = ground.transport_keys.read_text().splitlines()[1].split(",")
    done = run(
        "--host", f"127.0.0.1:{ground.switch_port}", *files(ground), "--seconds", "1", "--rate", "30",
        "--mix", "sale=3,echo=1",
        "--one-connection-per-transaction", "--no-settle", "--json", "-",
        env={"SHOUDAN_KEK": ":".join(key[:3]), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert set(data["by_transaction"]) == {"sale"}
    assert data["settlements"] == {}
    assert data["connects"] >= 24 + data["authorizations"]
    assert data["dialogues"]["echo approved"] > 0
    done = run(
        "--host", f"127.0.0.1:{ground.switch_port}", *files(ground), "--kek-file", str(ground.transport_keys),
        "--seconds", "0.5", "--rate", "100", "--mix", "sale=1", "--json", "-",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["settlements"]["unbalanced"] > 0  # the host knows more of these batches


def test_a_file_at_fault_loads_nothing(ground: Ground, tmp_path: Path) -> None:
    listed = tmp_path / "terminals.csv"
    lines = ground.terminal_list.read_text(encoding="utf-8").splitlines()
    lines[4] = lines[4].replace("stripe", "chip")
    listed.write_text("\n".join([*lines, lines[1]]) + "\n", encoding="utf-8")
    keys = ["--kek-file", str(ground.transport_keys)]
    done = run("--host", "127.0.0.1:1", *files(ground), *keys, "--terminals", str(listed))
    assert done.returncode == 2
    told = done.stderr.splitlines()
    assert [line.split(": ")[2] for line in told] == ["line 5", f"line {len(lines) + 1}"]
    assert all(line.startswith(f"shoudan: {listed}: ") for line in told)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--host", "nowhere"], "--host 'nowhere': HOST:PORT is needed"),
        (["--mix", "sale=1,lunch=2"], "--mix: 'lunch' is none of"),
        (["--mix", "sale=0"], "--mix: all shares are 0"),
        (["--amount", "5-1"], "--amount '5-1': MIN-MAX in yuan is needed"),
        (["--profile", "cups"], "profile cups: a terminals' profile is needed"),
        (["--profile", "none"], "profile none: no such file"),
        (["--cards", "none.csv"], "none.csv: No such file or directory"),
        (["--kek-file", "none.csv"], "none.csv: No such file or directory"),
        (["--kek-file", ""], "kek: no transport key 'terminals_key' was given"),
    ],
)  # fmt: skip
def test_bad_usage(ground: Ground, arguments: list[str], told: str) -> None:
    """In this process: the command itself, without the start of a Python."""
    app = typer.Typer()
    register(app)
    whole = files(ground)
    given = dict(zip(whole[::2], whole[1::2], strict=True))
    given |= {"--host": "127.0.0.1:1", "--kek-file": str(ground.transport_keys)} | dict([arguments])
    flat = [word for name, value in given.items() if value for word in (name, value)]
    done = CliRunner().invoke(app, flat, env={"SHOUDAN_KEK": ""})
    assert done.exit_code == 2, done.output
    assert told in done.stderr.replace("\n", " ")


def test_an_earlier_book_is_left_alone(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "terminals.db").write_bytes(b"")
    done = run(
        "--host", "127.0.0.1:1", *files(ground), "--kek-file", str(ground.transport_keys), "--out", str(tmp_path)
    )
    assert done.returncode == 2
    assert "holds the book of an earlier run" in done.stderr


def test_nobody_there(ground: Ground) -> None:
    host = f"127.0.0.1:{free_ports(1)[0]}"
    done = run("--host", host, *files(ground), "--kek-file", str(ground.transport_keys))
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == f"shoudan: {host}: no terminal could sign in: unreachable"


@contextlib.contextmanager
def host_of(answer: Callable[[bytes], bytes | None]) -> Iterator[int]:
    """A host on a socket, one terminal at a time."""
    framing = new_line().framing
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=talk, args=(connection,), daemon=True).start()

        def talk(connection: socket.socket) -> None:
            deframer = Deframer(framing)
            with connection, contextlib.suppress(OSError):
                while data := connection.recv(4096):
                    for frame in deframer.feed(data):
                        reply = answer(frame.body)
                        if reply is not None:
                            connection.sendall(framing.wrap(reply, frame.header, reply_tpdu(frame.tpdu)))

        threading.Thread(target=serve, daemon=True).start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)


def one_terminal(directory: Path) -> list[str]:
    key = TransportKey(TRANSPORT_KEY, "3des", bytes(range(16)))
    row = TerminalRow(
        TID, MID, "5411", "江南区和记超市", "3des", tmk=wrap(key, "3des", TMK)[0], kcv=wrap(key, "3des", TMK)[1]
    )
    write_terminals(directory / "terminals.csv", [row])
    (directory / "keys.csv").write_text(f"suite,key\n3des,{key.key.hex()}\n")
    (directory / "profile.toml").write_text('extends = "unionpay-pos"\n[timers]\nreply_s = 0.2\n')
    return [
        "--terminals", str(directory / "terminals.csv"), "--cards", str(write_cards(directory / "cards.csv")),
        "--kek-file", str(directory / "keys.csv"), "--profile", str(directory / "profile.toml"), "--mix", "sale=1",
        "--seconds", "0.5", "--rate", "20", "--json", "-",
    ]  # fmt: skip


def test_another_host_settles_a_run(tmp_path: Path) -> None:
    host = ScriptedHost()
    with host_of(host) as port:
        done = run("--host", f"127.0.0.1:{port}", *one_terminal(tmp_path))
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["approved"] == len(host.of("0200")) > 0
    assert data["settlements"] == {"balanced": 1}
    assert data["by_response"] == {"00": data["approved"]}


def test_an_interrupted_run_settles(tmp_path: Path) -> None:
    host = ScriptedHost()
    with host_of(host) as port:
        command = [*COMMAND, "--host", f"127.0.0.1:{port}", *one_terminal(tmp_path)]
        with subprocess.Popen(
            [*command, "--seconds", "60"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as child:
            until = time.monotonic() + 20
            while not host.of("0200"):
                assert time.monotonic() < until
                time.sleep(0.02)
            child.send_signal(signal.SIGINT)
            printed, _ = child.communicate(timeout=20)
    assert child.returncode == 0
    data = json.loads(printed)
    assert data["settlements"] == {"balanced": 1}
    assert data["seconds"] < 20


def test_what_stays_open_is_told(tmp_path: Path) -> None:
    """A host that signs terminals in and then never answers again."""
    host = ScriptedHost()

    def answer(body: bytes) -> bytes | None:
        if body[:2] != b"\x08\x00":
            host.script.append(silence)
        return host(body)

    with host_of(answer) as port:
        done = run("--host", f"127.0.0.1:{port}", *one_terminal(tmp_path), "--rest", "0.3")
    assert done.returncode == 1, done.stderr
    data = json.loads(done.stdout)
    assert [entry["what"] for entry in data["open"]] == ["reversal", "batch"]
    assert data["open"][0]["kind"] == "sale"
    assert data["by_response"] == {"silence": 1}
    assert data["reversals"]["pending"] == 1
    assert f"open 未结: terminal {TID}, reversal" in done.stderr
    assert not any(pan in done.stdout + done.stderr for pan in PANS)


def test_a_host_that_knows_no_terminal(tmp_path: Path) -> None:
    host = ScriptedHost()

    def answer(body: bytes) -> bytes | None:
        host.script.append("97")
        return host(body)

    with host_of(answer) as port:
        done = run("--host", f"127.0.0.1:{port}", *one_terminal(tmp_path))
    assert done.returncode == 3
    assert "no terminal could sign in: refused 97" in done.stderr
