"""Users and shapes for Locust, on greenlets and blocking sockets; imported by `locust` alone."""
