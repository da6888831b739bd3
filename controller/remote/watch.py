"""Write `changed` to stdout each time libvirt or Open vSwitch on this machine reports an event.

The events carry no content: they only wake the controller, which then asks for facts. The program
ends at EOF on stdin, since nobody listens any more, and stops the programs that it started.
"""

import os
import selectors
import signal
import subprocess
import sys
import time

TABLES = (
    ("Bridge", "name,ports,rstp_enable"),
    ("Port", "name,tag,trunks,vlan_mode,interfaces,rstp_status"),
    ("Interface", "name,link_state"),
)
SOURCES = (
    ("virsh", "-q", "-c", "qemu:///system", "event", "--all", "--loop"),
    *(("ovsdb-client", "monitor", "unix:/run/openvswitch/db.sock", "Open_vSwitch", table,
       f"{columns},!initial") for table, columns in TABLES),
)
DEBOUNCE_S = 0.05       # between one `changed` and the next
RETRY_S = (1.0, 30.0)   # before a source that ended is started again: at first, at most
STEADY_S = 5.0          # a source that ran for so long had begun to work
FOLDERS_S = 0.5         # between two looks at the folders below
FOLDERS = ("/etc/libvirt/qemu", "/etc/libvirt/storage")
"""libvirt sends no event when a definition changes for the next boot; its folder shows it."""
IGNORED = (b"'rtc-change'",)


def start(argv: tuple) -> "subprocess.Popen | None":
    """Start one source; None where the program is not installed."""
    try:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, bufsize=0)
    except FileNotFoundError:
        return None


def is_news(data: bytes) -> bool:
    """Return whether a source's output is about anything that facts contain."""
    return any(line.strip() and not any(word in line for word in IGNORED)
               for line in data.splitlines())


def changes_of(folders: tuple) -> list:
    """Return when each folder last changed; None for one that is not there."""
    return [os.stat(folder).st_mtime_ns if os.path.isdir(folder) else None for folder in folders]


class Watch:
    """The sources that run, those that wait to be started again, and when to write `changed`."""

    def __init__(self) -> None:
        self.picker = selectors.DefaultSelector()
        self.picker.register(sys.stdin.buffer.raw, selectors.EVENT_READ, None)
        self.due = dict.fromkeys(SOURCES, 0.0)  # argv -> when to start it
        self.pause = {}                         # argv -> how long it waited the last time
        self.report_at = 0.0                    # first at once: the controller sees that it works
        self.not_before = 0.0                   # for the next report
        self.folders_at = 0.0
        self.seen = changes_of(FOLDERS)

    def begin_due(self, now: float) -> None:
        """Start the sources that are due."""
        for argv in [argv for argv, at in self.due.items() if at <= now]:
            del self.due[argv]
            process = start(argv)
            if process is not None:
                self.picker.register(process.stdout, selectors.EVENT_READ, (argv, process, now))

    def report(self, now: float) -> None:
        """Write `changed` if that is due."""
        if self.report_at is not None and self.report_at <= now:
            sys.stdout.write("changed\n")
            sys.stdout.flush()
            self.report_at, self.not_before = None, now + DEBOUNCE_S

    def check_folders(self, now: float) -> None:
        """Check whether a definition was written, if that is due."""
        if self.folders_at <= now:
            self.folders_at, seen = now + FOLDERS_S, changes_of(FOLDERS)
            if seen != self.seen and self.report_at is None:
                self.report_at = max(now, self.not_before)
            self.seen = seen

    def patience(self, now: float) -> float:
        """Return how long to wait for a source, in seconds."""
        times = [self.folders_at, *self.due.values()]
        times += [] if self.report_at is None else [self.report_at]
        return max(0.0, min(times) - now)

    def read_source(self, key: selectors.SelectorKey, now: float) -> None:
        """Read what a source wrote; its end is news too, since its daemon may have died."""
        argv, process, began = key.data
        data = os.read(key.fd, 1 << 16)
        if not data:
            self.picker.unregister(key.fileobj)
            process.stdout.close()
            process.wait()
            steady = now - began > STEADY_S
            self.pause[argv] = RETRY_S[0] if steady else min(
                RETRY_S[1], 2 * self.pause.get(argv, RETRY_S[0] / 2))
            self.due[argv] = now + self.pause[argv]
        if self.report_at is None and (is_news(data) if data else steady):
            self.report_at = max(now, self.not_before)

    def run(self) -> None:
        """Watch until standard input ends."""
        while True:
            now = time.monotonic()
            self.begin_due(now)
            self.check_folders(now)
            self.report(now)
            for key, _ in self.picker.select(self.patience(now)):
                if key.data is not None:
                    self.read_source(key, time.monotonic())
                elif not os.read(key.fd, 4096):
                    return

    def end(self) -> None:
        """Stop all sources."""
        for key in self.picker.get_map().values():
            if key.data is not None:
                key.data[1].send_signal(signal.SIGTERM)


def main() -> None:
    """Watch, and leave nothing behind."""
    watch = Watch()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    try:
        watch.run()
    except BrokenPipeError:
        sys.stdout = None
    finally:
        watch.end()


if __name__ == "__main__":
    main()
