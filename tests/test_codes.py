"""The vocabularies: complete, bilingual, and the classes that counts depend on."""

from collections.abc import Mapping

import pytest

from switch.wire import codes

TABLES = [
    value
    for name, value in vars(codes).items()
    if name.isupper() and not name.startswith("_") and isinstance(value, Mapping)
]


def test_every_entry_has_both_languages() -> None:
    assert len(TABLES) >= 15
    for table in TABLES:
        for code, text in table.items():
            assert isinstance(code, str)
            assert any("\u4e00" <= c <= "\u9fff" for c in text.zh), code
            assert text.en.isascii()
            assert text.en


def test_approvals() -> None:
    assert {"00", "10", "11", "16", "A2", "A4", "A5", "A6"} == codes.APPROVED
    for code, row in codes.RESPONSE_CODES.items():
        assert (row.fault == "none") == (code in codes.APPROVED)
        assert (row.action == "A") == (code in codes.APPROVED)


@pytest.mark.parametrize(
    ("code", "action", "fault"),
    [
        ("68", "C", "system"),
        ("91", "C", "system"),
        ("96", "C", "system"),
        ("98", "E", "system"),
        ("51", "C", "holder"),
        ("55", "C", "holder"),
        ("04", "D", "holder"),
        ("77", "D", "terminal"),
        ("A0", "B", "terminal"),
        ("13", "B", "terminal"),
        ("06", "E", "issuer"),
        ("XX", "C", "issuer"),
    ],
)
def test_action_and_fault(code: str, action: str, fault: str) -> None:
    row = codes.response(code)
    assert (row.action, row.fault) == (action, fault)


def test_every_code_of_the_response_table_is_known() -> None:
    decimal = {*range(8), *range(9, 17), 19, 20, 21, 22, 23, 25, 30, 31, *range(33, 45), *range(51, 60)}
    decimal |= {61, 62, 63, 64, 65, 66, 67, 68, 75, 77, 79, *range(90, 100)}
    listed = {f"{code:02d}" for code in decimal} | {f"A{digit}" for digit in range(8)} | {"B0", "Z1", "Z3"}
    assert listed <= set(codes.RESPONSE_CODES)


def test_look_ups_always_answer() -> None:
    assert codes.processing("310000").en == "balance inquiry"
    assert codes.processing("003000").en == "purchase"
    assert codes.processing("990000").en == "other"
    assert codes.network_code("201", "0500").en == "settlement"
    assert codes.network_code("201", "0320").en == "batch detail, stripe"
    assert codes.network_code("123").en == "other"
    assert codes.entry_mode("051") == ("接触式IC卡,有密码", "contact chip, with PIN")
    assert codes.entry_mode("").en == "other, other"
    assert codes.MTIS["0200"] == ("金融请求", "financial request")
    assert codes.MTIS["0430"].en == "reversal advice reply"
