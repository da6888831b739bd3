"""Addresses of repositories: the good ones are understood, and dangerous ones refused."""

import pytest

from controller.errors import SpecError
from controller.source.git.address import GitAddress, parse_git_address


@pytest.mark.parametrize(("text", "expected"), [
    ("git+file:///srv/estate.git#main", GitAddress("file:///srv/estate.git", "file", "main")),
    ("git+ssh://git@forge:2222/estate.git#live/paris",
     GitAddress("ssh://git@forge:2222/estate.git", "ssh", "live/paris")),
    ("git+ssh://[fd00::1]/estate.git#main",
     GitAddress("ssh://[fd00::1]/estate.git", "ssh", "main")),
    ("git+https://forge.example/estate#main:specs/lab/",
     GitAddress("https://forge.example/estate", "https", "main", "specs/lab")),
])
def test_an_address_names_a_repository_a_branch_and_perhaps_a_folder(
        text: str, expected: GitAddress) -> None:
    address = parse_git_address(text)
    assert address == expected
    assert parse_git_address(str(address)) == address


@pytest.mark.parametrize("text", [
    "git+ext::sh -c touch% /tmp/owned#main",
    "git+ext://sh/x#main",
    "git+http://forge/estate#main",
    "git+git://forge/estate#main",
    "git+file://host/srv/estate.git#main",
    "git+file:///srv/estate.git",
    "git+file:///srv/estate.git#",
    "git+file:///srv/estate.git#--upload-pack=touch",
    "git+file:///srv/estate.git#-b",
    "git+file:///srv/estate.git#a..b",
    "git+file:///srv/estate.git#a/.b",
    "git+file:///srv/estate.git#a.lock",
    "git+file:///srv/estate.git#a//b",
    "git+file:///srv/estate.git#a b",
    "git+file:///srv/estate.git#main:../etc",
    "git+file:///srv/estate.git#main:-x",
    "git+file:///srv/\nestate.git#main",
    "git+ssh://-oProxyCommand=touch/estate.git#main",
    "git+ssh://git@-oProxyCommand=touch/estate.git#main",
    "git+ssh://-l@forge/estate.git#main",
    "git+ssh://forge;id/estate.git#main",
    "git+ssh:///estate.git#main",
    "git+ssh://@forge/estate.git#main",
])
def test_what_could_be_a_command_an_option_or_nonsense_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is not understood"):
        parse_git_address(text)


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(SpecError, match="leave the password out") as caught:
        parse_git_address("git+https://ann:hunter2@forge/estate#main")
    assert "hunter2" not in str(caught.value)
