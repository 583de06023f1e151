"""`shoudan tap` and `shoudan insert`: what they say is right, what they must not say is not there, how they exit."""

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from switch.wire import bits
from terminals.cli import BadOrder
from terminals.kernel.session import Request
from terminals.look.chosen import from_file, from_portfolio
from terminals.look.cli import minor, register
from terminals.look.document import document
from terminals.look.glass import Order, Taken, look
from terminals.look.setting import PRESETS, Setting, SettingFault, read_setting

RUNNER = CliRunner()
DAY = ["--date", "261122", "--time", "101500"]
OWN = """
[imk.lab]
ac = "11223344006677881122334455007788"
mac = "8B4F854F0831FBF2635A212E4DDDB92A"
enc = "11220044556677881122330055667788"

[[card]]
pan = "6228000000000019"
expiry = "3012"
psn = "01"
pin = "908172"
profile = "PROFILE"
imk = "lab"
"""
KEYS = re.findall(r'"([0-9A-F]{32})"', OWN)


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    register(made)
    return made


def run(app: typer.Typer, *words: str, code: int = 0) -> str:
    done = RUNNER.invoke(app, [*words, *DAY], catch_exceptions=False, env={"COLUMNS": "160"})
    assert done.exit_code == code, done.output
    return done.output


def told(app: typer.Typer, *words: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(app, *words, "--json", code=code))
    return found


def taken(profile: str, interface: Any, amount: int = 1000, **changes: Any) -> Taken:
    chosen = from_portfolio(7, profile)
    changes = {"setting": PRESETS["shop"], "issued": chosen.issued, "seed": 7} | changes
    return look(Order(interface=interface, chosen=chosen, request=Request(amount, "261122", "101500"), **changes))


def own(folder: Path, name: str = "own.toml", profile: str = "dual", **over: str) -> str:
    text = OWN.replace("PROFILE", profile)
    for key, value in over.items():
        text = re.sub(rf'{key} = "[^"]*"', f'{key} = "{value}"', text)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


# what is told


@pytest.mark.parametrize(
    "profile", ["dual", "debit", "sm", "credit", "quasi_credit", "ecash", "social", "dual_algorithm"]
)
@pytest.mark.parametrize("interface", ["contact", "contactless"])
def test_every_card_verifies_and_every_signature_is_right(profile: str, interface: str) -> None:
    whole = document(taken(profile, interface), crypto=True)
    assert whole["issuer"]["verified"]
    assert whole["approved"]
    assert whole["crypto"]["steps"][-2]["value"] or whole["issuer"]["arpc"]
    assert not [one for one in whole["certificates"] if one["fault"]]
    if whole["presented"]["e_cash"]:
        assert whole["e_cash"]["before_minor"] - whole["e_cash"]["after_minor"] == 1000
        assert whole["issuer"]["iad_mac"] is True


def test_a_contact_transaction_byte_by_byte(app: typer.Typer) -> None:
    shown = run(app, "insert", "--card", "debit", "--lang", "en")
    for line in (
        "1  SELECT  1PAY.SYS.DDF01",
        "84 dedicated file name  315041592E5359532E4444463031  = 1PAY.SYS.DDF01",
        "< 6A83 record not found",
        "· SFI 2, 1-6 1 signed",
        "· enciphered PIN verified online, if terminal supports the CVM, else the next",
        "15  GENERATE AC  ARQC + CDA",
        "9F02 amount, authorised  000000001000  = 10.00",
        "· ARQC: go online",
        "the cryptogram verifies (3des)",
        "16  EXTERNAL AUTHENTICATE",
        "TVR 0008048000",
        "4.8 transaction exceeds floor limit ← amount 10.00 is not under the floor limit 0.01",
        "TAC-online  D84004F800  met",
        "asks for ARQC: the TVR meets an online code",
        "✓ 90 issuer certificate  RSA",
        "✓ 9F4B signed dynamic data (CDA)  RSA",
        "CVM: online PIN ← 9F34 420300",
        "in the end: approved",
    ):
        assert line in shown, line


def test_the_bits_are_those_of_the_tables() -> None:
    done = taken("debit", "contact")
    whole = document(done)
    assert [(bit["byte"], bit["bit"]) for bit in whole["bits"]["TVR"]["set"]] == [(2, 4), (3, 3), (4, 8)]
    assert whole["bits"]["TSI"]["value"] == "F800"
    for name, string in whole["bits"].items():
        assert len(string["set"]) == len(bits.bits(name, bytes.fromhex(string["value"])))
        assert all(bit["why"]["zh"] and bit["why"]["en"] for bit in string["set"])
    assert whole["bits"]["TVR"]["set"][2]["codes"] == ["IAC-online", "IAC-default", "TAC-online", "TAC-default"]


def test_a_tap_tells_its_qualifiers(app: typer.Typer) -> None:
    whole = told(app, "tap", "--card", "debit", "--amount", "1500")
    assert {name: string["value"] for name, string in whole["bits"].items()} == {
        "TTQ": "36C00080", "CTQ": "B000", "CVR": "03A00000"
    }  # fmt: skip
    why = {(bit["byte"], bit["bit"]): bit["why"]["en"] for bit in whole["bits"]["TTQ"]["set"]}
    assert why[2, 8] == "amount 1,500.00 exceeds the offline floor limit 1,000.00"
    assert why[2, 7] == "amount 1,500.00 is not under the CVM limit 1,000.00"
    assert whole["cvm"]["method"] == "online_pin"
    assert [step["sw"] for step in whole["apdus"]] == ["9000"] * 3


@pytest.mark.parametrize(
    ("words", "result", "why"),
    [
        (["--amount", "5"], "TC", "balance, single limit and reset threshold allow it"),
        (["--amount", "95"], "ARQC", "balance, single limit or reset threshold is against it"),
        (["--amount", "5", "--online"], "ARQC", "9F66 asks for an online cryptogram"),
        (["--amount", "5", "--card", "debit"], "ARQC", "the card does not pay offline (9F68)"),
        (["--amount", "1500"], "ARQC", "a CVM is needed, and it is the online PIN"),
        (["--amount", "200", "--terminal", "bus"], "AAC", "balance, single limit or reset threshold is against it"),
    ],
)
def test_the_card_says_by_which_rule(app: typer.Typer, words: list[str], result: str, why: str) -> None:
    found = json.loads(RUNNER.invoke(app, ["tap", *words, *DAY, "--json"]).output)["card_decision"]
    assert (found["result"], found["why"]["en"]) == (result, why)


def test_both_languages_and_one(app: typer.Typer) -> None:
    both, chinese = run(app, "tap"), run(app, "tap", "--lang", "zh")
    assert "选择 SELECT" in both
    assert "1  选择  2PAY" in chinese
    assert "SELECT" not in chinese


def test_sm_cards_are_read_with_sm_and_refused_without(app: typer.Typer) -> None:
    whole = told(app, "tap", "--card", "sm")
    assert (whole["presented"]["suite"], whole["approved"]) == ("sm4", True)
    assert {one["kind"] for one in whole["certificates"]} == {"sm2"}
    assert told(app, "tap", "--card", "dual_algorithm", "--terminal", "3des")["presented"]["suite"] == "3des"


def test_a_failed_signature_says_why(app: typer.Typer) -> None:
    whole = told(app, "insert", "--card", "debit", "--set", "ca_keys=false", code=0)
    assert whole["certificates"][0]["fault"]["en"] == "the terminal has no such CA key"
    failed = next(bit for bit in whole["bits"]["TVR"]["set"] if (bit["byte"], bit["bit"]) == (1, 3))
    assert failed["why"]["en"] == "the terminal has no such CA key"


def test_a_flash_card_pays_once(app: typer.Typer) -> None:
    whole = told(app, "tap", "--card", "dual", "--tear", "8")
    assert whole["presented"]["torn"] == 1
    assert whole["e_cash"] == {"before_minor": 10000, "after_minor": 9000}
    assert [step["n"] for step in whole["apdus"] if step["sw"] is None] == [8]
    assert any(step["en"] == "GET TRANS PROVE" for step in whole["apdus"])


def test_a_wrong_arpc_leaves_its_bit(app: typer.Typer) -> None:
    whole = told(app, "insert", "--card", "credit", "--arpc", "wrong")
    assert whole["completed"]["issuer_authenticated"] is False
    assert (5, 7) in [(bit["byte"], bit["bit"]) for bit in whole["bits"]["TVR"]["set"]]


def test_a_terminal_without_a_line_finishes_alone() -> None:
    done = taken("credit", "contact", setting=PRESETS["offline"])
    assert done.completed is not None
    assert done.completed.values["8A"] in (b"Y3", b"Z3")


# the cryptogram


def test_the_cryptogram_from_the_inside(app: typer.Typer) -> None:
    crypto = told(app, "insert", "--card", "debit", "--crypto")["crypto"]
    steps = {step["name"]: step["value"] for step in crypto["steps"]}
    assert crypto["keys_shown"] is True
    assert steps["left"] == "0000000000000001"
    assert steps["right"] == "000000000000FFFE"
    assert len(steps["master_key"]) == len(steps["card_key"]) == len(steps["session_key"]) == 32
    assert steps["padded"] == steps["data"] + "800000"
    assert steps["block_5"] == steps["expected"] == steps["presented"]
    assert int(steps["arpc_input"], 16) == int(steps["presented"], 16) ^ int("3030000000000000", 16)
    assert crypto["covers"][-1] == "9F10[3:7]"


def test_a_mismatch_names_its_first_byte_and_its_cause(app: typer.Typer, tmp_path: Path) -> None:
    card, issuer = own(tmp_path), own(tmp_path, "issuer.toml", psn="00")
    whole = told(app, "insert", "--cards", card, "--issuer", issuer, "--no-ecash", code=1)
    found = whole["issuer"]["mismatch"]
    assert found["cause"]["en"] == "card key derived with sequence number 01"
    pair = zip(found["expected"], found["presented"], strict=True)
    assert found["first_difference"] == next(n for n, (a, b) in enumerate(pair) if a != b) // 2
    assert whole["issuer"]["arc"] == "05"
    shown = run(app, "insert", "--cards", card, "--issuer", issuer, "--no-ecash", "--lang", "zh", code=1)
    assert "可能的原因: 卡序列号按01分散" in shown


def test_a_tc_the_issuer_will_refuse_is_not_called_approved(app: typer.Typer, tmp_path: Path) -> None:
    shown = run(
        app, "tap", "--cards", own(tmp_path), "--issuer", own(tmp_path, "issuer.toml", psn="00"), "--lang", "en", code=1
    )
    assert "approved by the terminal; the issuer will refuse this TC" in shown


# scripts


@pytest.mark.parametrize("card", ["dual", "sm"])
def test_a_load_sets_the_purse(app: typer.Typer, card: str) -> None:
    whole = told(app, "insert", "--card", card, "--type", "60", "--amount", "50")
    assert whole["e_cash"] == {"before_minor": 10000, "after_minor": 15000}
    assert (whole["completed"]["load"], whole["completed"]["script_results"]) == ("done", "2000000001")
    [put] = [step for step in whole["apdus"] if step["en"] == "PUT DATA"]
    assert put["sent"][0] | {"zh": ""} == {
        "tag": "9F79", "zh": "", "en": "e-cash balance", "value": "000000015000", "reading": "150.00"
    }  # fmt: skip


def test_a_script_the_card_refuses(app: typer.Typer) -> None:
    whole = told(app, "insert", "--card", "debit", "--script", "9F79=000000000001", "--script", "app-block")
    assert whole["completed"]["script_results"] == "1100000001"
    assert (5, 5) in [(bit["byte"], bit["bit"]) for bit in whole["bits"]["TVR"]["set"]]
    assert "--script" in run(app, "insert", "--script", "nonsense", code=2)
    blocked = told(app, "insert", "--card", "debit", "--script", "app-block")
    assert blocked["completed"]["script_results"] == "2000000001"


# what must not be seen


@pytest.mark.parametrize("profile", ["dual", "sm", "quasi_credit"])
@pytest.mark.parametrize("command", ["tap", "insert"])
@pytest.mark.parametrize("form", [[], ["--json"], ["--crypto"], ["--crypto", "--json"]])
def test_nothing_secret_of_the_users_cards_is_shown(
    app: typer.Typer, tmp_path: Path, profile: str, command: str, form: list[str]
) -> None:
    shown = run(app, command, "--cards", own(tmp_path, profile=profile), *form)
    chosen = from_file(own(tmp_path, profile=profile))
    image = chosen.image
    suite = "sm4" if profile == "sm" else "3des"
    secrets = [image.personal.pan, image.personal.expiry + "220", "908172", chosen.issued.pan[-14:], *KEYS]
    secrets += [chosen.card.udk(suite, use).hex().upper() for use in ("ac", "mac", "enc")]  # type: ignore[union-attr]
    assert not [secret for secret in secrets if secret in shown.replace("\n", "")]
    assert "622800******0019" in shown


@pytest.mark.parametrize("profile", ["dual", "sm"])
def test_card_numbers_of_the_portfolio_are_masked_and_keys_wait_for_crypto(app: typer.Typer, profile: str) -> None:
    chosen = from_portfolio(20130501, profile)
    shown = run(app, "insert", "--card", profile, "--json", "--no-ecash")
    assert chosen.issued.pan not in shown
    assert chosen.pin not in re.findall(r"\d{6}", shown)
    suite = "sm4" if profile == "sm" else "3des"
    key = chosen.issued.key(suite, "ac").hex().upper()
    assert key not in shown
    inside = run(app, "insert", "--card", profile, "--crypto", "--no-ecash", "--lang", "en")
    assert key in inside
    assert "an invented card" in inside
    assert chosen.issued.pan not in inside


# how it is asked for


def test_the_same_seed_gives_the_same_bytes(app: typer.Typer) -> None:
    assert run(app, "insert", "--json") == run(app, "insert", "--json")
    assert told(app, "insert", "--seed", "8")["apdus"] != told(app, "insert", "--seed", "9")["apdus"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["tap", "--card", "nobody"], "a profile"),
        (["tap", "--card", "composite"], "no contactless interface"),
        (["tap", "--card", "0:999999"], "NUMBER"),
        (["tap", "--amount", "a lot"], "--amount"),
        (["tap", "--type", "zz"], "--type"),
        (["tap", "--terminal", "nowhere.toml"], "neither"),
        (["tap", "--set", "floor=1"], "no such key"),
        (["tap", "--set", "ttq=12"], "hexadecimal"),
        (["insert", "--cards", "nowhere.toml"], "nowhere.toml"),
        (["insert", "--arc", "approved"], "--arc"),
        (["insert", "--pin", "12"], "--pin"),
    ],
)
def test_bad_usage_is_said_in_one_line(app: typer.Typer, words: list[str], text: str) -> None:
    shown = run(app, *words, code=2)
    assert text in shown
    assert len(shown.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["tap", "--terminal", "bus", "--amount", "200"], 1),
        (["tap", "--terminal", "bus", "--amount", "2"], 0),
        (["insert", "--card", "credit", "--arc", "51"], 1),
        (["insert", "--card", "credit", "--arc", "none"], 1),
        (["insert", "--terminal", "atm", "--type", "01", "--amount", "500"], 0),
        (["tap", "--amount", "60000"], 1),
        (["insert", "--card", "quasi_credit", "--pin", "000000", "--amount", "900"], 1),
    ],
)
def test_the_exit_code_is_the_outcome(app: typer.Typer, words: list[str], code: int) -> None:
    run(app, *words, code=code)


def test_small_sales_without_a_pin(app: typer.Typer) -> None:
    for amount, enrolled, method in (
        ("1000", True, "none"),
        ("1000.01", True, "online_pin"),
        ("1000", False, "online_pin"),
    ):
        words = ["tap", "--card", "debit", "--amount", amount, *(["--enrolled"] if enrolled else [])]
        assert told(app, *words)["cvm"]["method"] == method, amount


def test_a_terminal_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "terminal.toml"
    path.write_text('sm = false\nfloor_minor = 20000\ncapabilities = "E0F900"\n', encoding="utf-8")
    setting = read_setting(str(path), ["floor_minor=30000"])
    assert (setting.sm, setting.floor_minor, setting.capabilities) == (False, 30000, "E0F900")
    path.write_text('sm = "no"\n', encoding="utf-8")
    with pytest.raises(SettingFault, match="sm: bool"):
        read_setting(str(path))


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("12.3", 1230), ("0.01", 1), ("9999999999.99", 999999999999)])
def test_amounts(text: str, value: int) -> None:
    assert minor(text, "--amount") == value
    for bad in ("", "1.234", "-1", "1e3", "10000000000", "１"):
        with pytest.raises(BadOrder):
            minor(bad, "--amount")


def test_the_object_has_its_parts(app: typer.Typer) -> None:
    whole = told(app, "insert", "--crypto", "--no-ecash")
    assert set(whole) == {
        "command", "card", "terminal", "apdus", "issuer_apdus_from", "presented", "bits", "action",
        "card_decision", "cvm", "certificates", "issuer", "completed", "host", "e_cash", "approved", "crypto",
    }  # fmt: skip
    assert all(
        set(step) == {"n", "zh", "en", "about", "command", "sent", "response", "sw", "sw_name", "got"}
        for step in whole["apdus"]
    )
    assert all({"tag", "zh", "en", "value"} <= set(node) for node in whole["presented"]["field55"])
    assert [node["tag"] for node in whole["presented"]["field55"]][:3] == ["9F26", "9F27", "9F10"]


# a card that remembers


def test_a_memory_in_a_file(app: typer.Typer, tmp_path: Path) -> None:
    kept = str(tmp_path / "card.json")
    for count in (1, 2, 3):
        whole = told(app, "tap", "--state", kept, "--amount", "20")
        assert (whole["presented"]["atc"], whole["e_cash"]["after_minor"]) == (count, 10000 - 2000 * count)
    assert "another card" in run(app, "tap", "--card", "sm", "--state", kept, code=2)
    assert from_portfolio(20130501, "dual").issued.pan not in Path(kept).read_text(encoding="utf-8")
    Path(kept).write_text("[]", encoding="utf-8")
    assert "no card's memory" in run(app, "tap", "--state", kept, code=2)


def test_a_counter_set_by_hand(app: typer.Typer) -> None:
    assert told(app, "tap", "--atc", "41")["presented"]["atc"] == 42


# the tutorial

TUTORIAL = (Path(__file__).parent.parent / "docs/tutorials/6-a-card-under-the-glass.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"```\n\$ shoudan ([^\n]+)\n(.*?)```", TUTORIAL, re.DOTALL)


@pytest.mark.parametrize(("words", "lines"), SHOWN, ids=[words for words, _ in SHOWN])
def test_the_tutorial_shows_what_comes_out(app: typer.Typer, tmp_path: Path, words: str, lines: str) -> None:
    names = {"cards.toml": own(tmp_path), "bank.toml": own(tmp_path, "bank.toml", psn="00")}
    given = [names.get(word, word) for word in shlex.split(words)]
    shown = RUNNER.invoke(app, given, env={"COLUMNS": "110"}).output.replace("own.toml", "cards.toml")
    found = [line.rstrip() for line in shown.splitlines()]
    at = 0
    for line in lines.splitlines():
        if line not in ("...", ""):
            assert line.rstrip() in found[at:], line
            at += found[at:].index(line.rstrip()) + 1


def test_the_tutorial_names_every_key_of_a_terminal() -> None:
    assert len(SHOWN) == 4
    assert not [field.name for field in fields(Setting) if f"`{field.name}`" not in TUTORIAL]
