"""Loading as a whole: what is cached, what a revision is, and that nothing crashes it."""

import asyncio
import re
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.errors import SpecError
from controller.source.folder import FolderSource
from controller.source.load import SpecCache, load_folder
from tests.bench.estates import make_desired, write_estate
from tests.waiting import OUT_OF_HAND_S

ESTATE = "kind: Estate\nmetadata: {name: e}\nspec: {ssh: {keyFile: /k, knownHosts: /h}}\n"
MACHINE = ("kind: Site\nmetadata: {name: s}\n---\nkind: Host\nmetadata: {name: h}\n"
           "spec: {site: s, address: a}\n---\nkind: VirtualMachine\nmetadata: {name: v}\n"
           "spec: {memory: 1GiB, template: t.xml}\n")
WHOLE_FILE = re.compile(r"[^:]+: (an empty file|no Estate|no specs here|encrypted by|a pointer of)")
WORDS = st.sampled_from([
    b"kind: ", b"Site", b"Host", b"\n", b"---\n", b"metadata: ", b"{name: ", b"}", b"a", b"spec:",
    b"\n  ", b"- ", b"*a", b"&a ", b"!x ", b"'", b'"', b"[", b"]", b": ", b"\t", b"\xff", b"\x00",
    b"{", b"|\n", b">", b"# ", b"...\n", b"%YAML 1.2\n", b"\xe2\x80\xa8", b"\xc2\x85", b"\r", b"? ",
    b"1e3", b"<<: ", b"~", b",", b"\\ud800", b"\xef\xbb\xbf", b"null", b"VirtualMachine",
    b"12345678"])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.binary(max_size=200), st.lists(WORDS, max_size=30).map(b"".join)),
       st.sampled_from(["a.yaml", "a.json"]))
def test_any_bytes_are_loaded_or_refused_with_a_place(data: bytes, name: str) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(data)
        with pytest.raises(SpecError) as caught:  # for no Estate is among them
            load_folder(Path(folder))
        assert caught.value.problems
        for problem in caught.value.problems:
            assert problem.isprintable()
            if not WHOLE_FILE.match(problem):
                _, line, column, _ = problem.split(":", 3)
                assert int(line) >= 1
                assert int(column) >= 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["name", "site", "memory", "x", ""]) | st.text(max_size=3), inner,
        max_size=3), max_leaves=10)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["Estate", "Host", "Network", "Switch", "VirtualMachine", "Site"]),
       VALUES, VALUES)
def test_any_values_are_loaded_or_refused(kind: str, metadata: object, spec: object) -> None:
    import json

    text = json.dumps({"kind": kind, "metadata": metadata, "spec": spec})
    with TemporaryDirectory() as folder:
        (Path(folder) / "a.json").write_text(text)
        with pytest.raises(SpecError) as caught:
            load_folder(Path(folder))
        assert all(problem.isprintable() for problem in caught.value.problems)


def test_a_revision_names_the_contents(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ESTATE + "---\n" + MACHINE)
    (tmp_path / "t.xml").write_text("<domain/>")
    first = load_folder(tmp_path).revision
    assert load_folder(tmp_path).revision == first
    (tmp_path / "t.xml").write_text("<domain id='1'/>")
    second = load_folder(tmp_path).revision
    (tmp_path / "a.yaml").write_text(ESTATE + "---\n" + MACHINE + "# more\n")
    assert len({first, second, load_folder(tmp_path).revision}) == 3
    assert load_folder(tmp_path, revision="abc").revision == "abc"


def test_templates_are_part_of_what_is_declared(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ESTATE + "---\n" + MACHINE)
    (tmp_path / "t.xml").write_text("<domain/>")
    assert load_folder(tmp_path).templates == {"v": "<domain/>"}


def test_only_the_file_that_changed_is_parsed_again(tmp_path: Path) -> None:
    write_estate(tmp_path, hosts=4, vms=8)
    cache = SpecCache()
    before = cache.load(tmp_path)
    path = tmp_path / "host-0001.yaml"
    path.write_text(path.read_text().replace("cpus: 2", "cpus: 3", 1))
    after = cache.load(tmp_path)
    assert after.virtual_machines["vm-000000"] is before.virtual_machines["vm-000000"]
    assert after.virtual_machines["vm-000001"].spec.cpus == 3
    assert after.revision != before.revision


def test_an_edit_of_the_same_length_at_the_same_instant_is_seen(tmp_path: Path) -> None:
    import os

    path = tmp_path / "a.yaml"
    path.write_text(ESTATE)
    cache = SpecCache()
    cache.load(tmp_path)
    status = path.stat()
    path.write_text(ESTATE.replace("name: e", "name: f"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cache.load(tmp_path).estate.name == "f"


def test_a_cache_recovers_from_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ESTATE)
    cache = SpecCache()
    good = cache.load(tmp_path)
    (tmp_path / "a.yaml").write_text("kind: [")
    with pytest.raises(SpecError):
        cache.load(tmp_path)
    with pytest.raises(SpecError):
        cache.load(tmp_path)
    (tmp_path / "a.yaml").write_text(ESTATE)
    assert cache.load(tmp_path).revision == good.revision


def test_objects_stand_in_the_order_of_their_names() -> None:
    desired = make_desired(hosts=6, vms=30)
    assert list(desired.virtual_machines) == sorted(desired.virtual_machines)
    assert len(desired.hosts) == 6


def test_a_thousand_errors_are_told_at_once(tmp_path: Path) -> None:
    write_estate(tmp_path, hosts=20, vms=1000)
    for path in tmp_path.glob("host-*.yaml"):
        path.write_text(path.read_text().replace("memory: ", "memroy: "))
    began = time.process_time()
    with pytest.raises(SpecError) as caught:
        load_folder(tmp_path)
    assert time.process_time() - began < OUT_OF_HAND_S
    assert caught.value.problems[-1].startswith("... and ")


def test_an_edit_wakes_the_source_and_a_backup_file_does_not(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ESTATE)

    async def watch() -> str:
        source = FolderSource(tmp_path)
        before = (await source.load()).estate.name
        changes = source.changes()
        waiting = asyncio.ensure_future(anext(changes))
        async with asyncio.timeout(20):
            while not waiting.done():  # the watch may not stand yet: edit until it notices
                (tmp_path / ".hidden").write_text("x")
                (tmp_path / "a.yaml~").write_text("x")
                (tmp_path / "a.yaml").write_text(ESTATE.replace("name: e", "name: f"))
                await asyncio.wait([waiting], timeout=0.5)
        after = (await source.load()).estate.name
        return before + after

    assert asyncio.run(watch()) == "ef"
