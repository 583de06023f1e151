"""Composition: configuration, wiring, processes, the command."""
