"""A machine with an account for each login shell."""

from collections.abc import Iterator

import pytest

from tests.transport.accounts.machine import Machine, find_program, obstacle

SHELLS = ("bash", "dash", "fish", "tcsh", "zsh")


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One machine for all tests that leave it as it is: `ann`, and one account for each shell."""
    if why := obstacle():
        pytest.skip(why)
    shells = {name: find_program(name) for name in SHELLS}
    one = Machine(tmp_path_factory.mktemp("accounts") / "machine",
                  {"ann": "/bin/bash",
                   **{f"ann-{name}": path for name, path in shells.items() if path}})
    yield one
    one.stop()
