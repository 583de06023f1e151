"""The figures of `bench switch` as tables for a screen."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table


def switch_tables(figures: dict[str, Any]) -> Iterator[Table]:
    """Throughput and CPU of every kind of connection; then latency and features, where they were measured."""
    title = f"{figures['connections']} connections, {figures['suite']}, medians of {figures['rounds']} rounds"
    table = Table(title=title)
    for column in ("connections", "server", "a second", "CPU µs", "echoes", "its core", "other core"):
        table.add_column(column, justify="left" if column in ("connections", "server") else "right")
    for name, part in (("kept", figures), ("one each", figures.get("per_connection")), ("TLS", figures.get("tls"))):
        if part is None:
            continue
        for server in ("echo", "relay", "switch"):
            if server in part:
                one = part[server]
                table.add_row(
                    name, server, f"{one['per_s']:,}", f"{one['cpu_us']:.1f}",
                    f"{one['cpu_us'] / part['cpu_us_per_echo']:.2f}",
                    f"{one['server_busy']:.0%}{'' if one['saturated'] else ' (not saturated)'}",
                    f"{one['other_core_busy']:.0%}",
                )  # fmt: skip
        table.add_section()
    yield table
    if "latency" in figures:
        yield _latency(figures["latency"])
    if "features" in figures:
        yield _features(figures["features"])
    if "workers" in figures:
        yield _workers(figures["workers"])


def _latency(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="Latency in ms from the instant a request was meant to leave: switch, and added to the relay's")
    for column in ("of the top rate", "a second", "p50", "p99", "p99.9", "added p50", "added p99", "added p99.9"):
        table.add_column(column, justify="right")
    for row in rows:
        values = [f"{value:.2f}" for kind in ("switch", "added") for value in row[kind].values()]
        table.add_row(f"{row['share']} %", f"{row['per_s']:,}", *values)
    return table


def _features(rows: dict[str, dict[str, float]]) -> Table:
    table = Table(title="CPU µs an authorization, one feature taken out at a time")
    for column in ("without", "CPU µs", "so it costs"):
        table.add_column(column, justify="left" if column == "without" else "right")
    for name, row in rows.items():
        table.add_row(name, f"{row['cpu_us']:.1f}", f"{row['costs_us']:.1f}" if name != "nothing" else "")
    return table


def fleet_table(figures: dict[str, Any]) -> Table:
    """A fleet's figures, for people."""
    table = Table(title=f"Fleet {figures['profile']}: {figures['terminals']:,} terminals")
    table.add_column("")
    table.add_column("", justify="right")
    again, brisk, hsm = figures["again"], figures["brisk"], figures["hsm_storm"]
    latency = figures["latency_ms"]
    for name, value in (
        ("memory of the fleet, MiB", f"{figures['rss_mib']:g} (rows {figures['rows_mib']:g})"),
        ("memory of the switch, MiB", f"{figures['switch_rss_mib']:g}; started again {again['switch_rss_mib']:g}"),
        ("signed in", f"{figures['signed_in']:,} in {figures['sign_in_s']:g} s: {figures['sign_ins_per_s']:,}/s"),
        ("latency p50, p99, ms", f"{latency['p50']:g}, {latency['p99']:g}"),
        ("CPU a sign-in, us", f"fleet {figures['cpu_us_a_sign_in']['fleet']}, switch "
                              f"{figures['cpu_us_a_sign_in']['switch']}"),
        ("addresses, ports of each", f"{figures['addresses']}, {figures['ports_an_address']:,}"),
        ("signed in after the switch's restart", f"{again['signed_in']:,}"),
        ("keys that held, of those asked", f"{again['keys_held']} of {again['asked']}"),
        (f"{brisk['signed_in']:,} sign-ins", f"{brisk['sign_in_s']:g} s"),
        (f"{hsm['signed_in']:,} with an HSM of {hsm['hsm']['rate']:,}/s", f"{hsm['sign_in_s']:g} s"),
    ):  # fmt: skip
        table.add_row(name, value)
    table.caption = hsm["limit"]
    return table


def _workers(figures: dict[str, Any]) -> Table:
    shares = " and ".join(f"{share:.1%}" for share in figures["shares"])
    table = Table(title=f"One process and two workers on one core; the workers' shares: {shares}")
    for column in ("processes", "a second", "CPU µs an authorization", "of one's"):
        table.add_column(column, justify="right")
    for count, name in ((1, "one"), (2, "two")):
        one = figures[name]
        saturated = "" if one["saturated"] else " (not saturated)"
        ratio = f"{figures['ratio']:.3f}" if count > 1 else ""
        table.add_row(str(count), f"{one['per_s']:,}{saturated}", f"{one['cpu_us']:.1f}", ratio)
    return table
