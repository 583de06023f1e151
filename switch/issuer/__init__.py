"""The other side, sans-IO: the network centre, the issuers behind it, the bank's own core."""
