"""A wrong password is tried once; a right one is sent to nobody but the right BMC."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from controller.errors import ActionError, Refused
from controller.model.facts import Known
from tests.providers.redfish.bmcs import (
    Bmc,
    Certificate,
    Machine,
    bmc_of,
    password_file,
    spec_of,
)


async def looks(bmc: Bmc, times: int) -> list[str]:
    """Look again and again, and try to fence; return what was refused."""
    said = []
    for _ in range(times):
        fact = await bmc.observe()
        assert isinstance(fact, Known)
        said.append(fact.value.refusal)
    with pytest.raises(Refused) as raised:
        await bmc.fence()
    return [*said, str(raised.value)]


@pytest.mark.parametrize("dialect", ["plain", "task202", "ilo"])
def test_a_wrong_password_is_sent_exactly_once(dialect: str, tmp_path: Path,
                                               certificate: Certificate) -> None:
    path = password_file(tmp_path, "not-this")

    async def whole(machine: Machine) -> None:
        bmc = bmc_of(machine, tmp_path)
        for sentence in await looks(bmc, 3):
            assert sentence.startswith("the BMC of paris-1 refuses the password of admin (HTTP 401")
            assert f"until {path} or the spec of its host is written anew" in sentence
            assert "not-this" not in sentence
        assert (machine.bmc.logins, machine.bmc.wrong_logins) == (1, 1)
        path.write_text(path.read_text().replace("not-this", "s3cret"))
        assert "cut the power" in await bmc.fence()
        await bmc.close()

    with Machine(dialect, certificate).serving() as machine:
        asyncio.run(whole(machine))


def test_a_touched_file_or_a_changed_spec_is_worth_one_more_try(tmp_path: Path,
                                                                certificate: Certificate) -> None:
    path = password_file(tmp_path, "not-this")

    async def whole(machine: Machine) -> None:
        bmc = bmc_of(machine, tmp_path)
        await looks(bmc, 2)
        os.utime(path, (1, 1))
        await looks(bmc, 2)
        bmc.declare(spec_of(machine, tmp_path, system="1"))
        await looks(bmc, 2)
        assert machine.bmc.wrong_logins == 3
        await bmc.close()

    with Machine("plain", certificate).serving() as machine:
        asyncio.run(whole(machine))


def test_an_ended_session_is_opened_anew_once(folder: Path, certificate: Certificate) -> None:
    async def whole(machine: Machine) -> None:
        bmc = bmc_of(machine, folder)
        await bmc.observe()
        machine.bmc.sessions.clear()
        fact = await bmc.observe()
        assert isinstance(fact, Known)
        assert fact.value.state == "On"
        assert (machine.bmc.logins, len(machine.bmc.sessions)) == (2, 1)
        machine.bmc.sessions.clear()
        machine.bmc.credentials = ("admin", "changed")
        assert all("refuses the password" in one for one in await looks(bmc, 3))
        assert machine.bmc.wrong_logins == 1
        await bmc.close()

    with Machine("plain", certificate).serving() as machine:
        asyncio.run(whole(machine))


def test_where_no_session_is_left_the_password_goes_with_each_request(
        folder: Path, certificate: Certificate) -> None:
    async def whole(machine: Machine) -> None:
        machine.bmc.sessions |= {"a", "b", "c", "d"}
        bmc = bmc_of(machine, folder)
        assert "cut the power" in await bmc.fence()
        await bmc.close()
        assert machine.bmc.sessions == {"a", "b", "c", "d"}

    with Machine("plain", certificate).serving() as machine:
        asyncio.run(whole(machine))


def test_nothing_secret_is_logged(folder: Path, certificate: Certificate,
                                  caplog: pytest.LogCaptureFixture) -> None:
    async def whole(machine: Machine) -> None:
        bmc = bmc_of(machine, folder)
        await bmc.fence()
        tokens = set(machine.bmc.sessions)
        await bmc.close()
        assert tokens
        assert not [one for one in ("s3cret", *tokens) if one in caplog.text]

    caplog.set_level(logging.DEBUG)
    with Machine("plain", certificate).serving() as machine:
        asyncio.run(whole(machine))


@pytest.mark.parametrize(("content", "mode", "words"), [
    ("{}", 0o600, 'must hold JSON: {"username": …, "password": …}'),
    ("s3cret", 0o600, "must hold JSON"),
    ('{"username": "admin", "password": ""}', 0o600, "must hold JSON"),
    ('{"username": "admin", "password": "s3cret"}', 0o640, "is open to other accounts: run chmod"),
    (None, 0o600, "cannot be read: No such file"),
])
def test_a_password_file_that_cannot_be_used_is_named(
        content: str | None, mode: int, words: str, tmp_path: Path,
        certificate: Certificate) -> None:
    if content is not None:
        (tmp_path / "bmc.json").write_text(content)
        (tmp_path / "bmc.json").chmod(mode)

    async def whole(machine: Machine) -> None:
        bmc = bmc_of(machine, tmp_path)
        with pytest.raises(Refused) as raised:
            await bmc.fence()
        assert words in str(raised.value)
        assert str(tmp_path / "bmc.json") in str(raised.value)
        assert "s3cret" not in str(raised.value)
        assert machine.bmc.logins == 0

    with Machine("plain", certificate).serving() as machine:
        asyncio.run(whole(machine))


def test_a_password_may_come_from_the_environment(tmp_path: Path, certificate: Certificate,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMC_LOGIN", '{"username": "admin", "password": "s3cret"}')

    async def whole(machine: Machine) -> None:
        bmc = bmc_of(machine, tmp_path, credentials={"env": "BMC_LOGIN"})
        assert "cut the power" in await bmc.fence()
        await bmc.close()

    with Machine("plain", certificate).serving() as machine:
        asyncio.run(whole(machine))


def test_the_environments_proxies_are_not_asked(folder: Path, certificate: Certificate,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def whole(machine: Machine) -> None:
        bmc = bmc_of(machine, folder)
        assert "cut the power" in await bmc.fence()
        await bmc.close()

    with Machine("plain", certificate).serving() as machine:
        asyncio.run(whole(machine))


def test_a_bmc_that_is_not_there_is_not_told_anything(folder: Path,
                                                      certificate: Certificate) -> None:
    machine = Machine("plain", certificate)
    machine.server.server_close()

    async def whole() -> None:
        with pytest.raises(ActionError, match="the BMC of paris-1 cannot be reached"):
            await bmc_of(machine, folder).fence()

    asyncio.run(whole())
