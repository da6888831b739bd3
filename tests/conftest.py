"""What holds for every test, and which tests are slow."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

SLOW = (
    "adoption/test_libvirt_source.py", "cli/break_glass", "cli/install/test_uninstall.py",
    "cli/test_ci_examples.py", "cli/test_demo.py", "cli/test_fence.py", "cli/test_run.py",
    "cli/test_simulate.py", "cli/test_verbs.py", "failover/test_properties.py", "guard", "lease",
    "mover", "providers/linux", "providers/redfish/test_dialects.py",
    "reconcile/act/test_undone.py", "reconcile/notify", "reconcile/simulation/test_playing.py",
    "remote/test_leave.py", "scenarios", "simulation", "source/git", "test_bench.py",
    "test_wheel.py", "transport", "web/chromium", "web/test_described.py",
)
"""Folders and files whose tests play whole nights, run many real programs, or wait for real
seconds: a fifth of all tests, which take two thirds of the time."""

# how fast a machine is says nothing of the code, and tests must pass beside other work
settings.register_profile("any machine", deadline=None,
                          suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow ones, which `make fast` leaves out."""
    here = Path(__file__).parent
    slow = [here / one for one in SLOW]
    assert all(one.exists() for one in slow), "a slow test has gone elsewhere"
    for item in items:
        if any(item.path.is_relative_to(one) for one in slow):
            item.add_marker(pytest.mark.slow)
