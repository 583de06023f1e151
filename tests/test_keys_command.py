"""`shoudan keys`: what it writes, what it refuses in one line, and that no output ever holds a secret."""

import fcntl
import json
import os
import pty
import secrets
import select
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scenarios.ground import lay
from switch.app import ceremony
from switch.app.cli import app
from switch.app.compose import build_centre, build_engine
from switch.app.config import CentreConfig, SwitchConfig, read_config
from switch.crypto.block import ecb_encryptor, kcv
from switch.crypto.hsm import Hsm
from switch.machine import Entropy
from switch.wire.roster import TRANSPORT_KEY, TerminalRow, write_terminals

ONE, TWO, THREE = (bytes([seed] * 8 + [255 - seed] * 8) for seed in (0x1C, 0x2D, 0x4B))
KEY = bytes(a ^ b for a, b in zip(ONE, TWO, strict=True))
ALL = bytes(a ^ b for a, b in zip(KEY, THREE, strict=True))
IMPORT = ("--usage", "tmk", "--suite", "sm4")
entropy: Entropy = secrets.token_bytes


class Desk:
    """A directory with an empty key file, and the command run in it with everything it says kept for the scan."""

    def __init__(self, room: Path) -> None:
        self.room = room
        self.keys, self.lmk = room / "a.keys", room / "a.lmk"
        self.said: list[str] = []
        self.secret: set[bytes] = {ONE, TWO, THREE, KEY, ALL}

    def run(self, *words: object, typed: str | None = None, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["keys", *map(str, words)], input=typed)
        self.said.append(result.output)
        assert not isinstance(result.exception, Exception), result.exception
        assert result.exit_code == code, result.output
        if code and "(hidden)" in result.stderr:
            assert "shoudan: " in result.stderr
        elif code:
            assert result.stderr
            assert all(line.startswith("shoudan: ") for line in result.stderr.splitlines())
        for path in self.room.rglob("*.keys"):
            hsm = self.hsm(path)
            self.secret |= {hsm._clear(hsm.record(label)) for label in hsm.labels()}
        self.secret |= {bytes.fromhex(path.read_text()) for path in self.room.rglob("*.lmk")}
        return result.output

    def hsm(self, keys: Path | None = None) -> Hsm:
        keys = keys or self.keys
        return Hsm.load(keys, bytes.fromhex(keys.with_suffix(".lmk").read_text()), entropy)

    def file(self, name: str, text: str) -> Path:
        path = self.room / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def scan(self) -> None:
        """Nothing said holds a secret, whole or by halves, nor does a key file, nor is anything left lying about."""
        everything = "".join(self.said).lower().replace(" ", "").replace("\n", "")
        stored = "".join(path.read_text().lower() for path in self.room.rglob("*.keys"))
        for secret in self.secret:
            for part in (secret[:8], secret[8:16], secret):
                assert part.hex() not in everything
                assert part.hex() not in stored
        assert not list(self.room.rglob(".ceremony-*"))
        assert not list(self.room.rglob("*.new"))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    desk.run("new", "--lmk", desk.lmk, "--keys", desk.keys)
    yield desk
    desk.scan()


@pytest.fixture
def seated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceremony, "at_a_terminal", lambda: True)
    monkeypatch.setattr("switch.app.keys.at_a_terminal", lambda: True)
    monkeypatch.setattr("switch.app.preset.at_a_terminal", lambda: True)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def value_of(suite: str, key: bytes) -> str:
    return kcv(suite, key).hex().upper()


def test_new_files_are_private_and_overwrite_nothing(desk: Desk) -> None:
    assert mode(desk.lmk) == mode(desk.keys) == 0o600
    assert len(bytes.fromhex(desk.lmk.read_text())) == 32
    assert not desk.keys.read_bytes()
    before = desk.lmk.read_bytes()
    for lmk, keys in ((desk.lmk, desk.room / "b.keys"), (desk.room / "b.lmk", desk.keys)):
        assert "is not overwritten" in desk.run("new", "--lmk", lmk, "--keys", keys, code=1)
    assert desk.lmk.read_bytes() == before
    assert {path.name for path in desk.room.iterdir()} == {"a.lmk", "a.keys"}
    assert "two files" in desk.run("new", "--lmk", desk.room / "c", "--keys", desk.room / "c", code=2)
    assert "no such directory" in desk.run("new", "--lmk", desk.room / "x/a", "--keys", desk.room / "x/b", code=2)


def test_new_leaves_no_lone_master_key_behind(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Hsm, path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Hsm, "save", full)
    assert "No space left" in desk.run("new", "--lmk", desk.room / "b.lmk", "--keys", desk.room / "b.keys", code=2)
    assert not (desk.room / "b.lmk").exists()


@pytest.mark.parametrize(
    ("usage", "suite", "length", "bytes_made"),
    [("tmk", "3des", (), 16), ("zmk", "sm4", (), 16), ("zmk", "3des", ("--length", 24), 24), ("store", "aes", (), 32)],
)
def test_generated_keys(desk: Desk, usage: str, suite: str, length: tuple[Any, ...], bytes_made: int) -> None:
    said = desk.run("generate", desk.keys, "k", "--usage", usage, "--suite", suite, *length, "--lmk", desk.lmk)
    hsm = desk.hsm()
    key = hsm._clear(hsm.record("k"))
    assert len(key) == bytes_made
    assert said == f"k  {usage}  {suite}  check value {value_of(suite, key)}\n"
    assert mode(desk.keys) == 0o600


def test_a_key_is_not_replaced_unasked(desk: Desk) -> None:
    make = ("generate", desk.keys, "zmk/cups", "--usage", "zmk", "--suite", "3des")
    desk.run(*make)
    first = desk.keys.read_bytes()
    assert "--replace" in desk.run(*make, code=1)
    assert desk.keys.read_bytes() == first
    desk.run(*make, "--replace")
    assert desk.keys.read_bytes() != first
    assert "is a zmk; forget it" in desk.run(
        "generate", desk.keys, "zmk/cups", "--usage", "tmk", "--suite", "3des", "--replace", code=1
    )


def test_a_key_nobody_else_has_is_not_replaced_in_passing(desk: Desk) -> None:
    make = ("generate", desk.keys, "store/journal", "--usage", "store", "--suite", "aes")
    desk.run(*make)
    before = desk.keys.read_bytes()
    assert "forget --force" in desk.run(*make, "--replace", code=1)
    assert desk.keys.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--usage", "kek", "--suite", "sm4"), "--usage: one of"),
        (("--usage", "tmk", "--suite", "aes"), "--suite: for a tmk one of 3des sm4"),
        (("--usage", "store", "--suite", "sm4"), "--suite: for a store one of aes"),
        (("--usage", "tmk", "--suite", "sm4", "--length", "8"), "--length: for sm4 one of 16"),
        (("--usage", "tmk", "--suite", "sm4", "--lmk", "none.lmk"), "none.lmk: no local master key there"),
    ],
)
def test_bad_usage_is_one_line(desk: Desk, words: tuple[str, ...], told: str) -> None:
    assert told in desk.run("generate", desk.keys, "k", *words, code=2)
    assert not desk.keys.read_bytes()


def test_components_from_files(desk: Desk) -> None:
    # On paper a component stands in groups.
    parts = [part.hex().upper() for part in (ONE, TWO, THREE)]
    files = [desk.file(f"c{n}", " ".join(part[i : i + 4] for i in range(0, 32, 4))) for n, part in enumerate(parts)]
    words = [word for file in files for word in ("--component-file", file)]
    said = desk.run("import", desk.keys, "tmk/1", *IMPORT, *words, "--kcv", value_of("sm4", ALL)[:6])
    assert said.splitlines() == [
        *(f"component {n}  check value {value_of('sm4', part)}" for n, part in enumerate((ONE, TWO, THREE), 1)),
        f"tmk/1  tmk  sm4  check value {value_of('sm4', ALL)}",
    ]
    hsm = desk.hsm()
    assert hsm._clear(hsm.record("tmk/1")) == ALL


def test_components_from_standard_input(desk: Desk) -> None:
    said = desk.run("import", desk.keys, "tmk/1", *IMPORT, "--lmk", desk.lmk, typed=f"{ONE.hex()}\n\n{TWO.hex()}\n")
    assert said.endswith(f"tmk/1  tmk  sm4  check value {value_of('sm4', KEY)}\n")
    assert value_of("sm4", KEY) == desk.hsm().kcv("tmk/1").hex().upper()


@pytest.mark.usefixtures("seated")
def test_components_from_prompts(desk: Desk) -> None:
    # A slip is asked for again; at the end the custodians say whether the check value is theirs.
    typed = f"{ONE.hex()[:-1]}\n{ONE.hex()}\n{TWO.hex()}\ny\n"
    said = desk.run("import", desk.keys, "tmk/1", *IMPORT, typed=typed)
    assert "component 1 of 2 (hidden): " in said
    assert "component 1 of 2: 32 hexadecimal digits are needed for sm4" in said
    assert value_of("sm4", KEY) in said
    assert "tmk/1" in desk.hsm()
    said = desk.run("import", desk.keys, "tmk/2", *IMPORT, "--components", 1, typed=f"{THREE.hex()}\nn\n", code=1)
    assert "nothing was written" in said
    assert "tmk/2" not in desk.hsm()
    sure = ("--components", 1, "--kcv", value_of("sm4", THREE))
    desk.run("import", desk.keys, "tmk/2", *IMPORT, *sure, typed=f"{THREE.hex()}\n")
    assert "tmk/2" in desk.hsm()


@pytest.mark.usefixtures("seated")
def test_prompts_do_not_go_on_for_ever(desk: Desk) -> None:
    assert "component 1 of 2" in desk.run("import", desk.keys, "k", *IMPORT, typed="1\n2\n3\n4\n", code=2)


def test_a_real_terminal_shows_nothing_of_what_is_typed(desk: Desk) -> None:
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "switch.app.cli", "keys", "import", str(desk.keys), "tmk/1", *IMPORT]
    process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown = b""
    try:
        # The prompt's last blank is written when the echo is off.
        for wanted, typed in (
            (b"1 of 2 (hidden): ", ONE.hex()),
            (b"2 of 2 (hidden): ", TWO.hex()),
            (b"right? [y/N]", "y"),
        ):
            while wanted not in shown:
                assert select.select([ours], [], [], 60)[0]
                shown += os.read(ours, 1024)
            os.write(ours, typed.encode() + b"\n")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    desk.said.append(shown.decode())
    assert value_of("sm4", KEY) in shown.decode()
    assert desk.hsm().kcv("tmk/1") == kcv("sm4", KEY)


@pytest.mark.parametrize(
    ("typed", "code", "told"),
    [
        ("", 1, "1 to 3 components are needed, 0 came"),
        (f"{ONE.hex()}\n" * 2, 1, "two are the same"),
        ("\n".join((ONE.hex(), TWO.hex(), KEY.hex())), 1, "a key of zeros"),
        ("\n".join(bytes([n] * 16).hex() for n in range(1, 5)), 1, "4 came"),
        (ONE.hex()[:-2], 2, "standard input, component 1: 32 hexadecimal digits are needed for sm4"),
        (f"{ONE.hex()}\n{ONE.hex()}zz", 2, "standard input, component 2: 32"),
    ],
)
def test_components_that_make_no_key(desk: Desk, typed: str, code: int, told: str) -> None:
    assert told in desk.run("import", desk.keys, "k", *IMPORT, typed=typed, code=code)
    assert not desk.keys.read_bytes()


def test_components_of_two_lengths(desk: Desk) -> None:
    words = ("import", desk.keys, "k", "--usage", "tmk", "--suite", "3des")
    assert "not of one length" in desk.run(*words, typed=f"{ONE.hex()}\n{TWO.hex()[:16]}\n", code=1)


def test_a_wrong_check_value_writes_nothing(desk: Desk) -> None:
    said = desk.run("import", desk.keys, "k", *IMPORT, "--kcv", "00000000", typed=ONE.hex(), code=1)
    assert f"k: the key's check value is {value_of('sm4', ONE)}, not what --kcv says" in said
    assert "--kcv: 6 to 16" in desk.run("import", desk.keys, "k", *IMPORT, "--kcv", ONE.hex(), typed="", code=2)
    assert not desk.keys.read_bytes()


def test_alike_halves_are_told(desk: Desk) -> None:
    words = ("import", desk.keys, "k", "--usage", "tmk", "--suite", "3des")
    desk.secret.add(THREE[:8] * 2)
    assert "single DES" in desk.run(*words, typed=(THREE[:8] * 2).hex())


@pytest.mark.parametrize(
    "words",
    [
        ("k", ONE.hex()),
        ("k", "--component-file", ONE.hex()),
        ("k", "--components", ONE.hex()),
        ("k", "--kcv", ONE.hex() + "00"),
        (ONE.hex(),),
    ],
)
def test_a_key_typed_in_the_wrong_place_is_not_repeated(desk: Desk, words: tuple[str, ...]) -> None:
    desk.run("import", desk.keys, *words, *IMPORT, typed=TWO.hex(), code=2)
    assert not desk.keys.read_bytes()


def test_a_readable_secret_file_is_told(desk: Desk) -> None:
    path = desk.file("c1", ONE.hex())
    path.chmod(0o644)
    assert f"chmod 600 {path}" in desk.run("import", desk.keys, "k", *IMPORT, "--component-file", path)
    desk.lmk.chmod(0o640)
    assert f"chmod 600 {desk.lmk}" in desk.run("list", desk.keys)


def test_a_component_file_of_something_else(desk: Desk) -> None:
    path = desk.file("photo", "")
    path.write_bytes(b"\xff\xd8\x00")
    assert f"{path}: 32 hex" in desk.run("import", desk.keys, "k", *IMPORT, "--component-file", path, code=2)
    none = desk.room / "none"
    assert f"{none}: no such file" in desk.run("import", desk.keys, "k", *IMPORT, "--component-file", none, code=2)


def test_wrap_and_unwrap(desk: Desk) -> None:
    desk.run("import", desk.keys, TRANSPORT_KEY, *IMPORT, typed=ONE.hex())
    desk.run("import", desk.keys, "tmk/1", "--usage", "tmk", "--suite", "3des", typed=TWO.hex())
    shown = json.loads(desk.run("wrap", desk.keys, "tmk/1", "--under", TRANSPORT_KEY, "--json"))
    cryptogram, value = ecb_encryptor("sm4", ONE)(TWO).hex().upper(), value_of("3des", TWO)
    assert shown == {"label": "tmk/1", "under": TRANSPORT_KEY, "cryptogram": cryptogram, "kcv": value}
    said = desk.run("wrap", desk.keys, "tmk/1", "--under", TRANSPORT_KEY)
    assert said == f"tmk/1 under {TRANSPORT_KEY}\ncryptogram   {cryptogram}\ncheck value  {value}\n"
    back = ("--under", TRANSPORT_KEY, "--usage", "tmk", "--suite", "3des", "--cryptogram", cryptogram)
    said = desk.run("unwrap", desk.keys, "tmk/2", *back, "--kcv", value)
    assert said == f"tmk/2  tmk  3des  check value {value}\n"
    hsm = desk.hsm()
    assert hsm._clear(hsm.record("tmk/2")) == TWO
    before = desk.keys.read_bytes()
    assert "another check value" in desk.run("unwrap", desk.keys, "tmk/3", *back, "--kcv", "000000", code=1)
    assert "--replace" in desk.run("unwrap", desk.keys, "tmk/2", *back, "--kcv", value, code=1)
    wrong = (*back[:-1], cryptogram[:-2])
    assert "--cryptogram: has the length" in desk.run("unwrap", desk.keys, "tmk/3", *wrong, "--kcv", value, code=2)
    assert desk.keys.read_bytes() == before


def test_what_carries_what(desk: Desk) -> None:
    desk.run("import", desk.keys, TRANSPORT_KEY, *IMPORT, typed=ONE.hex())
    desk.run("generate", desk.keys, "store/journal", "--usage", "store", "--suite", "aes")
    said = desk.run("wrap", desk.keys, "store/journal", "--under", TRANSPORT_KEY, code=1)
    assert "is a tmk and carries no store" in said
    assert "no key under label 'tmk/9'" in desk.run("wrap", desk.keys, "tmk/9", "--under", TRANSPORT_KEY, code=1)
    assert "no key under label 'zmk/x'" in desk.run("wrap", desk.keys, TRANSPORT_KEY, "--under", "zmk/x", code=1)
    words = ("--under", TRANSPORT_KEY, "--usage", "zpk", "--suite", "sm4", "--cryptogram", "00" * 16, "--kcv", "00" * 4)
    assert "carries no zpk" in desk.run("unwrap", desk.keys, "k", *words, code=1)


def test_list(desk: Desk) -> None:
    assert desk.run("list", desk.keys, "--lmk", desk.lmk) == "label  usage  suite  check value\n"
    desk.run("import", desk.keys, "tmk/10000001", *IMPORT, typed=ONE.hex())
    desk.run("import", desk.keys, "a", "--usage", "zmk", "--suite", "3des", typed=TWO.hex())
    assert desk.run("list", desk.keys).splitlines() == [
        "label         usage  suite  check value",
        f"a             zmk    3des   {value_of('3des', TWO)}",
        f"tmk/10000001  tmk    sm4    {value_of('sm4', ONE)}",
    ]
    assert json.loads(desk.run("list", desk.keys, "--json"))[1] == {
        "label": "tmk/10000001",
        "usage": "tmk",
        "suite": "sm4",
        "kcv": value_of("sm4", ONE),
    }


def test_forget(desk: Desk) -> None:
    desk.run("import", desk.keys, "tmk/1", *IMPORT, typed=ONE.hex())
    desk.run("generate", desk.keys, "store/journal", "--usage", "store", "--suite", "aes")
    assert f"forgot tmk/1  tmk  sm4  check value {value_of('sm4', ONE)}" in desk.run("forget", desk.keys, "tmk/1")
    assert "no key under label 'tmk/1'" in desk.run("forget", desk.keys, "tmk/1", code=1)
    assert "--force if that is meant" in desk.run("forget", desk.keys, "store/journal", code=1)
    assert list(desk.hsm().labels()) == ["store/journal"]
    desk.run("forget", desk.keys, "store/journal", "--force")
    assert not desk.keys.read_bytes()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda desk: desk.file("a.lmk", "00" * 32), "is a.lmk the local master key it was saved under?"),
        (lambda desk: desk.file("a.lmk", "hello"), "a local master key is 64 hexadecimal digits"),
        (lambda desk: desk.file("a.keys", "{}\n"), "line 1 of the key file is not a key record"),
        (lambda desk: desk.keys.write_bytes(b"\xff\xfe"), "not a key file"),
        (lambda desk: desk.keys.unlink(), "no key file there"),
        (lambda desk: desk.lmk.unlink(), "no local master key there"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, damage: Callable[[Desk], Any], told: str) -> None:
    desk = Desk(tmp_path)
    desk.run("new", "--lmk", desk.lmk, "--keys", desk.keys)
    desk.run("import", desk.keys, "k", *IMPORT, typed=ONE.hex())
    damage(desk)
    desk.room = tmp_path / "nowhere"  # the files no longer open for the scan either
    assert told in desk.run("list", desk.keys, code=2)
    desk.scan()


def test_one_ceremony_at_a_time(desk: Desk) -> None:
    room = os.open(desk.room, os.O_RDONLY)
    try:
        fcntl.flock(room, fcntl.LOCK_EX)
        said = desk.run("generate", desk.keys, "k", *IMPORT, code=1)
        assert "another ceremony is at work" in said
    finally:
        os.close(room)
    desk.run("generate", desk.keys, "k", *IMPORT)


def test_a_failed_write_keeps_the_former_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.run("generate", desk.keys, "k", *IMPORT)
    before = desk.keys.read_bytes()

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        assert "No space left" in desk.run("generate", desk.keys, "k2", *IMPORT, code=2)
    assert desk.keys.read_bytes() == before


def test_a_link_to_a_key_file_stays_one(desk: Desk) -> None:
    link = desk.room / "current"
    link.symlink_to(desk.keys)
    desk.run("generate", link, "k", *IMPORT, "--lmk", desk.lmk)
    assert link.is_symlink()
    assert "k" in desk.hsm()


# The presets


@pytest.fixture
def laid(tmp_path: Path) -> Iterator[Desk]:
    """A demo's ground without any key files."""
    desk = Desk(tmp_path)
    lay(tmp_path, 7, 4, "0714")
    for path in [*tmp_path.glob("*.keys"), *tmp_path.glob("*.lmk")]:
        path.unlink()
    desk.keys, desk.lmk = tmp_path / "switch.keys", tmp_path / "switch.lmk"
    yield desk
    desk.scan()


def test_for_switch_names_what_is_missing_until_nothing_is(laid: Desk) -> None:
    config = laid.room / "switch.toml"
    said = laid.run("for-switch", config, code=1)
    assert {line.split("  ")[0] for line in said.splitlines() if line.startswith("made")} == {"made"}
    for told in ("missing zmk/cups (3des): give --zmk cups=FILE", "missing zmk/core (sm4)", "has 4 master keys"):
        assert told in said
    assert set(laid.hsm().labels()) == {"store/journal", "hash/journal"}
    assert mode(laid.keys) == mode(laid.lmk) == 0o600
    former = laid.hsm().record("store/journal")
    one, two = laid.file("one", ONE.hex()), laid.file("two", TWO.hex())
    said = laid.run(
        "for-switch", config, "--zmk", f"cups={one}", "--zmk", f"cups={two}", "--zmk", f"core={two}", code=1
    )
    assert "made" not in said
    assert "missing zmk" not in said
    assert laid.hsm().record("store/journal") == former
    assert laid.hsm().kcv("zmk/cups") == kcv("3des", KEY)
    assert "is there already" in laid.run("for-switch", config, "--zmk", f"cups={one}", code=1)
    # A transport key that is not the list's: each line is told, as the switch itself would.
    laid.run("import", laid.keys, TRANSPORT_KEY, *IMPORT, typed=THREE.hex())
    assert "line 2: kcv: the master key has another check value" in laid.run("for-switch", config, code=1)
    rows = [
        TerminalRow(f"1000000{n}", "999290054110001", "5411", "江南区和记超市", "sm4",
                    tmk=ecb_encryptor("sm4", THREE)(TWO), kcv=kcv("sm4", TWO))
        for n in range(3)
    ]  # fmt: skip
    write_terminals(laid.room / "terminals.csv", rows)
    assert laid.run("for-switch", config) == "complete: nothing is missing\n"
    engine, _ = build_engine(read_config(config, SwitchConfig), laid.room, entropy)
    assert len(engine.office.books.terminals) == 3


@pytest.mark.usefixtures("seated")
def test_for_switch_asks_whoever_sits_there(laid: Desk) -> None:
    typed = f"{ONE.hex()}\n{TWO.hex()}\ny\n{TWO.hex()}\n{THREE.hex()}\nn\n"
    said = laid.run("for-switch", laid.room / "switch.toml", typed=typed, code=1)
    assert "taking   zmk/cups  3des" in said
    # What was confirmed before the no is kept.
    assert set(laid.hsm().labels()) == {"store/journal", "hash/journal", "zmk/cups"}


def test_for_centre(laid: Desk) -> None:
    config = laid.room / "centre.toml"
    assert "missing zmk/cups (3des)" in laid.run("for-centre", config, code=1)
    laid.run("for-centre", config, "--zmk", f"cups={laid.file('one', ONE.hex())}")
    build_centre(read_config(config, CentreConfig), laid.room, entropy)


def test_keys_of_another_kind_are_told(laid: Desk) -> None:
    config = laid.room / "switch.toml"
    laid.run("for-switch", config, code=1)
    laid.run("import", laid.keys, "zmk/cups", "--usage", "zmk", "--suite", "sm4", typed=ONE.hex())
    laid.run("import", laid.keys, "zmk/core", *IMPORT, typed=TWO.hex())
    said = laid.run("for-switch", config, code=1)
    assert "zmk/cups is a sm4 key, the line's profile has 3des" in said
    assert "zmk/core is a tmk, a zmk is needed" in said


@pytest.mark.parametrize(("command", "book"), [("switch", "switch.db"), ("centre", "centre.db")])
def test_no_fresh_keys_for_a_book_written_with_others(laid: Desk, command: str, book: str) -> None:
    laid.file(book, "")
    said = laid.run(f"for-{command}", laid.room / f"{command}.toml", code=1)
    assert f"{book}: was written with a " in said
    assert not list(laid.hsm(laid.room / f"{command}.keys").labels())


@pytest.mark.parametrize("given", ["cups", f"nobody={ONE.hex()}", "=x", "cups="])
def test_a_zmk_for_no_line(laid: Desk, given: str) -> None:
    said = laid.run("for-switch", laid.room / "switch.toml", "--zmk", given, code=2)
    assert "NAME one of cups core" in said


def test_a_configuration_at_fault(laid: Desk) -> None:
    path = laid.file("bad.toml", "listen = 1\n")
    assert str(path) in laid.run("for-switch", path, code=2)
    assert not laid.keys.exists()


def test_many_terminals_in_good_time(desk: Desk) -> None:
    hsm = desk.hsm()
    for n in range(5000):
        hsm.generate(f"tmk/{n:08}", "tmk", "sm4")
    hsm.save(desk.keys)
    began = time.perf_counter()
    result = CliRunner().invoke(app, ["keys", "list", str(desk.keys)])
    assert len(result.output.splitlines()) == 5001
    assert time.perf_counter() - began < 20
