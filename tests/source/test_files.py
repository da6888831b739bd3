"""Other files in the folder of specs, and what is done with each."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.errors import SpecError
from controller.source.files import FILE_BYTES, find_files, read_file
from controller.source.load import load_folder
from controller.source.problems import Problem
from tests.waiting import OUT_OF_HAND_S

ESTATE = "kind: Estate\nmetadata: {name: e}\nspec: {ssh: {keyFile: /k, knownHosts: /h}}\n"
SITE = "kind: Site\nmetadata: {name: s}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A source that is valid as it is."""
    source = tmp_path / "specs"
    source.mkdir()
    (source / "estate.yaml").write_text(ESTATE)
    return source


def refusal(folder: Path) -> tuple[str, ...]:
    """What is said about the folder, and not after minutes."""
    began = time.process_time()
    with pytest.raises(SpecError) as caught:
        load_folder(folder)
    assert time.process_time() - began < OUT_OF_HAND_S
    return caught.value.problems


def test_files_are_found_in_folders_and_the_rest_is_left_alone(folder: Path) -> None:
    (folder / "a/b").mkdir(parents=True)
    (folder / ".git").mkdir()
    for name in ("a/b/c.yml", "a/d.json", ".git/e.yaml", ".f.yaml", "g.txt", "h.yaml~"):
        (folder / name).write_text("")
    assert [found.name for found in find_files(folder)[0]] == [
        "a/b/c.yml", "a/d.json", "estate.yaml"]


@pytest.mark.parametrize("name", ["vm.YAML", "vm.Yml", "deep/vm.JSON"])
def test_an_ending_counts_in_any_case(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text('{"kind": "Site", "metadata": {"name": "s"}}')
    assert "s" in load_folder(folder).sites


@pytest.mark.parametrize("name", [".vms/sql.yaml", ".sql.yml", "a/.b/c/sql.JSON"])
@pytest.mark.parametrize("text", [SITE, "---\n" + SITE, "{kind: Site, metadata: {name: s}}",
                                  '{\n "kind": "Site",\n "metadata": {"name": "s"}}',
                                  "metadata: {name: s}\napiVersion: hotsite/v1\nkind: Site\n"])
def test_a_hidden_file_that_declares_something_is_refused(folder: Path, name: str,
                                                          text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    hides = next(part for part in name.split("/") if part.startswith("."))
    assert refusal(folder) == (f"{name}: declares a Site and is not read, since {hides} begins"
                               " with a dot: rename it, or move it out of the specs",)


def test_what_declares_nothing_is_not_read_and_told(folder: Path) -> None:
    (folder / ".github").mkdir()
    (folder / ".github/ci.yaml").write_text("kind: pipeline\n")
    (folder / ".k8s.yaml").write_text("apiVersion: v1\nkind: Host\n")
    (folder / "README.md").write_text(SITE)
    (folder / "sql.yaml.bak").write_text(SITE)
    (folder / "x.xml").write_text("<domain/>")
    (folder / "host.yaml").write_text("kind: Site\nmetadata: {name: s}\n---\nkind: Host\n"
                                      "metadata: {name: h}\nspec: {site: s, address: h}\n")
    (folder / "vm.yaml").write_text("kind: VirtualMachine\nmetadata: {name: v}\n"
                                    "spec: {memory: 1GiB, template: ./x.xml}\n")
    assert load_folder(folder).not_read == (".github", ".k8s.yaml", "README.md", "sql.yaml.bak")


@pytest.mark.parametrize(("data", "sentence"), [
    (b"", "an empty file"), (b" \n\t\n", "an empty file"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "git LFS"),
    (b"\0GITCRYPT\0\x01\x02", "encrypted by git-crypt"),
])
def test_a_file_that_is_not_all_there_is_refused(folder: Path, data: bytes, sentence: str) -> None:
    (folder / "vm.yaml").write_bytes(data)
    told, = refusal(folder)
    assert told.startswith("vm.yaml: ")
    assert sentence in told


@pytest.mark.parametrize("below", ["", "specs"])
def test_a_submodule_that_is_not_checked_out_is_refused(tmp_path: Path, below: str) -> None:
    top = tmp_path / "estate"
    source = top / below
    source.mkdir(parents=True)
    (top / ".git").mkdir()
    (source / "estate.yaml").write_text(ESTATE)
    module = f"{below}/vms".lstrip("/")
    (top / ".gitmodules").write_text(f'[submodule "v"]\n\tpath = {module}\n\turl = /v\n')
    load_folder(source)     # an entry that is left over: no such folder is in the commit
    (source / "vms").mkdir()
    told, = refusal(source)
    assert told.startswith("vms: a submodule that is not checked out")
    (source / "vms/s.yaml").write_text(SITE)
    assert "s" in load_folder(source).sites


def test_one_file_is_a_source_too(folder: Path) -> None:
    assert load_folder(folder / "estate.yaml").estate.name == "e"


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    assert refusal(tmp_path / "specs") == (
        "specs: no specs here: add files that end in .yaml, .yml or .json",)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "there is no such folder" in refusal(tmp_path / "nowhere")[0]


def test_a_folder_without_an_estate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SITE)
    assert refusal(tmp_path)[0].endswith(
        "no Estate is declared: add a document with `kind: Estate`")


def test_a_file_of_fifty_megabytes_is_refused_unread(folder: Path) -> None:
    with (folder / "big.yaml").open("wb") as file:
        file.truncate(50 << 20)
    assert refusal(folder) == (
        "big.yaml: larger than 8 MiB: split it into several files",)


def test_a_file_at_the_limit_is_judged_at_once(folder: Path) -> None:
    line = "# " + "x" * 97 + "\n"
    (folder / "a.yaml").write_text(SITE + line * (FILE_BYTES // len(line) - 2))
    began = time.process_time()
    assert "s" in load_folder(folder).sites
    assert time.process_time() - began < OUT_OF_HAND_S


def test_a_link_out_of_the_folder_is_refused(folder: Path) -> None:
    outside = folder.parent / "outside.yaml"
    outside.write_text(SITE)
    (folder / "a.yaml").symlink_to(outside)
    (folder / "more").symlink_to(folder.parent)
    assert refusal(folder) == (
        (f"a.yaml: a link out of the folder, to {outside}: copy the file here or remove the"
        " link"),
        (f"more: a link out of the folder, to {folder.parent}: copy the file here or remove the"
        " link"))


def test_a_link_inside_the_folder_is_followed_and_nothing_is_read_twice(folder: Path) -> None:
    (folder / ".data").mkdir()
    (folder / ".data/site.yaml").write_text(SITE)
    (folder / "site.yaml").symlink_to(".data/site.yaml")
    (folder / "again.yaml").symlink_to("estate.yaml")
    (folder / "self").symlink_to(".")
    desired = load_folder(folder)
    assert {target: place.file for target, place in desired.places.items()} == {
        "Estate/e": "estate.yaml", "Site/s": "site.yaml"}


def test_links_in_a_circle_end(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    (folder / "a/to-b").symlink_to("../b")
    (folder / "b/to-a").symlink_to("../a")
    assert any("leads back into itself" in problem for problem in refusal(folder))


def test_a_link_to_nothing_is_refused(folder: Path) -> None:
    (folder / "a.yaml").symlink_to("gone.yaml")
    assert "which is not there: remove the link" in refusal(folder)[0]


def test_a_pipe_is_refused_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "a.yaml")
    assert refusal(folder) == ("a.yaml: not a regular file: remove it or rename it",)


def test_a_file_that_vanishes_is_told(folder: Path) -> None:
    found = find_files(folder)[0][0]
    (folder / "estate.yaml").unlink()
    problem = read_file(found)
    assert isinstance(problem, Problem)
    assert "vanished while it was being read" in problem.sentence


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder that an ordinary user can enter, and that user's rights."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    shutil.rmtree(folder)


def test_what_may_not_be_read_is_told(nobody: Path) -> None:
    if os.geteuid() == 65534:
        os.seteuid(0)
    (nobody / "a.yaml").write_text(ESTATE)
    (nobody / "b").mkdir()
    (nobody / "a.yaml").chmod(0)
    (nobody / "b").chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    assert refusal(nobody) == (
        "a.yaml: cannot be read: Permission denied: let the user that runs hotsite read it",
        "b/: cannot be read: Permission denied: let the user that runs hotsite read it")
    if os.getuid() == 0:
        os.seteuid(0)
    (nobody / "b").chmod(0o755)
