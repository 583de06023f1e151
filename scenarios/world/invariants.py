"""What must hold whatever breaks: the invariants, and the rare branches that a run of seeds must reach."""

from typing import Final, NamedTuple

from scenarios.world.faults import Where


class Invariant(NamedTuple):
    """One thing that must hold. `where` it is covered; those of the world are checked by `judge` and `rest`."""

    name: str
    en: str
    where: tuple[Where, ...]


_THREE: Final[tuple[Where, ...]] = ("world", "processes", "tests")

INVARIANTS: Final = (
    Invariant("I1", "terminals, journal and ledgers agree key by key, to the minor unit", ("world", "processes")),
    Invariant("I2", "a terminal's key has one transaction, and its money moves once", ("world", "processes")),
    Invariant("I3", "a transaction's rows tell one story; reversals are of the whole amount", _THREE),
    Invariant("I4", "nothing leaves before its row is durable", ("world", "tests")),
    Invariant("I5", "what a terminal shows as approved stands in journal and ledger", ("world", "processes")),
    Invariant("I6", "what a terminal shows as declined or reversed has moved nothing", ("world", "processes")),
    Invariant("I7", "an issuer's accounts add up to nought and to its ledger's rows", ("world", "tests")),
    Invariant("I7b", "cards, what is not told yet and what is in doubt come to what issuers owe", ("world", "tests")),
    Invariant("I7c", "a machine's notes agree with its book, its people and the bookings", ("world", "processes")),
    Invariant("I8", "amount and currency are those of the request, in every book", _THREE),
    Invariant("I9", "one settlement date a transaction, the answer's; a closed day stays closed", _THREE),
    Invariant("I10", "a settlement's totals are those of its batch's rows", ("world", "tests")),
    Invariant("I11", "an answer goes only to the connection that asked", ("world", "tests")),
    Invariant("I12", "a key is used once on a line, a request sent once", ("world", "tests")),
    Invariant("I13", "an honest line's answers all match; another's are not passed on", ("world", "tests")),
    Invariant("I14", "one answer to one request, in time", ("world", "tests")),
    Invariant("I15", "a repeat moves nothing and is answered as the field wants it", ("world", "tests")),
    Invariant("I16", "a key used again with another amount or card is refused", ("world", "tests")),
    Invariant("I17", "a late answer never reaches a terminal and never vanishes", ("world", "tests")),
    Invariant("I18", "a reversal that overtakes its original stops it", ("world", "tests")),
    Invariant("I19", "whoever is given up, or cannot be told, is reversed; durably first", ("world", "processes")),
    Invariant("I20", "a reversal keeps its key, and ends only by an answer that takes it", ("world", "tests")),
    Invariant("I21", "repeats keep their distance and never stop", ("world", "tests")),
    Invariant("I22", "a reversal said n times undoes once, one of nothing undoes nothing", ("world", "tests")),
    Invariant("I23", "a terminal that owes a reversal sends nothing new", ("world", "tests")),
    Invariant("I24", "when faults end everything comes to rest", ("world", "processes")),
    Invariant("I25", "what was synced is there after a crash", ("world", "processes", "storage")),
    Invariant("I26", "after a storage error nothing leaves; the recovered store decides", ("world", "storage")),
    Invariant("I27", "recovery can be repeated and comes to what was", _THREE),
    Invariant("I28", "a torn end is cut off; damage, a cut or an old copy refuse the start", ("world", "tests")),
    Invariant("I31", "no card number in clear in what is kept", _THREE),
    Invariant("I33", "no track, PIN or PIN block in what is kept or repeated", ("world", "tests")),
    Invariant("I34", "a wrong MAC is no answer, and an honest line has none", ("world", "fuzz", "tests")),
    Invariant("I37", "a chip's counter is taken once; online counters only rise", ("world", "tests")),
    Invariant("I40", "at rest nothing is in flight, stored or owed", ("world", "processes")),
    Invariant("W1", "what can never happen is counted by the switch itself, and stays 0", ("world", "processes")),
    Invariant("W2", "no process ends by an exception", ("world", "processes")),
)
IDS: Final = frozenset(one.name for one in INVARIANTS)

RARE: Final = (
    "a late approval reversed",
    "a reversal of something unknown",
    "a reversal overtook its request",
    "a reversal said again",
    "reversed after a restart",
    "reversed because it could not be told",
    "reversed because the answer did not match",
    "a reversal refused, its day being over",
    "a reversal kept until the other side took it",
    "an advice stored",
    "a stored advice delivered",
    "an advice refused later",
    "answers of two days within one change of day",
    "90 within a change of day",
    "keys reset under load",
    "a wrong MAC on a line",
    "a torn end cut off",
    "an unsynced end that stood",
    "killed while recovering",
    "killed before the sync",
    "killed after the sync",
    "storage failed, process stopped",
    "a slow sync",
    "drained on SIGTERM",
    "a second process refused",
    "a book that is not what was written refused",
    "a duplicate refused",
    "an advice given its first answer again",
    "a stream that lost its place",
    "a frame not whole in time",
    "a silent connection closed",
    "a line given up by its test",
    "power lost in a dialogue",
    "a reply too late for its terminal",
    "a settlement finished later",
    "a new batch opened",
    "told to sign in again",
    "our own message returned",
    "a machine dispensed nothing and reversed",
    "a machine dispensed a part",
    "a machine that cannot tell was counted",
    "a deposit confirmed",
    "notes or a card left behind",
    "a holder cancelled",
    "a terminal's trace number wrapped",
    "a load reversed on both cards",
    "a card left too early",
    "power cut in a load",
    "an offline sale uploaded",
    "a script result told",
    "a load known to be written",
    "a load known not to be written",
    "a load reversed, its script unheard of",
    "a load in doubt at the end",
)
"""Branches that must each be reached over a run of seeds: else it was green because nothing happened."""
