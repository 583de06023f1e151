"""A fault proxy that knows frames: put before anybody's host, it delays, cuts, doubles, swaps, flips and drops."""
