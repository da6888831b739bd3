"""What the configuration of this machine's network says, read and never written.

Which tool set a device up is seen in what that tool keeps in /run. Which VLANs a port has after a
reboot is in the tool's files, of which only the words about VLANs are understood. A tool that is
not known, a file that cannot be read: None, which stands for unknown and never for nothing.

    ifupdown, ifupdown2   /etc/network/interfaces and what it sources
    systemd-networkd      *.network in /etc, /run and /usr/lib, with their drop-ins
    netplan               has no words for VLANs of ports; it writes files for networkd
    NetworkManager        keyfiles in /etc and /run
"""

import configparser
import glob
import os
import re

ROOT = os.environ.get("HOTSITE_ROOT", "")
LIMIT_BYTES = 1 << 20
FILES = 400
IFUPDOWN, IFUPDOWN2 = "ifupdown", "ifupdown2"
NETPLAN, NETWORKD, MANAGER = "netplan", "systemd-networkd", "NetworkManager"
UNITS = ("/run/systemd/network", "/etc/systemd/network", "/usr/lib/systemd/network")
KEYFILES = ("/etc/NetworkManager/system-connections", "/run/NetworkManager/system-connections")
BY_HAND = re.compile(r"bridge\s+vlan\s+add\s+dev\s+(\S+)\s+vid\s+([0-9-]+)")
STANZAS = ("iface", "auto", "allow-hotplug", "mapping", "rename", "no-auto-down")
STATES = ("/run/network/ifstate", "/run/network/ifstatenew")


def tools_of() -> list:
    """Return the tools that set something up on this machine since it booted."""
    found = []
    if any(os.path.exists(ROOT + path) for path in STATES):
        found.append(ifupdown())
    if os.path.isdir(ROOT + "/run/systemd/netif/links"):
        found.append(NETPLAN if glob.glob(ROOT + "/etc/netplan/*.yaml") else NETWORKD)
    if os.path.isdir(ROOT + "/run/NetworkManager/devices"):
        found.append(MANAGER)
    return found


def ifupdown() -> str:
    """Return which of the two programs of that name is installed."""
    two = any(os.path.exists(ROOT + path) for path in ("/usr/sbin/ifreload", "/sbin/ifreload"))
    return IFUPDOWN2 if two else IFUPDOWN


def kept_of(devices: list) -> dict:
    """Return, by device that a tool set up, the tool and the VLANs that its files give it."""
    found, stanzas = {}, interfaces()
    for device in devices:
        tool = tool_of(device, stanzas)
        if tool is None:
            continue
        if tool in (IFUPDOWN, IFUPDOWN2):
            vlans = by_ifupdown(device, stanzas) if stanzas else None
        else:
            vlans = by_manager(device) if tool == MANAGER else by_networkd(device)
        found[device] = {"tool": tool, "vlans": vlans}
    return found


def tool_of(device: str, stanzas: dict) -> "str | None":
    """Return which tool set a device up, None where none is known to have."""
    index = read(f"/sys/class/net/{device}/ifindex").strip()
    state = read(f"/run/systemd/netif/links/{index}") if index else ""
    if re.search(r"^NETWORK_FILE=.", state, re.MULTILINE):
        return NETPLAN if "netplan" in state else NETWORKD
    if index and re.search(r"^managed=true|^connection-uuid=",
                           read(f"/run/NetworkManager/devices/{index}"), re.MULTILINE):
        return MANAGER
    for path in STATES:
        if any(line.split("=")[0].strip() == device for line in read(path).split("\n")):
            return ifupdown()
    return ifupdown() if device in stanzas else None


def read(path: str) -> str:
    """Return a file's text, or nothing."""
    try:
        with open(ROOT + path, encoding="utf-8", errors="replace") as file:
            return file.read(LIMIT_BYTES)
    except OSError:
        return ""


def interfaces() -> dict:
    """Return the options of each stanza of /etc/network/interfaces and of what it sources."""
    found, device = {}, None
    waiting, seen = ["/etc/network/interfaces"], set()
    while waiting and len(seen) < FILES:
        path = waiting.pop(0)
        if path in seen:
            continue
        seen.add(path)
        for line in read(path).replace("\\\n", " ").split("\n"):
            words = line.split("#")[0].split() if not line.lstrip().startswith("#") else []
            if not words:
                continue
            if words[0] in ("source", "source-directory"):
                waiting += sourced(words, os.path.dirname(path))
            elif words[0] in STANZAS:
                device = words[1] if words[0] == "iface" and len(words) > 1 else None
                if device is not None:
                    found.setdefault(device, {})
            elif device is not None:
                found[device][words[0].replace("-", "_")] = words[1:]
                added = BY_HAND.search(line) if words[0] in ("up", "post-up") else None
                if added:
                    found.setdefault(added[1], {}).setdefault("added", []).append(added[2])
    return found


def sourced(words: list, folder: str) -> list:
    """Return the files that a line of /etc/network/interfaces names."""
    found = []
    for word in words[1:]:
        pattern = word if word.startswith("/") else f"{folder}/{word}"
        pattern += "/*" if words[0] == "source-directory" else ""
        found += sorted(path[len(ROOT):] for path in glob.glob(ROOT + pattern))
    return found


def by_ifupdown(device: str, stanzas: dict) -> "list | None":
    """Return the VLANs of a port: its own words, or those of the bridge that it is a port of."""
    own = stanzas.get(device, {})
    bridge = next((options for options in stanzas.values()
                   if device in options.get("bridge_ports", ())), {})
    words = own.get("bridge_vids") or bridge.get("bridge_vids") or []
    access = own.get("bridge_access")
    return numbers([*(access or words), *own.get("added", ())])


def by_networkd(device: str) -> "list | None":
    """Return the VLANs of a port by the first .network file that matches it, and its drop-ins."""
    files = {}
    for folder in UNITS:
        for path in glob.glob(f"{ROOT}{folder}/*.network"):
            files.setdefault(os.path.basename(path), path[len(ROOT):])
    for name in sorted(files)[:FILES]:
        text = read(files[name])
        if not matches(device, text):
            continue
        for folder in UNITS:
            for path in sorted(glob.glob(f"{ROOT}{folder}/{glob.escape(name)}.d/*.conf")):
                text += "\n" + read(path[len(ROOT):])
        return numbers(values(text, "BridgeVLAN", "VLAN"))
    return None


def matches(device: str, text: str) -> bool:
    """Return whether a .network file is for a device, as far as it goes by the name."""
    patterns = " ".join(values(text, "Match", "Name")).split()
    return any(re.fullmatch(re.escape(one).replace(r"\*", ".*"), device) for one in patterns)


def values(text: str, section: str, key: str) -> list:
    """Return what a key has in all sections of one name of a unit file."""
    found, inside = [], False
    for line in map(str.strip, text.split("\n")):
        if line.startswith("["):
            inside = line == f"[{section}]"
        elif inside and line.partition("=")[0].strip() == key:
            found.append(line.partition("=")[2].strip())
    return found


def by_manager(device: str) -> "list | None":
    """Return the VLANs of a port by the keyfile for its device."""
    for folder in KEYFILES:
        for path in sorted(glob.glob(f"{ROOT}{folder}/*"))[:FILES]:
            parser = configparser.RawConfigParser(strict=False, delimiters="=")
            try:
                parser.read_string(read(path[len(ROOT):]))
            except configparser.Error:
                continue
            if parser.get("connection", "interface-name", fallback="") == device:
                return numbers(re.split(r"[,;]", parser.get("bridge-port", "vlans", fallback="")))
    return None


def numbers(words: list) -> "list | None":
    """Return VLANs from numbers and ranges, sorted; None for words that are neither."""
    found = set()
    for word in words:
        first, _, last = (word.split() or [""])[0].partition("-")
        if not first:
            continue
        if not first.isdigit() or not (last or first).isdigit():
            return None
        found |= set(range(int(first), min(int(last or first), 4094) + 1))
    return sorted(found)
