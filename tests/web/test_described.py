"""The API is asked whatever its own description allows, and much that it does not.

No answer may be a fault of ours, and none may be other than described. With SOAK=1 each operation
is asked 200 times in each way.

What is well written may be refused all the same: a pause of a thousand years, a step of yesterday.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import positive_data_acceptance

from controller.web import acts, stream
from controller.web.access.people import Rules
from controller.web.access.tokens import Right, Tokens
from tests.plan import builders as b
from tests.web.estates import opened
from tests.web.played import served

EXAMPLES = 200 if os.environ.get("SOAK") else 8
REAL = {"kind": "vms", "name": "sql", "verb": "copy"}
"""Words of a path that name something: any others end at its first line."""
WAYS = ((GenerationMode.POSITIVE, {}), (GenerationMode.POSITIVE, REAL),
        (GenerationMode.NEGATIVE, REAL))


@pytest.fixture
def ask_all(tmp_path: Path,
            monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., set[str]]]:
    """Return what asks every operation, or that of a path, so often; it returns which it asked."""
    monkeypatch.setattr(acts, "ACTS", 1 << 30)
    monkeypatch.setattr(stream, "BEAT_S", 0.01)
    opened(tmp_path).close()
    tokens = Tokens(tmp_path / "tokens")
    secret = tokens.add("ann", frozenset(Right))
    with served(tmp_path / "state.db", lambda: b.NOW_S, Rules(tokens)) as url:
        schema = schemathesis.openapi.from_url(f"{url}api/v1/openapi.json")

        def ask(examples: int, path: str = "") -> set[str]:
            asked = set()
            for operation in (found.ok() for found in schema.get_all_operations()):
                if path and operation.path != path:
                    continue
                asked.add(f"{operation.method.upper()} {operation.path}")
                for mode, words in WAYS:
                    ask_one(operation, mode, words, examples, secret)
            return asked
        yield ask


def ask_one(operation: Any, mode: GenerationMode, words: dict[str, str], examples: int,
            secret: str) -> None:
    """Ask one operation so often, with these words in its path."""
    named = {key: word for key, word in words.items() if f"{{{key}}}" in operation.path}
    if words and not named and mode is GenerationMode.POSITIVE:
        return      # the same again
    @settings(max_examples=examples, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode, path_parameters=named or None))
    def ask(case: Any) -> None:
        case.call_and_validate(excluded_checks=[positive_data_acceptance],
                               headers={"authorization": f"Bearer {secret}"})
    # what takes no words cannot be asked in wrong ones
    with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
        ask()


def test_no_question_finds_a_fault(ask_all: Callable[..., set[str]]) -> None:
    assert len(ask_all(EXAMPLES)) >= 12


def test_a_planted_fault_is_found(ask_all: Callable[..., set[str]],
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(row: dict[str, Any], words: str) -> bool:
        return not words.isascii() and 1 // 0 == 0
    monkeypatch.setattr("controller.web.app.means", wrong)
    with pytest.raises(FailureGroup, match="Server error"):
        ask_all(50, "/api/v1/{kind}")
