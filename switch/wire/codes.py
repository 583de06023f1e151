"""Vocabularies of the code fields, in Chinese and English: DE3, 22, 25, 39, 49, 60, 70, MTIs and header codes.

Data only. The tables follow the UnionPay terminal and network pages; a code that is not listed is still a valid code,
so every look-up function has an answer for it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

Action = Literal["A", "B", "C", "D", "E"]
"""A success; B failed, may be tried again; C failed for good; D somebody must act (capture, sign in); E system."""

Fault = Literal["none", "holder", "terminal", "issuer", "system"]
"""Whose fault a refusal is: the holder or the card; the terminal, merchant or acquirer; what the issuer does not offer;
the system between them (the only ones that lower the system success rate)."""


class Text(NamedTuple):
    """One meaning in two languages."""

    zh: str
    en: str


class Code(NamedTuple):
    """A response code: its meaning, what to do about it, whose fault it is."""

    zh: str
    en: str
    action: Action
    fault: Fault


def _frozen(table: dict[str, tuple[str, str]]) -> Mapping[str, Text]:
    return MappingProxyType({code: Text(*text) for code, text in table.items()})


_RESPONSES: dict[str, tuple[str, str, Action, Fault]] = {
    "00": ("承兑或交易成功", "approved", "A", "none"),
    "01": ("查发卡方", "refer to issuer", "C", "holder"),
    "02": ("查发卡方的特殊条件", "refer to issuer, special condition", "C", "holder"),
    "03": ("无效商户", "invalid merchant", "C", "terminal"),
    "04": ("没收卡", "capture card", "D", "holder"),
    "05": ("不予承兑或身份认证失败", "do not honour", "C", "holder"),
    "06": ("出错", "error", "E", "issuer"),
    "07": ("特定条件下没收卡", "capture card, special condition", "D", "holder"),
    "09": ("请求正在处理中", "request in progress", "B", "issuer"),
    "10": ("部分承兑", "partial approval", "A", "none"),
    "11": ("承兑(重要人物)", "approved, VIP", "A", "none"),
    "12": ("无效交易", "invalid transaction", "C", "terminal"),
    "13": ("无效金额", "invalid amount", "B", "terminal"),
    "14": ("无效卡号", "invalid card number", "B", "holder"),
    "15": ("无此发卡方", "no such issuer", "C", "issuer"),
    "16": ("承兑并更新第三磁道", "approved, update track 3", "A", "none"),
    "19": ("重新送入交易", "re-enter transaction", "C", "terminal"),
    "20": ("无效应答", "invalid response", "C", "issuer"),
    "21": ("卡未初始化", "card not initialised", "C", "holder"),
    "22": ("故障怀疑或超过撤销期限", "suspected malfunction or past the void window", "C", "terminal"),
    "23": ("不可接受的交易费", "unacceptable fee", "C", "terminal"),
    "25": ("找不到原始交易", "original transaction not found", "C", "terminal"),
    "30": ("报文格式错误", "format error", "C", "terminal"),
    "31": ("银行不支持", "bank not supported", "C", "issuer"),
    "33": ("过期的卡(没收)", "expired card, capture", "D", "holder"),
    "34": ("有作弊嫌疑(没收)", "suspected fraud, capture", "D", "holder"),
    "35": ("受卡方与受理方联系(没收)", "contact acquirer, capture", "D", "holder"),
    "36": ("受限制的卡(没收)", "restricted card, capture", "D", "holder"),
    "37": ("受卡方电话通知受理方安全部门(没收)", "call acquirer security, capture", "D", "holder"),
    "38": ("密码错误次数超限(没收)", "PIN tries exceeded, capture", "D", "holder"),
    "39": ("无贷记账户", "no credit account", "C", "holder"),
    "40": ("请求的功能尚不支持", "requested function not supported", "C", "issuer"),
    "41": ("挂失卡", "lost card", "D", "holder"),
    "42": ("无此账户", "no universal account", "B", "holder"),
    "43": ("被窃卡", "stolen card", "D", "holder"),
    "44": ("无此投资账户", "no investment account", "C", "holder"),
    "51": ("资金不足", "insufficient funds", "C", "holder"),
    "52": ("无此支票账户", "no cheque account", "C", "holder"),
    "53": ("无此储蓄账户", "no savings account", "C", "holder"),
    "54": ("过期的卡", "expired card", "C", "holder"),
    "55": ("密码错误", "incorrect PIN", "C", "holder"),
    "56": ("无此卡记录", "no card record", "C", "holder"),
    "57": ("不允许持卡人进行的交易", "not permitted to cardholder", "C", "holder"),
    "58": ("不允许终端进行的交易", "not permitted to terminal", "C", "terminal"),
    "59": ("有作弊嫌疑或卡片校验错误", "suspected fraud or card check failed", "C", "holder"),
    "60": ("受卡方与受理方联系", "contact acquirer", "C", "holder"),
    "61": ("超出金额限制", "exceeds amount limit", "C", "holder"),
    "62": ("受限制的卡", "restricted card", "C", "holder"),
    "63": ("侵犯安全", "security violation", "C", "terminal"),
    "64": ("原始金额错误", "original amount mismatch", "C", "terminal"),
    "65": ("超出取款次数限制", "exceeds count limit", "C", "holder"),
    "66": ("受卡方通知受理方安全部门", "call acquirer security", "C", "holder"),
    "67": ("强行受理(没收)", "capture card at the machine", "C", "holder"),
    "68": ("收到的回答太迟", "response received too late", "C", "system"),
    "75": ("密码错误次数超限", "PIN tries exceeded", "C", "holder"),
    "77": ("需要向网络中心签到", "sign in to the centre first (batch differs)", "D", "terminal"),
    "79": ("脱机交易对账不平", "offline totals do not match", "C", "terminal"),
    "90": ("日期切换正在处理", "cut-over in progress", "C", "issuer"),
    "91": ("发卡方或银联不能操作", "issuer or centre inoperative", "C", "system"),
    "92": ("网络机构找不到或线路故障", "institution not found or line down", "C", "issuer"),
    "93": ("交易违法、不能完成", "transaction is illegal", "C", "holder"),
    "94": ("重复交易", "duplicate transaction", "C", "terminal"),
    "95": ("调节控制错", "reconciliation error", "C", "terminal"),
    "96": ("系统异常、失效", "system malfunction", "C", "system"),
    "97": ("终端未登记", "terminal not registered", "D", "terminal"),
    "98": ("银联收不到发卡方应答", "no reply from issuer", "E", "system"),
    "99": ("密码格式错误", "PIN format error", "B", "terminal"),
    "A0": ("报文鉴别码(MAC)错误", "MAC error", "B", "terminal"),
    "A1": ("转账货币不一致", "transfer currency differs", "C", "terminal"),
    "A2": ("交易成功,请向发卡方确认", "approved, confirm with issuer", "A", "none"),
    "A3": ("转入账户不正确", "wrong transfer-in account", "C", "holder"),
    "A4": ("交易成功,请向发卡方确认", "approved, confirm with issuer", "A", "none"),
    "A5": ("交易成功,请向发卡方确认", "approved, confirm with issuer", "A", "none"),
    "A6": ("交易成功,请向发卡方确认", "approved, confirm with issuer", "A", "none"),
    "A7": ("安全处理失败", "security processing fault at the centre", "C", "issuer"),
    "B0": ("银行自定义", "private to the bank", "C", "issuer"),
    "Z1": ("脱机拒绝(仅卡片)", "declined offline (card only)", "C", "holder"),
    "Z3": ("不能联机,脱机拒绝(仅卡片)", "unable to go online, declined (card only)", "C", "terminal"),
}

RESPONSE_CODES: Final[Mapping[str, Code]] = MappingProxyType({code: Code(*row) for code, row in _RESPONSES.items()})
"""DE39, each with its action class and whose fault it is."""

UNKNOWN_RESPONSE: Final = Code("未知应答码(按失败处理)", "unknown code (treat as failed)", "C", "issuer")

APPROVED: Final = frozenset(code for code, row in RESPONSE_CODES.items() if row.action == "A")
"""Codes with which a transaction stands: 00, 10, 11, 16, A2, A4, A5, A6."""


def response(code: str) -> Code:
    """What a DE39 means; UNKNOWN_RESPONSE for one that is not in the table."""
    return RESPONSE_CODES.get(code, UNKNOWN_RESPONSE)


ENTRY_MODES: Final = _frozen(
    {
        "00": ("未指明", "unspecified"),
        "01": ("手工输入", "keyed"),
        "02": ("磁条", "magnetic stripe"),
        "03": ("条码或二维码", "bar or QR code"),
        "04": ("光学字符识别", "OCR"),
        "05": ("接触式IC卡", "contact chip"),
        "07": ("非接触快速支付", "contactless chip (quick pass)"),
        "80": ("IC卡降级为磁条", "fallback from chip to stripe"),
        "90": ("磁条全磁道可靠", "full stripe, reliable"),
        "91": ("非接触磁条", "contactless stripe"),
        "92": ("无卡或预约", "card not present or reservation"),
        "94": ("钱包", "wallet"),
        "95": ("IC卡数据不可靠", "contact chip, data not reliable"),
        "96": ("手机芯片", "mobile chip"),
        "98": ("非接触标准借贷记", "contactless full debit/credit"),
    }
)
"""First two digits of DE22."""

PIN_MODES: Final = _frozen(
    {"0": ("密码未指明", "PIN unspecified"), "1": ("有密码", "with PIN"), "2": ("无密码", "no PIN")}
)
"""Third digit of DE22."""

CONDITIONS: Final = _frozen(
    {
        "00": ("正常", "normal"),
        "01": ("持卡人不在场", "cardholder not present"),
        "02": ("自助终端", "unattended terminal"),
        "06": ("预授权类", "pre-authorization family"),
        "08": ("订购(邮购电购)", "mail or phone order"),
        "18": ("订购预授权", "mail or phone order, pre-authorization"),
        "60": ("追加预授权", "additional pre-authorization"),
        "64": ("分期付款", "instalments"),
        "65": ("积分", "points"),
        "66": ("磁条卡账户充值", "stripe account load"),
        "67": ("预约消费", "reservation"),
        "69": ("脱机退货", "offline refund"),
        "82": ("结算调整", "settlement adjustment"),
        "91": ("圈存类", "chip load family"),
    }
)
"""DE25."""

PROCESSING: Final = _frozen(
    {
        "000000": ("消费", "purchase"),
        "010000": ("取现", "cash withdrawal"),
        "030000": ("预授权", "pre-authorization"),
        "170000": ("现金充值撤销", "void of a cash load"),
        "200000": ("撤销或退货", "void or refund"),
        "210000": ("存款", "deposit"),
        "300000": ("余额查询", "balance inquiry"),
        "310000": ("余额查询", "balance inquiry"),
        "330000": ("账户验证", "account verification"),
        "400000": ("转账", "transfer"),
        "600000": ("指定账户圈存", "load from the designated account"),
        "620000": ("非指定账户圈存", "load from another account"),
        "630000": ("现金充值", "cash load"),
        "640000": ("圈存补登", "take-up of a load"),
        "650000": ("非指定账户圈存脚本通知", "script notice of a load from another account"),
        "890000": ("身份验证", "identity verification"),
    }
)
"""DE3, all six digits."""

_OTHER_PROCESSING = Text("其他", "other")


def processing(code: str) -> Text:
    """What a DE3 asks for: the whole code, else its first two digits with zero account types."""
    return PROCESSING.get(code) or PROCESSING.get(code[:2] + "0000", _OTHER_PROCESSING)


TYPE_CODES: Final = _frozen(
    {
        "00": ("管理类", "administration"),
        "01": ("余额查询", "balance inquiry"),
        "03": ("联盟积分查询", "points inquiry"),
        "07": ("电子签名上送", "signature upload"),
        "08": ("电子签名分段上送", "signature upload in parts"),
        "10": ("预授权", "pre-authorization"),
        "11": ("预授权撤销", "void of a pre-authorization"),
        "20": ("预授权完成请求", "completion request"),
        "21": ("预授权完成撤销", "void of a completion"),
        "22": ("消费", "sale"),
        "23": ("消费撤销", "void of a sale"),
        "24": ("预授权完成通知", "completion notice"),
        "25": ("退货", "refund"),
        "27": ("脱机退货", "offline refund"),
        "30": ("离线结算", "offline sale (voice approval)"),
        "32": ("结算调整", "settlement adjustment"),
        "34": ("追加小费", "tip"),
        "36": ("电子现金脱机消费", "chip offline sale"),
        "45": ("指定账户圈存", "load from the designated account"),
        "46": ("现金充值", "cash load"),
        "47": ("非指定账户圈存", "load from another account"),
        "48": ("磁条卡现金充值", "stripe cash load"),
        "49": ("磁条卡账户充值", "stripe account load"),
        "51": ("现金充值撤销", "void of a cash load"),
        "53": ("预约消费撤销", "void of a reservation sale"),
        "54": ("预约消费", "reservation sale"),
        "55": ("助农取款", "assisted withdrawal"),
        "99": ("主密钥下载", "master key download"),
    }
)
"""DE60.1 on the terminal's link."""

NETWORK_CODES: Final = _frozen(
    {
        "000": ("金融交易", "financial transaction"),
        "001": ("签到(单倍长)", "sign-in, single DES"),
        "002": ("签退", "sign-off"),
        "003": ("签到(双倍长)", "sign-in, 3DES"),
        "004": ("签到(双倍长含磁道密钥)", "sign-in, 3DES with track key"),
        "005": ("签到(国密变体)", "sign-in, SM variant"),
        "006": ("签到(国密)", "sign-in, SM4"),
        "201": ("批结算或批上送明细", "settlement or batch detail"),
        "202": ("批上送结束(不平)", "batch end, unbalanced"),
        "203": ("IC卡联机明细(平)", "chip online detail, balanced"),
        "204": ("IC卡通知(平)", "chip notice, balanced"),
        "205": ("IC卡联机明细(不平)", "chip online detail, unbalanced"),
        "206": ("IC卡通知(不平)", "chip notice, unbalanced"),
        "207": ("批上送结束(平)", "batch end, balanced"),
        "208": ("电子钱包圈存确认(平)", "purse load confirmation, balanced"),
        "209": ("电子钱包圈存确认(不平)", "purse load confirmation, unbalanced"),
        "301": ("回响测试", "echo test"),
        "360": ("磁条参数下载", "stripe parameter download"),
        "361": ("磁条参数下载结束", "stripe parameter download end"),
        "362": ("终端状态上送", "terminal status"),
        "364": ("TMS参数下载", "TMS parameter download"),
        "365": ("TMS参数下载结束", "TMS parameter download end"),
        "370": ("IC卡公钥下载", "CA key download"),
        "371": ("IC卡公钥下载结束", "CA key download end"),
        "372": ("IC卡公钥查询", "CA key list"),
        "373": ("国密公钥查询或下载", "SM2 CA key list or download"),
        "380": ("IC卡参数下载", "AID parameter download"),
        "381": ("IC卡参数下载结束", "AID parameter download end"),
        "382": ("IC卡参数查询", "AID list"),
        "390": ("卡BIN黑名单下载", "card BIN blacklist download"),
        "391": ("卡BIN黑名单下载结束", "card BIN blacklist download end"),
        "394": ("非接触参数下载", "contactless parameter download"),
        "395": ("非接触参数下载结束", "contactless parameter download end"),
        "396": ("免密BIN表下载", "no-PIN BIN table download"),
        "397": ("免密BIN表下载结束", "no-PIN BIN table download end"),
        "398": ("免密黑名单下载", "no-PIN blacklist download"),
        "399": ("免密黑名单下载结束", "no-PIN blacklist download end"),
        "401": ("主密钥下载", "master key download"),
        "570": ("脱机认证黑名单", "offline authentication blacklist"),
        "951": ("脚本处理结果通知", "script result notice"),
        "960": ("卡BIN表下载", "BIN table download"),
        "961": ("卡BIN表下载结束", "BIN table download end"),
    }
)
"""DE60.3 on the terminal's link."""

_BY_MTI: Final = MappingProxyType(
    {
        ("05", "201"): Text("批结算", "settlement"),
        ("03", "201"): Text("批上送磁条明细", "batch detail, stripe"),
    }
)
_OTHER_NETWORK_CODE = Text("其他", "other")


def network_code(code: str, mti: str = "") -> Text:
    """What a DE60.3 means in a message of this MTI (201 stands for two things)."""
    return _BY_MTI.get((mti[:2], code)) or NETWORK_CODES.get(code, _OTHER_NETWORK_CODE)


NETWORK_MANAGEMENT: Final = _frozen(
    {
        "001": ("机构签到", "sign-on"),
        "002": ("机构签退", "sign-off"),
        "003": ("存储转发开始申请", "store-and-forward start"),
        "004": ("存储转发开始", "store-and-forward started"),
        "005": ("存储转发结束申请", "store-and-forward end"),
        "006": ("存储转发结束", "store-and-forward ended"),
        "101": ("密钥重置", "key reset"),
        "201": ("日切开始", "cut-over start"),
        "202": ("日切结束", "cut-over end"),
        "301": ("线路测试", "line test"),
        "951": ("脚本处理结果通知", "script result notice"),
    }
)
"""DE70 on the network's link."""

CURRENCIES: Final = _frozen(
    {
        "156": ("人民币", "CNY"),
        "344": ("港币", "HKD"),
        "392": ("日元", "JPY"),
        "446": ("澳门元", "MOP"),
        "826": ("英镑", "GBP"),
        "840": ("美元", "USD"),
        "901": ("新台币", "TWD"),
        "978": ("欧元", "EUR"),
    }
)
"""DE49, 50, 51: a few of ISO 4217."""

REVERSAL_REASONS: Final = _frozen(
    {
        "06": ("其他(含卡片拒绝)", "other, card declined included"),
        "96": ("收到应答但终端处理失败", "reply received, terminal failed"),
        "98": ("未及时收到应答", "no reply in time"),
        "A0": ("应答MAC错误", "MAC of the reply wrong"),
    }
)
"""DE39 of a terminal's 0400."""

REVERSAL_CODES: Final = _frozen(
    {"0000": ("无原因", "no reason given"), "4351": ("终端原因冲正", "reversal caused by the terminal")}
)
"""DE60.1 on the network's link."""

_CLASSES = {
    "01": ("授权", "authorization"),
    "02": ("金融", "financial"),
    "03": ("批上送", "batch upload"),
    "04": ("冲正", "reversal"),
    "05": ("对账", "reconciliation"),
    "06": ("管理通知", "administrative notice"),
    "08": ("网络管理", "network management"),
    "09": ("电子签名", "signature upload"),
}
_FUNCTIONS = {
    "0": ("请求", "request"),
    "1": ("应答", "reply"),
    "2": ("通知", "advice"),
    "3": ("通知应答", "advice reply"),
}

MTIS: Final = _frozen(
    {
        head + function + "0": (zh + kind_zh, f"{en} {kind_en}")
        for head, (zh, en) in _CLASSES.items()
        for function, (kind_zh, kind_en) in _FUNCTIONS.items()
    }
    | {
        "0421": ("冲正通知(重发)", "reversal advice, repeat"),
        "0422": ("确认通知", "confirmation advice"),
        "0432": ("确认通知应答", "confirmation advice reply"),
        "0522": ("对账通知", "reconciliation advice"),
        "0532": ("对账通知应答", "reconciliation advice reply"),
    }
)
"""MTIs of both links."""

APPLICATION_CLASSES: Final = _frozen(
    {
        "60": ("磁条卡支付类", "stripe payment"),
        "61": ("IC卡支付类", "chip payment"),
        "62": ("磁条卡增值类", "stripe value-added"),
        "63": ("IC卡增值类", "chip value-added"),
    }
)
"""Digits 1 and 2 of the terminal link's header."""

HEADER_REQUIREMENTS: Final = _frozen(
    {
        "0": ("无处理要求", "nothing to do"),
        "1": ("下传终端磁条卡参数", "download stripe parameters"),
        "2": ("上传终端磁条卡状态信息", "upload the terminal's status"),
        "3": ("重新签到", "sign in again"),
        "4": ("通知终端更新公钥", "update CA public keys"),
        "5": ("下载终端IC卡参数", "download chip parameters"),
        "6": ("TMS参数下载", "download TMS parameters"),
        "7": ("卡BIN黑名单下载", "download the card BIN blacklist"),
        "8": ("币种汇率或助农取款手续费比率下载", "download rates"),
        "9": ("非接触参数下载", "download contactless parameters"),
        "A": ("电子签名", "upload signatures"),
        "B": ("免密BIN表下载", "download the no-PIN BIN table"),
        "C": ("免密黑名单下载", "download the no-PIN blacklist"),
    }
)
"""Digit 6 of the terminal link's header, filled in replies by the host."""

REJECT_CODES: Final = _frozen(
    {
        "00000": ("未拒绝", "not rejected"),
        "00015": ("头长度错误", "bad header length"),
        "00025": ("版本号错误", "bad version or flag"),
        "00035": ("报文总长度错误", "bad total length"),
        "00045": ("目的ID错误", "bad destination"),
        "00055": ("源ID错误", "bad source"),
    }
)
"""Last field of the network link's header; any other than zeros sends the message back to its sender."""

READ_CAPABILITIES: Final = _frozen(
    {
        "0": ("未知", "unknown"),
        "2": ("磁条", "stripe"),
        "5": ("磁条和接触式IC卡", "stripe and contact chip"),
        "6": ("磁条、接触式和非接触式IC卡", "stripe, contact and contactless chip"),
    }
)
"""DE60.4 on the terminal's link, DE60.2.2 on the network's."""

ICC_CONDITIONS: Final = _frozen(
    {
        "0": ("未使用或正常", "not used or normal"),
        "1": ("上一笔不是IC卡或成功", "previous one not a chip, or good"),
        "2": ("上一笔IC卡交易失败(降级)", "previous chip transaction failed (fallback)"),
    }
)
"""DE60.5 on the terminal's link, DE60.2.3 on the network's."""


def entry_mode(code: str) -> Text:
    """What a DE22 says: how the card was read, and whether a PIN came with it."""
    other = Text("其他", "other")
    read, pin = ENTRY_MODES.get(code[:2], other), PIN_MODES.get(code[2:3], other)
    return Text(f"{read.zh},{pin.zh}", f"{read.en}, {pin.en}")
