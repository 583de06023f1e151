"""The rim: sockets, clock, disk. The only rooms that do what machines ask for."""
