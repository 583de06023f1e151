"""Receipts in both languages, their reprint, the slip of a settlement."""

from typing import Any

import pytest
from terminals_host import HeldCard, ScriptedHost, holder, new_line, new_memory

from switch.wire.transactions import ROWS
from terminals.device import pos
from terminals.device.memory import Item, Memory
from terminals.device.receipt import WIDTH, receipt, reprint, settlement_slip
from terminals.drive.instant import run

CARD = HeldCard()
LINE = new_line()


def sold(**how: Any) -> tuple[Memory, Item]:
    memory = new_memory()
    item = run(pos.sale(memory, LINE, CARD, 123_456, **how), ScriptedHost(), holder).item
    assert item is not None
    return memory, item


def test_a_sale_in_chinese() -> None:
    memory, item = sold()
    assert receipt(memory, item) == (
        "             银联POS签购单\n"
        "商户名称                  江南区和记超市\n"
        "商户编号                 999290054110001\n"
        "终端编号                        10000001\n"
        "----------------------------------------\n"
        "卡号                 621214*********0030\n"
        "读卡方式                            刷卡\n"
        "发卡行                          91010000\n"
        "收单行                          04384530\n"
        "交易类型                            消费\n"
        "批次号                            000001\n"
        "凭证号                            000002\n"
        "授权码                            A00001\n"
        "参考号                      000000000001\n"
        "日期时间                  06/12 10:15:30\n"
        "金额                        CNY 1,234.56\n"
        "          已验证密码，无需签名\n"
    )


def test_a_keyed_sale_in_english_is_signed() -> None:
    memory, item = sold(entry=pos.KEYED, pin=False)
    text = receipt(memory, item, "en")
    for line in ("CARD SALES SLIP", "KEYED", "SALE", "CNY 1,234.56", "CARDHOLDER SIGNATURE", "_" * WIDTH):
        assert line in text
    assert "PIN VERIFIED" not in text


def test_a_merchant_may_want_a_signature_besides_the_pin() -> None:
    memory, item = sold()
    memory.signature_with_pin = True
    assert "持卡人签名" in receipt(memory, item)


def test_a_reprint_is_marked_and_otherwise_the_same() -> None:
    memory, item = sold()
    first, again = receipt(memory, item).splitlines(), reprint(memory).splitlines()
    assert again[1].strip() == "*** 重打印凭证 ***"
    assert again[:1] + again[2:] == first
    assert "*** REPRINT ***" in reprint(memory, "en")


def test_what_has_no_receipt() -> None:
    memory = new_memory()
    with pytest.raises(ValueError, match="no transaction"):
        reprint(memory)
    with pytest.raises(ValueError, match="approved"):
        receipt(memory, Item("sale", "000001", "000001", 1, "021", CARD.pan, CARD.expiry, state="declined"))


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("row", [row for row in ROWS if not row.chip], ids=lambda row: row.name)
def test_every_kind_has_one(row: Any, lang: Any) -> None:
    memory, sale = sold()
    item = Item(
        row.name, "000001", "000009", 100, "012", CARD.pan, CARD.expiry, sale.name() if row.original else None,
        state="approved", rrn="R" * 12,
    )  # fmt: skip
    text = receipt(memory, item, lang)
    assert CARD.pan not in text
    assert (row.zh if lang == "zh" else row.en.upper()) in text
    assert ("06/12 10:15:30" in text, "R" * 12 in text) == (True, True)  # the time last heard from the host
    assert ("CNY -1.00" in text) == (row.sign < 0)
    assert (sale.stan in text) == bool(row.original)


def test_settlement_slip() -> None:
    memory, host = new_memory(), ScriptedHost()
    run(pos.sale(memory, LINE, CARD, 500), host, holder)
    outcome = run(pos.settle(memory, LINE), host, holder)
    text = settlement_slip(memory, outcome)
    for line in ("结算总计单", "000001", "1  CNY 5.00", "0  CNY 0.00", "对账平", "06/12 10:15:30"):
        assert line in text
    assert "BALANCED" in settlement_slip(memory, outcome, "en")
    with pytest.raises(ValueError, match="totals"):
        settlement_slip(memory, run(pos.echo(memory, LINE), host, holder))
