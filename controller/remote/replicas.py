"""The replicas in the pools of this machine, as their folders are now.

    POOL/hotsite-replicas/UUID/state.json      the truth, written by the mover; parsed when changed
    POOL/hotsite-replicas/UUID/state.json.N    copies of the last ones; the newest sound one counts
    POOL/hotsite-replicas/UUID/DISK/…          never opened: does each file exist, is it long enough

A replica that cannot be read has a row that says why; so has a pool whose replicas cannot be seen.
"""

import contextlib
import hashlib
import json
import os
import re
import stat
from typing import Any, Callable

from guests.drills import drills_of
from pools import FOLDERS, coarse
from probes import Probes
from programs import LIMIT_BYTES, NoAnswer

STORE = "hotsite-replicas"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
OF_A_POINT = re.compile(r"(base-(\d{6,})\.raw|rp-(\d{6,})\.qcow2)\Z")
COPY = re.compile(r"state\.json\.(\d+)\Z")
DISK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
VERSIONS = (1, 2)                   # of state.json
CLUSTER_BYTES = 65536
BOTTOM = ("base", "disk")           # kinds of files below which nothing lies
READINGS = 3                        # of a replica that changes while it is read
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError,
             RecursionError)
"""What parsing raises for content of another shape than expected."""
REMEDY = "put a good copy back, or move the folder away to have it seeded anew"


class Unreadable(Exception):
    """A replica cannot be read or understood; the text is a sentence."""


class Corrupt(Unreadable):
    """A state.json is not as it was written; a copy of it may be."""


class StateFile:
    """A parsed state.json: the row as far as it says, and the files that must be there."""

    def __init__(self, root: str, data: bytes) -> None:
        state = parse_state(root, data)
        try:
            self.read(root, state)
        except MALFORMED as error:
            raise Unreadable(f"{root}/state.json is not understood ({error!r}): {REMEDY}") from None

    def read(self, root: str, state: dict) -> None:
        """Take over the fields that matter here."""
        self.points = [point_row(point) for point in state["points"]]
        numbers = [point["sequence"] for point in self.points]
        if numbers != sorted({number for number in numbers if number}):
            raise ValueError("its restore points are not in order")
        chains, self.files, self.formers = chains_of(state), {}, {}
        for at, chain in enumerate(chains):
            for disk, files in chain.items():
                for file in files:
                    self.need(disk, file, state["floor"].get(disk) == file).append(at)
        known = [one for one in state["damage"] if one["until"] is None and one["lost"]]
        self.lost, newest = {f"{one['disk']}/{one['file']}" for one in known}, [{}, *chains][-1]
        self.scrubbed_at = time_of(state["facts"].get("scrubbed_at"))
        self.generation = count(state["generation"])
        self.row = {
            "uuid": os.path.basename(root), "machine": str(state["facts"].get("machine") or ""),
            "path": root, "drills": drills_of(state["facts"]),
            "pins": {str(who): count(at) for who, at in state["pins"].items()},
            **{at: time_of(state["facts"].get(at)) for at in ("compared_at", "seeded_at")},
            "disks": {name: count(of[-1]["size_bytes"]) for name, of in newest.items()},
            "damaged_clusters": sum(count(one["clusters"]) for one in state["damage"]
                                    if not one["lost"])}
        if state["facts"].get("epoch"):
            self.row["epoch"] = count(state["facts"]["epoch"])
        if state["facts"].get("promoted"):
            self.row["promoted"] = count(state["facts"]["promoted"]["sequence"])
        for facts, meta in ((point["facts"], point["meta"]) for point in state["points"][-1:]):
            self.row["parts"] = sorted({str(name) for name in meta} - {"domain.xml"})
            self.row["missing"] = {name[:-len("_missing")]: str(why) for name, why in facts.items()
                                   if name.endswith("_missing")}
            left = facts.get("left_out") or {}
            self.row["left_out"] = {str(disk): str(why) for disk, why in left.items()}
            self.row["last_with"] = {disk: int(point["sequence"]) for point in state["points"]
                                     for disk in left if disk in point["files"]}
        require_text([self.row, self.points, self.scrubbed_at, list(self.files)])

    def need(self, disk: str, file: dict, merging: bool) -> list:
        """Add a file with its least length; return the list of points that read it, to be extended.

        While an overlay is merged into a base, the base may have its old or its new length.
        """
        if not DISK.match(disk) or "/" in file["name"]:
            raise ValueError(f"{disk}/{file['name']} is no file of a replica")
        name, least = f"{disk}/{file['name']}", count(file["stored_bytes"])
        clusters = -(-count(file["size_bytes"]) // CLUSTER_BYTES)
        if file["kind"] == "disk":      # the manifest of a disk that lies elsewhere
            self.formers[name] = str(file["check"]).partition(":")[2]
        if file["kind"] == "base":
            least = 0 if merging else count(file["size_bytes"])
            self.files.setdefault(name[:-len("raw")] + "man", (1, 0, []))
        return self.files.setdefault(name, (least, clusters, []))[2]


def parse_state(root: str, data: bytes) -> dict:
    """Return the content of a state.json; Corrupt unless it has its check."""
    path = f"{root}/state.json"
    try:
        outer = json.loads(data)
        state = outer["state"]
        body = json.dumps(state, sort_keys=True, indent=1)
        sound = hashlib.sha256(body.encode()).hexdigest() == outer["check"]
        version, vm = state.get("version"), state.get("vm")
    except MALFORMED:
        raise Corrupt(f"{path} is not the state of a replica: {REMEDY}") from None
    if not sound:
        raise Corrupt(f"{path} does not have the check it was written with: {REMEDY}")
    if version not in VERSIONS:
        raise Unreadable(f"{path} was written by another version of hotsite: run that version")
    if vm != os.path.basename(root):
        raise Unreadable(f"{root} holds the replica of {vm}: move it to where it belongs")
    return state


def point_row(point: dict) -> dict:
    """Return one restore point."""
    stored = sum(count(file["stored_bytes"]) for file in point["files"].values() if file)
    verified, tail = point["verified_at"], point["facts"].get("diverged")
    return {"sequence": count(point["sequence"]), "checkpoint": str(point["checkpoint"] or ""),
            "started_at": float(point["started_at"] or 0),
            "committed_at": float(point["committed_at"] or 0),
            "quiesced": bool(point["quiesced"]), "stored_bytes": stored,
            "damaged_clusters": count(point["damaged"]),
            "verified_at": time_of(verified), **({
                "diverged": True, "kept_by": str(tail["by"]),
                "kept_until": time_of(tail["until"])} if tail else {})}


def count(value: Any) -> int:
    """Return a value as a number of things; ValueError for what cannot be one."""
    number = int(value)
    if not 0 <= number < 1 << 63:
        raise ValueError(f"{number} is no number of anything")
    return number


def time_of(value: Any) -> "float | None":
    """Return a value as a time in seconds, None where there is none."""
    return None if value is None else float(value)


def require_text(value: Any) -> None:
    """Raise ValueError for what JSON cannot carry: NaN, or half a character."""
    if "\\u0000" in json.dumps(value, allow_nan=False, ensure_ascii=False).encode().decode():
        raise ValueError("a name has a NUL in it")


def chains_of(state: dict) -> list:
    """Return for each point the files of each of its disks, base first."""
    chains, below = [], {disk: [file] for disk, file in state["floor"].items()}
    for point in state["points"]:
        chain = {}
        for disk, file in point["files"].items():
            under = [] if file and file["kind"] in BOTTOM else below[disk]
            chain[disk] = [*under, file] if file else under
        chains.append(chain)
        below = chain
    return chains


class Replicas:
    """Reads replicas; a parsed file is cached until the file changes."""

    def __init__(self) -> None:
        self.previous, self.cached = {}, {}     # path -> (stamp, parsed file); by answer

    def rows(self, pools: list, probes: Probes) -> list:
        """Return every replica that can be seen in the pools.

        A pool whose replicas cannot be seen says why in `replicas_unknown`.
        """
        self.previous, self.cached = self.cached, {}
        found = probes.run({
            ("replicas", pool["name"], pool["path"]): lambda pool=pool: self.store_of(pool)
            for pool in pools if "unknown" not in pool and pool["type"] in FOLDERS})
        stores = {}
        for pool in pools:
            store = found.get(("replicas", pool["name"], pool.get("path", "")))
            if "unknown" in pool and pool.get("type", FOLDERS[0]) in FOLDERS:
                pool["replicas_unknown"] = pool["unknown"]
                if not pool["active"]:
                    pool["replicas_unknown"] += ": start the pool, or undefine it"
            elif isinstance(store, NoAnswer):
                pool["replicas_unknown"] = str(store)
            elif store is not None:
                stores[store[0]] = store[1]     # two pools may be one folder
        return [row for path in sorted(stores) for row in stores[path]]

    def store_of(self, pool: dict) -> "tuple[str, list]":
        """Return the folder of a pool's replicas and the rows; NoAnswer where it cannot be seen."""
        path, store = pool["path"], os.path.join(pool["path"], STORE)
        if not pool["active"] and (pool["type"] != "dir" or not os.path.isdir(path)):
            raise NoAnswer(f"it is not active, so it is not known whether {path} holds replicas:"
                           " start it, or undefine it")
        try:
            os.lstat(store)
        except FileNotFoundError:
            return store, []
        except OSError as error:
            raise NoAnswer(f"{store} cannot be read: {error.strerror}") from None
        rows = [self.row(root) for root in roots_in(store)]
        # the others were removed meanwhile
        return os.path.realpath(store), [row for row in rows if os.path.isdir(row["path"])]

    def row(self, root: str) -> dict:
        """Return one replica, as it was at one moment."""
        row = {"uuid": os.path.basename(root), "machine": "", "path": root}
        try:
            for _ in range(READINGS):
                state = self.state(root)
                found = self.empty(root) if state is None else self.filled(root, state)
                if state is self.state(root):
                    newer_than(root, state)
                    break
        except Unreadable as error:
            return {**row, "unreadable": str(error)}
        except OSError as error:
            return {**row, "unreadable": f"{error.filename or root} cannot be read:"
                                         f" {error.strerror}"}
        return {**row, **found}

    def state(self, root: str) -> "StateFile | None":
        """Return the newest state: state.json, or a copy where that is corrupt or older."""
        failure, state = None, None
        try:
            state = self.parsed(f"{root}/state.json", lambda data: StateFile(root, data))
        except Corrupt as error:
            failure = error
        for number in copies_of(root):
            if state is not None and number <= state.generation:
                break
            with contextlib.suppress(Corrupt):
                copy = self.parsed(f"{root}/state.json.{number}",
                                   lambda data: StateFile(root, data))
                if copy is not None and (state is None or copy.generation > state.generation):
                    return copy
        if failure is not None:
            raise failure
        return state

    def parsed(self, path: str, parse: "Callable[[bytes], Any]") -> Any:
        """Return a file parsed, from the cache unless it changed; None when it is not there."""
        try:
            mark = stamp(os.stat(path))
            held = self.cached.get(path) or self.previous.get(path)
            if held is None or held[0] != mark:
                with os.fdopen(opened(path), "rb") as file:
                    mark, data = stamp(os.fstat(file.fileno())), file.read(LIMIT_BYTES)
                try:
                    held = mark, parse(data)
                except Unreadable as error:
                    held = mark, error
        except FileNotFoundError:
            return None
        self.cached[path] = held
        if isinstance(held[1], Unreadable):
            raise held[1]
        return held[1]

    def empty(self, root: str) -> dict:
        """Return a replica that has no state yet; Unreadable if it has points all the same."""
        for disk in disks_in(root):
            if any(OF_A_POINT.match(name) for name in os.listdir(os.path.join(root, disk))):
                raise Unreadable(f"{root}/state.json is missing and restore points are there:"
                                 f" {REMEDY}")
        return self.incoming(root, 0)

    def filled(self, root: str, state: StateFile) -> dict:
        """Return a replica that has a state, with its files as they are now."""
        stored, lost, spoilt = 0, set(state.lost), [0] * len(state.points)
        for name, (least, clusters, points) in state.files.items():
            seen = status_of(f"{root}/{name}")
            stored += seen.st_blocks * 512 if seen else 0
            gone = name in state.formers and not os.path.exists(state.formers[name])
            if (seen is None or seen.st_size < least or gone) and name not in lost:
                lost.add(name)
                for at in points:
                    spoilt[at] += clusters
        points = [{**point, "damaged_clusters": point["damaged_clusters"] + more}
                  for point, more in zip(state.points, spoilt)]
        return {**state.row, "points": points, "lost_files": sorted(lost),
                "scrubbed_at": self.scrubbed_at(root, points, state.scrubbed_at),
                **self.incoming(root, stored)}

    def scrubbed_at(self, root: str, points: list, noted: "float | None") -> "float | None":
        """Return when a scrub last finished.

        state.json says so, by the controller's clock. Earlier versions did not write that: their
        scrub dated the sound points, or, if there was none, only reset its bookmark.
        """
        if noted is not None:
            return noted
        dates = [point["verified_at"] for point in points if point["verified_at"] is not None]
        path = os.path.join(root, "scrub.json")
        spoilt = any(point["damaged_clusters"] for point in points)
        if spoilt and self.parsed(path, at_the_start):
            dates.append(float(int(os.stat(path).st_mtime)))
        return max(dates, default=None)

    def incoming(self, root: str, stored: int) -> dict:
        """Return what is being received, and the space that it takes together with `stored`."""
        rows = []
        for disk in disks_in(root):
            path = os.path.join(root, disk, "incoming.")
            size, part = self.parsed(path + "json", parse_plan), status_of(path + "part")
            if size and part and part.st_nlink == 1:    # with two names it is a point by now
                received = part.st_blocks * 512
                stored += received
                rows.append({"disk": disk, "size_bytes": size,
                             "arrived_bytes": min(size, coarse(received))})
        return {"incoming": rows, "stored_bytes": coarse(stored)}


def copies_of(root: str) -> list:
    """Return the generations that have a copy, the newest first."""
    found = map(COPY.match, os.listdir(root))
    return sorted((int(match[1]) for match in found if match), reverse=True)


def newer_than(root: str, state: "StateFile | None") -> None:
    """Raise Unreadable for a finished file that is newer than every point of the state."""
    end = state.points[-1]["sequence"] if state is not None and state.points else 0
    for disk in disks_in(root) if state is not None else ():
        for name in sorted(os.listdir(os.path.join(root, disk))):
            match = OF_A_POINT.match(name)
            seen = status_of(os.path.join(root, disk, name)) if match else None
            if seen and int(match[2] or match[3]) > end and seen.st_nlink == 1 and seen.st_size:
                raise Unreadable(f"{root}/{disk}/{name} is newer than state.json, which ends at"
                                 f" restore point {end}: put the newest state.json back, or move"
                                 " that file out of the replica")


def roots_in(store: str) -> list:
    """Return the folders of replicas."""
    try:
        names = sorted(name for name in os.listdir(store) if UUID.match(name))
    except OSError as error:
        raise NoAnswer(f"{store} cannot be read: {error.strerror}") from None
    roots = [os.path.join(store, name) for name in names]
    return [root for root in roots if os.path.isdir(root)]


def disks_in(root: str) -> list:
    """Return the disks that have a folder."""
    with os.scandir(root) as entries:
        return sorted(entry.name for entry in entries if DISK.match(entry.name)
                      and entry.name not in ("meta", "drill") and entry.is_dir())


def opened(path: str) -> int:
    """Open a file; Unreadable where a pipe or the like has its name."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Unreadable(f"{path} is no file: {REMEDY}")
    return handle


def stamp(seen: os.stat_result) -> tuple:
    """Return a value that changes when a file is written or replaced."""
    return seen.st_ino, seen.st_mtime_ns, seen.st_size


def status_of(path: str) -> "os.stat_result | None":
    """Return the status of a file; None when it is not there."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def parse_plan(data: bytes) -> int:
    """Return the size of the disk being received; 0 when that is not understood."""
    try:
        return int(json.loads(data)["plan"]["size_bytes"])
    except MALFORMED:
        return 0


def at_the_start(data: bytes) -> bool:
    """Return whether a scrub's bookmark is at the start: the last scrub has finished."""
    try:
        return not any(json.loads(data).values())
    except MALFORMED:
        return False
