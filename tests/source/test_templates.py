"""The XML file that a new machine starts from: what is taken for one, and what is not."""

from pathlib import Path

import pytest

from tests.source.sound import SOUND
from tests.source.test_check import problems_of


@pytest.mark.parametrize(("data", "expected"), [
    (b"<domain type='kvm'/>", None),
    (b"<network/>", "begins with <network>: a template is one <domain>"),
    (b"<domain>", "is not XML: line 1: no element found: correct it"),
    (b"", "is not XML: line 1: no element found: correct it"),
    (b"<!DOCTYPE d [<!ENTITY a 'b'>]><domain/>", "holds a DOCTYPE: remove it"),
    (b"<domain>\xff</domain>", "is not UTF-8: convert it"),
    (b"<domain>" + b" " * (1 << 20) + b"</domain>", "is larger than 1 MiB: that is no domain XML"),
])
def test_a_template_is_domain_xml(tmp_path: Path, data: bytes, expected: str | None) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/t.xml").write_bytes(data)
    found = problems_of(tmp_path, SOUND.replace("protection: gold", "template: t.xml"))
    assert found == ([] if expected is None else [f"a.yaml:59:13: template `t.xml` {expected}"])
