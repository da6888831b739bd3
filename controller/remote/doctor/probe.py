"""Answer one question: what on this machine, and between it and others, would hinder us.

The controller starts this program on each host, once. It reads and changes nothing; it needs
Python >= 3.9 and nothing but the standard library. One line of JSON in: `folders` (pools), and
`peers`, each with its `name`, `admin` and `replication` addresses, the `port` of its sshd and the
`user` to log in as. One line out: each probe by name, with what it found, or
`{"unknown": sentence}` where it could not be done. A probe that could not be done proves nothing.

All probes run at once, each with a limit of its own, so that the answer comes within seconds,
whatever hangs. A thread that waits for a dead file system cannot be ended: it is left behind, and
ends with this process.

Between two machines three things are tried, in this direction only; the other host tries the other.

    ssh      a real login by key, as libvirt does it for a migration, if its host key is known; and
             whether that account may use libvirt
    path     one connect to sshd at the replication address; one alone, since newer sshds lock an
             address out that connects again and again without a login
    port     a connect to the first migration port: refused at once means that nothing is in
             between; no answer means that something swallows it
    mtu      a ping that must not be fragmented, as long as this side's interface allows; if none
             answers, shorter ones: the longest that is answered
"""

import errno
import json
import os
import pwd
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from typing import Any, Callable

LIMIT_S = 5.0
SSH_S = 4
PORT_S = 2.0
MIGRATION_PORT = 49152
AT_ONCE = 64
VIRSH = ("virsh", "-q", "-c", "qemu:///system")
SYSTEM = ":/usr/sbin:/sbin"    # which an account's own PATH may lack
DAEMONS = ("libvirtd", "virtqemud")
SOCKETS = {"libvirtd": "/run/libvirt/libvirt-sock", "virtqemud": "/run/libvirt/virtqemud-sock"}
HELPER_PROFILES = ("/etc/apparmor.d/usr.lib.libvirt.virt-aa-helper",
                   "/etc/apparmor.d/local/usr.lib.libvirt.virt-aa-helper")
PROGRAMS = ("qemu-img", "qemu-nbd", "ssh")
INSTALLERS = ("apt-get", "dnf", "zypper")
SIZES = (8972, 1472, 1422, 1372, 1272, 972, 548)    # of a ping's data: 28 less than an IPv4 packet


def run(argv: "tuple[str, ...]", limit_s: float) -> "tuple[int, str, str]":
    """Return the exit status and output of a program; 127 where it is not there, 124 if late."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=limit_s, check=False, env={**os.environ, "LC_ALL": "C"})
    except FileNotFoundError:
        return 127, "", f"{argv[0]} is not installed"
    except OSError as error:
        return 126, "", str(error)
    except subprocess.TimeoutExpired:
        return 124, "", f"{argv[0]} did not answer within {limit_s:g} s"
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(
        errors="replace").strip()


def account() -> dict:
    """Return who we are here, by which shell, and whether sudo makes us root without asking."""
    found = {"uid": os.geteuid(), "user": "", "shell": "", "sudo": None}
    try:
        entry = pwd.getpwuid(os.geteuid())
        found.update(user=entry.pw_name, shell=entry.pw_shell)
    except KeyError:
        pass
    if os.geteuid() != 0:
        found["sudo"] = run(("sudo", "-n", "true"), 3)[0] == 0
    return found


def libvirt() -> dict:
    """Return whether libvirt answers, by which daemon, and which versions run."""
    sockets = [name for name, path in SOCKETS.items() if os.path.exists(path)]
    status, out, err = run((*VIRSH, "version", "--daemon"), 4)
    versions = dict(re.findall(r"(libvirt|QEMU|daemon:?) ([0-9][0-9.]*)", out))
    return {"sockets": sockets, "answers": status == 0, "status": status, "error": err[:300],
            "versions": versions, "daemons": [name for name in DAEMONS if where_is(name)],
            **began(sockets)}


def began(daemons: list) -> dict:
    """Return how long ago the first of these daemons began; nothing where no file tells it."""
    for name in daemons:
        try:
            return {"began_s": time.time() - os.stat(f"/run/{name}.pid").st_mtime}
        except OSError:
            continue
    return {}


def where_is(program: str) -> "str | None":
    """Return where a program is."""
    return shutil.which(program, path=os.environ.get("PATH", "") + SYSTEM)


def programs() -> dict:
    """Return which programs that copies need are missing, and what installs programs here."""
    return {"missing": [name for name in PROGRAMS if where_is(name) is None],
            "installer": next((name for name in INSTALLERS if where_is(name)), "")}


def kvm() -> dict:
    """Return what /dev/kvm is: a device, another file that somebody's script has made, nothing.

    Also the module that would make it, empty where the processor shows no virtualisation.
    """
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        flags = set(re.findall(r"\b(vmx|svm)\b", file.read()))
    more = {"module": "kvm_intel" if "vmx" in flags else "kvm_amd" if flags else "",
            "loaded": os.path.exists("/sys/class/misc/kvm")}
    try:
        mode = os.stat("/dev/kvm").st_mode
    except FileNotFoundError:
        return {"is": "absent", **more}
    return {"is": "device" if stat.S_ISCHR(mode) else "file", **more}


def time_service() -> dict:
    """Return the unit that keeps this clock, empty where none is installed."""
    if where_is("chronyd"):
        return {"service": "chrony" if os.path.isdir("/etc/chrony") else "chronyd"}
    if os.path.exists("/usr/lib/systemd/systemd-timesyncd"):
        return {"service": "systemd-timesyncd"}
    if not where_is("ntpd"):
        return {"service": ""}
    return {"service": "ntpsec" if os.path.isdir("/etc/ntpsec") else "ntp"}


def firewall() -> dict:
    """Return the firewall that is in force: ufw, firewalld, or the chains of nftables for input."""
    if where_is("ufw") and "Status: active" in run(("ufw", "status"), 3)[1]:
        return {"tool": "ufw"}
    if where_is("firewall-cmd") and run(("firewall-cmd", "--state"), 3)[0] == 0:
        return {"tool": "firewalld"}
    status, out, _ = run((where_is("nft") or "nft", "-j", "list", "chains"), 3)
    rows = [row["chain"] for row in json.loads(out)["nftables"] if "chain" in row] if (
        status == 0) else []
    return {"tool": "nft", "chains": [
        f"{row['family']} {row['table']} {row['name']}" for row in rows
        if row.get("hook") == "input" and row["family"] in {"ip", "ip6", "inet"}]}


def roots_key() -> dict:
    """Return the public key of root here, empty where there is none."""
    for kind in ("ed25519", "ecdsa", "rsa"):
        try:
            with open(f"/root/.ssh/id_{kind}.pub", encoding="utf-8") as file:
                return {"key": file.read(2000).strip()}
        except OSError:
            continue
    return {"key": ""}


def apparmor() -> dict:
    """Return whether AppArmor is on, and what virt-aa-helper's profiles say."""
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as file:
            on = file.read().strip() == "Y"
    except OSError:
        on = False
    texts = []
    for path in HELPER_PROFILES if on else ():
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                texts.append(file.read())
        except OSError:
            continue
    return {"on": on, "profile": "\n".join(texts)[:60000]}


def sshd() -> dict:
    """Return what sshd's configuration says; root alone can ask it."""
    program = where_is("sshd")
    if program is None:
        return {"unknown": "sshd is not in its usual place"}
    status, out, err = run((program, "-T"), 3)
    if status != 0:
        return {"unknown": (err.split("\n")[0] or "sshd -T failed")[:200]}
    wanted = ("maxsessions", "maxstartups", "permitrootlogin", "persourcepenalties")
    lines = (line.partition(" ") for line in out.split("\n"))
    return {key: value for key, _, value in lines if key in wanted}


def room(folder: str) -> dict:
    """Return what a folder's file system has left."""
    seen = os.statvfs(folder)
    return {"total_bytes": seen.f_blocks * seen.f_frsize,
            "free_bytes": seen.f_bavail * seen.f_frsize, "free_inodes": seen.f_favail,
            "inodes": seen.f_files, "readonly": bool(seen.f_flag & os.ST_RDONLY)}


def resolved(name: str) -> dict:
    """Return the addresses that a name has here."""
    try:
        return {"addresses": sorted({one[4][0] for one in socket.getaddrinfo(name, None)})}
    except OSError as error:
        return {"addresses": [], "error": error.strerror or str(error)}


def key_files() -> "list | None":
    """Return the files of known hosts that ssh reads here and that are there.

    None where they alone do not decide, or nobody can tell: then only a login shows.
    """
    status, out, _ = run(("ssh", "-G", "localhost"), 3)
    if status != 0 or re.search("^(knownhostscommand|verifyhostkeydns) (?!none|false)", out,
                                re.MULTILINE):
        return None
    words = re.findall(r"^(?:user|global)knownhostsfile (.*)$", out, re.MULTILINE)
    files = (os.path.expanduser(word) for line in words for word in line.split())
    return [file for file in files if os.path.exists(file)]


def login(address: str, port: int, user: str, files: "list | None") -> dict:
    """Return whether root here can log in there by key, and knows its host key.

    Status 1 without a word: it can, and that account may not use libvirt. Where no file has a key
    for it, no connection is made: it would fail.
    """
    name = address if port == 22 else f"[{address}]:{port}"
    if files is not None and not any(run(("ssh-keygen", "-F", name, "-f", file), 2)[0] == 0
                                      for file in files):
        return {"status": 255, "error": "Host key verification failed: no file has one for it"}
    status, _, err = run(("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o",
                          f"ConnectTimeout={SSH_S - 1}", "-p", str(port), f"{user}@{address}",
                          "test -w /run/libvirt/libvirt-sock -o -w /run/libvirt/virtqemud-sock"),
                         SSH_S)
    return {"status": status, "error": err.split("\n")[-1][:300]}


def connects(address: str, port: int) -> dict:
    """Return what becomes of a connect."""
    try:
        with socket.create_connection((address, port), timeout=PORT_S):
            return {"result": "open"}
    except ConnectionRefusedError:
        return {"result": "refused"}
    except (socket.timeout, TimeoutError):
        return {"result": "silent"}
    except OSError as error:
        return {"result": errno.errorcode.get(error.errno or 0, str(error))}


def mtu(address: str) -> dict:
    """Return the interface towards an address, its MTU, and the longest whole packet answered."""
    status, out, err = run(("ip", "-json", "route", "get", address), 2)
    try:
        device = json.loads(out)[0]["dev"]
        with open(f"/sys/class/net/{device}/mtu", encoding="ascii") as file:
            own = int(file.read())
    except (ValueError, LookupError, OSError):
        return {"unknown": f"no way to {address} is known: {err or status}"}
    more = 48 if ":" in address else 28
    if shutil.which("ping") is None:
        return {"unknown": "ping is not installed"}
    if ended_well(ping(address, own - more)):
        return {"device": device, "mtu": own, "passes": own}
    pings = {size: ping(address, size) for size in SIZES if size < own - more}
    answered = [size for size, one in pings.items() if ended_well(one)]
    return {"device": device, "mtu": own, "passes": max(answered) + more if answered else 0}


def ping(address: str, size: int) -> subprocess.Popen:
    """Begin one ping that must not be fragmented."""
    return subprocess.Popen(
        ("ping", "-M", "do", "-n", "-c", "1", "-W", "1", "-s", str(size), address),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ended_well(program: subprocess.Popen) -> bool:
    """Return whether a program ended well, within a few seconds."""
    try:
        return program.wait(3) == 0
    except subprocess.TimeoutExpired:
        program.kill()
        return False


def probes_of(question: dict) -> "dict[str, Callable[[], dict]]":
    """Return every probe by its name."""
    probes: "dict[str, Callable[[], dict]]" = {
        "account": account, "libvirt": libvirt, "apparmor": apparmor, "kvm": kvm, "sshd": sshd,
        "programs": programs,
        "time service": time_service, "firewall": firewall, "root's key": roots_key,
        "own name": lambda: resolved(socket.gethostname())}
    files = key_files()
    for folder in question.get("folders", ()):
        probes[f"room {folder}"] = lambda folder=folder: room(folder)
    for peer in question.get("peers", ()):
        name, there = peer["name"], peer["replication"]
        probes[f"ssh {name}"] = lambda peer=peer: login(
            peer["admin"], peer["port"], peer.get("user", "root"), files)
        probes[f"port {name}"] = lambda there=there: connects(there, MIGRATION_PORT)
        probes[f"path {name}"] = lambda peer=peer: connects(peer["replication"], peer["port"])
        probes[f"mtu {name}"] = lambda there=there: mtu(there)
    for name in question.get("names", ()):
        probes[f"dns {name}"] = lambda name=name: resolved(name)
    return probes


def answer(question: dict) -> dict:
    """Return what each probe found, within the limit."""
    found: "dict[str, Any]" = {}
    slots = threading.BoundedSemaphore(AT_ONCE)

    def probe(name: str, look: "Callable[[], dict]") -> None:
        """Make one probe, and keep what it found."""
        with slots:
            try:
                found[name] = look()
            except (OSError, ValueError, LookupError, TypeError) as error:
                found[name] = {"unknown": f"{type(error).__name__}: {error}"[:300]}

    probes = probes_of(question)
    threads = [threading.Thread(target=probe, args=item, daemon=True)
               for item in probes.items()]
    for thread in threads:
        thread.start()
    until = time.monotonic() + LIMIT_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    late = {"unknown": f"it did not end within {LIMIT_S:g} s"}
    return {"python": list(sys.version_info[:3]), "hostname": socket.gethostname(),
            "probes": {name: found.get(name, late) for name in probes}}


def main() -> None:
    """Answer every question."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
