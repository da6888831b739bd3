"""A crashed guest counts as running while libvirt keeps its process, whatever its state."""

from importlib import import_module

import pytest

ON, OFF = "<domain type='kvm' id='4'>\n", "<domain type='kvm'>\n"


@pytest.mark.parametrize(("state", "live", "before", "active"), [
    ("crashed (panicked)", ON, False, True), ("crashed (panicked)", OFF, True, False),
    ("running (booted)", ON, False, True), ("shut off (crashed)", OFF, True, False),
    ("", "", True, True), ("", "", False, False)])
def test_whether_it_is_on_is_told_by_its_number(
        state: str, live: str, *, before: bool, active: bool) -> None:
    is_active = import_module("libvirt_poll").is_active
    assert is_active(("domain", "u"), [state, live, "", ""], before) is active


def test_a_pool_is_what_it_was() -> None:
    assert import_module("libvirt_poll").is_active(("pool", "u"), ["<pool/>"], True)
