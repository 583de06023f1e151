"""What each bit of the chip world's bit strings says, in Chinese and English, and masks for those the rooms use.

Bytes are counted from 1, bits from 8 (high) to 1, as the specifications do. Masks stand for the value read as one
big-endian integer of the string's full size. Sources: EMV Book 3 annex C; PBOC 3.0 parts 5 and 12.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Bit(NamedTuple):
    """A bit (or the highest bit of a group) that is set, and what it says."""

    byte: int
    bit: int
    zh: str
    en: str


class _Row(NamedTuple):
    byte: int
    mask: int
    match: int
    zh: str
    en: str


def _rows(*given: tuple[int, int, str, str]) -> tuple[_Row, ...]:
    return tuple(_Row(byte, 1 << bit - 1, 1 << bit - 1, zh, en) for byte, bit, zh, en in given)


TVR_ODA_NOT_PERFORMED: Final = 0x8000000000
TVR_SDA_FAILED: Final = 0x4000000000
TVR_ICC_DATA_MISSING: Final = 0x2000000000
TVR_EXCEPTION_FILE: Final = 0x1000000000
TVR_DDA_FAILED: Final = 0x0800000000
TVR_CDA_FAILED: Final = 0x0400000000
TVR_APP_VERSION: Final = 0x0080000000
TVR_EXPIRED: Final = 0x0040000000
TVR_NOT_YET_EFFECTIVE: Final = 0x0020000000
TVR_SERVICE_NOT_ALLOWED: Final = 0x0010000000
TVR_NEW_CARD: Final = 0x0008000000
TVR_CVM_FAILED: Final = 0x0000800000
TVR_CVM_UNKNOWN: Final = 0x0000400000
TVR_PIN_TRIES: Final = 0x0000200000
TVR_NO_PINPAD: Final = 0x0000100000
TVR_PIN_NOT_ENTERED: Final = 0x0000080000
TVR_ONLINE_PIN: Final = 0x0000040000
TVR_FLOOR_LIMIT: Final = 0x0000008000
TVR_LOWER_LIMIT: Final = 0x0000004000
TVR_UPPER_LIMIT: Final = 0x0000002000
TVR_RANDOM: Final = 0x0000001000
TVR_FORCED_ONLINE: Final = 0x0000000800
TVR_DEFAULT_TDOL: Final = 0x0000000080
TVR_ISSUER_AUTH_FAILED: Final = 0x0000000040
TVR_SCRIPT_BEFORE: Final = 0x0000000020
TVR_SCRIPT_AFTER: Final = 0x0000000010

TSI_ODA: Final = 0x8000
TSI_CVM: Final = 0x4000
TSI_CARD_RISK: Final = 0x2000
TSI_ISSUER_AUTH: Final = 0x1000
TSI_TERMINAL_RISK: Final = 0x0800
TSI_SCRIPT: Final = 0x0400

AIP_SDA: Final = 0x4000
AIP_DDA: Final = 0x2000
AIP_CVM: Final = 0x1000
AIP_TERMINAL_RISK: Final = 0x0800
AIP_ISSUER_AUTH: Final = 0x0400
AIP_CDA: Final = 0x0100

AUC_DOMESTIC_CASH: Final = 0x8000
AUC_FOREIGN_CASH: Final = 0x4000
AUC_DOMESTIC_GOODS: Final = 0x2000
AUC_FOREIGN_GOODS: Final = 0x1000
AUC_DOMESTIC_SERVICES: Final = 0x0800
AUC_FOREIGN_SERVICES: Final = 0x0400
AUC_ATM: Final = 0x0200
AUC_NOT_ATM: Final = 0x0100
AUC_DOMESTIC_CASHBACK: Final = 0x0080
AUC_FOREIGN_CASHBACK: Final = 0x0040

TERMINAL_PLAIN_PIN: Final = 0x008000
TERMINAL_ONLINE_PIN: Final = 0x004000
TERMINAL_SIGNATURE: Final = 0x002000
TERMINAL_ENCIPHERED_PIN: Final = 0x001000
TERMINAL_NO_CVM: Final = 0x000800
TERMINAL_HOLDER_ID: Final = 0x000100
TERMINAL_SDA: Final = 0x000080
TERMINAL_DDA: Final = 0x000040
TERMINAL_CAPTURE: Final = 0x000020
TERMINAL_CDA: Final = 0x000008

TTQ_MSD: Final = 0x80000000
TTQ_FULL_PBOC: Final = 0x40000000
TTQ_QPBOC: Final = 0x20000000
TTQ_CONTACT: Final = 0x10000000
TTQ_OFFLINE_ONLY: Final = 0x08000000
TTQ_ONLINE_PIN: Final = 0x04000000
TTQ_SIGNATURE: Final = 0x02000000
TTQ_ODA_ONLINE: Final = 0x01000000
TTQ_CRYPTOGRAM: Final = 0x00800000
TTQ_CVM: Final = 0x00400000
TTQ_OFFLINE_PIN: Final = 0x00200000
TTQ_ISSUER_UPDATE: Final = 0x00008000
TTQ_CDCVM: Final = 0x00004000
TTQ_FDDA_01: Final = 0x00000080

CTQ_ONLINE_PIN: Final = 0x8000
CTQ_SIGNATURE: Final = 0x4000
CTQ_ODA_FAIL_ONLINE: Final = 0x2000
CTQ_ODA_FAIL_CONTACT: Final = 0x1000
CTQ_EXPIRED_ONLINE: Final = 0x0800
CTQ_CASH_CONTACT: Final = 0x0400
CTQ_CASHBACK_CONTACT: Final = 0x0200
CTQ_CDCVM: Final = 0x0080
CTQ_ISSUER_UPDATE: Final = 0x0040

CAP_LOW_VALUE: Final = 0x80000000
CAP_LV_AND_CTTA: Final = 0x40000000
CAP_LV_OR_CTTA: Final = 0x20000000
CAP_NEW_CARD: Final = 0x10000000
CAP_PIN_TRIES: Final = 0x08000000
CAP_FOREIGN_OFFLINE: Final = 0x04000000
CAP_PREFER_CONTACT: Final = 0x02000000
CAP_GIVE_AVAILABLE: Final = 0x01000000
CAP_PREPAID: Final = 0x00800000
CAP_FOREIGN_REFUSED: Final = 0x00400000
CAP_NEW_CARD_DECLINE: Final = 0x00200000
CAP_LOG_OFFLINE: Final = 0x00100000
CAP_ONLINE_PIN: Final = 0x00008000
CAP_ONLINE_PIN_FOREIGN: Final = 0x00004000
CAP_CVM_FOREIGN: Final = 0x00002000
CAP_SIGNATURE: Final = 0x00001000

ADA_AUTH_FAILED_ONLINE: Final = 0x8000
ADA_AUTH_FAILED_DECLINE: Final = 0x4000
ADA_AUTH_MISSING_DECLINE: Final = 0x2000
ADA_DECLINE_ADVICE: Final = 0x1000
ADA_TRIES_ADVICE: Final = 0x0800
ADA_AUTH_ADVICE: Final = 0x0400
ADA_NEW_CARD_ONLINE: Final = 0x0200
ADA_NEW_CARD_OFFLINE_DECLINE: Final = 0x0100
ADA_TRIES_BLOCK: Final = 0x0080
ADA_TRIES_BEFORE_DECLINE: Final = 0x0040
ADA_TRIES_BEFORE_ONLINE: Final = 0x0020
ADA_TRIES_BEFORE_ONLINE_ELSE_DECLINE: Final = 0x0010
ADA_SCRIPT_FAILED_ONLINE: Final = 0x0008
ADA_TRIES_BEFORE_BLOCK: Final = 0x0004

CVR_SECOND_TC: Final = 0x400000
CVR_SECOND_NONE: Final = 0x800000
CVR_SECOND_MASK: Final = 0xC00000
CVR_FIRST_TC: Final = 0x100000
CVR_FIRST_ARQC: Final = 0x200000
CVR_FIRST_MASK: Final = 0x300000
CVR_AUTH_FAILED: Final = 0x080000
CVR_OFFLINE_PIN: Final = 0x040000
CVR_OFFLINE_PIN_FAILED: Final = 0x020000
CVR_UNABLE_ONLINE: Final = 0x010000
CVR_LAST_ONLINE_OPEN: Final = 0x008000
CVR_PIN_TRIES: Final = 0x004000
CVR_VELOCITY: Final = 0x002000
CVR_NEW_CARD: Final = 0x001000
CVR_LAST_AUTH_FAILED: Final = 0x000800
CVR_AUTH_NOT_PERFORMED: Final = 0x000400
CVR_BLOCKED_BY_PIN: Final = 0x000200
CVR_LAST_SDA_FAILED: Final = 0x000100
CVR_SCRIPTS_SHIFT: Final = 4
CVR_SCRIPT_FAILED: Final = 0x000008
CVR_LAST_DDA_FAILED: Final = 0x000004
CVR_DDA: Final = 0x000002
"""The three bytes of the CVR after its length byte 03."""

_TVR: Final = _rows(
    (1, 8, "未进行脱机数据认证", "offline data authentication was not performed"),
    (1, 7, "SDA失败", "SDA failed"),
    (1, 6, "IC卡数据缺失", "ICC data missing"),
    (1, 5, "卡片在终端异常文件中", "card appears on terminal exception file"),
    (1, 4, "DDA失败", "DDA failed"),
    (1, 3, "CDA失败", "CDA failed"),
    (2, 8, "卡片与终端应用版本不一致", "ICC and terminal have different application versions"),
    (2, 7, "应用已过期", "expired application"),
    (2, 6, "应用尚未生效", "application not yet effective"),
    (2, 5, "卡片不允许所请求的服务", "requested service not allowed for card product"),
    (2, 4, "新卡", "new card"),
    (3, 8, "持卡人验证未成功", "cardholder verification was not successful"),
    (3, 7, "未知的CVM", "unrecognised CVM"),
    (3, 6, "PIN重试次数超限", "PIN try limit exceeded"),
    (3, 5, "要求输入PIN,但无密码键盘或键盘故障", "PIN entry required and PIN pad not present or not working"),
    (3, 4, "要求输入PIN,但未输入", "PIN entry required, PIN pad present, but PIN was not entered"),
    (3, 3, "输入联机PIN", "online PIN entered"),
    (4, 8, "交易超过最低限额", "transaction exceeds floor limit"),
    (4, 7, "超过连续脱机交易下限", "lower consecutive offline limit exceeded"),
    (4, 6, "超过连续脱机交易上限", "upper consecutive offline limit exceeded"),
    (4, 5, "交易被随机选择联机处理", "transaction selected randomly for online processing"),
    (4, 4, "商户要求联机交易", "merchant forced transaction online"),
    (5, 8, "使用缺省TDOL", "default TDOL used"),
    (5, 7, "发卡行认证失败", "issuer authentication failed"),
    (5, 6, "最后一次GENERATE AC之前脚本处理失败", "script processing failed before final GENERATE AC"),
    (5, 5, "最后一次GENERATE AC之后脚本处理失败", "script processing failed after final GENERATE AC"),
)
_TSI: Final = _rows(
    (1, 8, "脱机数据认证已进行", "offline data authentication was performed"),
    (1, 7, "持卡人验证已进行", "cardholder verification was performed"),
    (1, 6, "卡片风险管理已进行", "card risk management was performed"),
    (1, 5, "发卡行认证已进行", "issuer authentication was performed"),
    (1, 4, "终端风险管理已进行", "terminal risk management was performed"),
    (1, 3, "脚本处理已进行", "script processing was performed"),
)
_AIP: Final = _rows(
    (1, 7, "支持SDA", "SDA supported"),
    (1, 6, "支持DDA", "DDA supported"),
    (1, 5, "支持持卡人验证", "cardholder verification supported"),
    (1, 4, "执行终端风险管理", "terminal risk management is to be performed"),
    (1, 3, "支持发卡行认证", "issuer authentication supported"),
    (1, 1, "支持CDA", "CDA supported"),
    (2, 8, "支持MSD", "MSD supported"),
)
_AUC: Final = _rows(
    (1, 8, "国内现金交易有效", "valid for domestic cash"),
    (1, 7, "国际现金交易有效", "valid for international cash"),
    (1, 6, "国内商品有效", "valid for domestic goods"),
    (1, 5, "国际商品有效", "valid for international goods"),
    (1, 4, "国内服务有效", "valid for domestic services"),
    (1, 3, "国际服务有效", "valid for international services"),
    (1, 2, "ATM有效", "valid at ATMs"),
    (1, 1, "除ATM外的终端有效", "valid at terminals other than ATMs"),
    (2, 8, "允许国内返现", "domestic cashback allowed"),
    (2, 7, "允许国际返现", "international cashback allowed"),
)
_TERMINAL: Final = _rows(
    (1, 8, "手工键盘输入", "manual key entry"),
    (1, 7, "磁条", "magnetic stripe"),
    (1, 6, "接触式IC卡", "IC with contacts"),
    (2, 8, "IC卡明文PIN验证", "plaintext PIN for ICC verification"),
    (2, 7, "加密PIN联机验证", "enciphered PIN for online verification"),
    (2, 6, "签名", "signature"),
    (2, 5, "IC卡密文PIN验证", "enciphered PIN for ICC verification"),
    (2, 4, "无需CVM", "no CVM required"),
    (2, 1, "持卡人证件验证", "cardholder certificate check"),
    (3, 8, "SDA", "SDA"),
    (3, 7, "DDA", "DDA"),
    (3, 6, "吞卡", "card capture"),
    (3, 4, "CDA", "CDA"),
)
_TTQ: Final = _rows(
    (1, 8, "支持非接触式磁条", "contactless magnetic stripe (MSD) supported"),
    (1, 7, "支持非接触式PBOC", "contactless full PBOC supported"),
    (1, 6, "支持qPBOC", "qPBOC supported"),
    (1, 5, "支持接触式PBOC", "contact PBOC supported"),
    (1, 4, "终端仅支持脱机", "offline-only reader"),
    (1, 3, "支持联机PIN", "online PIN supported"),
    (1, 2, "支持签名", "signature supported"),
    (1, 1, "支持联机交易的脱机数据认证", "offline data authentication for online transactions supported"),
    (2, 8, "要求联机密文", "online cryptogram required"),
    (2, 7, "要求CVM", "CVM required"),
    (2, 6, "支持接触式脱机PIN", "offline PIN supported (contact)"),
    (3, 8, "支持发卡行更新处理", "issuer update processing supported"),
    (3, 7, "支持CDCVM", "consumer device CVM supported"),
    (4, 8, "支持fDDA 01版", "fDDA version 01 supported"),
)
_CTQ: Final = _rows(
    (1, 8, "需要联机PIN", "online PIN required"),
    (1, 7, "需要签名", "signature required"),
    (1, 6, "脱机数据认证失败且可联机则联机", "go online if offline data authentication fails"),
    (
        1,
        5,
        "脱机数据认证失败且支持接触则终止(改插卡)",
        "if offline data authentication fails, terminate or switch to contact",
    ),
    (1, 4, "应用过期则联机", "go online if application expired"),
    (1, 3, "现金交易换接口", "switch interface for cash transactions"),
    (1, 2, "返现交易换接口", "switch interface for cashback transactions"),
    (2, 8, "已执行CDCVM", "consumer device CVM performed"),
    (2, 7, "卡片支持发卡行更新处理", "card supports issuer update processing"),
)
_CAP: Final = _rows(
    (1, 8, "小额检查", "low-value check supported"),
    (1, 7, "小额和CTTA检查", "low-value and CTTA check supported"),
    (1, 6, "小额或CTTA检查", "low-value or CTTA check supported"),
    (1, 5, "新卡检查", "new card check supported"),
    (1, 4, "PIN重试次数检查", "PIN tries exceeded check supported"),
    (1, 3, "允许货币不匹配的脱机交易", "offline transactions in a mismatched currency allowed"),
    (1, 2, "联机交易优先接触式", "contact preferred for online transactions"),
    (1, 1, "返回可用脱机消费金额", "available offline spending amount returned"),
    (2, 8, "支持预付", "pre-paid supported"),
    (2, 7, "不允许货币不匹配的交易", "transactions in a mismatched currency refused"),
    (2, 6, "新卡且仅脱机终端则拒绝", "new card at an offline-only reader declined"),
    (2, 5, "记录qPBOC脱机交易日志", "qPBOC offline transactions logged"),
    (3, 8, "匹配货币交易支持联机PIN", "online PIN for matching currency"),
    (3, 7, "不匹配货币交易支持联机PIN", "online PIN for mismatched currency"),
    (3, 6, "不匹配货币交易要求CVM", "CVM required for mismatched currency"),
    (3, 5, "支持签名", "signature supported"),
)
_ADA: Final = _rows(
    (1, 8, "发卡行认证失败,下次联机", "issuer authentication failed: next transaction online"),
    (1, 7, "发卡行认证失败,拒绝", "issuer authentication failed: decline"),
    (1, 6, "发卡行认证必备但无ARPC,拒绝", "issuer authentication mandatory and no ARPC: decline"),
    (1, 5, "交易拒绝,产生通知", "transaction declined: advice"),
    (1, 4, "本次PIN超限且拒绝,产生通知", "PIN tries exceeded this time and declined: advice"),
    (1, 3, "因发卡行认证失败拒绝,产生通知", "declined for issuer authentication: advice"),
    (1, 2, "新卡联机", "new card: online"),
    (1, 1, "新卡且无法联机,拒绝", "new card and unable to go online: decline"),
    (2, 8, "本次PIN超限,锁定应用", "PIN tries exceeded this time: block application"),
    (2, 7, "以前PIN超限,拒绝", "PIN tries exceeded earlier: decline"),
    (2, 6, "以前PIN超限,联机", "PIN tries exceeded earlier: online"),
    (2, 5, "以前PIN超限,联机,无法联机则拒绝", "PIN tries exceeded earlier: online, decline if impossible"),
    (2, 4, "上次脚本失败,联机", "script failed earlier: online"),
    (2, 3, "以前PIN超限,拒绝并锁定应用", "PIN tries exceeded earlier: decline and block application"),
)
_CVR: Final = (
    _Row(1, 0xC0, 0x00, "第二次GENERATE AC返回AAC", "AAC returned in second GENERATE AC"),
    _Row(1, 0xC0, 0x40, "第二次GENERATE AC返回TC", "TC returned in second GENERATE AC"),
    _Row(1, 0xC0, 0x80, "未请求第二次GENERATE AC", "second GENERATE AC not requested"),
    _Row(1, 0x30, 0x00, "第一次GENERATE AC返回AAC", "AAC returned in first GENERATE AC"),
    _Row(1, 0x30, 0x10, "第一次GENERATE AC返回TC", "TC returned in first GENERATE AC"),
    _Row(1, 0x30, 0x20, "第一次GENERATE AC返回ARQC", "ARQC returned in first GENERATE AC"),
    *_rows(
        (1, 4, "发卡行认证已执行但失败", "issuer authentication performed and failed"),
        (1, 3, "脱机PIN验证已执行", "offline PIN verification performed"),
        (1, 2, "脱机PIN验证失败", "offline PIN verification failed"),
        (1, 1, "不能联机", "unable to go online"),
        (2, 8, "上次联机交易未完成", "last online transaction not completed"),
        (2, 7, "PIN重试次数超限", "PIN tries exceeded"),
        (2, 6, "超过频度检查计数器", "velocity checking counters exceeded"),
        (2, 5, "新卡", "new card"),
        (2, 4, "上次联机交易发卡行认证失败", "issuer authentication failed on last online transaction"),
        (2, 3, "联机授权后未执行发卡行认证", "issuer authentication not performed after online authorization"),
        (2, 2, "PIN超限使应用锁定", "application blocked because PIN tries exceeded"),
        (2, 1, "上次脱机交易SDA失败且拒绝", "SDA failed on last transaction and it was declined offline"),
    ),
    *(
        _Row(3, 0xF0, n << 4, f"上次联机脚本命令数{n}", f"{n} script commands in last online transaction")
        for n in range(1, 16)
    ),
    *_rows(
        (3, 4, "上次脚本处理失败", "issuer script processing failed on last transaction"),
        (3, 3, "上次脱机交易DDA失败且拒绝", "DDA failed on last transaction and it was declined offline"),
        (3, 2, "DDA已执行", "DDA performed"),
    ),
)

_TABLES: Final[Mapping[str, tuple[int, tuple[_Row, ...]]]] = MappingProxyType(
    {
        "TVR": (5, _TVR),
        "TSI": (2, _TSI),
        "AIP": (2, _AIP),
        "AUC": (2, _AUC),
        "TERMINAL": (3, _TERMINAL),
        "TTQ": (4, _TTQ),
        "CTQ": (2, _CTQ),
        "CAP": (4, _CAP),
        "ADA": (2, _ADA),
        "CVR": (3, _CVR),
    }
)

NAMES: Final = tuple(_TABLES)

OF_TAG: Final[Mapping[str, str]] = MappingProxyType(
    {
        "95": "TVR",
        "9B": "TSI",
        "82": "AIP",
        "9F07": "AUC",
        "9F33": "TERMINAL",
        "9F66": "TTQ",
        "9F6C": "CTQ",
        "9F68": "CAP",
        "9F52": "ADA",
    }
)
"""The table for a tag whose value is a bit string; action codes (9F0D-9F0F, DF11-DF13) are read as TVR."""

CVM_RULES: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        0x00: ("CVM失败", "fail CVM processing"),
        0x01: ("卡片执行明文PIN核对", "plaintext PIN verification by ICC"),
        0x02: ("联机加密PIN", "enciphered PIN verified online"),
        0x03: ("卡片执行明文PIN核对+签名", "plaintext PIN verification by ICC and signature"),
        0x04: ("卡片执行密文PIN核对", "enciphered PIN verification by ICC"),
        0x05: ("卡片执行密文PIN核对+签名", "enciphered PIN verification by ICC and signature"),
        0x1E: ("签名", "signature"),
        0x1F: ("无需CVM", "no CVM required"),
        0x20: ("持卡人证件出示", "cardholder certificate shown"),
        0x3F: ("未执行CVM", "no CVM performed"),
    }
)
CVM_CONDITIONS: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        0x00: ("总是", "always"),
        0x01: ("无人值守现金", "if unattended cash"),
        0x02: ("非现金且非返现", "if not cash and not cashback"),
        0x03: ("终端支持此CVM", "if terminal supports the CVM"),
        0x04: ("人工值守现金", "if manual cash"),
        0x05: ("返现", "if purchase with cashback"),
        0x06: ("应用货币且低于X", "if in application currency and under X"),
        0x07: ("应用货币且高于X", "if in application currency and over X"),
        0x08: ("应用货币且低于Y", "if in application currency and under Y"),
        0x09: ("应用货币且高于Y", "if in application currency and over Y"),
    }
)
CVM_RESULTS: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {0: ("未知", "unknown"), 1: ("失败", "failed"), 2: ("成功", "successful")}
)


def bits(name: str, value: bytes | int) -> list[Bit]:
    """What is set in a value of the table `name` ("TVR", "CVR", ...), from the first byte on.

    Bytes of another length than the table's are read from the left; a CVR may come with its length byte 03. Bits no
    table row knows are given as "reserved". Raises KeyError for a name that is not in `NAMES`.
    """
    size, rows = _TABLES[name]
    data = value.to_bytes(size, "big") if isinstance(value, int) else value
    if name == "CVR" and len(data) == size + 1:
        data = data[1:]
    found = []
    for number, byte in enumerate(data[:size], 1):
        known = 0
        for row in rows:
            if row.byte != number:
                continue
            known |= row.mask
            if byte & row.mask == row.match:
                found.append(Bit(number, row.mask.bit_length(), row.zh, row.en))
        found += [Bit(number, bit, "保留", "reserved") for bit in range(8, 0, -1) if byte & ~known & 1 << bit - 1]
    return found
