"""Terminals in software: flows over a memory that survives power-off, and drivers that give them a wire."""
