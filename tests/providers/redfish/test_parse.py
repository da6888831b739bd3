"""What BMCs answer, parsed; other shapes are errors, never guesses."""

from typing import Any

import pytest

from controller.providers.redfish.parse import (
    parse_complaint,
    parse_members,
    parse_reset_values,
    parse_sessions_path,
    parse_system,
)


@pytest.mark.parametrize("content", [
    None, [], "Off", 3, {"Members": None}, {"Members": {}}, {"Members": [{}]},
    {"Members": ["/redfish/v1/Systems/1"]}, {"Members": [{"@odata.id": 3}]}])
def test_a_list_of_systems_of_another_shape_is_an_error(content: Any) -> None:
    with pytest.raises(ValueError, match="the list of systems"):
        parse_members(content)


@pytest.mark.parametrize(("told", "state"), [
    ("Off", "Off"), ("off", "off"), (None, ""), (False, ""), (["Off"], ""), ("PoweringOff",) * 2])
def test_only_a_word_is_a_state(told: Any, state: str) -> None:
    assert parse_system({"PowerState": told}).state == state


@pytest.mark.parametrize("actions", [None, [], {"#ComputerSystem.Reset": None}, "no"])
def test_a_system_that_cannot_be_reset_names_no_place(actions: Any) -> None:
    answer = parse_system({"PowerState": "On", "Actions": actions})
    assert (answer.reset_path, answer.resets, answer.info_path) == ("", None, "")


def test_an_action_info_lists_resets() -> None:
    assert parse_reset_values({"Parameters": [{"Name": "Other"}, {
        "Name": "ResetType", "AllowableValues": ["On", 3, "ForceOff"]}]}) == ("On", "ForceOff")
    assert parse_reset_values({"Parameters": "none"}) == ()


@pytest.mark.parametrize(("root", "path"), [
    ({"Links": {"Sessions": {"@odata.id": "/a/Sessions"}}}, "/a/Sessions"),
    ({"SessionService": {"@odata.id": "/redfish/v1/SessionService/"}},
     "/redfish/v1/SessionService/Sessions"),
    ({"Links": []}, ""), ({}, "")])
def test_a_root_names_the_place_of_sessions(root: Any, path: str) -> None:
    assert parse_sessions_path(root) == path


@pytest.mark.parametrize(("body", "said"), [
    (b'{"error": {"@Message.ExtendedInfo": [{"Message": "is  off\\n\\u0007 already"}]}}',
     "is off already"),
    (b'{"error": {"@Message.ExtendedInfo": {"MessageId": "Base.1.8.NotNow"}}}', "Base.1.8.NotNow"),
    (b'{"error": {"message": "no"}}', "no"), (b'{"error": {"@Message.ExtendedInfo": 3}}', ""),
    (b"<html>", ""), (b"[]", ""), (b"\xff", ""), (b'{"error": {"message": {}}}', "")])
def test_a_complaint_is_one_short_line_or_nothing(body: bytes, said: str) -> None:
    assert parse_complaint(body) == said
