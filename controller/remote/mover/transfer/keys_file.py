"""
Which file of keys sshd reads for this account, and how it reads the expiry time of a key.

sshd itself answers (`sshd -T`, as root); the answer is cached until its configuration or program
changes. Where it does not answer, the usual file is taken.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import pwd
import re
import subprocess
import time
from typing import Dict, List

from mover.errors import Refused

FOLDER = os.environ.get("HOTSITE_RUN", "/run/hotsite")
USUAL = ".ssh/authorized_keys"
CONFIG = ("/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/*.conf")
ANSWER_S = 10.0
READS_UTC = (9, 1)          # OpenSSH release notes: expiry-time takes a moment that ends in Z
ANY = "127.0.0.1"
MOST_KEPT = 64              # answers: one for each host that sends here
MOST_FILES = 100
_INCLUDE = re.compile(r"(?im)^[ \t]*include[ \t=]+([^#\n]+)")
_VERSION = re.compile(r"OpenSSH_(\d+)\.(\d+)")


def keys_path(address: str, account: str = "") -> str:
    """Return the file of keys that sshd reads for an account and a client at an address.

    If there are several, the first in the account's home. No account: the one we run as.
    """
    me = entry_of(account)
    home = me.pw_dir if account else os.path.expanduser("~")
    names = _answers(address, me.pw_name if account else "")["files"].split() or [USUAL]
    if names == ["none"]:
        raise Refused("sshd reads no file of keys on this host (AuthorizedKeysFile none)")
    paths = [os.path.join(home, _expanded(name, me, home)) for name in names]
    own = [path for path in paths if path.startswith(os.path.join(home, ""))]
    return (own or paths)[0]


def entry_of(account: str) -> pwd.struct_passwd:
    """Return what is known of an account; empty: of the one we run as."""
    try:
        return pwd.getpwnam(account) if account else pwd.getpwuid(os.geteuid())
    except KeyError:
        raise Refused("there is no account %s on this host" % account) from None


def _expanded(name: str, me: pwd.struct_passwd, home: str) -> str:
    """Return a file's name with sshd's tokens filled in (sshd_config(5), TOKENS)."""
    found = {"%%": "%", "%h": home, "%u": me.pw_name, "%U": str(me.pw_uid)}
    return re.sub("%[%huU]", lambda match: found[match[0]], name)


def render_end(until_s: float) -> str:
    """Return an expiry time as the sshd of this host reads it.

    Before 9.1 it took local time without summer time, in sshd's time zone, not a session's TZ.
    """
    version = _VERSION.search(_answers(ANY)["version"])
    if version and (int(version[1]), int(version[2])) >= READS_UTC:
        return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(until_s))
    kept = os.environ.pop("TZ", None)
    try:
        time.tzset()
        return time.strftime("%Y%m%d%H%M%S", time.gmtime(until_s - time.timezone))
    finally:
        if kept is not None:
            os.environ["TZ"] = kept
        time.tzset()


def _answers(address: str, account: str = "") -> Dict[str, str]:
    """Return sshd's answers, from the cache while its configuration is the same."""
    asked = "%s@%s" % (account, address) if account else address
    path, stamp = os.path.join(FOLDER, "sshd.json"), _stamp()
    try:
        with open(path, encoding="utf-8") as file:
            kept = json.load(file)
        files = kept["files"] if kept["stamp"] == stamp else {}
        if asked in files:
            return {"files": str(files[asked]), "version": str(kept["version"])}
        files = dict(files) if len(files) < MOST_KEPT else {}
    except (OSError, ValueError, KeyError, TypeError):
        files = {}          # there is no cache, or it cannot be read
    version = _output(["ssh", "-V"])
    files[asked] = _files(address, account)
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    part = "%s.%d.part" % (path, os.getpid())
    with open(part, "w", encoding="utf-8") as file:
        json.dump({"files": files, "version": version, "stamp": stamp}, file)
    os.rename(part, path)
    return {"files": files[asked], "version": version}


def _stamp() -> List[List[int]]:
    """Return inode and mtime of sshd's configuration and program."""
    stamp = []
    for path in (*_configuration(), _program(), "/usr/bin/ssh"):
        with contextlib.suppress(OSError):      # it is not there
            status = os.stat(path)
            stamp.append([status.st_ino, status.st_mtime_ns])
    return stamp


def _configuration() -> List[str]:
    """Return the files of sshd's configuration, included ones too."""
    found: List[str] = []
    waiting = [CONFIG[0], *sorted(glob.glob(CONFIG[1]))]
    while waiting and len(found) < MOST_FILES:
        path = waiting.pop(0)
        if path in found:
            continue
        found.append(path)
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            for words in _INCLUDE.findall(file.read(1 << 20)):
                for word in words.replace('"', " ").split():
                    waiting += sorted(glob.glob(os.path.join(os.path.dirname(CONFIG[0]), word)))
    return found


def _program() -> str:
    return next((path for path in ("/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd")
                 if os.access(path, os.X_OK)), "")


def _files(address: str, account: str) -> str:
    """Return the AuthorizedKeysFile of an account; empty where sshd does not answer."""
    if not _program():
        return ""
    me = entry_of(account).pw_name
    text = _output([_program(), "-T", "-C", "user=%s,host=%s,addr=%s" % (me, address, address)])
    found = [line.partition(" ")[2] for line in text.split("\n")
             if line.startswith("authorizedkeysfile ")]
    return found[0] if found else ""


def _output(argv: List[str]) -> str:
    """Return a program's output, stderr included; empty where it cannot be run."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=ANSWER_S, stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")
