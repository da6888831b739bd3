"""Who shows another certificate than the believed one never sees the password."""

import asyncio
import ssl
import warnings
from pathlib import Path
from typing import Any

import httpx
import pytest

from controller.errors import Refused, Unavailable
from controller.transport.tls import Trust, tls_context
from tests.providers.redfish.bmcs import Certificate, Machine, bmc_of


async def fenced(machine: Machine, folder: Path, **more: Any) -> str:
    """Fence and log out."""
    bmc = bmc_of(machine, folder, **more)
    try:
        return await bmc.fence()
    finally:
        await bmc.close()


def test_a_stranger_is_told_nothing(folder: Path, certificate: Certificate) -> None:
    with Machine("plain", certificate).serving() as machine:
        with pytest.raises(Refused) as raised:
            asyncio.run(fenced(machine, folder, fingerprint="00" * 32))
        assert str(raised.value) == (
            "the BMC of paris-1 is not believed: its certificate has the fingerprint"
            f" {certificate.fingerprint}, and {'00' * 32} is pinned")
        assert (machine.bmc.reads, machine.bmc.logins, machine.on) == (0, 0, True)


def test_an_expired_certificate_of_another_name_is_believed_by_its_pin(
        folder: Path, tmp_path: Path) -> None:
    old = Certificate(tmp_path, "old", days=-300)
    colons = ":".join(old.fingerprint[at:at + 2] for at in range(0, 64, 2)).upper()
    with Machine("plain", old).serving() as machine:
        assert "cut the power" in asyncio.run(fenced(machine, folder, fingerprint=colons))


def test_without_a_pin_the_authority_and_the_name_count(folder: Path,
                                                        certificate: Certificate) -> None:
    with Machine("plain", certificate).serving() as machine:
        for authority in (None, str(certificate.file)):
            with pytest.raises(Refused, match="the BMC of paris-1 is not believed"):
                asyncio.run(fenced(machine, folder, fingerprint=None, caFile=authority))
        assert machine.bmc.logins == 0
        with pytest.raises(Refused, match="the file of certificates /no/such cannot be used"):
            asyncio.run(fenced(machine, folder, fingerprint=None, caFile="/no/such"))


def old_server(certificate: Certificate) -> ssl.SSLContext:
    """Return the context of a BMC from before TLS 1.2, with a short key."""
    context = certificate_context(certificate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1
    return context


def certificate_context(certificate: Certificate) -> ssl.SSLContext:
    """Return a context that may show a short key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL@SECLEVEL=0")
    context.load_cert_chain(certificate.file, certificate.key_file)
    return context


def test_an_old_bmc_is_spoken_with_only_where_that_is_declared(folder: Path,
                                                               tmp_path: Path) -> None:
    weak = Certificate(tmp_path, "weak", weak=True)
    with Machine("plain", weak).serving(old_server(weak)) as machine:
        with pytest.raises(Unavailable, match="cannot be reached"):
            asyncio.run(fenced(machine, folder))
        assert machine.bmc.logins == 0
        with pytest.raises(Unavailable):
            asyncio.run(fenced(machine, folder, minimumTls="1.1"))
        assert "cut the power" in asyncio.run(fenced(machine, folder, minimumTls="1.0"))


def test_a_blocking_connection_is_pinned_too(certificate: Certificate) -> None:
    with Machine("plain", certificate).serving() as machine:
        for fingerprint, believed in ((certificate.fingerprint, True), ("11" * 32, False)):
            context = tls_context(Trust(fingerprint))
            with httpx.Client(verify=context, trust_env=False) as client:
                if believed:
                    assert client.get(f"{machine.url}/redfish/v1").status_code == 200
                else:
                    with pytest.raises(httpx.ConnectError, match="is pinned"):
                        client.get(f"{machine.url}/redfish/v1")


