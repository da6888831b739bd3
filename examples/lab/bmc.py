"""Start the BMCs of both sites, which outlive their hosts' power, and say whether they serve."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import processes
from layout import MARK, SITES, STATE
from shell import LabError, run, wait_for
from wires import bmc_namespace

SERVER = Path(__file__).with_name("bmc_server.py")
CREDENTIALS = STATE / "bmc.json"
CERTIFICATE = STATE / "bmc.crt"
KEY = STATE / "keys/bmc.key"


def make_secrets() -> None:
    """Make the password file and the self-signed certificate unless they are there."""
    if not CREDENTIALS.exists():
        content = json.dumps({"username": "admin", "password": secrets.token_urlsafe(18)})
        with os.fdopen(os.open(CREDENTIALS, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(content + "\n")
    if not (CERTIFICATE.exists() and KEY.exists()):
        names = ",".join(f"IP:10.79.0.{octet}" for octet in (*range(11, 20), *range(21, 30)))
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "3650", "-subj", "/CN=hotsite lab BMC", "-keyout", str(KEY),
            "-addext", f"subjectAltName={names}", "-out", str(CERTIFICATE))  # fmt: skip
        KEY.chmod(0o600)


def servers() -> dict[str, int]:
    """Return the process that serves each site's BMCs."""
    found = {}
    for pid in processes.marked():
        words = processes.command_of(pid)
        if SERVER.name in [Path(word).name for word in words[:2]]:
            found[words[2]] = pid
    return found


def is_running() -> bool:
    """Say whether the BMCs of both sites are served."""
    return set(servers()) == set(SITES)


def start() -> None:
    """Start the BMCs that are not served yet, and return when they listen."""
    make_secrets()
    for site in SITES:
        if site not in servers():
            start_site(site)


def start_site(site: str) -> None:
    """Start the server of one site's BMCs in their own namespace."""
    ready, log = STATE / f"nodes/bmc-{site}.ready", STATE / f"nodes/bmc-{site}.log"
    ready.unlink(missing_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{bmc_namespace(site)}", sys.executable, str(SERVER),
             site],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env={**os.environ, MARK: str(STATE)},
        )  # fmt: skip
    ended = process.poll
    wait_for(f"the BMCs of {site} (see {log})", lambda: ready.exists() or ended() is not None)
    if process.poll() is not None:
        raise LabError(f"the BMCs of {site} did not start: {log.read_text().strip()[-400:]}")
