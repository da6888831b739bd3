"""The sudoers file of an account that the controller logs in as: one line, for one command.

What it is worth: with it the account becomes root for anything, by that command, without a
password. A narrower file would be theatre: whoever may define a domain with any disk of the host,
or run a program of ours that does, owns the host. What one fixed command gives is order: `sudo -l`
shows one line, sudo's log shows one line, no shell, editor or other program is allowed by mistake,
and taking the file away takes all of it away.
"""

import re
from typing import Final

from controller.transport.frame import ENTRY, SHELL

PATH: Final = "/etc/sudoers.d/hotsite"
SPECIAL: Final = re.compile(r"([\\,:=])")
"""What sudoers would not take for a part of an argument (sudoers(5), Cmnd)."""
TEXT: Final = """\
# {path}: {user} may run the one command that hotsite begins everything with.
# What it then does comes over its input: {user} can become root by it, in every way, so keep
# its key as you would keep root's. Who may define VMs can become root anyway.
Defaults:{user} !requiretty, !use_pty, !log_input, !log_output
{user} ALL=(root) NOPASSWD: {shell} -c {entry}
"""


def render_sudoers(user: str) -> str:
    """Return the file for an account."""
    return TEXT.format(path=PATH, user=user, shell=SHELL, entry=SPECIAL.sub(r"\\\1", ENTRY))
