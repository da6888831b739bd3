"""Host keys that a person has to confirm: shown with their fingerprints, never believed by `--yes`.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from controller.adoption.host_keys import Belief, HostKey
from controller.cli.shared import complain
from controller.cli.view.terminal import fit
from controller.errors import SpecError
from controller.reconcile.host_keys import KeyFinding
from controller.transport.host_keys import remember

if TYPE_CHECKING:
    from controller.reconcile.importing import Target

REFUSED = 3
UNKNOWN = 5


class Settled(NamedTuple):
    """What became of the keys: an exit status if it ends here, and why hosts are not asked."""

    status: int | None
    silent: dict[str, str]
    """By host, as it was named."""


def fingerprints_of(words: list[str], targets: "list[Target]") -> dict[str, set[str]]:
    """Return the fingerprints that are believed by address; an empty one stands for every host.

    Errors: SpecError for a word that is none.
    """
    found: dict[str, set[str]] = {}
    for word in words:
        host, _, print_ = word.rpartition("=SHA256:")
        digest = print_.rstrip("=") if host else word.removeprefix("SHA256:").rstrip("=")
        if (not host and not word.startswith("SHA256:")) or len(digest) != 43 or (
                host and host not in {target.asked for target in targets}):
            raise SpecError((f"--fingerprint {word!r} is not understood: write HOST=SHA256:… as"
                             " `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints it on the"
                             " host's console",))
        found.setdefault(host, set()).add(f"SHA256:{digest}")
    return found


def settle(findings: Sequence[KeyFinding], file: Path) -> Settled:
    """Have a person confirm what nothing else does, and write down what is believed.

    Errors: Refused when the file cannot be written.
    """
    silent = {one.endpoint.name: one.verdict.sentence for one in findings
              if one.shown is None and one.verdict.belief is Belief.REFUSED}
    refused = [one for one in findings
               if one.shown is not None and one.verdict.belief is Belief.REFUSED]
    for one in refused:
        complain(one.verdict.sentence)
    if refused:
        return Settled(REFUSED, silent)
    asked = [one for one in findings if one.verdict.belief is Belief.ASK]
    if asked and not confirmed(asked):
        return Settled(REFUSED, silent)
    new: list[tuple[str, int, HostKey]] = [
        (one.endpoint.address, one.endpoint.port, one.shown) for one in findings
        if one.shown is not None and not one.written]
    if new:
        remember(file, new)
        for address, _, key in new:
            complain(f"{address}: {key.kind} {key.fingerprint} is written to {file}")
    if len(silent) == len(findings):
        for sentence in silent.values():
            complain(sentence)
        return Settled(UNKNOWN, silent)
    return Settled(None, silent)


def confirmed(findings: Sequence[KeyFinding]) -> bool:
    """Show the keys that nothing confirms, and return whether a person does."""
    complain("These hosts were never seen from here. Compare each fingerprint with what"
             " `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on the host's own"
             " console:")
    for one in findings:
        assert one.shown is not None, "a key that nobody saw is never asked about"
        complain(f"  {one.endpoint.name}  {one.shown.kind}  {one.shown.fingerprint}"
                 f"  ({one.verdict.sentence})")
    if not os.isatty(0):
        words = " ".join(f"--fingerprint {one.endpoint.name}={one.shown.fingerprint}"
                         for one in findings if one.shown is not None)
        complain(fit(f"Nobody can answer here, and --yes confirms no key. If they are right, add:"
                     f" {words}"))
        return False
    answer: str = typer.prompt("Are they all right? Only yes is a yes", default="no",
                               show_default=False, err=True)
    if answer.strip().lower() == "yes":
        return True
    complain("Nothing was contacted further, and nothing was written.")
    return False
