"""The terminal's chip kernel (EMV/PBOC level 2): contact and contactless, as flows that yield commands to the card."""
