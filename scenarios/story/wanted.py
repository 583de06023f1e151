"""The words of expectations: what may be looked at in messages, terminal, card, books and cash."""

from typing import Final

from scenarios.story.shape import Amount, Choice, Either, Flag, Free, Items, Key, Keys, Number, Span, Text
from switch.clearing.schema import JOURNAL
from switch.wire import bits

NAME: Final = Text(r"[A-Za-z][A-Za-z0-9_-]*", "a name")
ANY: Final = Text(what="a value")
MTI: Final = Text(r"[0-9]{4}", "an MTI of four digits")
DE: Final = Text(r"[0-9]{1,3}(?:\.[0-9A-Fa-f]{2,6}|\[-?[0-9]*:-?[0-9]*\])?", "a field: 39, 55.9F36 (tag) or 60[8:11]")

TVR: Final = tuple(n[4:].lower().replace("_", "-") for n in vars(bits) if n.startswith("TVR_"))
TSI: Final = tuple(n[4:].lower().replace("_", "-") for n in vars(bits) if n.startswith("TSI_"))

CHECK: Final = Either(
    Text(what="a value, present, absent, or $name"),
    Keys("field", (
        Key("value", ANY, "等于", "is this"),
        Key("not", ANY, "不等于", "is not this"),
        Key("in", Items(ANY), "其中之一", "is one of these"),
        Key("pattern", Text(), "符合正则（任意位置）", "fits this regular expression, anywhere in it"),
        Key("echo", Text(), "与另一报文相同：request、to-host、from-host、reply，或 request.37",
            "is that of another message: request, to-host, from-host, reply; request.37 names another field"),
        Key("capture", NAME, "记为 $名字", "keep it as $name"),
        Key("amount", Amount(), "金额", "is this amount"),
        Key("length", Number(), "长度", "has so many characters"),
    )),
)  # fmt: skip

MESSAGE: Final = Either(
    Choice(("none", "any")),
    Keys("message", (
        Key("mti", MTI, "哪一种报文，默认为本步交易的", "which message; else that of the step's transaction"),
        Key("nth", Number(-99, 99), "第几条（-1 为最后，默认）",
            "which of several: 1 the first, -1 the last (default)"),
        Key("line", Choice(("cups", "core")), "哪条线路", "on which line"),
        Key("de", Free(CHECK, DE), "各域", "its fields"),
        Key("only", Items(Number(0, 128)), "除 MAC 外只有这些域", "has these fields and no others (but its MAC)"),
        Key("mac", Choice(("right", "wrong", "none")), "MAC", "its MAC: right, wrong, none"),
        Key("after", Span(), "本步开始后至少多久", "came no earlier after the step began"),
        Key("before", Span(), "本步开始后至多多久", "came no later after the step began"),
    )),
)  # fmt: skip

PLACES: Final = {
    "request": ("请求：终端到交换", "what the terminal sent"),
    "reply": ("应答：交换到终端", "what the switch answered"),
    "to-host": ("交换发往银联或核心", "what the switch sent to network or core"),
    "from-host": ("银联或核心发来", "what network or core sent"),
    "reversal": ("终端冲正 0400", "the terminal's 0400"),
    "reversal-reply": ("冲正应答 0410", "its answer"),
    "host-reversal": ("交换冲正 0420", "the switch's 0420"),
    "host-reversal-reply": ("冲正应答 0430", "its answer"),
}  # fmt: skip

RECEIPT: Final = Either(
    Choice(("printed", "none")),
    Keys("receipt", (
        Key("contains", Items(Text(), True), "有这些字", "has these words"),
        Key("lacks", Items(Text(), True), "没有这些字", "has none of these words"),
    )),
)  # fmt: skip

TOTALS: Final = Keys("totals", (
    Key("debit", Amount(), "借记金额", "amount the holders paid"), Key("debits", Number(), "借记笔数", "how many"),
    Key("credit", Amount(), "贷记金额", "amount the holders were paid"), Key("credits", Number(), "贷记笔数",
        "how many"),
))  # fmt: skip

TERMINAL: Final = Keys("terminal", (
    Key("at", NAME, "哪台终端，默认本步的", "which terminal; else the step's"),
    Key("state", Choice(("approved", "declined", "unknown", "unsent")), "本步结果", "how the step's dialogue ended"),
    Key("reason", Text(), "原因", "why: timed out, unreachable, bad MAC, cancelled, insert_card, balanced ..."),
    Key("signed-in", Flag(), "已签到", "signed in"),
    Key("pending-reversal", Flag(), "有待发冲正", "owes a reversal (or an advice)"),
    Key("reversal", Choice(("none", "pending", "done", "refused")), "本步交易的冲正",
        "the reversal of the step's item"),
    Key("undone", Flag(), "已被撤销", "the step's item has been taken back"),
    Key("batch", ANY, "批次号", "its batch"),
    Key("items", Number(), "批内笔数", "items in the open batch"),
    Key("totals", TOTALS, "终端合计", "its totals"),
    Key("receipt", RECEIPT, "签购单", "the step's receipt"),
    Key("balance", Amount(), "查得余额", "the balance it shows"),
    Key("offline", Number(), "未上送脱机交易", "offline certificates it holds"),
    Key("notices", Number(), "未上送脚本通知", "script results it has not told"),
    Key("doubts", Number(), "可疑圈存及证书", "loads and certificates in doubt"),
    Key("refused", Number(), "被拒的上送", "certificates the host would not take"),
    Key("torn", Number(), "闪卡", "taps of cards that left early"),
    Key("parameters", Free(ANY), "参数", "parameters by their code"),
    Key("applications", Number(), "应用数", "applications it knows"),
    Key("ca-keys", Number(), "公钥数", "CA keys it knows"),
))  # fmt: skip

CARD: Final = Keys("card", (
    Key("of", NAME, "哪张卡，默认本步的", "which card; else the step's"),
    Key("tvr", Free(Flag(), Choice(TVR, "TVR bit")), "TVR 各位", "bits of the TVR by name"),
    Key("tsi", Free(Flag(), Choice(TSI, "TSI bit")), "TSI 各位", "bits of the TSI by name"),
    Key("outcome", Choice(("online", "approved", "declined", "try-other-interface", "fallback", "ended")),
        "内核首次结论", "what the kernel made of the card at first"),
    Key("cvm", Choice(("none", "online-pin", "offline-pin", "signature", "cdcvm")), "持卡人验证",
        "how the holder was verified"),
    Key("certificate", Choice(("TC", "ARQC", "AAC")), "最后的密文", "the card's last cryptogram"),
    Key("first", Choice(("TC", "ARQC", "AAC")), "首个密文", "its first cryptogram"),
    Key("balance", Amount(), "电子现金余额", "electronic cash on it"),
    Key("atc", Number(0, 65535), "ATC", "its transaction counter"),
    Key("atc-grown", Number(0, 65535), "本步 ATC 增量", "how much the counter grew in the step"),
    Key("pin-tries", Number(0, 15), "脱机密码剩余次数", "offline PIN tries left"),
    Key("blocked", Flag(), "应用已锁", "its application is blocked"),
    Key("aid", ANY, "应用标识", "the application chosen"),
    Key("no-pin", Flag(), "免密免签", "freed of PIN and signature"),
    Key("e-cash", Flag(), "用了电子现金", "electronic cash paid"),
    Key("issuer-authenticated", Flag(), "发卡行认证成功", "the issuer's ARPC was right"),
    Key("commands", Free(Number(), Text(r"[0-9A-Fa-f]{2}", "an INS")), "各指令次数（INS）", "commands it got, by INS"),
))  # fmt: skip

ACCOUNT: Final = Keys("account", (
    Key("of", NAME, "哪张卡，默认本步的", "which card; else the step's"),
    Key("posted", Amount(True), "本故事入账", "what the story has posted (> 0 the holder paid)"),
    Key("held", Amount(True), "冻结", "what it holds"),
    Key("points", Amount(True), "积分入账", "points spent (> 0) or given back"),
    Key("rows", Number(), "分录数", "rows in the issuer's ledger"),
    Key("shadow", Amount(True), "电子现金影子账户", "shadow account of its electronic cash"),
))  # fmt: skip

BOOKS: Final = Keys("books", (
    Key("state", Choice((
        "none", "sent", "answered", "reversal-queued", "reversal-acked", "stored", "delivered", "late", "suspicious",
    )), "流水末态", "the last state of the step's transaction in the switch's journal"),
    Key("states", Items(Text(what="a state")), "流水各态", "all its states in order"),
    Key("record", Free(CHECK, Choice(JOURNAL.names, "column of the journal")), "流水各列",
        "columns of its last row in the journal"),
    Key("account", Items(ACCOUNT, True), "发卡行账", "the issuer's book of a card"),
    Key("balanced", Flag(), "三方对账平", "all books joined agree (shoudan clearing reconcile)"),
    Key("breaks", Number(), "差异数", "differences between the books"),
    Key("suspicious", Number(), "差错数", "what is to be settled by hand"),
    Key("stored", Number(), "待转发", "advice and reversals stored for the other side"),
    Key("inflight", Number(), "在途", "requests without an answer yet"),
    Key("uploads", Items(Text(), True), "批上送核对结果", "results of the batch upload, item by item"),
    Key("settlement", Free(CHECK, Choice((
        "debit_minor", "debit_count", "credit_minor", "credit_count", "host_debit_minor", "host_debit_count",
        "host_credit_minor", "host_credit_count", "result", "event",
    ), "column of a settlement")), "批结算各列", "columns of the last settlement row"),
    Key("day", Free(ANY, Choice(("cups", "core"), "line")), "各线路清算日期",
        "settlement date of each line at the switch"),
    Key("lines", Free(Flag(), Choice(("cups", "core"), "line")), "线路就绪", "whether a line is ready"),
    Key("e-cash", Free(Number(), Choice((
        "breaks", "suspicious", "held", "uploaded", "beyond",
    ), "figure")), "电子现金账", "figures of the electronic cash book"),
    Key("events", Free(Number()), "芯片账事件数", "rows of the issuers' chip book in this story, by event"),
))  # fmt: skip

CASH: Final = Keys("cash", (
    Key("at", NAME, "哪台机器", "which machine; else the step's"),
    Key("taken", Amount(), "本步取走", "what the customer took in the step"),
    Key("inside", Amount(), "机内现金", "what is inside"),
    Key("in-service", Flag(), "服务中", "whether it pays"),
    Key("errors", Number(), "差错记录", "error records"),
    Key("open-errors", Number(), "未结差错", "error records only a count will settle"),
    Key("difference", Amount(), "差额合计", "what holders paid and did not get, all records"),
    Key("retained", Number(), "吞卡", "cards kept"),
    Key("agrees", Flag(), "现金账平", "the cash book joined with the transactions agrees"),
    Key("events", Free(Number()), "现金账笔数", "lines of the cash book by event"),
))  # fmt: skip

WANTED: Final = (
    Key("answer", Text(r"none|[0-9A-Z]{2}|\$.*", "a response code or none"), "终端收到的应答码",
        "DE39 told to the terminal, or none"),
    *(Key(name, Items(MESSAGE, True), zh, en) for name, (zh, en) in PLACES.items()),
    Key("count", Free(Number(), Text(r"[a-z-]+(?: [0-9]{4})?(?: (?:cups|core))?", 'a place, as "to-host 0420"')),
        "报文条数", "how many messages"),
    Key("terminal", Items(TERMINAL, True), "终端", "the terminal"),
    Key("card", Items(CARD, True), "卡片", "the card"),
    Key("books", BOOKS, "账", "the books"),
    Key("cash", Items(CASH, True), "现金", "a machine's cash"),
    Key("metrics", Free(Number()), "交换计数器", "the switch's own counters"),
    Key("within", Span(), "在多久之内满足", "looked at again and again for so long"),
)  # fmt: skip
EXPECT: Final = Keys("expect", WANTED)
