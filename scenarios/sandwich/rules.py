"""What a switch must do with each field, as data: carry it, convert it, add it, drop it; and what must come of it.

A rule names its check by a word (`checks.py` knows the words). `only` and `never` are rows of the transaction matrix.
See docs/protocol-pos.md sections 4 to 8, docs/protocol-network.md sections 5, 6, 8, docs/security.md sections 3 to 6.
"""

from typing import Final, NamedTuple

from switch.wire.transactions import ROWS

CARRIED, CONVERTED, ADDED, DROPPED, COURSE = "carried", "converted", "added", "dropped", "course"

HOW: Final = {
    CARRIED: ("透传", "carried"),
    CONVERTED: ("转换", "converted"),
    ADDED: ("补充", "added"),
    DROPPED: ("去除", "dropped"),
    COURSE: ("流程", "course"),
}


class Rule(NamedTuple):
    """One rule: `name` is part and field ("request.DE18"), `de` the field it looks at (0 the MTI, -1 none)."""

    name: str
    de: int
    how: str
    check: str
    zh: str
    en: str
    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    @property
    def part(self) -> str:
        """line, request, reversal, answer, course, front or back."""
        return self.name.partition(".")[0]

    def applies(self, kind: str) -> bool:
        """Whether the rule speaks of this row of the matrix."""
        return kind not in self.never and (not self.only or kind in self.only)


KNOWN: Final = tuple(row.name for row in ROWS)
"""The rows of the matrix; what a rule speaks of follows from what they say of themselves."""

_NAMING: Final = tuple(row.name for row in ROWS if row.original or row.voice)
_NAMELESS: Final = tuple(kind for kind in KNOWN if kind not in _NAMING)
_WITH_90: Final = tuple(row.name for row in ROWS if row.elements)
_WITHOUT_90: Final = tuple(kind for kind in KNOWN if kind not in _WITH_90)
_NO_EXPIRY: Final = tuple(row.name for row in ROWS if row.drops_expiry)
_REFUNDS: Final = tuple(row.name for row in ROWS if row.effect == "credit" and row.original and not row.confirms)
_PAYS: Final = tuple(row.name for row in ROWS if row.detail == "transfer")

_LINE: Final = (
    Rule("line.DE7", 7, ADDED, "transmission_time",
         "传输时间由交换系统填写 MMDDhhmmss", "the transmission time is the switch's, MMDDhhmmss"),
    Rule("line.DE32", 32, ADDED, "acquirer", "受理机构标识码是本机构的", "the acquiring institution is the member's"),
    Rule("line.DE33", 33, ADDED, "forwarder", "发送机构标识码是本机构的", "the forwarding institution is the member's"),
    Rule("line.DE43", 43, ADDED, "merchant_name",
         "受卡方名称地址必须上送", "the merchant's name is sent"),
    Rule("line.DE128", 128, ADDED, "mac", "网络侧 MAC 正确", "the MAC on the line is right"),
)  # fmt: skip
"""What requests and reversals have in common."""

REQUEST: Final = (
    *_LINE,
    Rule("request.MTI", 0, CONVERTED, "network_mti",
         "消息类型是该交易在网络侧的类型", "the message type is the one this transaction has on the network"),
    Rule("request.DE2", 2, ADDED, "card",
         "主账号必须上送，与终端的卡一致（刷卡取自磁道）",
         "the card number is sent, the one of the terminal's card (from the track where it was swiped)"),
    Rule("request.DE3", 3, CONVERTED, "network_code",
         "交易处理码转换为网络侧代码（余额查询 310000 转 300000）",
         "the processing code is the network's (balance inquiry: 310000 becomes 300000)"),
    Rule("request.DE4", 4, CARRIED, "equal",
         "交易金额原样透传，一分不差；查询不带", "the amount is carried to the fen; an inquiry has none"),
    Rule("request.DE11", 11, CONVERTED, "renewed_stan",
         "系统跟踪号由交换系统重新编号，不得沿用终端流水号",
         "the trace number is the switch's own, not the terminal's handed through"),
    Rule("request.DE12", 12, ADDED, "time_of_day", "受卡方所在地时间必须上送 hhmmss", "the local time is sent, hhmmss"),
    Rule("request.DE13", 13, ADDED, "date", "受卡方所在地日期必须上送 MMDD", "the local date is sent, MMDD"),
    Rule("request.DE14", 14, CARRIED, "equal",
         "终端送了有效期则透传，没送不得编造", "the expiry date is carried if the terminal sent one, never made up",
         never=_NO_EXPIRY),
    Rule("request.DE14.dropped", 14, DROPPED, "absent",
         "消费撤销不送有效期", "the void of a sale carries no expiry date", only=_NO_EXPIRY),
    Rule("request.DE18", 18, CONVERTED, "merchant_type",
         "商户类型取自商户（商户号第 8 至 11 位或商户资料）",
         "the merchant type is the merchant's (digits 8 to 11 of DE42, or the merchant's record)"),
    Rule("request.DE22", 22, CARRIED, "equal", "服务点输入方式码透传", "the entry mode is carried"),
    Rule("request.DE23", 23, CARRIED, "equal", "卡序列号有则透传", "the card sequence number is carried if sent"),
    Rule("request.DE25", 25, CARRIED, "equal", "服务点条件码透传", "the condition code is carried"),
    Rule("request.DE26", 26, CARRIED, "only_with_pin",
         "有密码时透传密码获取码，无密码时不得出现",
         "the PIN capture code is carried with a PIN and absent without one"),
    Rule("request.DE35", 35, CONVERTED, "track",
         "二磁道为明文，分隔符 D 转为 =；终端没送则不得出现",
         "track 2 is in clear, its separator D becomes =; absent where the terminal sent none"),
    Rule("request.DE36", 36, CONVERTED, "track",
         "三磁道为明文，分隔符 D 转为 =；终端没送则不得出现",
         "track 3 is in clear, its separator D becomes =; absent where the terminal sent none"),
    Rule("request.DE37", 37, ADDED, "own_rrn",
         "检索参考号由交换系统新编，12 位，不与其他交易重复，也不是原交易的",
         "the RRN is the switch's own: 12 characters, no other request's and not the original's"),
    Rule("request.DE38", 38, CARRIED, "auth_code",
         "撤销、退货、完成必须带原交易的授权码",
         "voids, refunds and completions carry the original's authorization code", only=_NAMING),
    Rule("request.DE38.dropped", 38, DROPPED, "absent",
         "没有原交易的请求不带授权码", "a request without an original carries no authorization code",
         only=_NAMELESS),
    Rule("request.DE41", 41, CARRIED, "equal", "终端代码透传", "the terminal is carried"),
    Rule("request.DE42", 42, CARRIED, "equal", "商户代码透传", "the merchant is carried"),
    Rule("request.DE48", 48, ADDED, "original_amount",
         "退货的附加数据带原交易金额 ASOA012", "a refund's DE48 holds the original amount (ASOA012)", only=_REFUNDS),
    Rule("request.DE49", 49, CARRIED, "equal", "货币代码透传", "the currency is carried"),
    Rule("request.DE52", 52, CONVERTED, "pin",
         "密码由终端密钥转加密到成员机构密钥，两侧为同一密码（改密的新密码亦然）；没有密码不得出现密码块",
         "the PIN, and the new one of a PIN change, is translated to the line's key and is the same on both sides; "
         "none without a PIN"),
    Rule("request.DE53", 53, CONVERTED, "security_control",
         "安全控制信息说明本侧密码格式，无密码时不带",
         "the security control information describes the PIN on this line and is absent without one"),
    Rule("request.DE55", 55, CARRIED, "equal", "IC 卡数据一字节不差地透传", "the chip's data are carried as they are"),
    Rule("request.DE60", 60, CONVERTED, "network_60",
         "自定义域转换为网络侧格式：原因码 0000，终端类型（ATM 为 01）",
         "DE60 is the network's own: reason 0000, terminal type (01 for a machine)"),
    Rule("request.DE61", 61, DROPPED, "not_passed",
         "终端的原始信息域不得透传", "the terminal's original data (its DE61) are not passed on"),
    Rule("request.DE62", 62, DROPPED, "not_passed", "终端的 62 域不得透传", "the terminal's DE62 is not passed on"),
    Rule("request.DE63", 63, DROPPED, "not_passed",
         "终端的 63 域（操作员等）不得透传", "the terminal's DE63 (its operator) is not passed on"),
    Rule("request.DE90", 90, ADDED, "original_elements",
         "撤销和退货的原始数据元指向原交易在本链路上的消息类型、跟踪号、传输时间和机构",
         "voids and refunds name their original as it stood on this line: type, trace, time, institutions",
         only=_WITH_90),
    Rule("request.DE90.dropped", 90, DROPPED, "absent",
         "其他请求不带原始数据元", "other requests name no original", only=_WITHOUT_90),
    Rule("request.DE103", 103, CONVERTED, "receiver",
         "转账和充值的转入卡号（终端 62 域）放入 103 域",
         "DE103 holds the receiving card of a transfer or load (the terminal's DE62)", only=_PAYS),
    Rule("request.others", -1, DROPPED, "nothing_else",
         "不得出现该交易不该有的域", "there is no field that this transaction does not have"),
)  # fmt: skip
"""The switch's request on the line, against the terminal's."""

REVERSAL: Final = (
    *_LINE,
    Rule("reversal.DE2", 2, ADDED, "card_of_original",
         "冲正必须带原交易主账号", "a reversal carries the card number of what it reverses"),
    Rule("reversal.DE3", 3, CARRIED, "as_original", "处理码与原交易相同", "the processing code is the original's"),
    Rule("reversal.DE4", 4, CARRIED, "as_original", "冲正全额", "a reversal is of the whole amount"),
    Rule("reversal.DE11", 11, ADDED, "own_key",
         "冲正有自己的系统跟踪号，不用原交易的", "a reversal has a trace number of its own, not the original's"),
    Rule("reversal.DE14", 14, DROPPED, "absent", "冲正不带有效期", "a reversal carries no expiry date"),
    Rule("reversal.DE18", 18, CARRIED, "as_original", "商户类型与原交易相同", "the merchant type is the original's"),
    Rule("reversal.DE22", 22, CARRIED, "as_original", "输入方式与原交易相同", "the entry mode is the original's"),
    Rule("reversal.DE23", 23, CARRIED, "as_original", "卡序列号与原交易相同", "the card sequence is the original's"),
    Rule("reversal.DE25", 25, CARRIED, "as_original", "条件码与原交易相同", "the condition code is the original's"),
    Rule("reversal.track", 35, DROPPED, "no_track", "冲正不得带磁道", "a reversal carries no track"),
    Rule("reversal.pin", 52, DROPPED, "no_pin", "冲正不得带密码", "a reversal carries no PIN"),
    Rule("reversal.DE37", 37, CARRIED, "as_original", "检索参考号是原交易的", "the RRN is the original's"),
    Rule("reversal.DE38", 38, CARRIED, "answered_auth_code",
         "原交易已有授权码则必须带", "the authorization code is carried if the original was given one"),
    Rule("reversal.DE41", 41, CARRIED, "as_original", "终端与原交易相同", "the terminal is the original's"),
    Rule("reversal.DE42", 42, CARRIED, "as_original", "商户与原交易相同", "the merchant is the original's"),
    Rule("reversal.DE49", 49, CARRIED, "as_original", "货币与原交易相同", "the currency is the original's"),
    Rule("reversal.DE60", 60, CONVERTED, "reason", "原因码是本链路约定的", "the reason is one agreed on this line"),
    Rule("reversal.DE90", 90, ADDED, "names_original",
         "原始数据元指向本链路上发过的请求", "DE90 names a request that was sent on this line"),
)  # fmt: skip
"""A reversal on the line, against the request it reverses."""

ANSWER: Final = (
    Rule("answer.DE2", 2, DROPPED, "no_other_card",
         "返回终端的主账号只能是该卡的", "a card number in the answer is this card's"),
    Rule("answer.DE3", 3, CONVERTED, "terminals_own",
         "处理码改回终端的代码（300000 改回 310000）", "the processing code is the terminal's again"),
    Rule("answer.DE4", 4, CARRIED, "terminals_own", "金额与请求相同", "the amount is the one asked for"),
    Rule("answer.DE12", 12, ADDED, "time_of_day", "主机时间必须返回", "the host's time is returned"),
    Rule("answer.DE13", 13, ADDED, "date", "主机日期必须返回", "the host's date is returned"),
    Rule("answer.DE15", 15, CARRIED, "returned", "清算日期返回终端", "the settlement date is returned"),
    Rule("answer.DE37", 37, CARRIED, "returned_rrn",
         "检索参考号与网络侧请求一致", "the RRN is the one of the request on the line"),
    Rule("answer.DE38", 38, CARRIED, "returned", "授权码返回终端", "the authorization code is returned"),
    Rule("answer.DE39", 39, CONVERTED, "mapped",
         "应答码按映射表返回，拒绝不得变批准，批准不得变拒绝",
         "the response code is the line's through the profile's map: no decline becomes an approval or the reverse"),
    Rule("answer.DE44", 44, CONVERTED, "institutions",
         "附加响应前 11 位是发卡机构（网络侧 DE100）", "DE44 begins with the issuer that DE100 names on the line"),
    Rule("answer.DE54", 54, CARRIED, "balances", "余额返回终端", "the balance is returned"),
    Rule("answer.DE55", 55, CARRIED, "returned", "发卡行 IC 卡数据一字节不差地返回",
         "the issuer's chip data are returned byte for byte"),
    Rule("answer.DE64", 64, ADDED, "answer_mac",
         "批准的应答带正确的 MAC", "an approval carries a right MAC under the terminal's key"),
    Rule("answer.secrets", 35, DROPPED, "no_secrets",
         "应答不得带磁道或密码", "no answer carries a track or a PIN"),
)  # fmt: skip
"""The switch's answer to the terminal, against the centre's."""

COURSE_RULES: Final = (
    Rule("course.answered", -1, COURSE, "", "终端的每个请求都在限时内得到应答",
         "every request of a terminal is answered in time"),
    Rule("course.addressee", -1, COURSE, "", "应答只到提出请求的终端（DE41、DE42、DE11 相符）",
         "an answer reaches only the terminal that asked (DE41, DE42 and DE11 are its own)"),
    Rule("course.once", -1, COURSE, "", "一个请求只有一个应答", "one request has one answer"),
    Rule("course.key", -1, COURSE, "", "同一链路上 DE7 与 DE11 不重复，只有通知重发时相同",
         "DE7 and DE11 are unique on a line; only an advice that is repeated has them again"),
    Rule("course.asked_for", -1, COURSE, "", "网络侧的每个请求都来自一个终端请求，且只发一次",
         "every request on a line stems from one request of a terminal, and is sent once"),
    Rule("course.authorized", -1, COURSE, "", "没有问过网络或核心，不得批准",
         "nothing is approved that neither network nor core was asked about"),
    Rule("course.silence", -1, COURSE, "", "网络侧限时内无应答，不得告诉终端已批准",
         "what the line left unanswered is not approved to the terminal"),
    Rule("course.reversed", -1, COURSE, "", "限时内无应答的请求在限时内冲正",
         "a request that was not answered in time is reversed within the limit"),
    Rule("course.taken_back", -1, COURSE, "", "终端冲正已批准的交易，网络侧必须收到冲正",
         "what was approved and then reversed by its terminal is reversed on the line"),
    Rule("course.never_reversed", -1, COURSE, "", "查询、存款和通知（退货等）不得冲正",
         "inquiries, deposits and advices (refunds) are never reversed"),
    Rule("course.no_cause", -1, COURSE, "", "批准已送达、终端也未冲正的交易不得冲正",
         "what was approved, delivered and not taken back by its terminal is not reversed"),
    Rule("course.repeat_key", -1, COURSE, "", "冲正重发使用同一关键字（DE7、DE11），一笔交易只有一笔冲正",
         "a reversal keeps its key (DE7, DE11) when repeated: one request has one reversal"),
    Rule("course.repeated", -1, COURSE, "", "无应答的冲正和通知要重发",
         "a reversal or advice without an answer is sent again"),
    Rule("front.readable", -1, COURSE, "", "发给终端的报文可解", "messages to terminals can be read"),
    Rule("front.keys", -1, COURSE, "", "签到下发的工作密钥校验值正确",
         "the working keys of a sign-in come whole, with right check values"),
    Rule("back.readable", -1, COURSE, "", "发往网络的报文可解", "messages on a line can be read"),
    Rule("back.header", -1, COURSE, "", "报文头正确", "the header on a line is right"),
    Rule("back.class", -1, COURSE, "", "网络侧只出现该侧的消息类型（没有 0400、0320、0500）",
         "only message types of the network go there (no 0400, 0320, 0500)"),
)  # fmt: skip
"""What must come of a request, and what must never happen."""

RULES: Final = {rule.name: rule for rule in (*REQUEST, *REVERSAL, *ANSWER, *COURSE_RULES)}

TOLERATED: Final = frozenset((19, 28, 57, 61, 62, 63, 102, 103, 104, 122))
"""Fields a request may have beyond those the table speaks of."""

ALLOWED: Final = frozenset(rule.de for rule in REQUEST) | TOLERATED


def table(kind: str) -> tuple[Rule, ...]:
    """The rules for the request of one row of the matrix."""
    return tuple(rule for rule in REQUEST if rule.applies(kind))
