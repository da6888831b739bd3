"""Whom a branch is believed from: a file of the controller's host, outside every repository.

A repository cannot say by itself whom to trust: whoever may push there could then trust himself.
So the file is named by HOTSITE_GIT, or it is /etc/hotsite/git.yaml:

    verify: {mode: head, by: [ssh], allowedSigners: /etc/hotsite/allowed_signers}
    allowRewind: 3f2c9d1e…
    report: {forge: github, url: "https://api.github.com/repos/us/estate", tokenFile: /etc/…}

Without the file no signature is asked for; a head that does not descend from the commit in force is
refused all the same. The file is read anew at each look, so that a mended one needs no restart.
A file that cannot be read, or that others than its owner may write to, trusts nobody: nothing new
is put in force, and that is said.
"""

import os
import stat
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from controller.errors import RevisionRefused
from controller.model.document import Spec

VARIABLE: Final = "HOTSITE_GIT"
USUAL: Final = Path("/etc/hotsite/git.yaml")
FILE_BYTES_MAX: Final = 1 << 20
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]


class Verify(Spec):
    """Which signature a head needs: its commit's own, or that of a tag on it."""

    mode: Literal["head", "tag"]
    by: tuple[Literal["ssh", "gpg"], ...] = Field(min_length=1)
    allowed_signers: str = ""
    """The file of ssh keys, as `ssh-keygen` reads it."""
    gpg_keys: str = ""
    """The file of OpenPGP keys, as `gpg --export` writes it."""

    @model_validator(mode="after")
    def _names_its_keys(self) -> "Verify":
        for kind, path, field in (("ssh", self.allowed_signers, "allowedSigners"),
                                  ("gpg", self.gpg_keys, "gpgKeys")):
            if kind in self.by and not path.startswith("/"):
                raise ValueError(f"{kind} signatures need {field}, the whole path of a file")
        return self

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of keys that count."""
        return tuple(Path(path) for kind, path in (("ssh", self.allowed_signers),
                                                   ("gpg", self.gpg_keys)) if kind in self.by)


class ReportSpec(Spec):
    """Where a forge is told what became of a commit."""

    forge: Literal["github", "gitea", "forgejo", "gitlab"]
    url: str = Field(pattern=r"^https?://[A-Za-z0-9.\[\]:-]+/[A-Za-z0-9._~%/-]+$")
    """The repository in the forge's API, such as `https://git.example.net/api/v4/projects/7`."""
    token_file: str = Field(pattern=r"^/")
    """The whole path of a file that only its owner may read."""
    ca_file: str | None = None
    """The authority of its certificate, where the system does not trust it."""


class Trust(Spec):
    """What a new head needs before it is put in force, and whom that is told."""

    verify: Verify | None = None
    allow_rewind: Commit | None = None
    """The one head that need not descend from the commit in force: its whole name."""
    report: ReportSpec | None = None


def trust_file() -> Path:
    """Return the file that says whom to trust."""
    return Path(os.environ.get(VARIABLE) or USUAL)


def read_trust(path: Path) -> tuple[Trust, str]:
    """Return what a file says, and a digest of it and of the keys that it names.

    Errors: RevisionRefused if it cannot be read or is no such file; a usual file that is not there
    says nothing, a named one that is not there is an error.
    """
    if path == USUAL and not path.exists():
        return Trust(), ""
    text = _owned(path)
    try:
        trust = Trust.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise RevisionRefused(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RevisionRefused(f"{path}: {where or 'it'}: {first['msg']}") from error
    keys = [_owned(file) for file in trust.verify.files] if trust.verify else []
    return trust, sha256(b"\0".join((text, *keys))).hexdigest()[:16]


def _owned(path: Path) -> bytes:
    """Return the content of a file that only its owner, root or we, may write to."""
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise RevisionRefused(f"{path}, which says whom to trust, cannot be read:"
                              f" {error.strerror}") from error
    if about.st_uid not in {0, os.geteuid()} or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RevisionRefused(f"{path} says whom to trust, and others may write to it:"
                              " chmod go-w, and let root own it")
    if len(content) > FILE_BYTES_MAX:
        raise RevisionRefused(f"{path} is larger than {FILE_BYTES_MAX >> 20} MiB")
    return content
