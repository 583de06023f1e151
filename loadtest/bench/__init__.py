"""Benchmarks of the hot rooms, each beside the library or the bare loop it is measured against, in one run."""
