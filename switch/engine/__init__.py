"""The switch itself, sans-IO: one desk per message class."""
