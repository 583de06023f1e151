"""The whole house in one process on a virtual clock, with a network and a disk that fail on purpose, and a judge."""
