"""Lays the ground of a load test, as a process of its own: keys, terminals and configurations, no operator rules.

    python -m loadtest.stage DIR TERMINALS SEED SETTLEMENT_DATE ATMS [VALIDATORS [forgetful]]

Prints one JSON object: ports, and where the terminals' files stand. The demo day has the same ground, with trouble. In
a forgetful house the switch lets go of a transaction with its batch, and the issuers after a settlement day.
"""

import json
import sys
from pathlib import Path

from scenarios.ground import CARDS_PER_ISSUER, OPERATORS, Ground, free_ports, lay


def clean(ground: Ground, forgetful: bool = False) -> dict[str, int]:
    """Take the operator rules out, and give each process a metrics page: its port by name."""
    ports = dict(zip(("switch", "centre", "core"), free_ports(3), strict=True))
    for name, port in ports.items():
        path = ground.config(name)
        text = path.read_text(encoding="utf-8").split("[[rules]]", 1)[0]
        keeps = "\nkeep_days = 1" if forgetful and name != "switch" else ""
        text = text.replace('\ncontrol = "', f'{keeps}\nmetrics = "127.0.0.1:{port}"\ncontrol = "', 1)
        path.write_text(text + ("\n[limits]\nkeep_days = 0\n" if forgetful and name == "switch" else ""))
    return ports


def main() -> int:
    """Lay the ground named on the command line."""
    directory, terminals, seed, date = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    atms, validators = int(sys.argv[5]), int(sys.argv[6]) if len(sys.argv) > 6 else 0
    forgetful = sys.argv[7:8] == ["forgetful"]
    ground = lay(directory, seed, terminals, date, atms, validators=validators)
    told = {
        "port": ground.switch_port, "metrics": clean(ground, forgetful), "cards_per_issuer": CARDS_PER_ISSUER,
        "operators": OPERATORS if validators else 0, "validators": validators,
    }  # fmt: skip
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
