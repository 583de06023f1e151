"""What stands on the counter: memory, PIN pad, dialogue with the host, the POS."""
