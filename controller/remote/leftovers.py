"""What a crash of ours left on this machine: only what is surely ours, and used by nobody.

The mover that conducts a VM's backup job, or its drill, holds a lock; while that is free, nobody
conducts it. Something touched a moment ago is left for the next answer: its owner may have begun
after libvirt was asked.
"""

import calendar
import contextlib
import fcntl
import glob
import html
import os
import re
import time

from probes import Probes
from programs import VIRSH, NoAnswer, output_of, run_all

RUN = "/run/hotsite"
QEMU = "/var/lib/libvirt/qemu"
IMAGES = "/var/lib/libvirt/images"  # scratch files of disks that are no files
SCRATCH = "hotsite-scratch"
STORE = "hotsite-replicas"
SOCKET = "hotsite.sock"
MOST_KEYS = 16 << 20
QUIET_S = 10.0          # longer than one answer takes
UNUSED_S = 3600.0       # an old mover not started for this long
ELSEWHERE_S = 86400.0   # a scratch file whose VM does not run here: it may run on another host
JOB_S = 1.5             # for libvirt to describe the jobs that nobody conducts
NO_JOB = "no domain backup job present"
GONE = "failed to get domain"
OURS = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-[\w.-]+\.qcow2\Z", re.ASCII)
UUIDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
MOVER = re.compile(r"mover-[0-9a-f]{16}\.pyz\Z")
KEY = re.compile(r"[^#\s].*\s(hotsite-transfer-[0-9a-f]{8,32})\s*\Z")
EXPIRY = re.compile(r'(?:^|,)expiry-time="(\d{8}(?:\d{4}(?:\d\d)?)?)(Z?)"', re.ASCII)
FORMS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


def leftovers_of(domains: list, pools: list, probes: Probes) -> list:
    """Return all leftovers; NoAnswer where they cannot be known.

    A domain that could not be read has none, nor has a folder that hangs.
    """
    try:
        jobs, unread = jobs_of(domains)
        unread |= {domain["uuid"] for domain in domains if "unknown" in domain}
        domains = [domain for domain in domains if domain["uuid"] not in unread]
        used = {os.path.realpath(path) for paths in jobs.values() for path in paths}
        files = scratch_of(domains, pools, used, probes) + programs_of()
        files = [(kind, name) for kind, name in files if not unread & set(UUIDS.findall(name))]
        busy = in_use({name for _, name in files}) if files else set()
        rows = [("job", uuid) for uuid in jobs if is_ours(jobs[uuid]) and not is_conducted(uuid)]
        rows += [(kind, name) for kind, name in files
                 if name not in busy and os.path.exists(name)]
        rows += drills_of(pools, probes)
        rows += ([] if unread else sockets_of(domains, used)) + keys_of()
    except OSError as error:
        raise NoAnswer(f"{error.filename} cannot be read: {error.strerror}") from None
    return [{"kind": kind, "name": name} for kind, name in sorted(set(rows))]


def is_conducted(uuid: str) -> bool:
    """Return whether a mover conducts a backup job of a VM."""
    return is_held(f"{RUN}/replicate-{uuid}.lock")


def is_held(path: str) -> bool:
    """Return whether anybody holds a lock; a shared one, for an instant, disturbs nobody."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(lock)


def drills_of(pools: list, probes: Probes) -> list:
    """Return the replicas in which a drill has left something that nobody conducts any more."""
    seen = probes.run({("drills", pool["path"]): lambda path=pool["path"]: drills_in(path)
                       for pool in pools if pool.get("path")})
    return sorted({("drill", os.path.dirname(folder)) for found in seen.values()
                   if not isinstance(found, NoAnswer) for folder in found
                   if not is_held(f"{RUN}/drill-{os.path.basename(os.path.dirname(folder))}.lock")})


def drills_in(pool: str) -> list:
    """Return the folders of drills in a pool."""
    return [path for path in glob.glob(f"{glob.escape(pool)}/{STORE}/*/drill")
            if UUIDS.fullmatch(os.path.basename(os.path.dirname(path))) and os.path.isdir(path)]


def jobs_of(domains: list) -> "tuple[dict, set]":
    """Return the paths used by each backup job that no mover conducts, by domain.

    And the domains whose job could not be read.
    """
    uuids = [domain["uuid"] for domain in domains
             if domain.get("job") == "Backup" and not is_conducted(domain["uuid"])]
    outputs = run_all({uuid: (*VIRSH, "backup-dumpxml", uuid) for uuid in uuids}, JOB_S)
    jobs, unread = {}, set()
    for uuid in uuids:
        if any(end in outputs[uuid].err.decode(errors="replace") for end in (NO_JOB, GONE)):
            continue    # it ended meanwhile
        try:
            job = output_of(outputs[uuid], "libvirt")
            paths = re.findall(r" (?:socket|file)=['\"]([^'\"]*)", job)
            jobs[uuid] = [html.unescape(path) for path in paths]
        except NoAnswer:
            unread.add(uuid)
    return jobs, unread


def is_ours(paths: list) -> bool:
    """Return whether a backup job is one of ours, by its socket or its scratch files."""
    return any(os.path.basename(path) == SOCKET
               or os.path.basename(os.path.dirname(path)) == SCRATCH for path in paths)


def scratch_of(domains: list, pools: list, used: set, probes: Probes) -> list:
    """Return the scratch files that no job uses and whose VM no mover copies."""
    here = {domain["uuid"] for domain in domains if domain["live_xml"] is not None}
    folders = {IMAGES, *(pool["path"] for pool in pools if pool.get("path"))}
    folders |= {os.path.dirname(path) for domain in domains for path in domain["disk_sizes"]}
    seen = probes.run({("scratch", folder): lambda folder=folder: scratch_in(folder)
                       for folder in folders})
    scratch = dict(one for one in seen.values() if not isinstance(one, NoAnswer))
    found = []
    for folder, files in scratch.items():
        for name, age_s in files:
            path, match = os.path.join(folder, name), OURS.match(name)
            if match is None or path in used or is_conducted(match[1]):
                continue
            if age_s > (QUIET_S if match[1] in here else ELSEWHERE_S):
                found.append(("scratch", path))
    return found


def sockets_of(domains: list, used: set) -> list:
    """Return the sockets of jobs that have ended."""
    live = {}
    for domain in domains:
        number = re.match(r"<domain [^>]*\bid=['\"]([0-9]+)", domain["live_xml"] or "")
        if number:
            live[number[1]] = domain["uuid"]
    found = []
    for path in glob.glob(f"{QEMU}/domain-*/{SOCKET}"):
        number = os.path.basename(os.path.dirname(path)).split("-")[1]
        if os.path.realpath(path) in used or (number in live and is_conducted(live[number])):
            continue
        if any(name == SOCKET and age_s > QUIET_S
               for name, age_s in ages_in(os.path.dirname(path))):
            found.append(("socket", path))
    return found


def scratch_in(folder: str) -> "tuple[str, list]":
    """Return the real path of a folder's scratch folder, with the files in it."""
    folder = os.path.realpath(os.path.join(folder, SCRATCH))
    return folder, ages_in(folder)


def ages_in(folder: str) -> list:
    """Return the names in a folder, each with the seconds since it was last touched."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    seen = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                found.append((entry.name, time.time() - max(seen.st_mtime, seen.st_atime)))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return found


def programs_of() -> list:
    """Return the movers that are not the newest and were not used for UNUSED_S."""
    movers = sorted((age_s, name) for name, age_s in ages_in(RUN) if MOVER.match(name))
    return [("program", f"{RUN}/{name}") for age_s, name in movers[1:] if age_s > UNUSED_S]


def in_use(paths: set) -> set:
    """Return the files that a process has open or as an argument."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = set(file.read().split(b"\0"))
            found |= {path for path in paths if os.fsencode(path) in words}
            for fd in os.listdir(f"/proc/{pid}/fd"):
                found |= paths & {os.readlink(f"/proc/{pid}/fd/{fd}")}
        except OSError:
            continue    # it ended, or is not ours to look at
    return found


def keys_of() -> list:
    """Return the one-time keys that have expired, in the files to which the mover adds them."""
    try:
        with open(f"{RUN}/authorized_keys.lock", encoding="utf-8", errors="replace") as file:
            paths = [path for path in file.read(4 * 4097).split("\n") if path]
    except OSError:
        paths = []
    lines = []
    for path in paths or [os.path.expanduser("~/.ssh/authorized_keys")]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), open(
                path, encoding="utf-8", errors="replace", newline="\n") as file:
            lines += file.read(MOST_KEYS).split("\n")
    marks = [(KEY.match(line), EXPIRY.search(line)) for line in lines]
    return [("key", mark[1]) for mark, expiry in marks
            if mark and expiry and has_expired(expiry[1], expiry[2])]


def has_expired(text: str, utc: str) -> bool:
    """Return whether an expiry time is past; OpenSSH reads it as local time unless it ends in Z."""
    try:
        parts = time.strptime(text, FORMS[len(text)])
    except ValueError:
        return False    # OpenSSH refuses the line; a person must look at it
    return (calendar.timegm(parts) if utc else time.mktime(parts)) < time.time()
