"""Drivers: in memory, asyncio, blocking socket. Each interprets the same flow effects."""
