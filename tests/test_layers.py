"""The floors of the house: which room may know which. docs/map.md draws them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# room (longest prefix wins): packages of ours it may import, third parties it may import, standard modules it must not
CLOCKS = {"time", "datetime"}
CHANCE = {"random", "secrets", "uuid"}
IO = {"socket", "asyncio", "subprocess", "threading", "selectors", "sqlite3"}
MACHINE_ROOM = {"switch.machine", "switch.clearing", "switch.crypto.hsm", "switch.crypto.errors", "switch.wire"}
FLOORS: dict[str, tuple[set[str], set[str], set[str]]] = {
    "switch.wire": ({"switch.wire"}, {"msgspec"}, CLOCKS | CHANCE | IO),
    "switch.crypto": ({"switch.crypto"}, {"cryptography", "gmssl", "tongsuopy", "gmpy2"}, CLOCKS | CHANCE | IO),
    "switch.machine": (set(), set(), CHANCE | IO),
    "switch.timings": (set(), set(), CLOCKS | CHANCE | IO),
    "switch.clearing": ({"switch.clearing", "switch.wire"}, set(), CLOCKS | CHANCE | IO),
    "switch.engine": (
        {"switch.engine", "switch.timings"} | MACHINE_ROOM,
        {"msgspec"},
        CHANCE | IO,
    ),
    "switch.issuer": (
        {"switch.issuer", "switch.crypto.cardkeys", "switch.crypto.cryptogram", "switch.crypto.script"} | MACHINE_ROOM,
        {"msgspec"},
        CHANCE | IO,
    ),
    "switch.net": (
        {
            "switch.net", "switch.machine", "switch.timings", "switch.clearing.schema", "switch.wire.framing",
            "switch.wire.errors",
        },
        {"apsw", "msgspec", "prometheus_client"},
        CHANCE,
    ),
    "switch.app": ({"switch"}, {"msgspec", "typer", "rich", "uvloop", "apsw"}, {"random"}),
    "terminals.flow": (set(), set(), CLOCKS | CHANCE | IO),
    "terminals.card": ({"terminals.card", "switch.wire", "switch.crypto"}, set(), CLOCKS | CHANCE | IO),
    "terminals.card.mint": (
        {"terminals.card", "switch.wire", "switch.crypto", "switch.issuer.portfolio"}, set(), CLOCKS | CHANCE | IO,
    ),
    "terminals.kernel": (
        {"terminals.kernel", "terminals.flow", "switch.wire", "switch.crypto"}, set(), CLOCKS | CHANCE | IO,
    ),
    "terminals.device": (
        {
            "terminals.device", "terminals.flow", "terminals.kernel", "switch.wire", "switch.crypto",
            "switch.clearing.schema",
        },
        {"apsw"},
        CHANCE | IO,
    ),
    "terminals.drive": ({"terminals", "switch.wire"}, set(), CHANCE),
    # Customers come by chance and wait on a loop; everything else a fleet is made of does neither.
    "terminals.trade": ({"terminals", "switch.wire", "switch.crypto.errors"}, set(), IO - {"asyncio"}),
    "terminals.run": ({"terminals", "switch.wire"}, set(), IO - {"asyncio"}),
    "terminals.rides": ({"terminals", "switch.wire"}, set(), CHANCE | IO - {"asyncio"}),
    "terminals.machines": ({"terminals", "switch.wire"}, set(), IO),
    "terminals.people": ({"switch.issuer.portfolio"}, set(), IO),
    "terminals.field": ({"terminals", "switch.wire", "switch.issuer.portfolio"}, set(), IO),
    # Fleets' profiles are read by msgspec, as those of the wire are.
    "terminals.census": ({"terminals", "switch.wire"}, {"msgspec"}, CHANCE | IO),
    # A switch of one's own is a process, and its keys are made here.
    "terminals.beside": ({"terminals", "switch.wire", "switch.crypto"}, set(), {"random", "asyncio"}),
    "terminals.screen": ({"switch.wire"}, {"rich"}, CHANCE | IO),
    "terminals.cli": ({"terminals", "switch.wire"}, {"typer", "rich", "uvloop"}, CHANCE | IO - {"asyncio"}),
    "terminals": ({"terminals", "switch.wire", "switch.crypto", "switch.issuer.portfolio"}, set(), CHANCE | IO),
    "terminals.look": (
        {"terminals", "switch.wire", "switch.crypto", "switch.issuer.portfolio"}, set(), CLOCKS | CHANCE | IO,
    ),
    "terminals.look.screen": ({"terminals.look"}, {"rich"}, CLOCKS | CHANCE | IO),
    "terminals.look.cli": ({"terminals", "switch.wire"}, {"typer", "rich"}, CHANCE | IO),
    "scenarios": (
        {"scenarios", "terminals", "switch"},
        {"msgspec", "typer", "rich", "jinja2"},
        set(),
    ),
    # the layer under a switch's storage is SQLite's own interface
    "scenarios.story": (
        {"scenarios", "terminals", "switch"},
        {"msgspec", "typer", "rich", "jinja2", "ruamel"},
        set(),
    ),
    "scenarios.story.plugin": ({"scenarios.story.house", "switch.issuer"}, {"pytest"}, CHANCE | CLOCKS),
    "scenarios.drill.bad_disk": ({"switch.app.serve"}, {"apsw"}, CHANCE),
    # The one composition of a switch with a feature taken out: a process of its own, imported by nothing.
    "loadtest.bench.without": ({"switch"}, set(), CHANCE | IO),
    # A process that lays the ground of a load test, imported by nothing.
    "loadtest.stage": ({"scenarios.ground"}, set(), CHANCE | CLOCKS),
    "loadtest.people": ({"loadtest", "terminals", "switch.wire", "switch.issuer.portfolio"}, set(), IO),
    "loadtest.open": (
        {"loadtest.open", "loadtest.people", "loadtest.verdict", "loadtest.garbage", "loadtest.house", "terminals",
         "switch.wire", "switch.crypto"},
        {"typer", "rich", "uvloop", "hdrh"},
        set(),
    ),
    # Under gevent: no asyncio, and nothing of the open loop.
    "loadtest.locusts": (
        {"loadtest.locusts", "loadtest.people", "loadtest.verdict", "loadtest.garbage", "terminals", "switch.wire",
         "switch.crypto"},
        {"locust", "gevent"},
        {"asyncio"},
    ),
    "loadtest": (
        {"loadtest", "terminals", "switch.wire", "switch.crypto"},
        {"typer", "rich", "iso8583", "uvloop", "cryptography"},
        set(),
    ),
}  # fmt: skip

OURS = ("switch", "terminals", "scenarios", "loadtest")


def modules() -> list[tuple[str, Path]]:
    found = []
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found.append((name.removesuffix(".__init__"), path))
    return found


def imports(path: Path) -> set[str]:
    """Everything a file imports, `from a import b` as a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def floor_of(name: str) -> tuple[set[str], set[str], set[str]]:
    room = max((room for room in FLOORS if name == room or name.startswith(room + ".")), key=len, default="")
    return FLOORS.get(room, (set(OURS), set(), set()))


def under(name: str, prefixes: set[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_room_knows_only_what_its_floor_allows(name: str, path: Path) -> None:
    import sys

    ours, others, banned = floor_of(name)
    for imported in sorted(imports(path)):
        top = imported.partition(".")[0]
        if top in OURS:
            assert under(imported, ours), f"{name} imports {imported}"
        elif top in sys.stdlib_module_names:
            assert top not in banned, f"{name} imports {imported}"
        else:
            assert top in others, f"{name} imports {imported}"


@pytest.mark.parametrize("pair", [("switch.engine", "switch.issuer"), ("terminals.card", "terminals.kernel")])
def test_rooms_that_never_meet(pair: tuple[str, str]) -> None:
    for name, path in modules():
        for here, there in (pair, pair[::-1]):
            if under(name, {here}):
                assert not any(under(imported, {there}) for imported in imports(path)), name
