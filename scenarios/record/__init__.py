"""Traffic recorded, made safe to keep, and played again: captures, hex logs and a proxy in, differences out."""
