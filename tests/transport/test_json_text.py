"""JSON from a host is parsed or refused: no text of it crashes the controller."""

import json

import pytest

from controller.providers.libvirt.facts import parse_domains, parse_pools
from controller.providers.openvswitch.facts import parse_bridges
from controller.transport.json_text import parse_json

DEEP = "[" * 100_000


def test_json_is_read() -> None:
    assert parse_json('{"a": [1, "b", null]}') == {"a": [1, "b", None]}


@pytest.mark.parametrize("text", [DEEP, '{"a":' * 100_000, "{", "9" * 5000, ""],
                         ids=["lists", "objects", "cut", "number", "empty"])
def test_what_cannot_be_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
    with pytest.raises(json.JSONDecodeError):
        parse_json(DEEP)


@pytest.mark.parametrize("parse", [parse_domains, parse_pools, parse_bridges])
def test_a_host_that_nests_for_ever_is_not_understood(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse(DEEP)
