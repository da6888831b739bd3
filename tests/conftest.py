"""What holds for every test."""

from hypothesis import HealthCheck, settings

# how fast a machine is says nothing of the code, and tests must pass beside other work
settings.register_profile("any machine", deadline=None,
                          suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
