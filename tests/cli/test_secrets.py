"""What is secret is named by where it lies, and stands in no output, journal or saved plan."""

import json
from pathlib import Path
from shutil import copytree

import pytest

from controller.errors import HotsiteError
from controller.model.host import CredentialsSpec
from controller.transport.keys import one_time_key
from controller.transport.password import read_password
from tests.cli.shell import SPECS, Shell
from tests.cli.test_verbs import converged

PLANTED = ("correct-horse", "c0ffee" * 12, "battery-staple", "tr0ub4dor")


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lab's specs, with a BMC by file, one by the environment, and a guard's key."""
    folder = copytree(SPECS, tmp_path / "specs")
    bmc, key = tmp_path / "bmc.json", tmp_path / "guard.key"
    bmc.write_text(json.dumps({"username": "admin", "password": PLANTED[0]}))
    key.write_text(PLANTED[1] + "\n")
    for path in (bmc, key):
        path.chmod(0o600)
    monkeypatch.setenv("BMC_SECRET", json.dumps({"username": "admin", "password": PLANTED[2]}))
    for host, credentials in (("paris-1", f"file: {bmc}"), ("paris-2", "env: BMC_SECRET")):
        path = folder / "host" / f"{host}.yaml"
        lines = [line for line in path.read_text().rstrip().splitlines() if "bmc:" not in line]
        path.write_text("\n".join(lines) + f"\n  bmc: {{url: 'https://10.79.0.11', credentials:"
                        f" {{{credentials}}}}}\n")
    estate = folder / "estate" / "lab.yaml"
    estate.write_text(estate.read_text().rstrip()
                      + f"\n  failover:\n    guard: {{keyFile: {key}}}\n")
    return folder


def test_no_verb_prints_or_keeps_a_secret(tmp_path: Path, specs: Path) -> None:
    shell, where = Shell(tmp_path / "state", converged), str(specs)
    plan = tmp_path / "one.plan"
    said = [shell(*words).output for words in (
        ("validate", where), ("validate", where, "--json"), ("plan", where),
        ("plan", where, "--json"), ("plan", where, "--out", str(plan)),
        ("plan", where, "--assume", "site=paris:down"), ("apply", where, "--yes"),
        ("status",), ("status", "--json"), ("events", "--json"), ("get", "Host", "--json"),
        ("explain", "Host/paris-1", where), ("save-state", str(tmp_path / "copy.db")),
        ("uninstall", where, "--dry-run", "--json"))]
    kept = [path.read_bytes() for path in (
        plan, tmp_path / "copy.db", *(tmp_path / "state").rglob("*")) if path.is_file()]
    assert sum(map(len, said)) > 1000
    for secret in PLANTED:
        assert not any(secret in text for text in said)
        assert not any(secret.encode() in text for text in kept)


@pytest.mark.parametrize("text", [
    f'{{"username": "admin", "password": "{PLANTED[0]}"', f"admin:{PLANTED[0]}",
    f'{{"username": "", "password": "{PLANTED[0]}"}}', f'["{PLANTED[0]}"]'])
def test_a_secret_that_cannot_be_read_is_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bmc.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(HotsiteError) as caught:
        read_password(CredentialsSpec(file=str(path)), "Host/paris-1")
    assert str(path) in str(caught.value)
    assert PLANTED[0] not in str(caught.value) + repr(caught.value.__cause__)


def test_an_address_with_a_password_is_refused_without_it(tmp_path: Path) -> None:
    result = Shell(tmp_path / "state", converged)(
        "plan", f"git+https://ann:{PLANTED[3]}@git.example/estate.git#main")
    assert result.exit_code == 4
    assert PLANTED[3] not in result.output


def test_a_one_time_key_hides_its_private_half() -> None:
    key = one_time_key()
    assert key.private not in repr(key)
    assert key.private.splitlines()[1] not in repr(key)
