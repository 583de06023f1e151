"""The books under any sequence of operations: they balance, rows explain every balance, and they can be read back."""

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from issuer_member import Member

from switch.clearing.schema import LEDGER
from switch.issuer.host import PAN_HASH_KEY

CARDS = 3
PLACE = {name: place for place, name in enumerate(LEDGER.names)}


def by_card(rows):
    """(posted, held) by hash of the card number."""
    posted, held = Counter(), Counter()
    for row in rows:
        posted[row[PLACE["pan_hash"]]] += row[PLACE["posted_minor"]]
        held[row[PLACE["pan_hash"]]] += row[PLACE["held_minor"]]
    return posted, held


def state(member, cards):
    hashes = [member.hsm.keyed_hash(PAN_HASH_KEY, card.pan.encode()).hex() for card in cards]
    accounts = [member.banks[0].ledger.accounts.get(pan_hash) for pan_hash in hashes]
    return [account and (account.available_minor, account.held_minor) for account in accounts]


class Books(RuleBasedStateMachine):
    """Random transactions of three cards with one bank, and what undoes them, repeats them, or turns the day."""

    @initialize(name=st.sampled_from(["core", "cups"]))
    def begin(self, name):
        self.member = Member(name, own=True)
        self.cards = [self.member.card(n) for n in range(CARDS)]
        self.sent = []
        self.holds = []
        self.answers = {}
        self.days = 0

    def send(self, request):
        reply = self.member.ask(request)
        key = (request.mti, request[7], request[11])
        first = self.answers.get(key)
        if first is None:
            self.answers[key] = reply.fields
            self.sent.append(request)
        elif request.mti in ("0220", "0420"):
            assert reply.fields == first
        else:
            assert reply[39] == "94"
        return reply

    @rule(card=st.integers(0, CARDS - 1), amount=st.integers(1, 3_000_000), kind=st.sampled_from(["sale", "preauth"]))
    def pay(self, card, amount, kind):
        reply = self.send(self.member.request(kind, self.cards[card], amount))
        if kind == "preauth" and reply[39] == "00":
            self.holds.append((card, amount, reply[38]))

    @rule(pick=st.integers(0), kind=st.sampled_from(["completion", "preauth_void"]), percent=st.integers(50, 130))
    def use_hold(self, pick, kind, percent):
        if self.holds:
            card, amount, auth = self.holds[pick % len(self.holds)]
            amount = amount * percent // 100 if kind == "completion" else amount
            self.send(self.member.request(kind, self.cards[card], max(1, amount), de38=auth))

    @rule(pick=st.integers(0), kind=st.sampled_from(["sale_void", "completion_void"]))
    def void(self, pick, kind):
        self.refer(pick, kind)

    @rule(pick=st.integers(0), part=st.integers(1, 3))
    def refund(self, pick, part):
        self.refer(pick, "refund", part)

    def refer(self, pick, kind, part=1):
        if self.sent:
            original = self.sent[pick % len(self.sent)]
            card = next(card for card in self.cards if card.pan == original[2])
            amount = max(1, int(original.get(4, "1")) // part)
            self.send(self.member.request(kind, card, amount, de90=self.member.original(original)))

    @rule(pick=st.integers(0))
    def reverse(self, pick):
        originals = [request for request in self.sent if request.mti != "0420"]
        if originals:
            self.send(self.member.reversal(originals[pick % len(originals)]))

    @rule(card=st.integers(0, CARDS - 1), late=st.booleans())
    def overtake(self, card, late):
        sale = self.member.request("sale", self.cards[card], 77)
        assert self.send(self.member.reversal(sale))[39] == "00"
        if late:
            assert self.send(sale)[39] in ("12", "90")

    @rule(pick=st.integers(0))
    def repeat(self, pick):
        if self.sent:
            self.send(self.sent[pick % len(self.sent)])

    @rule()
    def turn_day(self):
        if self.days < 2:
            self.days += 1
            out = []
            assert self.member.centre.cutover(f"12{self.days:02d}", 4.0, self.member.now, out)
            self.member.drain(out)
            self.member.wait(4.0)

    @rule()
    def restart(self):
        before = state(self.member, self.cards)
        self.member = self.member.restarted()
        for card in self.cards:
            self.member.banks[0]._hash_of(card.pan)
        after = state(self.member, self.cards)
        begun = [(card.balance_minor, 0) for card in self.cards]
        assert after == [old or new for old, new in zip(before, begun, strict=True)]

    @invariant()
    def books_balance(self):
        if not hasattr(self, "member"):
            return
        assert self.member.centre.check()
        bank = self.member.banks[0]
        assert bank.ledger.sum_minor() == 0
        posted, held = by_card(self.member.rows)
        for card in self.cards:
            pan_hash = self.member.hsm.keyed_hash(PAN_HASH_KEY, card.pan.encode()).hex()
            account = bank.ledger.accounts.get(pan_hash)
            if account is not None and account.opened:
                assert posted[pan_hash] == card.balance_minor - account.balance_minor
                assert held[pan_hash] == account.held_minor
        assert sum(posted.values()) == sum(bank.ledger.clearing.values())

    @invariant()
    def keys_are_unique(self):
        if hasattr(self, "member"):
            keys = [
                tuple(row[PLACE[name]] for name in ("mti", "net_time", "net_stan", "acquirer", "forwarder"))
                for row in self.member.rows
            ]
            assert len(set(keys)) == len(keys)


Books.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
test_books = Books.TestCase


def test_a_restart_goes_on_where_the_rows_end():
    member = Member("core")
    card, other = member.card(0), member.card(1)
    wrong = "000000" if other.pin != "000000" else "111111"
    sale, gone, unseen = (member.request("sale", card, amount) for amount in (100, 200, 300))
    member.ask(sale)
    member.ask(gone)
    reversal = member.reversal(gone)
    answer = member.ask(reversal)
    member.ask(member.reversal(unseen))
    auth = member.ask(member.request("preauth", card, 1_000))[38]
    done = member.request("completion", card, 1_100, de38=auth)
    member.ask(done)
    refund = member.request("refund", card, 40, de90=member.original(sale))
    member.ask(refund)
    assert [member.code("sale", other, 1, pin=wrong) for _ in range(2)] == ["55", "55"]
    fresh = member.restarted()
    assert fresh.account(card).balance_minor + card.balance_minor == member.account(card).balance_minor
    assert fresh.ask(sale)[39] == "94"
    assert fresh.ask(reversal).fields.items() >= {15: answer[15], 39: "00"}.items()
    assert fresh.ask(unseen)[39] == "12"
    assert fresh.code("sale_void", card, 100, de90=fresh.original(sale)) == "12"
    assert fresh.code("refund", card, 61, de90=fresh.original(sale)) == "64"
    assert fresh.code("completion", card, 1_000, de38=auth) == "12"
    assert fresh.code("completion_void", card, 1_100, de90=fresh.original(done)) == "00"
    assert fresh.code("sale", other, 1, pin=wrong) == "75"
    assert fresh.account(card).held_minor == 1_000
    assert fresh.account(card).balance_minor == card.balance_minor - 60
    assert fresh.column("number") == list(range(1, len(fresh.rows) + 1))
    assert fresh.centre.check()


def test_a_restart_within_a_change_of_day_ends_it():
    member = Member("cups")
    out = []
    member.centre.cutover("1122", 10.0, member.now, out)
    member.wait(5)
    cards = [member.card(0, issuer=issuer) for issuer in (1, 2, 3, 4)]
    for card in (*cards, *cards):
        member.code("sale", card, 1)
    assert {bank.settlement_date for bank in member.banks} == {"1121", "1122"}
    fresh = member.restarted()
    assert {bank.settlement_date for bank in fresh.banks} == {"1122"}
    assert [fresh.code("sale", card, 1) for card in cards] == ["00"] * 4
    assert set(fresh.column("settlement_date")[-4:]) == {"1122"}


def test_recovery_from_nothing_and_from_others_rows():
    member = Member("core", signed_on=False)
    member.centre.recover([])
    assert member.centre.settlement_date == "1121"
    other = Member("cups")
    other.code("sale", other.card(), 100)
    member.centre.recover(other.rows)
    assert member.banks[0].ledger.accounts == {}
