"""`shoudan kat`: the vectors pass, every answer can fail, and no file makes it stumble."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from switch.app import kat

FILE = Path(__file__).parent / "vectors" / "vectors.json"
VECTORS: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
OURS = [vector for vector in VECTORS if vector["kind"] in kat.KINDS]
RUNNER = CliRunner()


@pytest.fixture
def app() -> typer.Typer:
    application = typer.Typer()
    application.callback()(lambda: None)
    kat.register(application)
    return application


def vector(kind: str, inputs: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    return {"id": "v", "kind": kind, "inputs": inputs, "expected": expected}


def spoiled(value: Any) -> Any:
    """The value with its last character, element or truth changed."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return [*value[:-1], [value[-1][0], spoiled(value[-1][1] or "00")]]
    return value[:-1] + ("1" if value[-1] == "0" else "0")


@pytest.mark.parametrize("one", VECTORS, ids=lambda v: v["id"])
def test_published_vectors(one: dict[str, Any]) -> None:
    result = kat.check(one)
    assert result.status == ("pass" if one["kind"] in kat.KINDS else "unsupported"), result


@pytest.mark.parametrize("one", OURS, ids=lambda v: v["id"])
def test_each_expected_key_can_fail(one: dict[str, Any]) -> None:
    for name in one["expected"]:
        wrong = copy.deepcopy(one)
        wrong["expected"][name] = spoiled(one["expected"][name])
        result = kat.check(wrong)
        assert result.status == "fail"
        assert result.detail.startswith(f"{name}: ")
        lower = copy.deepcopy(one)
        if isinstance(one["expected"][name], str):
            lower["expected"][name] = one["expected"][name].lower()
        lower["inputs"]["something new"] = None
        assert kat.check(lower).status == "pass"


@pytest.mark.parametrize("one", OURS, ids=lambda v: v["id"])
def test_an_absent_or_odd_input_is_a_fail_with_its_name(one: dict[str, Any]) -> None:
    for name in one["inputs"]:
        odd: Any
        for odd in (None, 12, [], {}, "ZZ", "é", True, ""):
            wrong = copy.deepcopy(one)
            wrong["inputs"][name] = odd
            result = kat.check(wrong)
            assert result.status == "fail"
            assert result.detail
        absent = copy.deepcopy(one)
        del absent["inputs"][name]
        result = kat.check(absent)
        optional = name in ("algorithm", "iv")
        assert result.status == "fail" or optional
        assert result.detail == f"input {name} is absent" or optional


KEY = "0123456789ABCDEFFEDCBA9876543210"


@pytest.mark.parametrize(
    ("one", "status", "detail"),
    [
        (vector("kcv", {"key": "C24A8FB57AA20123"}, {"kcv_3des": "0547DB"}), "pass", ""),
        (
            vector("kcv", {"key": "C24A8FB57AA20123"}, {"kcv_3des": "0548DB"}),
            "fail",
            "kcv_3des: byte 1 is 47, expected 48",
        ),
        (
            vector("kcv", {"key": "C24A8FB57AA20123"}, {"kcv_3des": "0547"}),
            "fail",
            "kcv_3des: 3 bytes, expected 2",
        ),
        (
            vector("kcv", {"key": "C24A8FB57AA20123"}, {"kcv_sm4": "0547DB"}),
            "fail",
            "a sm4 key has 16 bytes, not 8",
        ),
        (
            vector("kcv", {"key": KEY}, {"kcv_aes": "0547DB"}),
            "unsupported",
            "expected kcv_aes is not computed for this kind",
        ),
        (
            vector("mac-iso9797-alg3-pad1", {"key": KEY, "msg_hex": ""}, {"mac": "08D7B4FB629D0885"}),
            "pass",
            "",
        ),
        (
            vector("mac-network", {"key": KEY, "text": "0200 0"}, {"de128": "9E4F4C3"}),
            "fail",
            "de128: ",
        ),
        (
            vector("sm4-ecb", {"key": KEY, "pt": KEY, "iterations": 0}, {"ct": KEY}),
            "fail",
            "input iterations is not a count from 1 to 10000000",
        ),
        (vector("sm4-ecb", {"key": KEY, "pt": KEY[:-2]}, {"ct": KEY}), "fail", "sm4 works on whole blocks"),
        (
            vector("signin-keys", {"tmk": KEY, "algorithm": "3des", "de62": "00" * 39}, {"valid": True}),
            "fail",
            "no key layout of DE62 has 39 bytes",
        ),
        (
            vector(
                "signin-keys",
                {
                    "tmk": KEY,
                    "de62": "41B1F3D154C3079A5673ACFAB058D6A414902E4E018BC9D09EE9B81600000000000000000547DB3E",
                },
                {"pik": "1A2B3C4D5E6F70818293A4B5C6D7E8F9", "valid": False},
            ),
            "pass",
            "",
        ),
        (
            vector("signin-keys", {"tmk": KEY, "de62": "00" * 24}, {"tdk": KEY}),
            "unsupported",
            "expected tdk is not computed for this kind",
        ),
        (
            vector("tlv", {"hex": "9A031401019C0100"}, {"tlv": [["9A", "140102"], ["9C", "00"]]}),
            "fail",
            "tlv: element 0 (9A): byte 2 is 01, expected 02",
        ),
        (
            vector("tlv", {"hex": "9A031401019C0100"}, {"tlv": [["9A", "140101"]]}),
            "fail",
            "tlv: 2 elements, expected 1",
        ),
        (
            vector("tlv", {"hex": "9A031401019C0100"}, {"tlv": [["9B", "140101"], 5]}),
            "fail",
            "tlv: element 0 is 9A, expected '9B'",
        ),
        (
            vector("tlv", {"hex": "9A0314"}, {"tlv": []}),
            "fail",
            "tag 9A",
        ),
        (
            vector("track-encrypt", {"tdk": KEY, "algorithm": "rsa", "track2": "1" * 37}, {"block": ""}),
            "fail",
            "input algorithm is neither 3des nor sm4",
        ),
        (vector("chess", {}, {"move": "e4"}), "unsupported", "kind is not computed yet"),
        ({"id": "v", "kind": "kcv", "inputs": {}, "expected": {}}, "fail", "inputs and expected are objects"),
        ({"id": "v", "kind": "kcv", "inputs": [], "expected": {"a": ""}}, "fail", "inputs and expected are objects"),
        ({"id": "v", "inputs": {}, "expected": {"a": ""}}, "fail", "kind is not a text"),
        ({"kind": "kcv", "inputs": {}, "expected": {"a": ""}}, "fail", "id is not a text"),
        ([], "fail", "a vector is an object"),
        (None, "fail", "a vector is an object"),
    ],
)
def test_variants(one: Any, status: str, detail: str) -> None:
    result = kat.check(one, 3)
    assert result.status == status, result
    assert result.detail.startswith(detail)
    assert result.id == ("v" if isinstance(one, dict) and "id" in one else "#3")


def test_the_other_suite_of_each_kind() -> None:
    sm4 = vector(
        "signin-keys",
        {
            "tmk": KEY,
            "algorithm": "SM4",
            "de62": "09325C4853832DCB9337A5984F671B9A72EBA303" * 2,
        },
        {"pik": "00112233445566778899AABBCCDDEEFF", "mak": "00112233445566778899AABBCCDDEEFF", "valid": True},
    )
    assert kat.check(sm4).status == "pass"
    network = vector("mac-network", {"key": KEY, "text": "0" * 16, "algorithm": "sm4"}, {"cbc": "", "de128": ""})
    assert kat.check(network).detail == "cbc: 16 bytes, expected 0"


def test_a_million_rounds_of_sm4() -> None:
    """The second example of the SM4 standard."""
    one = vector(
        "sm4-ecb", {"key": KEY, "pt": KEY, "iterations": 1_000_000}, {"ct": "595298C7C6FD271F0402F804C33D3F66"}
    )
    assert kat.check(one).status == "pass"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.binary(max_size=20).map(bytes.hex),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(OURS), st.data())
def test_nothing_makes_it_stumble(one: dict[str, Any], data: st.DataObject) -> None:
    wrong = copy.deepcopy(one)
    for part in ("inputs", "expected"):
        for name in wrong[part]:
            if data.draw(st.booleans()):
                wrong[part][name] = data.draw(JSON)
    if "iterations" in wrong["inputs"]:
        del wrong["inputs"]["iterations"]
    result = kat.check(wrong)
    assert result.status in kat.STATUSES
    assert kat.check(data.draw(JSON)).status == "fail"


def test_command_prints_results_and_a_table(app: typer.Typer) -> None:
    outcome = RUNNER.invoke(app, ["kat", str(FILE)])
    assert outcome.exit_code == 0, outcome.output
    lines = outcome.output.splitlines()
    assert "pass         sm3-abc  sm3" in lines
    assert "unsupported  csk-A1  emv-common-session-key: kind is not computed yet" in lines
    assert lines[-1].split() == ["total", "32", "0", "36"]


def test_command_exits_1_on_a_fail_and_speaks_json(app: typer.Typer, tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text(json.dumps([vector("sm3", {"msg_hex": "616263"}, {"digest": "66C8"}), {"id": "\ud800\x1b"}]))
    outcome = RUNNER.invoke(app, ["kat", str(path), "--json"])
    assert outcome.exit_code == 1
    report = json.loads(outcome.output)
    assert report["summary"] == {"pass": 0, "fail": 2, "unsupported": 0}
    assert report["by_kind"]["sm3"] == {"pass": 0, "fail": 1, "unsupported": 0}
    assert report["results"][0] == {
        "file": str(path),
        "id": "v",
        "kind": "sm3",
        "status": "fail",
        "detail": "digest: byte 1 is C7, expected C8",
    }
    outcome = RUNNER.invoke(app, ["kat", str(path)])
    assert outcome.exit_code == 1
    assert "fail         \\ud800\\x1b  : kind is not a text" in outcome.output


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00", b"{}", b"[" * 100_000, b"1" * 5000])
def test_files_that_hold_no_vectors(app: typer.Typer, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(content)
    outcome = RUNNER.invoke(app, ["kat", str(path)])
    assert outcome.exit_code == 1
    assert isinstance(outcome.exception, SystemExit)
    assert str(path) in outcome.output


def test_standard_input_and_absent_files(app: typer.Typer, tmp_path: Path) -> None:
    assert RUNNER.invoke(app, ["kat", "-"], input=json.dumps(OURS[:3])).exit_code == 0
    outcome = RUNNER.invoke(app, ["kat", str(tmp_path / "none"), str(FILE)])
    assert outcome.exit_code == 1
    assert "file: cannot be read: No such file" in outcome.output
    assert "pass         sm3-abc  sm3" in outcome.output
