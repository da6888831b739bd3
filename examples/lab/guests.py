"""Build what guests run: Debian's cloud kernel with an initramfs of busybox and one script, and,
for those that have only to run and to own a disk, a system of three kilobytes.
"""

import gzip
import lzma
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from layout import CACHE, STATE
from shell import LabError, run

GUEST = STATE / "guest"
BUSYBOX = Path("/bin/busybox")
INIT = Path(__file__).with_name("guest_init.sh")
BARE = Path(__file__).with_name("bare_guest.s")
MODULES = (  # in the order of loading: virtio_ring comes before virtio
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "drivers/block/virtio_blk",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "drivers/char/virtio_console",
    "drivers/virtio/virtio_balloon",
    "drivers/input/evdev",
    "drivers/acpi/button",
)
# frames cross user-space switches: the guest computes its own checksums
OPTIONS = {"drivers/net/virtio_net": "csum=0 gso=0"}
SIGNED = b"~Module signature appended~\n"
DIRECTORY, FILE, LINK, DEVICE = 0o40755, 0o100755, 0o120777, 0o20600


class Entry(NamedTuple):
    """One entry of an initramfs."""

    name: str
    mode: int
    content: bytes = b""
    major: int = 0
    minor: int = 0


def render_archive(entries: list[Entry]) -> bytes:
    """Return a cpio archive in the form that the kernel unpacks (newc)."""
    archive = bytearray()
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.name.encode() + b"\0"
        fields = (number, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0,
                  entry.major, entry.minor, len(name), 0)  # fmt: skip
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        archive += b"\0" * (-len(archive) % 4) + entry.content
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)


def kernel_folder() -> Path:
    """Return the folder of an unpacked kernel package."""
    found = sorted(CACHE.glob("kernel/lib/modules/*/kernel"))
    if not found:
        raise LabError(f"no kernel for the guests in {CACHE}; run examples/lab/install")
    return found[-1]


def load_module(base: Path) -> bytes:
    """Return a kernel module, unpacked and without its signature, which takes long to check."""
    plain = base.with_name(base.name + ".ko")
    if plain.exists():
        return unsigned(plain.read_bytes())
    return unsigned(lzma.decompress(base.with_name(base.name + ".ko.xz").read_bytes()))


def unsigned(module: bytes) -> bytes:
    """Return a kernel module without the signature appended to it, if there is one."""
    if not module.endswith(SIGNED):
        return module
    described = len(module) - len(SIGNED)
    length = int.from_bytes(module[described - 4 : described], "big")
    return module[: described - 12 - length]


def entries(modules: Path) -> Iterator[Entry]:
    """Yield all that is in a guest."""
    for folder in ("bin", "dev", "proc", "sys", "lib"):
        yield Entry(folder, DIRECTORY)
    yield Entry("dev/console", DEVICE, major=5, minor=1)
    yield Entry("bin/busybox", FILE, BUSYBOX.read_bytes())
    applets = subprocess.run([str(BUSYBOX), "--list"], capture_output=True, text=True, check=True)
    for applet in applets.stdout.split():
        if applet != "busybox":
            yield Entry(f"bin/{applet}", LINK, b"busybox")
    order = []
    for module in MODULES:
        name = module.rpartition("/")[2] + ".ko"
        order.append(f"{name} {OPTIONS.get(module, '')}".strip())
        yield Entry(f"lib/{name}", FILE, load_module(modules / module))
    yield Entry("lib/modules.order", FILE, ("\n".join(order) + "\n").encode())
    yield Entry("init", FILE, INIT.read_bytes())


def assembled(source: Path) -> bytes:
    """Return the bytes of a program for a processor that has only just been switched on."""
    with TemporaryDirectory() as folder:
        code, image = f"{folder}/code.o", Path(folder, "image")
        run("as", "--32", "-o", code, str(source))
        run("ld", "-m", "elf_i386", "--oformat", "binary", "-Ttext", "0", "-o", str(image), code)
        return image.read_bytes()


def build() -> None:
    """Write all that guests run, unless what is there has not changed."""
    modules = kernel_folder()
    kernel = next((CACHE / "kernel/boot").glob("vmlinuz-*")).read_bytes()
    GUEST.mkdir(parents=True, exist_ok=True)
    initrd = gzip.compress(render_archive(list(entries(modules))), 6, mtime=0)
    for path, content in ((GUEST / "vmlinuz", kernel), (GUEST / "initrd.gz", initrd),
                          (GUEST / "bare", assembled(BARE))):
        if not path.exists() or path.read_bytes() != content:
            part = path.with_suffix(".part")
            part.write_bytes(content)
            part.replace(path)
