"""Forged, unsigned and rewound heads are refused, and what is in force stays, by real git and keys.

Each head is one that an attacker who may push could publish.
"""

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from controller.source.git.address import parse_git_address
from controller.source.git.repository import GitSource
from tests.source.git.repository import ESTATE, SITE, Repository, refused, repository

__all__ = ["repository"]


class Signed:
    """A repository whose head needs a signature, with the keys of those who may and who may not."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self.repository, self.folder = repository, folder
        self.signers, self.trust = folder / "signers", folder / "git.yaml"
        self.signers.write_text("")
        repository.git("config", "gpg.format", "ssh")
        for name in ("ann", "eve"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name],
                           check=True)
        self.allow(f"ann {self.key('ann')}")
        self.demand()

    def key(self, name: str) -> str:
        """Return a public key."""
        return (self.folder / f"{name}.pub").read_text().strip()

    def allow(self, *lines: str) -> None:
        """Write down who may sign."""
        self.signers.write_text("".join(f"{line}\n" for line in lines))

    def demand(self, mode: str = "head", rewind: str = "") -> None:
        """Write down what a head needs."""
        self.trust.write_text(f"verify: {{mode: {mode}, by: [ssh], allowedSigners:"
                              f" {self.signers}}}\n"
                              + (f'allowRewind: "{rewind}"\n' if rewind else ""))

    def commit(self, by: str | None, site: str, *, committed: str = "") -> str:
        """Commit one more site, signed by somebody or by nobody, and push."""
        path = self.repository.clone / f"{site}.yaml"
        path.write_text(SITE % site if site != "estate" else ESTATE)
        self.repository.git("add", "--all")
        sign = [f"-S{self.folder / by}"] if by else ["--no-gpg-sign"]
        self.repository.git("commit", "--quiet", *sign, "-m", f"Add {site}", committed=committed)
        self.repository.git("push", "--quiet", "--force", "origin", "HEAD:main")
        return self.repository.git("rev-parse", "HEAD")

    def tag(self, by: str, name: str) -> None:
        """Sign a tag on the head, and push it."""
        self.repository.git("-c", f"user.signingkey={self.folder / by}", "tag", "-s", "-f", "-m",
                            name, name)
        self.repository.git("push", "--quiet", "--force", "origin", f"refs/tags/{name}")

    def source(self) -> GitSource:
        """Return a source as a controller that starts now would open it."""
        return GitSource(parse_git_address(self.repository.address), self.folder / "state",
                         poll_s=0.02, trust=self.trust)


@pytest.fixture
def signed(repository: Repository, tmp_path: Path) -> Signed:
    return Signed(repository, tmp_path)


def load(source: GitSource) -> set[str]:
    return set(asyncio.run(source.load()).sites)


def test_a_signed_head_is_loaded_and_its_signer_named(signed: Signed) -> None:
    signed.commit("ann", "estate")
    source = signed.source()
    assert load(source) == {"paris"}
    assert ", signed by ann" in source.describe()


def by_a_stranger(signed: Signed) -> None:
    signed.commit("eve", "milan")


def by_nobody(signed: Signed) -> None:
    signed.commit(None, "milan")


def with_the_signature_of_another(signed: Signed) -> None:
    """Graft Ann's signature upon a commit of other content."""
    repository = signed.repository
    good = repository.git("cat-file", "commit", "HEAD")
    head = signed.commit(None, "milan")
    tree = repository.git("rev-parse", f"{head}^{{tree}}")
    parent = repository.git("rev-parse", f"{head}^")
    lines = [f"tree {tree}", f"parent {parent}",
             *(line for line in good.split("\n") if not line.startswith(("tree ", "parent ")))]
    forged = subprocess.run(["git", "hash-object", "-t", "commit", "-w", "--stdin"],
                            input="\n".join(lines) + "\n", cwd=repository.clone, check=True,
                            capture_output=True, text=True).stdout.strip()
    repository.git("push", "--quiet", "--force", "origin", f"{forged}:refs/heads/main")


def for_another_purpose(signed: Signed) -> None:
    signed.allow(f'ann namespaces="file" {signed.key("ann")}')
    signed.commit("ann", "milan")


def by_a_key_that_has_expired(signed: Signed) -> None:
    """The key may still sign what is dated before its end: whoever has it chooses the date."""
    signed.allow(f'ann valid-before="20200101" {signed.key("ann")}')
    signed.commit("ann", "milan", committed="2019-06-01T12:00:00Z")


def by_a_key_taken_from_the_file(signed: Signed) -> None:
    signed.allow(f"eve {signed.key('eve')}")
    signed.commit("ann", "milan")


@pytest.mark.parametrize("publish", [
    by_a_stranger, by_nobody, with_the_signature_of_another, for_another_purpose,
    by_a_key_that_has_expired, by_a_key_taken_from_the_file])
def test_a_head_that_nobody_signed_who_may_is_refused(
        signed: Signed, publish: Callable[[Signed], None]) -> None:
    good = signed.commit("ann", "estate")
    source = signed.source()
    load(source)
    publish(signed)
    assert "is refused: its signature is not accepted" in refused(source)
    again = signed.source()
    assert asyncio.run(again.load()).revision == good[:12], "a restart falls back on what is good"
    assert "is refused" in refused(again)


def test_what_the_user_has_configured_weakens_nothing(
        signed: Signed, monkeypatch: pytest.MonkeyPatch) -> None:
    home = signed.folder / "home"
    home.mkdir()
    (home / ".gitconfig").write_text('[gpg "ssh"]\n\tprogram = /bin/true\n'
                                     "[gpg]\n\tprogram = /bin/true\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "gpg.ssh.program")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "/bin/true")
    signed.commit("eve", "estate")
    assert "its signature is not accepted" in refused(signed.source())


def test_a_rewound_head_is_refused_even_from_a_new_mirror_unless_it_is_named(
        signed: Signed) -> None:
    signed.commit("ann", "estate")
    held = signed.commit("ann", "milan")
    load(signed.source())
    signed.repository.git("reset", "--quiet", "--hard", "HEAD~1")
    head = signed.commit("ann", "rome")
    for mirror in signed.folder.glob("state/git/*/mirror.git"):
        shutil.rmtree(mirror)
    source = signed.source()
    words = refused(source)
    assert f"it does not descend from {held[:12]}, which is in force" in words
    assert f"`allowRewind: {head}`" in words
    signed.demand(rewind=head)
    assert load(source) == {"paris", "rome"}
    assert f"rewound as allowed: {held[:12]} is no longer part of it" in source.describe()
    signed.commit("ann", "oslo")
    assert load(source) == {"paris", "rome", "oslo"}


def test_an_older_head_is_no_newer_one(signed: Signed) -> None:
    signed.commit("ann", "estate")
    signed.commit("ann", "milan")
    source = signed.source()
    load(source)
    signed.repository.git("push", "--quiet", "--force", "origin", "HEAD~1:main")
    assert "does not descend from" in refused(source)


def test_many_commits_at_once_descend_though_the_mirror_is_shallow(signed: Signed) -> None:
    signed.commit("ann", "estate")
    load(signed.source())
    for _ in range(60):
        signed.repository.git("commit", "--quiet", "--allow-empty", "-m", "Say nothing new")
    signed.commit("ann", "milan")
    for mirror in signed.folder.glob("state/git/*/mirror.git"):
        shutil.rmtree(mirror)
    assert load(signed.source()) == {"paris", "milan"}


def test_a_refused_head_is_looked_at_again_once_the_file_of_keys_is_mended(
        signed: Signed) -> None:
    signed.allow(f"eve {signed.key('eve')}")
    signed.commit("ann", "estate")
    source = signed.source()

    async def follow() -> set[str]:
        with pytest.raises(Exception, match="is refused"):
            await source.load()
        async with asyncio.timeout(30), aclosing(source.changes()) as changes:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await anext(changes)
        async with asyncio.timeout(30), aclosing(source.changes()) as changes:
            signed.allow(f"ann {signed.key('ann')}")
            await anext(changes)
            return set((await source.load()).sites)
    assert asyncio.run(follow()) == {"paris"}


def test_in_tag_mode_only_a_signed_tag_of_that_name_on_the_head_counts(signed: Signed) -> None:
    signed.demand("tag")
    signed.commit("ann", "estate")
    source = signed.source()
    assert "no tag stands on it" in refused(source)
    signed.tag("eve", "v1")
    assert "no tag on it has a signature that is accepted" in refused(source)
    signed.tag("ann", "v2")
    assert load(source) == {"paris"}
    assert "signed by the tag v2 of Ann" in source.describe()
    signed.commit("ann", "milan")
    assert "no tag stands on it" in refused(source)
    signed.repository.git("push", "--quiet", "origin", "refs/tags/v2:refs/tags/v3")
    assert "no tag stands on it" in refused(source), "a tag of the commit before"


def test_a_good_tag_under_another_name_proves_nothing(signed: Signed) -> None:
    signed.demand("tag")
    signed.commit("ann", "estate")
    signed.tag("ann", "v1")
    repository = signed.repository
    repository.git("push", "--quiet", "origin", "refs/tags/v1:refs/tags/v9", ":refs/tags/v1")
    assert "v9 is published where it was not made for" in refused(signed.source())


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda signed: signed.trust.chmod(0o666), "others may write to it"),
    (lambda signed: signed.signers.chmod(0o666), "others may write to it"),
    (lambda signed: signed.signers.unlink(), "cannot be read"),
    (lambda signed: signed.trust.unlink(), "cannot be read"),
    (lambda signed: signed.trust.write_text("verify: [\n"), "is no YAML"),
    (lambda signed: signed.trust.write_text("verifi: {}\n"), "verifi: "),
    (lambda signed: signed.trust.write_text("verify: {mode: head, by: []}\n"), "verify.by: "),
    (lambda signed: signed.trust.write_text("verify: {mode: head, by: [ssh]}\n"),
     "ssh signatures need allowedSigners"),
    (lambda signed: signed.trust.write_text("allowRewind: 3f2c\n"), "allowRewind: "),
], ids=["open", "open keys", "no keys", "gone", "no yaml", "misspelt", "by nobody", "keyless",
        "short"])
def test_a_file_of_trust_that_is_not_sound_trusts_nobody(
        signed: Signed, spoil: Callable[[Signed], object], words: str) -> None:
    signed.commit("ann", "estate")
    spoil(signed)
    source = signed.source()
    assert words in refused(source)

    async def is_said_once() -> None:
        async with aclosing(source.changes()) as changes:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await anext(changes)
    asyncio.run(is_said_once())


def test_a_damaged_record_of_what_is_in_force_lets_nothing_in(signed: Signed) -> None:
    signed.commit("ann", "estate")
    load(signed.source())
    for record in signed.folder.glob("state/git/*/in-force.json"):
        record.write_text("{")
    signed.commit("ann", "milan")
    again = signed.source()
    assert "which says what is in force, cannot be read" in refused(again)


@pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")
def test_a_head_may_be_signed_by_openpgp_keys(signed: Signed) -> None:
    home = signed.folder / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    for name in ("ann", "eve"):
        subprocess.run([*gpg, "--quick-generate-key", f"{name} <{name}@b>", "ed25519", "sign"],
                       check=True)
    keys = signed.folder / "keys.gpg"
    keys.write_bytes(subprocess.run([*gpg, "--export", "ann@b"], check=True,
                                    capture_output=True).stdout)
    signed.trust.write_text(f"verify: {{mode: head, by: [gpg], gpgKeys: {keys}}}\n")
    program = signed.folder / "gpg"
    program.write_text(f'#!/bin/sh\nexec gpg --homedir {home} "$@"\n')
    program.chmod(0o700)
    repository = signed.repository
    repository.git("config", "gpg.format", "openpgp")
    repository.git("config", "gpg.program", str(program))
    try:
        repository.commit(push=False, estate=ESTATE)
        repository.git("commit", "--quiet", "--amend", "--no-edit", "-Sann@b")
        repository.git("push", "--quiet", "--force", "origin", "HEAD:main")
        source = signed.source()
        assert load(source) == {"paris"}
        assert "signed by ann <ann@b>" in source.describe()
        repository.commit(push=False, milan=SITE % "milan")
        repository.git("commit", "--quiet", "--amend", "--no-edit", "-Seve@b")
        repository.git("push", "--quiet", "--force", "origin", "HEAD:main")
        assert "its signature is not accepted" in refused(source)
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
