"""Drills over real processes: things are killed, cut, filled and flooded, and afterwards the books are joined."""
