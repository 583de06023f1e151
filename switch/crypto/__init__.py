"""Ground room: keys, PIN blocks, MACs. Knows no message, no clock; randomness is an argument."""
