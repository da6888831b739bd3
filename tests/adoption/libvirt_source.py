"""The domains and pools of libvirt's own tests, from Debian's source package; none is kept here.

They are fetched by apt's own sources, into a cache, with lists of their own: nothing of the
machine's apt is changed.
"""

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hotsite/libvirt-source"
SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
DOMAINS = ("tests/qemuxml2argvdata/", "tests/qemuxmlconfdata/", "tests/genericxml2xmlindata/")
POOLS = ("tests/storagepoolxml2xmlin/",)
LIMIT_S = 180


class NotToBeHad(Exception):
    """The source package cannot be fetched here; the text says why."""


def archive() -> Path:
    """Return libvirt's source, fetched if it is not there yet.

    Errors: NotToBeHad.
    """
    found = sorted(CACHE.glob("libvirt_*.orig.tar.*z"))
    if found:
        return found[-1]
    if not SOURCES.exists():
        raise NotToBeHad(f"{SOURCES} is not there: this is no Debian 12 or newer")
    (CACHE / "lists/partial").mkdir(parents=True, exist_ok=True)
    own = CACHE / "deb-src.sources"
    own.write_text(SOURCES.read_text().replace("Types: deb\n", "Types: deb-src\n"))
    options = ("-o", f"Dir::Etc::sourcelist={own}", "-o", "Dir::Etc::sourceparts=-", "-o",
               f"Dir::State::lists={CACHE}/lists", "-o", "APT::Sandbox::User=root")
    for words in (("update",), ("source", "--download-only", "libvirt")):
        try:
            subprocess.run(("apt-get", "-q", *options, *words), cwd=CACHE, check=True,
                           capture_output=True, text=True, timeout=LIMIT_S)
        except FileNotFoundError:
            raise NotToBeHad("apt-get is not there") from None
        except subprocess.TimeoutExpired:
            raise NotToBeHad(f"`apt-get {words[0]}` did not end within {LIMIT_S} s") from None
        except subprocess.CalledProcessError as error:
            raise NotToBeHad(f"`apt-get {words[0]}`: {error.stderr.strip()[-300:]}") from None
    found = sorted(CACHE.glob("libvirt_*.orig.tar.*z"))
    if not found:
        raise NotToBeHad("apt-get has fetched no source of libvirt")
    return found[-1]


def texts(folders: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield each XML below some folders, with its name.

    Errors: NotToBeHad.
    """
    with tarfile.open(archive()) as whole:
        for member in whole:
            path = member.name.partition("/")[2]
            if member.isfile() and path.endswith(".xml") and path.startswith(folders):
                file = whole.extractfile(member)
                assert file is not None
                yield path.removeprefix("tests/"), file.read().decode("utf-8", "replace")
