"""Records of failovers on a node: whole or as before, and never replaced by an older one."""

import io
import json
from importlib import import_module
from pathlib import Path

import pytest

from controller.model.failover.record import Proof, Record, RecordedHost, RecordedMachine
from controller.providers.linux.record import parse_records, render_record

records = import_module("records")
RECORD = Record(
    "Site/paris", 7, 3, "promoting", "alice", "the room burns", 1000.0,
    {"paris-1": RecordedHost("b-1", Proof("redfish", "Off, read twice", 1001.0)),
     "paris-2": RecordedHost("")},
    {"sql": RecordedMachine("u-1", 12, "milan-1")}, 4, ("Site/paris",), ())


def kept(record: Record, folder: Path) -> str:
    """Write a record, and return why it was not taken."""
    said: str = records.write(json.loads(render_record(record)), str(folder))
    return said


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    assert kept(RECORD, tmp_path / "new") == ""

    assert parse_records(json.dumps(records.records(str(tmp_path / "new")))) == {
        "Site/paris": RECORD}
    assert [path.name for path in (tmp_path / "new").glob("*.part")] == []


@pytest.mark.parametrize(("epoch", "term"), [(6, 3), (6, 9), (7, 2)])
def test_an_older_record_is_refused_and_the_newer_one_stays(tmp_path: Path, epoch: int,
                                                            term: int) -> None:
    assert kept(RECORD, tmp_path) == ""

    older = Record("Site/paris", epoch, term)

    assert "epoch 7, term 3" in kept(older, tmp_path)
    assert records.records(str(tmp_path))[0]["phase"] == "promoting"


@pytest.mark.parametrize(("epoch", "term"), [(7, 4), (7, 5), (8, 3), (8, 0)])
def test_a_newer_record_takes_its_place(tmp_path: Path, epoch: int, term: int) -> None:
    assert kept(RECORD, tmp_path) == ""

    assert kept(Record("Site/paris", epoch, term), tmp_path) == ""


@pytest.mark.parametrize("text", ["", "{", "[]", '{"scope": "Site/milan", "epoch": 1}',
                                  '{"scope": "Site/paris", "epoch": "7"}'])
def test_a_record_that_cannot_be_read_is_told_and_never_replaced(tmp_path: Path,
                                                                 text: str) -> None:
    (tmp_path / "Site_paris.json").write_text(text)

    (found,) = records.records(str(tmp_path))
    assert found["unreadable"]
    assert parse_records(json.dumps([found]))["Site/paris"].unreadable
    assert "move" in kept(RECORD, tmp_path)
    assert (tmp_path / "Site_paris.json").read_text() == text


def test_a_node_without_a_folder_has_no_records(tmp_path: Path) -> None:
    assert records.records(str(tmp_path / "none")) == []


def test_who_brings_an_older_one_learns_by_the_exit_status(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(records.write, "__defaults__", (str(tmp_path),))
    monkeypatch.setattr("sys.stdin", io.StringIO(render_record(RECORD)))
    assert records.main() == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(
        render_record(Record("Site/paris", 6))))

    assert records.main() == 76
    assert "newer" in capsys.readouterr().err
