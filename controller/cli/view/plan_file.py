"""Plan files: a saved plan, and the source of the specs it was made from."""

import json
import os
from pathlib import Path

from controller.errors import SpecError
from controller.model.facts import Observed
from controller.plan.output.saved import SavedPlan, plan_from_json, plan_to_json
from controller.plan.steps.plan import Plan
from controller.reconcile.manager import lasting


def write_plan_file(path: Path, plan: Plan, observed: Observed, source: str) -> None:
    """Write a plan so that it can be applied from any folder.

    Errors: SpecError when the file cannot be written.
    """
    value = json.loads(plan_to_json(plan, observed))
    value["source"] = lasting(source)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)  # a file that was there keeps its own mode otherwise
            json.dump(value, file, indent=1)
            file.write("\n")
    except OSError as error:
        raise SpecError((f"the plan file {path} cannot be written: {error.strerror}: name another"
                         " file",)) from error


def is_plan_file(text: str) -> bool:
    """Return whether `text` names a file that looks like a plan file."""
    path = Path(text)
    if "://" in text or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(400).lstrip().startswith(b"{") and path.suffix not in {".yaml", ".yml"}


def read_plan_file(text: str) -> tuple[SavedPlan, str]:
    """Return the plan, and the source of its specs.

    Errors: SpecError when it is no plan file.
    """
    try:
        content = Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError((f"the plan file {text} cannot be read: {error}",)) from error
    saved = plan_from_json(content)
    source = json.loads(content).get("source")
    if not isinstance(source, str):
        raise SpecError((f"the plan file {text} does not say where its specs are: make it again"
                         " with `hotsite plan --out`",))
    return saved, source
