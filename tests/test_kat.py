"""`shoudan kat`: the vectors pass, every answer can fail, and no file makes it stumble."""

import copy
import json
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from switch.app import kat, kat_message

FILE = Path(__file__).parent / "vectors" / "vectors.json"
VECTORS: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
# By id or kind: inputs that no expected answer is computed from.
UNREAD: dict[str, set[str]] = {
    "capk-checksum": {"expiry"},
    "csk-A2": {"csu", "prop_auth"},
    "csk-B16": {"arc", "prop_auth"},
    "csk-zero-pad2": {"csu", "prop_auth"},
    "pboc-arqc": {"gac_cmd", "gac_resp"},
    "ref-3des-17": {"9F03", "9F1A", "95", "5F2A", "9A", "9C", "82"},
    "sm2-issuer-certificate": {"ca_index"},
    "udk-3des": {"X"},
    "udk-sm4": {"X"},
}
# By kind: inputs that may be absent, because a value is agreed for them or another input says the same.
OPTIONAL: dict[str, set[str]] = {
    "sm4-cbc": {"iv"},
    "udk-3des": {"pan"},
    "udk-sm4": {"pan"},
    "emv-common-session-key": {"pad", "option", "psn"},
    "pboc-transaction": {"alg", "balance5"},
    "qpboc-gpo-decision": {
        "9F79_fen", "9F78_fen", "9F6D_fen", "9F6B_fen", "9F68", "ccy_match", "9F13", "pin_try_exceeded",
    },
    "rsa-cda": {"icc_n", "pdol_values", "cdol1_values", "txn_hash", "resp_tlvs"},
    "rsa-dda": {"icc_n"},
    "rsa-fdda": {"icc_n"},
    "sm2-cda-sign": {"icc_pub"},
    "sm2-dynamic-data": {"icc_pub"},
    "sm2-issuer-certificate": {"user_id", "ca_pub"},
}  # fmt: skip
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
    assert result.status == "pass", result


@pytest.mark.parametrize("one", VECTORS, ids=lambda v: v["id"])
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


@pytest.mark.parametrize("one", VECTORS, ids=lambda v: v["id"])
def test_an_absent_or_odd_input_is_a_fail_with_its_name(one: dict[str, Any]) -> None:
    optional = OPTIONAL.get(one["kind"], set()) | {"algorithm"}
    odd: list[Any] = [12.5, [], {}, "ZZ", "é", -1]
    if one["kind"] in kat_message.KINDS:
        odd += [None, 12, True, ""]
    for name in one["inputs"].keys() - UNREAD.get(one["kind"], set()) - UNREAD.get(one["id"], set()):
        for value in odd:
            wrong = copy.deepcopy(one)
            wrong["inputs"][name] = value
            result = kat.check(wrong)
            assert result.status == "fail", (name, value)
            assert result.detail
        absent = copy.deepcopy(one)
        del absent["inputs"][name]
        result = kat.check(absent)
        if name not in optional:
            assert result.status == "fail", name
            # Where an empty value is agreed for what is absent, an answer differs instead, or a certificate is shut.
            assert f" {name} is absent" in result.detail or ": " in result.detail or "does not open" in result.detail


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


def inputs_of(name: str, **changes: Any) -> dict[str, Any]:
    """The inputs of a vector of the file, changed; None takes one away."""
    given = {**next(v["inputs"] for v in VECTORS if v["id"] == name), **changes}
    return {key: value for key, value in given.items() if value is not None}


SM2_CERTIFICATE = inputs_of("sm2-iss-57")["cert90"]
CDA = inputs_of("sm2-cda-1")


@pytest.mark.parametrize(
    ("kind", "inputs", "expected"),
    [
        (
            "sm2-issuer-certificate",
            inputs_of("sm2-iss-57", ca_pub=None, user_id=None),
            {"valid": True, "serial": "000001"},
        ),
        ("sm2-issuer-certificate", inputs_of("sm2-iss-57", user_id="ALICE"), {"valid": False, "expiry": "1220"}),
        ("sm2-issuer-certificate", inputs_of("sm2-iss-57", cert90=SM2_CERTIFICATE[:-2] + "00"), {"valid": False}),
        ("sm2-issuer-certificate", inputs_of("sm2-iss-57", cert90="12"), {"valid": False}),
        ("sm2-icc-certificate", inputs_of("sm2-icc-1", static_data="00"), {"valid": False}),
        ("sm2-icc-certificate", inputs_of("sm2-icc-1", icc_priv="01".zfill(64)), {"icc_priv_matches": False}),
        ("sm2-signed-static-data", inputs_of("sm2-ssad-1", static_data=None), {"valid": False, "dac": "DAC1"}),
        ("sm2-cda-verify", {**CDA, "signed_msg": CDA["signed_msg"][:-2] + "45"}, {"valid": False, "un": "11223345"}),
        ("sm2-cda-verify", {**CDA, "signed_msg": ""}, {"valid": False}),
        (
            "sm2-verify-digest",
            {
                "priv": "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8",
                "e": "F0B43E94BA45ACCAACE692ED534382EB17E6AB5A19CE7B31F4486FDFC0D28640",
                "sig": "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
                "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA",
            },
            {"valid": True},
        ),
        (
            "sm2-verify-digest",
            {
                "pub": "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
                "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13",
                "e": "00" * 32,
                "sig": "11" * 64,
            },
            {"valid": False},
        ),
        ("rsa-certificate-chain", inputs_of("rsa-upi-621094", static_data="00"), {"valid": False, "dac": "DAC5"}),
        ("rsa-certificate-chain", inputs_of("rsa-upi-621094", ca="08"), {"valid": False}),
        (
            "rsa-certificate-chain",
            inputs_of("rsa-upi-621094", sdad=None, ddol_data=None, **{"93": None, "9F46": None, "static_data": None}),
            {"valid": True, "issuer_id": "621094FF"},
        ),
        ("rsa-certificate-chain", inputs_of("rsa-upi-621094"), {"recovered_sdad_prefix": "6A0501080700"}),
        ("rsa-cda", inputs_of("rsa-cda-ref", resp_tlvs=None, pdol_values=None), {"clear_block": None}),
        ("rsa-cda", inputs_of("rsa-cda-ref", txn_hash=None, icc_n=None), {"9F4B": None}),
        ("udk-3des", inputs_of("udk-3des-19", pan=None, psn=None), {"udk_no_parity": None}),
        ("udk-sm4", inputs_of("udk-sm4-19", X=None), {"udk": None}),
        ("pboc-transaction", inputs_of("ref-3des-01", balance5=None), {"iad": "0701010390000001"}),
        ("pboc-transaction", inputs_of("ref-sm4-01", udk_enc=None), {"script_app_block": None}),
        (
            "pboc-transaction",
            inputs_of("ref-3des-17", udk_mac=None, **{"9F03": None, "9F1A": None, "95": None, "82": None}),
            {"ac": None, "tag91": None},
        ),
        ("pin-change-block", inputs_of("vis-pinblk", cur="1234"), {"block": "16AD99FFC4B001F1"}),
        ("qpboc-gpo-decision", {"9F66": "26000000", "9F02_fen": 0}, {"result": "ARQC", "9F6C_B1": "00"}),
        ("qpboc-gpo-decision", {"9F66": "26400000", "9F02_fen": "500"}, {"result": "ARQC", "9F6C_B1": "80"}),
        ("qpboc-gpo-decision", {"9F66": "20400000", "9F02_fen": 500}, {"result": "6985"}),
    ],
)
def test_chip_kinds_with_inputs_absent_or_spoiled(kind: str, inputs: dict[str, Any], expected: dict[str, Any]) -> None:
    """None in `expected`: what the vector of the file has."""
    for name, value in expected.items():
        if value is None:
            expected = {**expected, name: next(v["expected"][name] for v in VECTORS if v["kind"] == kind and all(
                v["inputs"].get(key) == given for key, given in inputs.items()
            ))}  # fmt: skip
    result = kat.check(vector(kind, inputs, expected))
    assert result.status == "pass", result


def test_fdda_version_01_with_the_cards_data_inside_or_beside() -> None:
    """9F69 ends what is signed, whether `terminal_data` holds it already or not."""
    terminal, card = "2B29EBE4" + "000000000100" + "0156", "01A1B2C3D4300000"
    answers = []
    for data in (terminal, terminal + card):
        given = inputs_of("rsa-fdda00-ref", terminal_data=data, **{"9F69": card})
        answers.append(kat.KINDS["rsa-fdda"](kat.Inputs(given))["clear_block"]())
    assert answers[0] == answers[1]
    digest = sha1(bytes.fromhex("0501" + "03020ADC" + "BB" * 100 + terminal + card)).digest()
    assert answers[0] == bytes.fromhex("6A0501" + "03020ADC" + "BB" * 100) + digest + b"\xbc"


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
@given(st.sampled_from(VECTORS), st.data())
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
    assert "pass         csk-A1  emv-common-session-key" in lines
    assert lines[-1].split() == ["total", "68", "0", "0"]


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
    assert RUNNER.invoke(app, ["kat", "-"], input=json.dumps(VECTORS[:3])).exit_code == 0
    outcome = RUNNER.invoke(app, ["kat", str(tmp_path / "none"), str(FILE)])
    assert outcome.exit_code == 1
    assert "file: cannot be read: No such file" in outcome.output
    assert "pass         sm3-abc  sm3" in outcome.output
