"""Change under load: what a reload takes, that nothing under way is dropped, and that a bad file changes nothing."""

import secrets
from pathlib import Path

import msgspec
import pytest
from house import House

from scenarios.ground import lay
from switch.app.compose import build_centre, build_engine, reload_centre, reload_engine
from switch.app.config import CentreConfig, ConfigError, SwitchConfig, read_config
from switch.engine.books import Terminal
from switch.engine.engine import Engine
from switch.engine.route import Routes
from switch.machine import Send
from terminals.device import pos


@pytest.fixture
def site(tmp_path: Path) -> tuple[Path, SwitchConfig, Engine]:
    """A ground with three terminals and an engine built on it."""
    ground = lay(tmp_path / "day", 7, 3, "1028")
    config = read_config(ground.config("switch"), SwitchConfig)
    engine, _ = build_engine(config, ground.directory, secrets.token_bytes)
    return ground.directory, config, engine


def again(directory: Path, config: SwitchConfig, engine: Engine) -> str:
    fresh = read_config(directory / "switch.toml", SwitchConfig)
    return reload_engine(engine, config, fresh, directory, secrets.token_bytes)


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_terminal_taken_out_of_the_list_is_closed(site: tuple[Path, SwitchConfig, Engine]) -> None:
    directory, config, engine = site
    lines = (directory / "terminals.csv").read_text(encoding="utf-8").splitlines()
    (directory / "terminals.csv").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    assert again(directory, config, engine).startswith("2 terminals (0 new, 1 closed)")
    statuses = [terminal.status for terminal in engine.office.books.terminals.values()]
    assert statuses == ["active", "active", "closed"]
    (directory / "terminals.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert again(directory, config, engine).startswith("3 terminals (1 new, 0 closed)")


def test_a_changed_chip_table_is_in_force_for_the_next_message(site: tuple[Path, SwitchConfig, Engine]) -> None:
    directory, config, engine = site
    before = engine.office.chips
    assert len(before.lists["5"]) == 4, "the shipped one"
    switch = directory / "switch.toml"
    switch.write_text('chips = "chips.toml"\nca_keys = "keys.toml"\n' + switch.read_text("utf-8"), encoding="utf-8")
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
        ("switch.toml", 'listen = "127.0.0.1', 'listen = "127.0.0.2', "listen has changed"),
    ],
)  # fmt: skip
def test_a_bad_file_changes_nothing(
    site: tuple[Path, SwitchConfig, Engine], file: str, old: str, new: str, said: str
) -> None:
    directory, config, engine = site
    office = engine.office
    before = (office.routes, office.pos, {t.tid: t.status for t in office.books.terminals.values()})
    rewrite(directory / file, old, new)
    with pytest.raises(ConfigError, match=said):
        again(directory, config, engine)
    assert (office.routes, office.pos, {t.tid: t.status for t in office.books.terminals.values()}) == before


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
    centre, _ = build_centre(config, ground.directory, secrets.token_bytes)
    before = centre.rules
    with pytest.raises(ConfigError, match="rules"):
        reload_centre(centre, msgspec.structs.replace(config, rules=[{"action": "delay"}]))
    assert centre.rules is before
    assert reload_centre(centre, msgspec.structs.replace(config, rules=[])) == "0 rules"
    assert centre.rules is not before
