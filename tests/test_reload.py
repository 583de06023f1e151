"""Change under load: what a reload takes, that nothing under way is dropped, and that a bad file changes nothing."""

import asyncio
import secrets
from pathlib import Path

import msgspec
import pytest
from house import House

from scenarios.ground import lay
from switch.app.compose import build_centre, build_engine
from switch.app.config import CentreConfig, ConfigError, SwitchConfig, read_config
from switch.app.control import serve_control
from switch.app.reload import Began, began, reload_centre, reload_engine
from switch.crypto.hsm import Hsm
from switch.engine.books import Terminal
from switch.engine.engine import Engine
from switch.engine.route import Routes
from switch.machine import Send
from terminals.device import pos

Site = tuple[Path, Began[SwitchConfig], Engine]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A ground with three terminals and an engine built on it."""
    return built(lay(tmp_path / "day", 7, 3, "1028").directory)


def built(directory: Path) -> Site:
    source = directory / "switch.toml"
    config = read_config(source, SwitchConfig)
    engine, _ = build_engine(config, directory, secrets.token_bytes)
    return directory, began(source, config), engine


def again(directory: Path, start: Began[SwitchConfig], engine: Engine) -> str:
    return reload_engine(engine, start, read_config(start.source, SwitchConfig), secrets.token_bytes)


def standing(engine: Engine) -> object:
    """All that a reload could change."""
    office = engine.office
    records = [office.hsm.record(label) for label in office.hsm.labels()]
    return office.routes, office.pos, {t.tid: (t.status, t.mid) for t in office.books.terminals.values()}, records


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_terminal_taken_out_of_the_list_is_closed(site: Site) -> None:
    directory, start, engine = site
    lines = (directory / "terminals.csv").read_text(encoding="utf-8").splitlines()
    (directory / "terminals.csv").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    assert again(directory, start, engine).startswith("2 terminals (0 new, 1 closed)")
    statuses = [terminal.status for terminal in engine.office.books.terminals.values()]
    assert statuses == ["active", "active", "closed"]
    (directory / "terminals.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert again(directory, start, engine).startswith("3 terminals (1 new, 0 closed)")


def test_a_changed_chip_table_is_in_force_for_the_next_message(site: tuple[Path, SwitchConfig, Engine]) -> None:
    directory, config, engine = site
    before = engine.office.chips
    assert len(before.lists["5"]) == 4, "the shipped one"
    switch = directory / "switch.toml"
    text = switch.read_text("utf-8")
    assert 'ca_keys = "ca-keys.toml"' in text
    switch.write_text(text.replace('"ca-keys.toml"', '"keys.toml"'), encoding="utf-8")
    (directory / "chips.toml").write_text('[no_pin]\nmerchants = "all"\nbins = ["621214"]\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"keys\.toml: No such file"):
        again(directory, config, engine)
    assert engine.office.chips is before
    (directory / "keys.toml").write_text(
        '[[keys]]\nrid = "A000000333"\nindex = "01"\nexpiry = "20301231"\nkey = "C1C1"\n', encoding="utf-8"
    )
    assert again(directory, config, engine).endswith(", chip table changed")
    after = engine.office.chips
    assert (len(after.lists["5"]), len(after.lists["4"]), len(after.lists["B"])) == (0, 1, 1)
    assert after.without_pin("1" * 15, "6212140000000000", 100_000)
    assert not again(directory, config, engine).endswith("changed")
    after = engine.office.chips
    (directory / "chips.toml").write_text("[no_pin]\nmerchants = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"chips\.toml: .*merchants"):
        again(directory, config, engine)
    assert engine.office.chips is after


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("terminals.csv", "3des", "2des", "line"),
        ("terminals.csv", "10000003", "10000002", "line"),
        ("switch.toml", 'default = "cups"', 'default = "nobody"', "no counterpart is called 'nobody'"),
        ("switch.toml", '"621214" =', '"62x214" =', "not a BIN of 4 to 10 digits"),
        ("switch.toml", "[routes.bins]", "[routes.bins]\n[rooutes]", "rooutes"),
        ("profile-pos.toml", "reply_s", "replies_s", "replies_s"),
        ("switch.toml", 'listen = "127.0.0.1', 'listen = "127.0.0.2', r"switch\.toml: listen has changed: that needs"),
        ("switch.toml", 'listen =', 'metrics = "127.0.0.1:9"\nlisten =', r"switch\.toml: metrics has changed"),
        ("switch.toml", 'listen =', 'drain_s = 3.0\nlisten =', r"switch\.toml: drain_s has changed"),
        ("switch.toml", 'control = "', 'control = "x', r"switch\.toml: control has changed"),
        ("switch.toml", 'journal = "', 'journal = "x', r"switch\.toml: journal has changed"),
        ("switch.toml", "[[counterparts]]", '[tls]\ncert = "a"\nkey = "b"\n[[counterparts]]', r"switch\.toml: tls has"),
        ("switch.toml", 'name = "cups"\naddress = "127.0.0.1', 'name = "cups"\naddress = "127.0.0.2',
         r"switch\.toml: counterparts\.cups\.address has changed"),
        ("profile-cups.toml", "line_test_s = 20.0", "line_test_s = 7.0",
         r"the profile of cups: timers\.line_test_s has changed"),
        ("profile-pos.toml", "reply_s", "idle_s = 7.0\nreply_s",
         r"profile profile-pos\.toml: timers\.idle_s has changed"),
        ("profile-pos.toml", "[timers]", "[framing]\nheader = 0\n[timers]",
         r"profile profile-pos\.toml: framing\.header has"),
    ],
)  # fmt: skip
def test_a_bad_file_changes_nothing(site: Site, file: str, old: str, new: str, said: str) -> None:
    directory, start, engine = site
    before = standing(engine)
    lines = (directory / "terminals.csv").read_text(encoding="utf-8").splitlines()
    if file != "terminals.csv":  # something good, that must not be taken either
        (directory / "terminals.csv").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    rewrite(directory / file, old, new)
    with pytest.raises(ConfigError, match=said):
        again(directory, start, engine)
    assert standing(engine) == before


def test_a_profile_takes_what_no_connection_was_made_with(site: Site) -> None:
    directory, start, engine = site
    rewrite(directory / "profile-pos.toml", "[timers]", 'operator = "02 "\n[timers]')
    rewrite(directory / "profile-pos.toml", "reply_s = ", "reply_s = 1")
    again(directory, start, engine)
    assert engine.office.pos.operator == "02 "


def test_a_renewed_certificate_needs_a_restart(site: Site) -> None:
    directory, _, _ = site
    (directory / "switch.pem").write_text("one")
    rewrite(directory / "switch.toml", "[[counterparts]]", '[tls]\ncert = "switch.pem"\nkey = "none"\n[[counterparts]]')
    directory, start, engine = built(directory)
    again(directory, start, engine)
    (directory / "switch.pem").write_text("two")
    with pytest.raises(ConfigError, match=r"switch\.pem: the file has changed: that needs a restart"):
        again(directory, start, engine)


def lmk_of(directory: Path) -> tuple[Path, Path, Hsm]:
    config = read_config(directory / "switch.toml", SwitchConfig)
    master = bytes.fromhex(config.lmk.read_text().strip())
    return config.lmk, config.keys, Hsm.load(config.keys, master, secrets.token_bytes)


def test_the_journals_own_keys_need_a_restart(site: Site) -> None:
    directory, start, engine = site
    _, keys, hsm = lmk_of(directory)
    before = standing(engine)
    hsm.generate("store/journal", "store", "aes", 32)
    hsm.save(keys)
    with pytest.raises(ConfigError, match=r"keys: store/journal has changed: that needs a restart"):
        again(directory, start, engine)
    assert standing(engine) == before


def test_another_local_master_key_needs_a_restart(site: Site) -> None:
    """The whole key file, the same keys, under another master key: it opens, and the running switch could not."""
    directory, start, engine = site
    lmk, keys, hsm = lmk_of(directory)
    before = standing(engine)
    other = bytes(range(32))
    moved = Hsm(other, secrets.token_bytes)
    for label in hsm.labels():
        record = hsm.record(label)
        moved.import_clear(label, record.usage, record.suite, hsm._clear(record))
    moved.save(keys)
    lmk.write_text(other.hex())
    with pytest.raises(ConfigError, match="the local master key has changed: that needs a restart"):
        again(directory, start, engine)
    assert standing(engine) == before


def test_a_key_file_that_is_no_text_is_named(site: Site) -> None:
    directory, start, engine = site
    _, keys, _ = lmk_of(directory)
    count = len(keys.read_bytes().splitlines())
    keys.write_bytes(keys.read_bytes() + b"\xff\xfe\n")
    with pytest.raises(ConfigError, match=f"line {count + 1} is no text: not a key file"):
        again(directory, start, engine)


def test_keys_of_nobody_are_forgotten(site: Site) -> None:
    """Those of a closed terminal, of a line that is not configured, and a transport key that left the file."""
    directory, start, engine = site
    _, keys, hsm = lmk_of(directory)
    running = engine.office.hsm
    for name, usage in (("pik", "pik"), ("mak", "mak"), ("tdk", "tdk")):
        for tid in ("10000001", "10000003"):
            running.generate(f"{name}/{tid}", usage, "3des")
    running.generate("zak/cups/old", "zak", "3des")
    running.generate("zak/nowhere/old", "zak", "3des")
    hsm.generate("zmk/nowhere", "zmk", "3des")
    hsm.generate("tmk/19999999", "tmk", "3des")
    hsm.generate("second_key", "tmk", "3des")
    hsm.save(keys)
    text = (directory / "terminals.csv").read_text(encoding="utf-8")
    (directory / "terminals.csv").write_text("\n".join(text.splitlines()[:-1]) + "\n", encoding="utf-8")
    again(directory, start, engine)
    assert "second_key" in running
    left = [label for label in running.labels() if "nowhere" in label or "10000003" in label or "19999999" in label]
    assert left == []
    for label in ("tmk/10000001", "pik/10000001", "mak/10000001", "tdk/10000001", "zmk/cups", "zak/cups/old"):
        assert label in running
    hsm.forget("second_key")
    hsm.save(keys)
    (directory / "terminals.csv").write_text(text, encoding="utf-8")
    again(directory, start, engine)
    assert "second_key" not in running
    assert "tmk/10000003" in running
    assert not engine.office.books.terminals["10000003"].signed_in


def test_a_transaction_under_way_survives_a_reload() -> None:
    """The request is on the network when its terminal is closed and its BIN re-routed: it is answered and booked."""
    house = House(terminals=2)
    memory = house.memories[0]
    assert house.run(pos.sign_in(memory, house.line)).approved
    office = house.engine.office
    reloaded: list[bool] = []

    def meddle(who: str, send: Send) -> Send | None:
        if who == "switch" and send.link.name and not reloaded:
            reloaded.append(True)
            others = [t for t in office.books.terminals.values() if t.tid != memory.tid]
            fresh = [Terminal(t.tid, t.mid, t.mcc, t.merchant_name, t.suite) for t in others]
            house.engine.reload(fresh, Routes({}, "cups"), office.pos, office.hsm)
        return send

    house.meddle = meddle
    outcome = house.run(pos.sale(memory, house.line, house.card(0), 500))
    assert reloaded
    assert outcome.approved
    assert office.books.terminals[memory.tid].status == "closed"
    hsm, labels = office.hsm, [f"{kind}/{memory.tid}" for kind in ("tmk", "pik", "mak")]
    assert [label in hsm for label in labels] == [True, True, True], "its answer was still to be sealed"
    house.pass_time(61.0)
    assert [label in hsm for label in labels] == [False, False, False]
    assert house.run(pos.sale(memory, house.line, house.card(0), 500)).response_code == "97"
    assert house.books().agreed


def test_a_known_terminal_keeps_its_batch_and_keys() -> None:
    house = House(terminals=1)
    memory = house.memories[0]
    assert house.run(pos.sale(memory, house.line, house.card(0), 100)).approved
    office, terminal = house.engine.office, house.fleet[0]
    fresh = Terminal(terminal.tid, terminal.mid, "5999", "新名字", terminal.suite)
    house.engine.reload([fresh], office.routes, office.pos, office.hsm)
    known = office.books.terminals[terminal.tid]
    assert (known.mcc, known.merchant_name, known.signed_in, known.batch) == ("5999", "新名字", True, 1)
    assert house.run(pos.sale(memory, house.line, house.card(0), 100)).approved
    assert house.of("journal")[-1]["mcc"] == "5999"


def test_a_centre_takes_new_rules(tmp_path: Path) -> None:
    ground = lay(tmp_path / "day", 7, 1, "1028")
    config = read_config(ground.config("centre"), CentreConfig)
    centre, profile = build_centre(config, ground.directory, secrets.token_bytes)
    start = began(ground.config("centre"), config)
    assert start.profiles == {"cups": profile}
    before = centre.rules
    with pytest.raises(ConfigError, match="rules"):
        reload_centre(centre, start, msgspec.structs.replace(config, rules=[{"action": "delay"}]))
    changed = msgspec.structs.replace(config, rules=[], seed=8)
    with pytest.raises(ConfigError, match=r"centre\.toml: seed has changed: that needs a restart"):
        reload_centre(centre, start, changed)
    assert centre.rules is before
    assert reload_centre(centre, start, msgspec.structs.replace(config, rules=[])) == "0 rules"
    assert centre.rules is not before


@pytest.mark.parametrize(
    ("file", "addition", "said"),
    [
        ("keys", b"\n", "keys: the file has changed"),
        ("profile-cups.toml", b"\n[codes]\nno_reply = '68'\n", r"the profile of cups: codes\.no_reply has changed"),
    ],
)
def test_files_of_a_centre_need_a_restart(tmp_path: Path, file: str, addition: bytes, said: str) -> None:
    ground = lay(tmp_path / "day", 7, 1, "1028")
    config = read_config(ground.config("centre"), CentreConfig)
    centre, _ = build_centre(config, ground.directory, secrets.token_bytes)
    start, before = began(ground.config("centre"), config), centre.rules
    path = config.keys if file == "keys" else ground.directory / file
    path.write_bytes(path.read_bytes() + addition)
    with pytest.raises(ConfigError, match=said):
        reload_centre(centre, start, msgspec.structs.replace(config, rules=[]))
    assert centre.rules is before


def test_a_control_socket_whose_path_is_too_long_says_so(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 100) / "switch.sock"
    with pytest.raises(ConfigError, match="107 bytes of a socket's path; take a shorter directory"):
        asyncio.run(serve_control(path, {}))
