"""The systemd unit of the loop: told when it is ready, fed by finished decisions, held tight."""

from typing import Final

MARK: Final = "# Written by `hotsite systemd`; your changes go into `systemctl edit hotsite`."
UNIT: Final = """\
{mark}
[Unit]
Description=hotsite keeps the KVM estate able to survive the loss of a site
Documentation=man:hotsite(1)
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} run {options}--state /var/lib/hotsite {source}
StateDirectory=hotsite
StateDirectoryMode=0700
# it decides at least once a minute; who has not for three is stuck, and is started again
WatchdogSec=180
Restart=on-failure
RestartSec=5
# 4: the specs are wrong; starting again would not mend them
RestartPreventExitStatus=4
# git may be out of reach at the start
TimeoutStartSec=infinity
# actions that run may end
TimeoutStopSec=60
KillMode=mixed

UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""


def render_unit(program: str, source: str, *, standby: bool, place: str | None) -> str:
    """Return the unit's text."""
    options = ("--standby " if standby else "") + (f"--place {place} " if place else "")
    return UNIT.format(mark=MARK, program=quoted(program), source=quoted(source), options=options)


def quoted(word: str) -> str:
    """Return a word as systemd reads it in a command line."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if escaped and not any(one in " '\";" for one in escaped) else f'"{escaped}"'
