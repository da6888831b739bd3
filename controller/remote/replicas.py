"""The replicas in the pools of this machine, as their folders are now.

    POOL/hotsite-replicas/UUID/state.json      the truth, written by the mover, read when it changed
    POOL/hotsite-replicas/UUID/state.json.N    copies of the last, for where it is not the newest
    POOL/hotsite-replicas/UUID/DISK/…          only looked at: are they there, and long enough

A replica that cannot be read is told with a sentence; so is a pool that may hold replicas and
cannot be looked into.
"""

import contextlib
import hashlib
import json
import os
import re
import stat
from typing import Any, Callable

from looks import Looks
from pools import FOLDERS, coarse
from programs import LIMIT_BYTES, Silent

STORE = "hotsite-replicas"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
OF_A_POINT = re.compile(r"(base-(\d{6,})\.raw|rp-(\d{6,})\.qcow2)\Z")
COPY = re.compile(r"state\.json\.(\d+)\Z")
DISK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
VERSIONS = (1, 2)                   # of state.json
CLUSTER_BYTES = 65536
READINGS = 3                        # of a replica that changes meanwhile
ODD = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError)
"""What something else than was expected ends in, wherever it is read."""
ANEW = "put a good copy back, or move the folder away to have it seeded anew"


class Unreadable(Exception):
    """What a replica says cannot be understood; the text is a sentence."""


class Spoilt(Unreadable):
    """It is not as it was written; a copy of it may be."""


class Told:
    """What a state.json says: the row as far as it goes, and the files that must be there."""

    def __init__(self, root: str, data: bytes) -> None:
        state = parse_state(root, data)
        try:
            self.read(root, state)
        except ODD as error:
            raise Unreadable(f"{root}/state.json is not understood ({error!r}): {ANEW}") from None

    def read(self, root: str, state: dict) -> None:
        """Take over what matters here."""
        self.points = [point_row(point) for point in state["points"]]
        numbers = [point["sequence"] for point in self.points]
        if numbers != sorted({number for number in numbers if number}):
            raise ValueError("its restore points are not in order")
        chains, self.files = chains_of(state), {}
        for at, chain in enumerate(chains):
            for disk, files in chain.items():
                for file in files:
                    self.need(disk, file, state["floor"].get(disk) == file).append(at)
        known = [one for one in state["damage"] if one["until"] is None and one["lost"]]
        self.lost = {f"{one['disk']}/{one['file']}" for one in known}
        newest = chains[-1] if chains else {}
        pins = {str(who): count(at) for who, at in state["pins"].items()}
        self.scrubbed_at = moment(state["facts"].get("scrubbed_at"))
        self.generation = count(state["generation"])
        self.row = {
            "uuid": os.path.basename(root), "machine": str(state["facts"].get("machine") or ""),
            "path": root, "pins": pins, "compared_at": moment(state["facts"].get("compared_at")),
            "seeded_at": moment(state["facts"].get("seeded_at")),
            "disks": {disk: count(files[-1]["size_bytes"]) for disk, files in newest.items()},
            "damaged_clusters": sum(count(one["clusters"]) for one in state["damage"]
                                    if not one["lost"])}
        left = state["points"][-1]["facts"].get("left_out") if state["points"] else None
        if left:
            self.row["left_out"] = {str(disk): str(why) for disk, why in left.items()}
            self.row["last_with"] = {
                disk: int(point["sequence"]) for point in state["points"]
                for disk in left if disk in point["files"]}
        require_text([self.row, self.points, self.scrubbed_at, list(self.files)])

    def need(self, disk: str, file: dict, merging: bool) -> list:
        """Note a file with its least length; return the points that read it, to be added to.

        A base that an overlay is merged into may already be as long as the merged disk is.
        """
        if not DISK.match(disk) or "/" in file["name"]:
            raise ValueError(f"{disk}/{file['name']} is no file of a replica")
        name, least = f"{disk}/{file['name']}", count(file["stored_bytes"])
        clusters = -(-count(file["size_bytes"]) // CLUSTER_BYTES)
        if file["kind"] == "base":
            least = 0 if merging else count(file["size_bytes"])
            self.files.setdefault(name[:-len("raw")] + "man", (1, 0, []))
        return self.files.setdefault(name, (least, clusters, []))[2]


def parse_state(root: str, data: bytes) -> dict:
    """Return what a state.json holds, as it was written to the last bit."""
    path = f"{root}/state.json"
    try:
        outer = json.loads(data)
        state = outer["state"]
        body = json.dumps(state, sort_keys=True, indent=1)
        sound = hashlib.sha256(body.encode()).hexdigest() == outer["check"]
        version, vm = state.get("version"), state.get("vm")
    except ODD:
        raise Spoilt(f"{path} is not the state of a replica: {ANEW}") from None
    if not sound:
        raise Spoilt(f"{path} does not have the check it was written with: {ANEW}")
    if version not in VERSIONS:
        raise Unreadable(f"{path} was written by another version of hotsite: run that version")
    if vm != os.path.basename(root):
        raise Unreadable(f"{root} holds the replica of {vm}: move it to where it"
                         " belongs")
    return state


def point_row(point: dict) -> dict:
    """Return one restore point."""
    stored = sum(count(file["stored_bytes"]) for file in point["files"].values() if file)
    verified = point["verified_at"]
    return {"sequence": count(point["sequence"]), "checkpoint": str(point["checkpoint"] or ""),
            "started_at": float(point["started_at"] or 0),
            "committed_at": float(point["committed_at"] or 0),
            "quiesced": bool(point["quiesced"]), "stored_bytes": stored,
            "damaged_clusters": count(point["damaged"]),
            "verified_at": moment(verified)}


def count(told: Any) -> int:
    """Return a number of something; ValueError for what none can be."""
    number = int(told)
    if not 0 <= number < 1 << 63:
        raise ValueError(f"{number} is no number of anything")
    return number


def moment(told: Any) -> "float | None":
    """Return a time of somebody's clock, None where there is none."""
    return None if told is None else float(told)


def require_text(told: Any) -> None:
    """Raise ValueError for what no JSON can carry: no number, or half a character."""
    if "\\u0000" in json.dumps(told, allow_nan=False, ensure_ascii=False).encode().decode():
        raise ValueError("a name has a NUL in it")


def chains_of(state: dict) -> list:
    """Return for each point the files of each of its disks, base first."""
    chains, below = [], {disk: [file] for disk, file in state["floor"].items()}
    for point in state["points"]:
        chain = {}
        for disk, file in point["files"].items():
            under = [] if file and file["kind"] == "base" else below[disk]
            chain[disk] = [*under, file] if file else under
        chains.append(chain)
        below = chain
    return chains


class Replicas:
    """Looks at replicas; what it makes of a file is kept until the file is another one."""

    def __init__(self) -> None:
        self.before, self.kept = {}, {}  # path -> (stamp, what was made of the file)

    def rows(self, pools: list, looks: Looks) -> list:
        """Return every replica that can be seen in the pools.

        A pool whose replicas cannot be seen says why in `replicas_unknown`.
        """
        self.before, self.kept = self.kept, {}
        found = looks.at({("replicas", pool["name"], pool["path"]): lambda pool=pool: self.shelf(
            pool) for pool in pools if "unknown" not in pool and pool["type"] in FOLDERS})
        stores = {}
        for pool in pools:
            shelf = found.get(("replicas", pool["name"], pool.get("path", "")))
            if "unknown" in pool and pool.get("type", FOLDERS[0]) in FOLDERS:
                pool["replicas_unknown"] = pool["unknown"]
                if not pool["active"]:
                    pool["replicas_unknown"] += ": start the pool, or undefine it"
            elif isinstance(shelf, Silent):
                pool["replicas_unknown"] = str(shelf)
            elif shelf is not None:
                stores[shelf[0]] = shelf[1]     # two pools may be one folder
        return [row for store in sorted(stores) for row in stores[store]]

    def shelf(self, pool: dict) -> "tuple[str, list]":
        """Return the folder of a pool's replicas and what is in it; Silent where nobody sees."""
        path, store = pool["path"], os.path.join(pool["path"], STORE)
        if not pool["active"] and (pool["type"] != "dir" or not os.path.isdir(path)):
            raise Silent(f"it is not active, so nobody sees whether there are replicas in {path}:"
                         " start it, or undefine it")
        try:
            os.lstat(store)
        except FileNotFoundError:
            return store, []
        except OSError as error:
            raise Silent(f"{store} cannot be read: {error.strerror}") from None
        rows = [self.row(root) for root in roots_in(store)]
        # the others went meanwhile
        return os.path.realpath(store), [row for row in rows if os.path.isdir(row["path"])]

    def row(self, root: str) -> dict:
        """Return one replica, as it was at one moment."""
        row = {"uuid": os.path.basename(root), "machine": "", "path": root}
        try:
            for _ in range(READINGS):
                told = self.state(root)
                found = self.empty(root) if told is None else self.filled(root, told)
                if told is self.state(root):
                    newer_than(root, told)
                    break
        except Unreadable as trouble:
            return {**row, "unreadable": str(trouble)}
        except OSError as error:
            return {**row, "unreadable": f"{error.filename or root} cannot be read:"
                                         f" {error.strerror}"}
        return {**row, **found}

    def state(self, root: str) -> "Told | None":
        """Return what a replica says of itself, by a copy where state.json is damaged or older."""
        trouble, told = None, None
        try:
            told = self.reading(f"{root}/state.json", lambda data: Told(root, data))
        except Spoilt as error:
            trouble = error
        for number in copies_of(root):
            if told is not None and number <= told.generation:
                break
            with contextlib.suppress(Spoilt):
                kept = self.reading(f"{root}/state.json.{number}", lambda data: Told(root, data))
                if kept is not None and (told is None or kept.generation > told.generation):
                    return kept
        if trouble is not None:
            raise trouble
        return told

    def reading(self, path: str, understand: "Callable[[bytes], Any]") -> Any:
        """Return what is made of a file, anew when it changed; None when it is not there."""
        try:
            mark = stamp(os.stat(path))
            held = self.kept.get(path) or self.before.get(path)
            if held is None or held[0] != mark:
                with os.fdopen(opened(path), "rb") as file:
                    mark, data = stamp(os.fstat(file.fileno())), file.read(LIMIT_BYTES)
                try:
                    held = mark, understand(data)
                except Unreadable as trouble:
                    held = mark, trouble
        except FileNotFoundError:
            return None
        self.kept[path] = held
        if isinstance(held[1], Unreadable):
            raise held[1]
        return held[1]

    def empty(self, root: str) -> dict:
        """Return a replica that is being made; points without a state are none of these."""
        for disk in disks_in(root):
            if any(OF_A_POINT.match(name) for name in os.listdir(os.path.join(root, disk))):
                raise Unreadable(f"{root}/state.json is missing and restore points are there:"
                                 f" {ANEW}")
        return self.arriving(root, 0)

    def filled(self, root: str, told: Told) -> dict:
        """Return a replica whose state is known, with its files as they are."""
        stored, lost, spoilt = 0, set(told.lost), [0] * len(told.points)
        for name, (least, clusters, points) in told.files.items():
            seen = look_at(f"{root}/{name}")
            stored += seen.st_blocks * 512 if seen else 0
            if (seen is None or seen.st_size < least) and name not in lost:
                lost.add(name)
                for at in points:
                    spoilt[at] += clusters
        points = [{**point, "damaged_clusters": point["damaged_clusters"] + more}
                  for point, more in zip(told.points, spoilt)]
        return {**told.row, "points": points, "lost_files": sorted(lost),
                "scrubbed_at": self.scrubbed_at(root, points, told.scrubbed_at),
                **self.arriving(root, stored)}

    def scrubbed_at(self, root: str, points: list, noted: "float | None") -> "float | None":
        """Return when a scrub last came to its end.

        It is noted, by the controller's clock. Before it was, it dated the sound points, or found
        none and only put its bookmark back to the start, at a time by this machine's clock.
        """
        if noted is not None:
            return noted
        dates = [point["verified_at"] for point in points if point["verified_at"] is not None]
        path = os.path.join(root, "scrub.json")
        spoilt = any(point["damaged_clusters"] for point in points)
        if spoilt and self.reading(path, at_the_start):
            dates.append(float(int(os.stat(path).st_mtime)))
        return max(dates, default=None)

    def arriving(self, root: str, stored: int) -> dict:
        """Return what is on its way, and the room that it takes with what is `stored`."""
        rows = []
        for disk in disks_in(root):
            path = os.path.join(root, disk, "incoming.")
            size, part = self.reading(path + "json", parse_plan), look_at(path + "part")
            if size and part and part.st_nlink == 1:    # with two names it is a point by now
                arrived = part.st_blocks * 512
                stored += arrived
                rows.append({"disk": disk, "size_bytes": size,
                             "arrived_bytes": min(size, coarse(arrived))})
        return {"incoming": rows, "stored_bytes": coarse(stored)}


def copies_of(root: str) -> list:
    """Return the generations of which there are copies, the newest first."""
    found = map(COPY.match, os.listdir(root))
    return sorted((int(match[1]) for match in found if match), reverse=True)


def newer_than(root: str, told: "Told | None") -> None:
    """Raise Unreadable for a finished file that is newer than all that the state speaks of."""
    end = told.points[-1]["sequence"] if told is not None and told.points else 0
    for disk in disks_in(root) if told is not None else ():
        for name in sorted(os.listdir(os.path.join(root, disk))):
            match = OF_A_POINT.match(name)
            seen = look_at(os.path.join(root, disk, name)) if match else None
            if seen and int(match[2] or match[3]) > end and seen.st_nlink == 1 and seen.st_size:
                raise Unreadable(f"{root}/{disk}/{name} is newer than state.json, which ends at"
                                 f" restore point {end}: put the newest state.json back, or move"
                                 " that file out of the replica")


def roots_in(store: str) -> list:
    """Return the folders of replicas."""
    try:
        names = sorted(name for name in os.listdir(store) if UUID.match(name))
    except OSError as error:
        raise Silent(f"{store} cannot be read: {error.strerror}") from None
    roots = [os.path.join(store, name) for name in names]
    return [root for root in roots if os.path.isdir(root)]


def disks_in(root: str) -> list:
    """Return the disks that have a folder."""
    with os.scandir(root) as entries:
        return sorted(entry.name for entry in entries if DISK.match(entry.name)
                      and entry.name not in ("meta", "drill") and entry.is_dir())


def opened(path: str) -> int:
    """Return a file's descriptor; Unreadable where a pipe or the like has its name."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Unreadable(f"{path} is no file: {ANEW}")
    return handle


def stamp(seen: os.stat_result) -> tuple:
    """Return what changes when a file is written or replaced."""
    return seen.st_ino, seen.st_mtime_ns, seen.st_size


def look_at(path: str) -> "os.stat_result | None":
    """Return what is known of a file without opening it; None when it is not there."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def parse_plan(data: bytes) -> int:
    """Return the size of the disk that is on its way; zero when that is not understood."""
    try:
        return int(json.loads(data)["plan"]["size_bytes"])
    except ODD:
        return 0


def at_the_start(data: bytes) -> bool:
    """Return whether a scrub's bookmark says that the last one came to its end."""
    try:
        return not any(json.loads(data).values())
    except ODD:
        return False
