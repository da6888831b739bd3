"""BMCs on loopback, in every dialect of the lab's, each with a host that is a switch in memory."""

import datetime
import hashlib
import importlib.util
import json
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from controller.model.host import BmcSpec
from controller.providers.redfish.bmc import Bmc
from controller.providers.redfish.fence import Timing

QUICK = Timing(poll_s=0.05, forgotten_s=0.4, refused_s=0.1, limit_s=1.5)
SCALE = 0.05
"""Delays of the servers pass as much faster as those of QUICK do."""
UUID = "4c4c4544-0043-5a10-8051-b9c04f4d3132"


def load(path: Path) -> ModuleType:
    """Return a module of the lab, which is no package."""
    spec = importlib.util.spec_from_file_location(f"lab_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module     # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


redfish = load(Path(__file__).parents[3] / "examples/lab/redfish.py")


class Certificate:
    """A self-signed certificate in a folder, with its key."""

    def __init__(self, folder: Path, name: str = "own", *, days: int = 30, weak: bool = False,
                 ) -> None:
        key: Any = (rsa.generate_private_key(65537, 1024) if weak  # noqa: S505
                    else ec.generate_private_key(ec.SECP256R1()))
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody else")])
        now = datetime.datetime.now(datetime.UTC)
        made = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
                .public_key(key.public_key()).serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(days=400))
                .not_valid_after(now + datetime.timedelta(days=days))
                .sign(key, hashes.SHA256()))
        self.file, self.key_file = folder / f"{name}.crt", folder / f"{name}.key"
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        self.key_file.write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))
        self.fingerprint = hashlib.sha256(
            made.public_bytes(serialization.Encoding.DER)).hexdigest()

    def context(self) -> ssl.SSLContext:
        """Return the context of a server that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key_file)
        return context


class Machine:
    """A host with power, and the BMC that serves it on loopback."""

    def __init__(self, dialect: str, certificate: Certificate) -> None:
        self.on = True
        self.dialect = dialect
        self.bmc = redfish.Bmc(UUID, lambda: self.on, self.reset, lambda: self.dialect,
                               ("admin", "s3cret"), SCALE)
        self.server = redfish.BmcServer(("127.0.0.1", 0), self.bmc)
        self.url = f"https://127.0.0.1:{self.server.server_port}"
        self.certificate = certificate

    def reset(self, kind: str) -> None:
        """Switch."""
        self.on = kind != "ForceOff"

    @contextmanager
    def serving(self, context: ssl.SSLContext | None = None) -> Iterator["Machine"]:
        """Serve for a while."""
        self.server.socket = (context or self.certificate.context()).wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.server.stopping.set()
            self.server.shutdown()
            thread.join(10)
            self.server.server_close()


def password_file(folder: Path, password: str = "s3cret") -> Path:  # noqa: S107
    """Write a password file, readable by its owner alone."""
    path = folder / "bmc.json"
    path.touch(0o600)
    path.write_text(json.dumps({"username": "admin", "password": password}))
    return path


def spec_of(machine: Machine, folder: Path, **more: Any) -> BmcSpec:
    """Return the spec of a machine's BMC, pinned unless told otherwise."""
    return BmcSpec.model_validate({
        "url": machine.url, "credentials": {"file": str(folder / "bmc.json")},
        "fingerprint": machine.certificate.fingerprint, **more})


def bmc_of(machine: Machine, folder: Path, *, timing: Timing = QUICK, answer_s: float = 5.0,
           **more: Any) -> Bmc:
    """Return our side of a machine's BMC."""
    return Bmc("paris-1", spec_of(machine, folder, **more), lambda: 1000.0, timing, answer_s)
