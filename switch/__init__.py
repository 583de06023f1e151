"""Shoudan's acquiring side: the wire, the keys, the switch engine, the other side (issuers, network) and the rim."""
