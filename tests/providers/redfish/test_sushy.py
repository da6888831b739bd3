"""A second opinion: the Redfish emulator of OpenStack's sushy-tools, which others wrote."""

import asyncio
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from werkzeug.serving import make_server

from controller.errors import Refused
from controller.model.facts import Known
from controller.model.host import BmcSpec
from controller.providers.redfish.bmc import Bmc
from tests.providers.redfish.bmcs import QUICK, UUID, Certificate, password_file

with warnings.catch_warnings():     # what it is built on is older than this Python
    warnings.simplefilter("ignore")
    from sushy_tools import error
    from sushy_tools.emulator import main as emulator
    from sushy_tools.emulator.resources.systems.base import AbstractSystemsDriver


class OneHost(AbstractSystemsDriver):
    """A driver of the emulator with one machine, which is a switch in memory."""

    def __init__(self) -> None:
        self.state = "On"
        self.told: list[str] = []

    @property
    def driver(self) -> str:
        """Return a name."""
        return "<one host>"

    @property
    def systems(self) -> list[str]:
        """Return the ids of all machines."""
        return [UUID]

    def uuid(self, identity: str) -> str:
        """Return the UUID of a machine."""
        if identity != UUID:
            raise error.NotFound("no such machine")
        return UUID

    def name(self, identity: str) -> str:
        """Return its name."""
        return "paris-1"

    def get_power_state(self, identity: str) -> str:
        """Return whether it has power."""
        return self.state

    def set_power_state(self, identity: str, state: str) -> None:
        """Switch it."""
        self.told.append(state)
        self.state = "Off" if state == "ForceOff" else "On"

    def get_boot_device(self, identity: str) -> str:
        """Return where it boots from."""
        return "Hdd"

    def set_boot_device(self, identity: str, boot_source: str) -> None:
        """Say that it always boots from there."""
        raise error.NotSupportedError("no boot device")

    def get_boot_mode(self, identity: str) -> str:
        """Return that nobody knows."""
        raise error.NotSupportedError("no boot mode")


@contextmanager
def emulated(host: OneHost, certificate: Certificate, folder: Path,
             monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve a host by the emulator; yield its address."""
    users = folder / "htpasswd"
    users.write_bytes(b"admin:" + bcrypt.hashpw(b"s3cret", bcrypt.gensalt(4)) + b"\n")
    emulator.app.configure(extra_config={"SUSHY_EMULATOR_AUTH_FILE": str(users),
                                         "SUSHY_EMULATOR_FEATURE_SET": "minimum"})
    monkeypatch.setattr(emulator.Application, "systems", property(lambda _: host), raising=False)
    server = make_server("127.0.0.1", 0, emulator.app, threaded=True,
                         ssl_context=certificate.context())
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def test_the_emulator_of_others_is_fenced(tmp_path: Path, certificate: Certificate,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    host = OneHost()

    async def whole(url: str) -> None:
        def bmc() -> Bmc:
            spec: dict[str, Any] = {"url": url, "fingerprint": certificate.fingerprint,
                                    "credentials": {"file": str(tmp_path / "bmc.json")}}
            return Bmc("paris-1", BmcSpec.model_validate(spec), lambda: 0.0, QUICK)

        password_file(tmp_path, "not-this")
        with pytest.raises(Refused, match="refuses the password of admin"):
            await bmc().fence()
        password_file(tmp_path)
        ours = bmc()
        fact = await ours.observe()
        assert isinstance(fact, Known)
        assert (fact.value.state, fact.value.system_uuid) == ("On", UUID)
        assert "ForceOff" in fact.value.resets
        assert "cut the power of paris-1" in await ours.fence()
        assert host.told == ["ForceOff"]
        assert "found no power on paris-1" in await ours.fence()
        host.state = "On"
        assert getattr(await ours.observe(), "value").state == "On"  # noqa: B009
        await ours.close()

    with emulated(host, certificate, tmp_path, monkeypatch) as url:
        asyncio.run(whole(url))
