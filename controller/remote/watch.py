"""Say `changed` each time libvirt or Open vSwitch on this machine says that something happened.

It ends when its standard input ends, and takes the programs it started with it: nobody listens.
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
CALM_S = 0.05           # so much silence after one `changed` before the next
AGAIN_S = (1.0, 30.0)   # before a source that ended is started again: at first, at most
STEADY_S = 5.0          # a source that lived so long had begun to work
GLANCE_S = 0.5          # between two looks at the folders below
FOLDERS = ("/etc/libvirt/qemu", "/etc/libvirt/storage")
"""libvirt says nothing when a definition is changed for the next boot; its folder shows it."""
BORING = (b"'rtc-change'",)


def start(argv: tuple) -> "subprocess.Popen | None":
    """Start one source; None where the program is not installed."""
    try:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, bufsize=0)
    except FileNotFoundError:
        return None


def stop(processes: list) -> None:
    """Stop the sources."""
    for process in processes:
        process.send_signal(signal.SIGTERM)


def is_news(data: bytes) -> bool:
    """Say whether a piece of a source's output speaks of anything that facts contain."""
    return any(line.strip() and not any(word in line for word in BORING)
               for line in data.splitlines())


def changes_of(folders: tuple) -> list:
    """Return when each folder last changed; None for one that is not there."""
    return [os.stat(folder).st_mtime_ns if os.path.isdir(folder) else None for folder in folders]


class Watch:
    """The sources that run, those that wait to run again, and what is still to be said."""

    def __init__(self) -> None:
        self.picker = selectors.DefaultSelector()
        self.picker.register(sys.stdin.buffer.raw, selectors.EVENT_READ, None)
        self.due = dict.fromkeys(SOURCES, 0.0)      # argv -> when it is to be started
        self.pause = {}                                 # argv -> how long it last waited
        self.say_at = 0.0                               # when to speak; at once: the line is up
        self.glance_at = 0.0
        self.seen = changes_of(FOLDERS)
        self.calm_until = 0.0

    def begin_due(self, now: float) -> None:
        """Start the sources whose time has come."""
        for argv in [argv for argv, at in self.due.items() if at <= now]:
            del self.due[argv]
            process = start(argv)
            if process is not None:
                self.picker.register(process.stdout, selectors.EVENT_READ, (argv, process, now))

    def speak(self, now: float) -> None:
        """Say that something changed, if it is to be said by now."""
        if self.say_at is not None and self.say_at <= now:
            sys.stdout.write("changed\n")
            sys.stdout.flush()
            self.say_at, self.calm_until = None, now + CALM_S

    def glance(self, now: float) -> None:
        """Look whether a definition was written."""
        if self.glance_at <= now:
            self.glance_at, seen = now + GLANCE_S, changes_of(FOLDERS)
            if seen != self.seen and self.say_at is None:
                self.say_at = max(now, self.calm_until)
            self.seen = seen

    def patience(self, now: float) -> float:
        """Return how long nothing but news can matter."""
        times = [self.glance_at, *self.due.values()]
        times += [] if self.say_at is None else [self.say_at]
        return max(0.0, min(times) - now)

    def hear(self, key: selectors.SelectorKey, now: float) -> None:
        """Take what a source said; one that ended is news too: its daemon may have died."""
        argv, process, began = key.data
        data = os.read(key.fd, 1 << 16)
        if not data:
            self.picker.unregister(key.fileobj)
            process.stdout.close()
            process.wait()
            steady = now - began > STEADY_S
            self.pause[argv] = AGAIN_S[0] if steady else min(
                AGAIN_S[1], 2 * self.pause.get(argv, AGAIN_S[0] / 2))
            self.due[argv] = now + self.pause[argv]
        if self.say_at is None and (is_news(data) if data else steady):
            self.say_at = max(now, self.calm_until)

    def run(self) -> None:
        """Watch until standard input ends."""
        while True:
            now = time.monotonic()
            self.begin_due(now)
            self.glance(now)
            self.speak(now)
            for key, _ in self.picker.select(self.patience(now)):
                if key.data is not None:
                    self.hear(key, time.monotonic())
                elif not os.read(key.fd, 4096):
                    return

    def end(self) -> None:
        """Stop all sources."""
        stop([key.data[1] for key in self.picker.get_map().values() if key.data is not None])


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
