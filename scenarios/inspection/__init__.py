"""Self-inspection (自查) of a fleet: each terminal of a file is shown test cards, and what it does is judged."""
