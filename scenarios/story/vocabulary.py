"""The words of a story file: every key, what it may hold and what it means. Reading, JSON Schema and the reference in
docs/stories.md come from here."""

from typing import Final

from scenarios.story.shape import (
    Amount,
    ByVerb,
    Choice,
    Either,
    Flag,
    Free,
    Items,
    Key,
    Keys,
    Number,
    NumberOr,
    Span,
    Text,
)
from scenarios.story.wanted import ANY, DE, EXPECT, MTI, NAME
from switch.wire.transactions import ROWS

PLACE: Final = Text(r"[a-z_]+(?:/[A-Za-z0-9_.]+)+", "a place such as application/main/objects/9F79")
TITLE: Final = Either(
    Text(), Keys("title", (Key("zh", Text(), "中文", "Chinese"), Key("en", Text(), "英文", "English")))
)

KINDS: Final = tuple(row.name.replace("_", "-") for row in ROWS)
"""Transactions: the rows of the matrix."""
OTHERS: Final = (
    "sign-in", "sign-off", "echo", "parameters", "status", "settle", "put-right", "upload", "download", "purse",
    "stripe-load", "count-machine",
)  # fmt: skip
"""What a terminal does besides: the last ones are the dialogue of a stripe cash load in its three parts, and the
custodian's count."""
DOWNLOADS: Final = {
    "ca-keys": "4", "applications": "5", "contactless": "9", "no-pin-bins": "B", "never-without-pin": "C",
}  # fmt: skip
ENTRIES: Final = ("chip", "tap", "stripe", "fallback", "manual")

# faults

WHICH: Final = Keys("which", (
    Key("mti", MTI, "报文类型", "its MTI"),
    Key("nth", Number(1), "第几条，默认第一条", "which of them, from now on; else the first"),
    Key("de", Free(ANY, DE), "域值", "fields it has"),
    Key("from", Choice(("terminal", "switch", "host")), "发送方", "who sends it, where the MTI does not say"),
))  # fmt: skip
WHEN: Final = Keys("when", (
    Key("mti", MTI, "该报文发出时", "when this message leaves"),
    Key("nth", Number(1), "第几条", "which of them"),
    Key("rows", Number(1), "交换写第几行时", "when so many rows have been written by the switch (or the host meant)"),
    Key("command", Text(r"[0-9A-Fa-f]{2}", "an INS"), "卡片收到该指令时（INS）",
        "when the card gets this command (INS)"),
    Key("wait", Span(), "再过多久", "and so long after that"),
))  # fmt: skip

MESSAGE_FAULTS: Final = {
    "drop": ("丢弃", "it never arrives"),
    "delay": ("延迟", "it arrives `for` later"),
    "duplicate": ("重复", "it arrives `copies` times"),
    "alter": ("改域", "`de` set, `remove` taken out; the MAC as `mac` says"),
    "swap": ("换序", "it goes after the next one"),
    "replay": ("重放", "it arrives, and once more `for` later"),
    "reject": ("退回", "the line returns it with a header reject code"),
    "echo": ("原样退回", "the request itself comes back in place of an answer"),
    "truncate": ("截断", "only its first `bytes` bytes arrive"),
}  # fmt: skip
ROAD_FAULTS: Final = {
    "cut": ("断链", "all connections there break once"),
    "down": ("断网", "no connection for a while"),
    "hold": ("不通", "nothing passes for a while, the connections stand"),
}  # fmt: skip
PROCESS_FAULTS: Final = {
    "crash": ("进程崩溃", "killed, started again after `for` (1.5 s)"),
    "freeze": ("停顿", "stands still for a while"),
    "crash-before-sync": ("落盘前崩溃", "killed at the next commit before it is durable"),
    "crash-after-sync": ("落盘后崩溃", "killed at the next commit after it is durable"),
    "disk-full": ("磁盘满", "the next commit finds no space"),
    "disk-error": ("磁盘错", "the next sync fails"),
    "clock": ("时钟偏", "its clock jumps by `by` seconds"),
}  # fmt: skip
OTHER_FAULTS: Final = {
    "power-off": ("断电", "a terminal loses power for `for`"),
    "hang-up": ("挂断", "a terminal drops its connection"),
    "pull": ("拔卡", "a card is pulled before a command: the `nth`, or the `nth` with the INS of `command`"),
    "answer": ("卡片换应答", "a card answers such a command by `with` (6F00)"),
    "tear": ("闪卡", "a card leaves the field: `how` paying, paid, before-script, after-script"),
    "dark": ("圈存断电", "power is cut at the command that loads the card"),
    "jam": ("卡钞", "the next dispensing jams: `how` none, part, unknown, reject, after `notes`"),
}  # fmt: skip
FAULTS: Final = {**MESSAGE_FAULTS, **ROAD_FAULTS, **PROCESS_FAULTS, **OTHER_FAULTS}

FAULT: Final = Keys("fault", (
    Key("on", NAME, "何处：终端、卡片、switch、cups、core", "where: a terminal, a card, switch, cups, core", True),
    Key("what", Choice(tuple(FAULTS), "fault"), "何种", "what happens", True),
    Key("which", WHICH, "哪条报文", "which message it happens to"),
    Key("when", WHEN, "何时", "when it happens; else now"),
    Key("for", Span(), "多久", "how long"),
    Key("times", NumberOr("all", 1), "次数", "how often (1), or all"),
    Key("copies", Number(2, 20), "份数", "how many copies arrive (2)"),
    Key("de", Free(ANY, DE), "改成", "fields set"),
    Key("remove", Items(Number(2, 128)), "去掉的域", "fields taken out"),
    Key("mac", Choice(("keep", "right", "wrong", "none")), "MAC：不动、重算、错、无",
        "the MAC: kept, right, wrong, none"),
    Key("nth", Number(1), "第几条指令", "at which command (1)"),
    Key("command", Text(r"[0-9A-Fa-f]{2}", "an INS"), "只数这种指令（INS）", "only commands with this INS are counted"),
    Key("with", Text(r"(?:[0-9A-Fa-f]{2})+", "hexadecimal"), "卡片的应答", "what the card answers"),
    Key("how", Choice(("paying", "paid", "before-script", "after-script", "none", "part", "unknown", "reject")),
        "怎样", "how"),
    Key("notes", Number(), "张数", "after so many notes"),
    Key("by", Text(r"-?[0-9]+", "seconds"), "秒", "seconds, may be negative"),
    Key("bytes", Number(), "字节", "bytes"),
))  # fmt: skip

RULE: Final = Keys("rule", (
    Key("action", Choice(("delay", "silence", "code", "disconnect", "silence-after-posting")), "动作",
        "what it does", True),
    Key("code", Text(r"[0-9A-Z]{2}", "a response code"), "应答码", "the code of `code`"),
    Key("delay", Span(), "延迟", "the time of `delay`"),
    Key("kind", Choice((*KINDS, "reversal"), "kind"), "交易种类", "for this kind of transaction"),
    Key("card", NAME, "哪张卡", "for this card"),
    Key("bin", Text(r"[0-9]{1,19}", "digits"), "卡号开头", "for numbers that begin so"),
    Key("amount", Amount(), "金额", "for this amount"),
    Key("at", NAME, "哪台终端", "for this terminal"),
    Key("every", Number(1), "每几笔", "each so-many-th match"),
    Key("times", Number(1), "几次后失效", "no longer after so many times"),
))  # fmt: skip
RULES: Final = Keys("rules of hosts", (
    Key("cups", Items(RULE, True), "网络", "of the network"), Key("core", Items(RULE, True), "核心", "of the core"),
))  # fmt: skip

# steps

_STEP: Final = (
    Key("note", Text(), "说明", "a word for the report"),
    Key("expect", EXPECT, "期望", "what is expected"),
    Key("rule", Items(Text(), True), "依据的规则", "the rules this step checks"),
)  # fmt: skip
FAULTS_OF: Final = Key("faults", Items(FAULT, True), "故障", "what goes wrong in this step")

DO: Final = Keys("do", (
    Key("do", Choice((*KINDS, *OTHERS), "transaction"), "交易", "what is done", True),
    Key("at", NAME, "终端", "at which terminal; else the only one"),
    Key("card", NAME, "卡", "with which card; else the only one"),
    Key("entry", Choice(ENTRIES, "entry"), "读卡方式", "how the card is read; else the best both can"),
    Key("amount", Amount(), "金额", "amount"),
    Key("pin", Text(r"right|wrong|none|cancel|[0-9]{4,12}", "right, wrong, none, cancel or digits"), "密码",
        "the PIN that is entered (right)"),
    Key("offline-pin", Text(r"right|wrong|none|broken|[0-9]{4,12}", "right, wrong, none, broken or digits"), "脱机密码",
        "the same for the chip's own; broken: the pad does not work"),
    Key("new-pin", Text(r"[0-9]{4,12}", "digits"), "新密码", "the new PIN"),
    Key("new-pin-again", Text(r"[0-9]{4,12}", "digits"), "再输", "entered again (the same)"),
    Key("of", NAME, "原交易（as 的名字）", "the earlier transaction, by its name (`as`)"),
    Key("original", Keys("original", (
        Key("batch", ANY, "批次", "batch"), Key("stan", ANY, "流水号", "STAN"), Key("date", ANY, "日期", "date MMDD"),
        Key("rrn", ANY, "参考号", "RRN"), Key("auth-code", ANY, "授权码", "authorization code"), Key("tid", ANY, "终端",
            "terminal"),
    )), "原交易", "the earlier transaction as it is keyed in"),
    Key("to", NAME, "转入卡", "the card that receives"),
    Key("payer", NAME, "付款卡", "the card that pays a load of another"),
    Key("voice", Text(r".{6}", "six characters"), "电话授权码", "the code given by telephone"),
    Key("periods", Number(1, 99), "分期期数", "periods of an instalment"),
    Key("notes", Free(Number(1), Text(r"[0-9]+", "yuan")), "存入的钞票：面额和张数", "notes put in: yuan and how many"),
    Key("takes", NumberOr("all"), "取走张数", "how many notes the customer takes (all)"),
    Key("takes-card", Flag(), "取卡", "whether the card is taken (true)"),
    Key("takes-less", Flag(), "接受少取", "whether less is accepted where the machine has not enough (true)"),
    Key("taps-again", Flag(), "再挥", "whether a card that left comes back (true)"),
    Key("application", Number(0), "选应用", "which application is chosen (0)"),
    Key("e-cash", Flag(), "用电子现金", "whether electronic cash may pay (true)"),
    Key("force-online", Flag(), "强制联机", "forced online"),
    Key("what", Choice((*DOWNLOADS, "all"), "download"), "下载什么", "what is downloaded (all)"),
    Key("as", NAME, "起名", "a name for later"),
    Key("go-on", Flag(), "不等结束", "go on without waiting for its end"),
    FAULTS_OF,
    *_STEP,
))  # fmt: skip

SEND: Final = Keys("send", (
    Key("send", Keys("message to send", (
        Key("mti", MTI, "报文类型", "MTI"),
        Key("like", Choice((*KINDS, "sign-in", "echo", "reversal"), "kind"), "先照此交易填",
            "filled first as this transaction"),
        Key("of", NAME, "原交易", "the transaction it speaks of (reversal, void ...)"),
        Key("fields", Free(ANY, DE), "各域", "fields set; 0x... is binary"),
        Key("without", Items(Number(2, 128)), "去掉的域", "fields left out"),
        Key("mac", Choice(("right", "wrong", "none")), "MAC", "its MAC (right where there is one)"),
        Key("raw", Text(r"(?:[0-9A-Fa-f]{2} ?)+", "hexadecimal"), "整帧十六进制",
            "the whole frame instead, from its length on"),
    ), ("mti", "like", "raw")), "发报文", "a raw message", True),
    Key("at", NAME, "终端", "from which terminal"),
    Key("from", Choice(("cups", "core")), "由对端发", "from this host to the switch instead"),
    Key("card", NAME, "卡", "the card of `like`"),
    Key("amount", Amount(), "金额", "the amount of `like`"),
    Key("pin", Text(r"right|wrong|none", "right, wrong or none"), "密码", "the PIN of `like` (none)"),
    Key("wait", Span(), "等应答多久", "how long an answer is waited for (the terminal's time)"),
    Key("as", NAME, "起名", "a name for later"),
    FAULTS_OF,
    *_STEP,
))  # fmt: skip

HOST: Final = Keys("host", (
    Key("host", Choice(("cups", "core")), "哪个对端", "who asks", True),
    Key("ask", Choice(("key-reset", "cut-over", "line-test", "sign-off")), "做什么", "what for", True),
    Key("date", Text(r"[0-9]{4}", "MMDD"), "新日期", "the new settlement date (tomorrow)"),
    Key("window", Span(), "换日窗口", "how long the issuers take to roll over"),
    FAULTS_OF,
    *_STEP,
))  # fmt: skip

SWITCH: Final = Keys("switch", (
    Key("switch", Choice(("sign-off", "sign-on", "key-reset", "line-test", "drain")), "交换做什么",
        "what the operator does", True),
    Key("line", Choice(("cups", "core")), "线路", "on which line (cups)"),
    *_STEP,
))  # fmt: skip

STEPS: Final = ByVerb("step", (
    DO, SEND, HOST, SWITCH,
    Keys("fault", (Key("fault", FAULT, "故障", "something goes wrong", True), *_STEP)),
    Keys("rules", (Key("rules", RULES, "挡板规则", "operator rules, in place of those before", True), *_STEP)),
    Keys("pass", (Key("pass", Span(), "时间流逝", "time passes", True), FAULTS_OF, *_STEP)),
    Keys("power-off", (
        Key("power-off", NAME, "终端断电", "a terminal loses power", True),
        Key("for", Span(), "多久", "for so long (30 s)"), *_STEP,
    )),
    Keys("restart", (
        Key("restart", Choice(("switch", "cups", "core")), "重启", "a process is killed and started again", True),
        Key("for", Span(), "多久", "after so long (1.5 s)"), *_STEP,
    )),
    Keys("fill", (
        Key("fill", NAME, "加钞", "a custodian fills a machine", True),
        Key("notes", Free(Number(0), Text(r"[0-9]+", "yuan")), "面额和张数", "yuan and how many"), *_STEP,
    )),
    Keys("check", (Key("check", EXPECT, "检查", "what is expected now; counts are of the whole story", True), *_STEP)),
    Keys("until", (
        Key("until", EXPECT, "等到", "time passes until this is so", True),
        Key("note", Text(), "说明", "a word for the report"),
    )),
))  # fmt: skip

CAST: Final = Keys("cast", (
    Key("terminal", Text(what="a kind of terminal"), "终端种类",
        "a terminal of this kind (scenarios/cast/terminals.yaml)"),
    Key("card", Text(what="a kind of card"), "卡种类", "a card of this kind (scenarios/cast/cards.yaml)"),
    Key("nth", Number(1), "第几张", "which card of the kind"),
    Key("balance", Amount(), "账户余额", "what its account starts with"),
    Key("suite", Choice(("3des", "sm4")), "算法", "the terminal's algorithms, where not the kind's"),
    Key("notes", Free(Number(0), Text(r"[0-9]+", "yuan")), "钞票", "what a machine holds"),
    Key("merchant", NAME, "同商户", "at the same merchant as this terminal"),
    Key("chip", Free(ANY, PLACE), "芯片改动", "values of the card's profile set otherwise"),
    Key("kernel", Free(ANY), "内核改动", "values of the terminal's kernel set otherwise"),
    Key("signed-in", Flag(), "已签到", "has signed in before the story begins"),
    Key("fresh", Flag(), "出厂", "has downloaded nothing yet"),
), ("terminal", "card"))  # fmt: skip

STORY: Final = Keys("story", (
    Key("id", Text(r"[A-Z]{2,6}-[0-9]{1,4}[a-z]?", "an id such as NE-012"), "编号", "its id, for ever", True),
    Key("title", TITLE, "标题", "title", True),
    Key("chapter", Text(r"[a-z][a-z0-9-]*", "a directory's name"), "章", "chapter"),
    Key("rules", Items(Text(r"[A-Z0-9][A-Z0-9.-]*", "a rule's id"), True), "覆盖的规则", "the rules it shows"),
    Key("live", Flag(), "可连真实主机", "may run against any host"),
    Key("limit", Span(), "虚拟时间上限", "virtual time after which it is stuck (600 s)"),
    Key("date", Text(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?: [0-9]{2}:[0-9]{2})?", "2026-10-28 12:00"), "开始时刻",
        "Beijing time at its begin"),
    Key("profile", Free(Free(ANY), Choice(("pos", "cups", "core"), "link")), "规范参数",
        "sections of a link's profile set otherwise"),
    Key("cast", Free(CAST, NAME), "角色", "terminals and cards by name", True),
    Key("hosts", Either(NAME, RULES), "对端规则", "operator rules from the start, or their name in hosts.yaml"),
    Key("steps", Items(STEPS), "步骤", "steps", True),
))  # fmt: skip
