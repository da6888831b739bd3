"""The example in examples/alerts/README.md is one that `hotsite validate` takes."""

import re
from pathlib import Path

from ryaml import loads as parse_yaml

from controller.model.notify.spec import NotifySpec

README = Path(__file__).parent.parent.parent / "examples/alerts/README.md"


def test_the_example_is_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    (text,) = (block for block in blocks if block.startswith("notify:"))
    spec = NotifySpec.model_validate(parse_yaml(text)["notify"])
    assert [one.name for one in spec.receivers] == ["oncall", "chat", "admins", "pager"]
    assert spec.receivers[0].webhook is not None
    assert spec.receivers[0].webhook.uses_token
