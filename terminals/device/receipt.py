"""The receipt (签购单) of an item, in Chinese or English, and its reprint; the slip of a settlement.

Card numbers are masked here as everywhere; what a chip adds to them is told in docs/chip-flows.md, "Books".
"""

import unicodedata
from typing import Final, Literal

from switch.wire.codes import CURRENCIES
from switch.wire.redact import mask_pan
from terminals.device.dialogue import CURRENCY, Outcome
from terminals.device.memory import Chip, Item, Memory, Totals

Lang = Literal["zh", "en"]

WIDTH: Final = 40
"""Columns of the paper; a Chinese character takes two."""

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "title": ("银联POS签购单", "CARD SALES SLIP"),
    "settlement": ("结算总计单", "SETTLEMENT"),
    "reprint": ("*** 重打印凭证 ***", "*** REPRINT ***"),
    "merchant": ("商户名称", "MERCHANT"),
    "mid": ("商户编号", "MERCHANT NO"),
    "tid": ("终端编号", "TERMINAL NO"),
    "issuer": ("发卡行", "ISSUER"),
    "acquirer": ("收单行", "ACQUIRER"),
    "card": ("卡号", "CARD NO"),
    "entry": ("读卡方式", "ENTRY"),
    "kind": ("交易类型", "TRANSACTION"),
    "batch": ("批次号", "BATCH NO"),
    "stan": ("凭证号", "VOUCHER NO"),
    "auth": ("授权码", "AUTH NO"),
    "rrn": ("参考号", "REFERENCE NO"),
    "time": ("日期时间", "DATE/TIME"),
    "amount": ("金额", "AMOUNT"),
    "original": ("原凭证号", "ORIGINAL VOUCHER"),
    "sign": ("持卡人签名", "CARDHOLDER SIGNATURE"),
    "no_sign": ("已验证密码，无需签名", "PIN VERIFIED, NO SIGNATURE REQUIRED"),
    "nothing_to_sign": ("本凭证无需签名", "NO SIGNATURE REQUIRED"),
    "accept": ("本人确认以上交易，同意将其计入本卡账户", "I ACKNOWLEDGE THE ABOVE TRANSACTION"),
    "debit": ("借记", "DEBIT"),
    "credit": ("贷记", "CREDIT"),
    "result": ("对账结果", "RESULT"),
    "balanced": ("对账平", "BALANCED"),
    "unbalanced": ("对账不平", "NOT BALANCED"),
    "aid": ("应用标识", "AID"),
    "label": ("应用名称", "APPLICATION"),
    "atc": ("应用交易计数器", "ATC"),
    "tvr": ("终端验证结果", "TVR"),
    "tsi": ("交易状态信息", "TSI"),
    "e_cash": ("电子现金余额", "E-CASH BALANCE"),
    "small": ("小额免密免签，无需签名", "NO PIN, NO SIGNATURE REQUIRED"),
    "offline": ("脱机交易，无需签名", "OFFLINE TRANSACTION, NO SIGNATURE REQUIRED"),
}
_ENTRIES: Final[dict[str, tuple[str, str]]] = {
    "01": ("手输", "KEYED"), "02": ("刷卡", "SWIPED"), "05": ("插卡", "CHIP"), "07": ("闪付", "CONTACTLESS"),
    "80": ("降级刷卡", "FALLBACK"),
}  # fmt: skip


def receipt(memory: Memory, item: Item, lang: Lang = "zh", *, reprint: bool = False) -> str:
    """The slip of an approved item, lines ended by newlines. ValueError for one that was not approved."""
    if item.state not in ("approved", "offline"):
        raise ValueError("only an approved transaction has a receipt")
    lines = [_centred(_word("title", lang))]
    if reprint:
        lines.append(_centred(_word("reprint", lang)))
    lines += _terminal(memory, lang)
    lines += _card(item, lang)
    lines += _references(memory, item, lang)
    if item.chip is not None and item.chip.ac:
        lines += _chip(item.chip, lang)
    if item.row.amount:
        amount = f"{'-' if item.row.sign < 0 else ''}{_money(item.amount_minor)}"
        lines.append(_pair("amount", f"{_currency()} {amount}", lang))
    lines += _signature(memory, item, lang)
    return "\n".join(lines) + "\n"


def reprint(memory: Memory, lang: Lang = "zh") -> str:
    """The last receipt again, marked as such. ValueError when there was none."""
    if memory.last is None:
        raise ValueError("no transaction to print again")
    return receipt(memory, memory.last, lang, reprint=True)


def settlement_slip(memory: Memory, outcome: Outcome, lang: Lang = "zh") -> str:
    """The slip of a settlement: totals and verdict. ValueError where there are no totals."""
    if outcome.totals is None:
        raise ValueError("a settlement slip needs totals")
    lines = [_centred(_word("settlement", lang)), *_terminal(memory, lang), _pair("batch", outcome.batch, lang)]
    if memory.clock[0]:
        lines.append(_pair("time", _moment(*memory.clock), lang))
    lines += _totals(outcome.totals, lang)
    verdict = outcome.reason if outcome.approved and outcome.reason in ("balanced", "unbalanced") else ""
    if verdict:
        lines.append(_pair("result", _word(verdict, lang), lang))
    return "\n".join(lines) + "\n"


def _totals(totals: Totals, lang: Lang) -> list[str]:
    return [
        _pair("debit", f"{totals.debit_count}  {_currency()} {_money(totals.debit_minor)}", lang),
        _pair("credit", f"{totals.credit_count}  {_currency()} {_money(totals.credit_minor)}", lang),
    ]


def _terminal(memory: Memory, lang: Lang) -> list[str]:
    return [
        _pair("merchant", memory.merchant_name, lang),
        _pair("mid", memory.mid, lang),
        _pair("tid", memory.tid, lang),
        "-" * WIDTH,
    ]


def _card(item: Item, lang: Lang) -> list[str]:
    lines = [_pair("card", mask_pan(item.pan), lang)]
    entry = _ENTRIES.get(item.entry_mode[:2])
    if entry is not None:
        lines.append(_pair("entry", entry[0 if lang == "zh" else 1], lang))
    issuer, acquirer = item.institutions[:11].rstrip(), item.institutions[11:22].rstrip()
    if issuer:
        lines.append(_pair("issuer", issuer, lang))
    if acquirer:
        lines.append(_pair("acquirer", acquirer, lang))
    return lines


def _references(memory: Memory, item: Item, lang: Lang) -> list[str]:
    row = item.row
    lines = [
        _pair("kind", row.zh if lang == "zh" else row.en.upper(), lang),
        _pair("batch", item.batch, lang),
        _pair("stan", item.stan, lang),
    ]
    if item.original is not None:
        lines.append(_pair("original", item.original.stan, lang))
    if item.auth_code:
        lines.append(_pair("auth", item.auth_code, lang))
    if item.rrn:
        lines.append(_pair("rrn", item.rrn, lang))
    # The host's time of the answer; where it gave none, the time last heard from it.
    date, clock = (item.date, item.time) if item.date else memory.clock
    if date:
        lines.append(_pair("time", _moment(date, clock), lang))
    return lines


def _chip(chip: Chip, lang: Lang) -> list[str]:
    """What the card certified, and how it was verified."""
    lines = [_pair("aid", chip.aid, lang)]
    if chip.label:
        lines.append(_pair("label", chip.label, lang))
    lines += [
        _line(chip.certificate, chip.ac),
        _pair("atc", f"{chip.atc:04X}", lang),
        _pair("tvr", f"{chip.tvr:010X}", lang),
        _pair("tsi", f"{chip.tsi:04X}", lang),
    ]
    if chip.e_cash and chip.balance_minor is not None:
        lines.append(_pair("e_cash", f"{_currency()} {_money(chip.balance_minor)}", lang))
    return lines


def _signature(memory: Memory, item: Item, lang: Lang) -> list[str]:
    if not item.row.amount:
        return [_centred(_word("nothing_to_sign", lang))]
    chip = item.chip
    if chip is not None and not chip.signature and (chip.no_pin or item.row.chip == "offline"):
        return [_centred(_word("small" if chip.no_pin else "offline", lang))]
    if item.with_pin and not memory.signature_with_pin:
        return [_centred(_word("no_sign", lang))]
    return [_word("sign", lang), "", "_" * WIDTH, _word("accept", lang)]


def _word(name: str, lang: Lang) -> str:
    return _WORDS[name][0 if lang == "zh" else 1]


def _currency() -> str:
    return CURRENCIES[CURRENCY].en


def _money(amount_minor: int) -> str:
    return f"{amount_minor // 100:,}.{amount_minor % 100:02d}"


def _moment(date: str, clock: str) -> str:
    return f"{date[:2]}/{date[2:]} {clock[:2]}:{clock[2:4]}:{clock[4:]}"


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _centred(text: str) -> str:
    return " " * max(0, (WIDTH - _columns(text)) // 2) + text


def _pair(name: str, value: str, lang: Lang) -> str:
    """A word on the left edge of the paper and its value on the right."""
    return _line(_word(name, lang), value)


def _line(word: str, value: str) -> str:
    return f"{word}{' ' * max(1, WIDTH - _columns(word) - _columns(value))}{value}"
