"""What does the peer speak? Framing and dialect from the first bytes, in words."""
