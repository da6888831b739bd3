"""A certificate for all BMCs of a run."""

from pathlib import Path

import pytest

from tests.providers.redfish.bmcs import Certificate, password_file


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One self-signed certificate of another name."""
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the right password."""
    password_file(tmp_path)
    return tmp_path
