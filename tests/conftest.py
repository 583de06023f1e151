"""Settings for all tests."""

from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine, nothing about the code; benchmarks measure time.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
