"""An authority with one certificate for servers and one for clients, made for a test."""

import subprocess
from pathlib import Path

EXTENSIONS = "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n"
"""etcd's gateway is a client of its own server, with the server's certificate."""


def make_certificates(folder: Path) -> Path:
    """Write ca.crt, server.crt, client.crt and their keys into a folder, and return it."""
    folder.mkdir()
    (folder / "extensions").write_text(EXTENSIONS)
    _openssl(folder, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2"
             " -subj /CN=hotsite-test")
    for name in ("server", "client"):
        _openssl(folder, f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr"
                 f" -subj /CN={name}")
        _openssl(folder, f"x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial"
                 f" -out {name}.crt -days 2 -extfile extensions")
    return folder


def _openssl(folder: Path, words: str) -> None:
    """Run openssl in a folder."""
    subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)
