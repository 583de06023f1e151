"""Names of EMV, PBOC and UnionPay data objects in Chinese and English, how to show them, and which must not be shown.

Data only. Formats: `n` BCD digits, `cn` BCD digits with F fill, `an` text (ASCII or GBK), `b` bytes, `t` a template.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

Format = Literal["n", "cn", "an", "b", "t"]


class Tag(NamedTuple):
    """One data object; `sensitive` marks card numbers, tracks, names and PIN data."""

    zh: str
    en: str
    format: Format = "b"
    sensitive: bool = False


_ROWS: tuple[tuple[str, str, str, Format], ...] = (
    ("42", "发卡行标识代码", "issuer identification number", "n"),
    ("4F", "应用标识符", "application identifier", "b"),
    ("50", "应用标签", "application label", "an"),
    ("56", "磁道1数据", "track 1 data", "b"),
    ("57", "磁道2等效数据", "track 2 equivalent data", "b"),
    ("5A", "应用主账号", "application PAN", "cn"),
    ("5F20", "持卡人姓名", "cardholder name", "an"),
    ("5F24", "应用失效日期", "application expiration date", "n"),
    ("5F25", "应用生效日期", "application effective date", "n"),
    ("5F28", "发卡行国家代码", "issuer country code", "n"),
    ("5F2A", "交易货币代码", "transaction currency code", "n"),
    ("5F2D", "首选语言", "language preference", "an"),
    ("5F30", "服务码", "service code", "n"),
    ("5F34", "应用主账号序列号", "PAN sequence number", "n"),
    ("5F50", "发卡行URL", "issuer URL", "an"),
    ("5F53", "国际银行账号", "IBAN", "b"),
    ("5F54", "银行标识代码", "bank identifier code", "an"),
    ("61", "应用模板", "application template", "t"),
    ("6F", "文件控制信息模板", "FCI template", "t"),
    ("70", "应用基本数据模板", "record template", "t"),
    ("71", "发卡行脚本模板1", "issuer script template 1", "t"),
    ("72", "发卡行脚本模板2", "issuer script template 2", "t"),
    ("73", "目录自定义模板", "directory discretionary template", "t"),
    ("77", "响应报文模板格式2", "response template format 2", "t"),
    ("80", "响应报文模板格式1", "response template format 1", "b"),
    ("82", "应用交互特征", "application interchange profile (AIP)", "b"),
    ("83", "命令模板", "command template", "b"),
    ("84", "专用文件名称", "dedicated file name", "b"),
    ("86", "发卡行脚本命令", "issuer script command", "b"),
    ("87", "应用优先指示器", "application priority indicator", "b"),
    ("88", "短文件标识符", "short file identifier", "b"),
    ("8A", "授权响应码", "authorisation response code", "an"),
    ("8C", "卡片风险管理数据对象列表1", "CDOL1", "b"),
    ("8D", "卡片风险管理数据对象列表2", "CDOL2", "b"),
    ("8E", "持卡人验证方法列表", "CVM list", "b"),
    ("8F", "认证中心公钥索引", "CA public key index", "b"),
    ("90", "发卡行公钥证书", "issuer public key certificate", "b"),
    ("91", "发卡行认证数据", "issuer authentication data", "b"),
    ("92", "发卡行公钥余项", "issuer public key remainder", "b"),
    ("93", "签名的静态应用数据", "signed static application data", "b"),
    ("94", "应用文件定位器", "application file locator (AFL)", "b"),
    ("95", "终端验证结果", "terminal verification results (TVR)", "b"),
    ("97", "交易证书数据对象列表", "TDOL", "b"),
    ("98", "交易证书哈希值", "TC hash value", "b"),
    ("99", "个人识别码数据", "PIN data", "b"),
    ("9A", "交易日期", "transaction date", "n"),
    ("9B", "交易状态信息", "transaction status information (TSI)", "b"),
    ("9C", "交易类型", "transaction type", "n"),
    ("9D", "目录定义文件名称", "DDF name", "b"),
    ("9F01", "收单行标识", "acquirer identifier", "n"),
    ("9F02", "授权金额", "amount, authorised", "n"),
    ("9F03", "其他金额", "amount, other", "n"),
    ("9F05", "应用自定义数据", "application discretionary data", "b"),
    ("9F06", "终端应用标识符", "terminal AID", "b"),
    ("9F07", "应用用途控制", "application usage control", "b"),
    ("9F08", "卡片应用版本号", "application version, card", "b"),
    ("9F09", "终端应用版本号", "application version, terminal", "b"),
    ("9F0B", "持卡人姓名扩展", "cardholder name extended", "an"),
    ("9F0D", "发卡行行为代码-缺省", "issuer action code, default", "b"),
    ("9F0E", "发卡行行为代码-拒绝", "issuer action code, denial", "b"),
    ("9F0F", "发卡行行为代码-联机", "issuer action code, online", "b"),
    ("9F10", "发卡行应用数据", "issuer application data", "b"),
    ("9F11", "发卡行代码表索引", "issuer code table index", "n"),
    ("9F12", "应用首选名称", "application preferred name", "an"),
    ("9F13", "上次联机应用交易计数器", "last online ATC", "b"),
    ("9F14", "连续脱机交易下限", "lower consecutive offline limit", "b"),
    ("9F15", "商户分类码", "merchant category code", "n"),
    ("9F16", "商户标识", "merchant identifier", "an"),
    ("9F17", "PIN尝试计数器", "PIN try counter", "b"),
    ("9F18", "发卡行脚本标识符", "issuer script identifier", "b"),
    ("9F1A", "终端国家代码", "terminal country code", "n"),
    ("9F1B", "终端最低限额", "terminal floor limit", "b"),
    ("9F1C", "终端标识", "terminal identification", "an"),
    ("9F1E", "接口设备序列号", "IFD serial number", "an"),
    ("9F1F", "磁道1自定义数据", "track 1 discretionary data", "b"),
    ("9F20", "磁道2自定义数据", "track 2 discretionary data", "b"),
    ("9F21", "交易时间", "transaction time", "n"),
    ("9F22", "认证中心公钥索引", "CA public key index, terminal", "b"),
    ("9F23", "连续脱机交易上限", "upper consecutive offline limit", "b"),
    ("9F24", "支付账户参考号", "payment account reference", "an"),
    ("9F26", "应用密文", "application cryptogram", "b"),
    ("9F27", "密文信息数据", "cryptogram information data", "b"),
    ("9F2D", "IC卡PIN加密公钥证书", "ICC PIN public key certificate", "b"),
    ("9F32", "发卡行公钥指数", "issuer public key exponent", "b"),
    ("9F33", "终端性能", "terminal capabilities", "b"),
    ("9F34", "持卡人验证方法结果", "CVM results", "b"),
    ("9F35", "终端类型", "terminal type", "n"),
    ("9F36", "应用交易计数器", "application transaction counter (ATC)", "b"),
    ("9F37", "不可预知数", "unpredictable number", "b"),
    ("9F38", "处理选项数据对象列表", "PDOL", "b"),
    ("9F39", "销售点输入方式", "POS entry mode", "n"),
    ("9F40", "附加终端性能", "additional terminal capabilities", "b"),
    ("9F41", "交易序列计数器", "transaction sequence counter", "n"),
    ("9F42", "应用货币代码", "application currency code", "n"),
    ("9F43", "应用参考货币指数", "application reference currency exponent", "n"),
    ("9F44", "应用货币指数", "application currency exponent", "n"),
    ("9F45", "数据认证码", "data authentication code", "b"),
    ("9F46", "IC卡公钥证书", "ICC public key certificate", "b"),
    ("9F47", "IC卡公钥指数", "ICC public key exponent", "b"),
    ("9F48", "IC卡公钥余项", "ICC public key remainder", "b"),
    ("9F49", "动态数据认证数据对象列表", "DDOL", "b"),
    ("9F4A", "静态数据认证标签列表", "SDA tag list", "b"),
    ("9F4B", "签名的动态应用数据", "signed dynamic application data", "b"),
    ("9F4C", "IC卡动态数", "ICC dynamic number", "b"),
    ("9F4D", "交易日志入口", "log entry", "b"),
    ("9F4E", "商户名称", "merchant name", "an"),
    ("9F4F", "交易日志格式", "log format", "b"),
    ("9F51", "应用货币代码(卡片风险管理)", "application currency, card risk management", "n"),
    ("9F52", "应用缺省行为", "application default action (ADA)", "b"),
    ("9F53", "连续脱机交易限制数(国际货币)", "consecutive limit, international currency", "b"),
    ("9F54", "累计脱机交易金额限制", "cumulative transaction amount limit", "n"),
    ("9F56", "发卡行认证指示位", "issuer authentication indicator", "b"),
    ("9F57", "发卡行国家代码", "issuer country code, card risk management", "n"),
    ("9F58", "连续脱机交易下限(卡片)", "lower consecutive limit, card", "b"),
    ("9F59", "连续脱机交易上限(卡片)", "upper consecutive limit, card", "b"),
    ("9F5B", "发卡行脚本结果", "issuer script results", "b"),
    ("9F5C", "累计脱机交易金额上限", "cumulative amount upper limit", "n"),
    ("9F5D", "可用脱机消费金额", "available offline spending amount", "n"),
    ("9F61", "持卡人证件号", "cardholder certificate number", "an"),
    ("9F62", "持卡人证件类型", "cardholder certificate type", "n"),
    ("9F63", "卡产品标识信息", "card product identification", "b"),
    ("9F66", "终端交易属性", "terminal transaction qualifiers (TTQ)", "b"),
    ("9F68", "卡片附加处理", "card additional processing", "b"),
    ("9F69", "卡片认证相关数据", "card authentication related data", "b"),
    ("9F6B", "卡片CVM限额", "card CVM limit", "n"),
    ("9F6C", "卡片交易属性", "card transaction qualifiers (CTQ)", "b"),
    ("9F6D", "电子现金重置阈值", "e-cash reset threshold", "n"),
    ("9F72", "连续脱机交易限制数(国际国家)", "consecutive limit, international country", "b"),
    ("9F73", "货币转换因子", "currency conversion factor", "n"),
    ("9F74", "电子现金发卡行授权码", "e-cash issuer authorization code", "an"),
    ("9F75", "累计脱机交易金额限制(双货币)", "cumulative amount limit, dual currency", "n"),
    ("9F76", "第二应用货币代码", "second application currency code", "n"),
    ("9F77", "电子现金余额上限", "e-cash balance limit", "n"),
    ("9F78", "电子现金单笔交易限额", "e-cash single transaction limit", "n"),
    ("9F79", "电子现金余额", "e-cash balance", "n"),
    ("9F7A", "电子现金终端支持指示器", "e-cash terminal support indicator", "n"),
    ("9F7B", "电子现金终端交易限额", "e-cash terminal transaction limit", "n"),
    ("9F7C", "商户自定义数据", "merchant custom data", "b"),
    ("9F7D", "应用专有数据", "application specific data", "b"),
    ("A5", "FCI专用模板", "FCI proprietary template", "t"),
    ("BF0C", "FCI发卡行自定义数据", "FCI issuer discretionary data", "t"),
    ("DF01", "应用选择指示符", "application selection indicator", "b"),
    ("DF02", "认证中心公钥模", "CA public key modulus", "b"),
    ("DF03", "认证中心公钥校验值", "CA public key checksum", "b"),
    ("DF04", "认证中心公钥指数", "CA public key exponent", "b"),
    ("DF05", "认证中心公钥有效期", "CA public key expiry", "b"),
    ("DF06", "认证中心公钥哈希算法标识", "CA public key hash algorithm", "b"),
    ("DF07", "认证中心公钥算法标识", "CA public key algorithm", "b"),
    ("DF11", "终端行为代码-缺省", "terminal action code, default", "b"),
    ("DF12", "终端行为代码-联机", "terminal action code, online", "b"),
    ("DF13", "终端行为代码-拒绝", "terminal action code, denial", "b"),
    ("DF14", "缺省DDOL", "default DDOL", "b"),
    ("DF15", "偏置随机选择的阈值", "threshold for biased random selection", "b"),
    ("DF16", "偏置随机选择的最大目标百分数", "maximum target percentage", "n"),
    ("DF17", "随机选择的目标百分数", "target percentage", "n"),
    ("DF18", "终端联机PIN支持能力", "terminal online PIN capability", "b"),
    ("DF19", "非接触脱机最低限额", "contactless offline floor limit", "n"),
    ("DF20", "非接触交易限额", "contactless transaction limit", "n"),
    ("DF21", "终端执行CVM限额", "contactless CVM limit", "n"),
    ("DF31", "发卡行脚本结果", "issuer script results (message)", "b"),
    ("DF32", "手机芯片序列号", "mobile chip serial number", "b"),
    ("DF33", "过程密钥数据", "process key data", "b"),
    ("DF34", "读卡时间", "card reading time", "b"),
    ("DF4D", "圈存日志入口", "load log entry", "b"),
    ("DF4F", "圈存日志格式", "load log format", "b"),
    ("DF60", "扩展应用交易指示位", "CAPP transaction indicator", "b"),
    ("DF61", "分段扣费应用标识", "segment deduction support", "b"),
    ("DF62", "分段扣费抵扣限额", "segment deduction deposit", "n"),
    ("DF63", "分段扣费已抵扣额", "segment deduction used", "n"),
    ("DF69", "国密算法支持指示器", "SM algorithm support indicator", "b"),
    ("DF71", "第二币种电子现金应用货币代码", "second e-cash currency", "n"),
    ("DF76", "第二币种电子现金重置阈值", "second e-cash reset threshold", "n"),
    ("DF77", "第二币种电子现金余额上限", "second e-cash balance limit", "n"),
    ("DF78", "第二币种电子现金单笔限额", "second e-cash single limit", "n"),
    ("DF79", "第二币种电子现金余额", "second e-cash balance", "n"),
    ("FF00", "签购单商户名称", "receipt: merchant name", "an"),
    ("FF01", "签购单交易类型", "receipt: transaction type", "an"),
    ("FF02", "签购单操作员号", "receipt: operator", "b"),
    ("FF06", "签购单日期时间", "receipt: date and time", "n"),
)

SENSITIVE: Final = frozenset(("56", "57", "5A", "5F20", "5F24", "99", "9F0B", "9F1F", "9F20", "9F61"))
"""Tags that `switch.wire.redact` stars in any message."""

TAGS: Final[Mapping[str, Tag]] = MappingProxyType(
    {tag: Tag(zh, en, form, tag in SENSITIVE) for tag, zh, en, form in _ROWS}
)

_UNKNOWN: Final = Tag("未知标签", "unknown tag")
_UNKNOWN_TEMPLATE: Final = Tag("未知模板", "unknown template", "t")


def tag_info(tag: str) -> Tag:
    """Names and format of a tag (upper-case hex); one that is not in the table is shown as bytes or as a template."""
    found = TAGS.get(tag)
    if found is not None:
        return found
    return _UNKNOWN_TEMPLATE if int(tag[:2], 16) & 0x20 else _UNKNOWN


def show(tag: str, value: bytes) -> str | None:
    """The value as text or digits where its format has such a reading, else None. Not masked: mask first."""
    form = tag_info(tag).format
    if form == "an":
        try:
            text = value.decode("gbk")
        except UnicodeDecodeError:
            return None
        return text if text.isprintable() else None
    if form in ("n", "cn"):
        digits = value.hex().upper().rstrip("F") if form == "cn" else value.hex()
        return digits if digits.isdecimal() else None
    return None
