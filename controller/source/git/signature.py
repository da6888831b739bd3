"""Signatures of commits and tags, judged by the git program: only its exit status 0 counts.

git is told which programs may verify. Those are two scripts beside the mirror, written anew each
time, so that nothing that the user has configured counts:

    ssh   `ssh-keygen` without the time that git hands it. git takes that from the commit, which its
          author chose: a key that has expired could go on signing by dating commits back. A new
          head is judged at the clock; one that was in force before is not judged again.
    gpg   `gpg` with the declared keys alone, in an empty home.

A kind that is not allowed gets a program that always fails. In mode `tag` a head counts only where
a signed tag stands on it that calls itself by the name under which it is published: a tag that was
moved, or published under another name, proves nothing.
"""

import shlex
import shutil
from pathlib import Path
from typing import Final

from controller.errors import RevisionRefused
from controller.source.git.program import GitFailed, GitProgram, printable
from controller.source.git.trust import Verify

NOBODY: Final = "/bin/false"
TAGS_MAX: Final = 10
"""So many tags on one head are looked at, by name."""
PUBLISHED: Final = "refs/hotsite/tags/"
AT_THE_CLOCK: Final = """\
#!/bin/sh
for word do
    shift
    case "$word" in -Overify-time=*) ;; *) set -- "$@" "$word" ;; esac
done
exec {program} "$@"
"""
WITH_THESE_KEYS: Final = """\
#!/bin/sh
exec {program} --homedir {home} --no-options --no-autostart --no-default-keyring --keyring {keys} \
--trust-model always --no-auto-key-locate --no-auto-key-retrieve "$@"
"""


async def signer_of(git: GitProgram, verify: Verify, commit: str, url: str,
                    tags: tuple[str, ...]) -> str:
    """Return who signed a head, as the file of keys calls him.

    Shapes: `tags` are the names of the tags that are published on that commit.
    Errors: RevisionRefused if nobody did who may.
    """
    settings = _settings(git.mirror.parent, verify)
    if verify.mode == "tag":
        return await _signer_of_tag(git, settings, commit, url, tags)
    try:
        await git.run(*settings, "verify-commit", commit)
    except GitFailed as error:
        raise RevisionRefused(f"its signature is not accepted ({error}); "
                              f"{_accepted(verify)}") from error
    shown = await git.run(*settings, "log", "-1", "--format=%GS", commit)
    return printable(shown)


async def _signer_of_tag(git: GitProgram, settings: tuple[str, ...], commit: str, url: str,
                         tags: tuple[str, ...]) -> str:
    """Return who signed one of the tags on a head."""
    if not tags:
        raise RevisionRefused("no tag stands on it, and one that is signed is demanded")
    why = ""
    for name in sorted(tags)[:TAGS_MAX]:
        try:
            await git.run("fetch", "--quiet", "--force", "--no-tags", "--no-write-fetch-head",
                          "--", url, f"+refs/tags/{name}:{PUBLISHED}{name}")
            text = await git.run("cat-file", "tag", f"{PUBLISHED}{name}")
            head = text.split("\n\n", 1)[0].split("\n")
            if f"object {commit}" not in head or f"tag {name}" not in head:
                why = f"the tag {printable(name)} is published where it was not made for"
                continue
            await git.run(*settings, "verify-tag", f"{PUBLISHED}{name}")
        except GitFailed as error:
            why = f"the tag {printable(name)} is not accepted: {error}"
            continue
        tagger = next((line for line in head if line.startswith("tagger ")), "tagger nobody")
        return printable(f"the tag {name} of {tagger.split(' ', 1)[1].split(' <')[0]}")
    raise RevisionRefused(f"no tag on it has a signature that is accepted ({why})")


def _settings(folder: Path, verify: Verify) -> tuple[str, ...]:
    """Return the words that tell git by which programs and keys to verify."""
    programs = {"ssh": NOBODY, "gpg": NOBODY}
    if "ssh" in verify.by:
        programs["ssh"] = _script(folder / "verify-ssh", AT_THE_CLOCK.format(
            program=_found("ssh-keygen")))
    if "gpg" in verify.by:
        home = folder / "gpg"
        home.mkdir(mode=0o700, exist_ok=True)
        programs["gpg"] = _script(folder / "verify-gpg", WITH_THESE_KEYS.format(
            program=_found("gpg"), home=shlex.quote(str(home)), keys=shlex.quote(verify.gpg_keys)))
    return ("-c", f"gpg.ssh.program={programs['ssh']}", "-c", f"gpg.program={programs['gpg']}",
            "-c", f"gpg.openpgp.program={programs['gpg']}", "-c", f"gpg.x509.program={NOBODY}",
            "-c", f"gpg.ssh.allowedSignersFile={verify.allowed_signers or '/dev/null'}",
            "-c", "gpg.ssh.revocationFile=", "-c", "gpg.minTrustLevel=undefined")


def _script(path: Path, text: str) -> str:
    """Write a program down and return its path."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.chmod(0o700)
    part.replace(path)
    return str(path.absolute())


def _found(program: str) -> str:
    """Return the quoted path of a program."""
    path = shutil.which(program)
    if path is None:
        raise RevisionRefused(f"the program {program}, which verifies signatures, is not installed")
    return shlex.quote(path)


def _accepted(verify: Verify) -> str:
    """Return where the keys are that would be accepted."""
    return "accepted are the keys in " + " and ".join(str(path) for path in verify.files)
