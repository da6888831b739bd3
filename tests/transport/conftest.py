"""Fixtures of the transports' tests: a real sshd."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.transport.sshd import PROGRAM, Sshd


@pytest.fixture(scope="session")
def sshd_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One sshd for all tests that leave it as it is."""
    if PROGRAM is None:
        pytest.skip("openssh-server is not installed: install it to test the SSH transport")
    sshd = Sshd(tmp_path_factory.mktemp("sshd"))
    sshd.prepare()
    sshd.start()
    yield sshd
    sshd.stop()


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """An sshd that a test may break."""
    if PROGRAM is None:
        pytest.skip("openssh-server is not installed: install it to test the SSH transport")
    sshd = Sshd(tmp_path / "sshd")
    sshd.prepare()
    sshd.start()
    yield sshd
    sshd.stop()
