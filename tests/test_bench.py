"""The benchmarks are run seldom: what they import is asked for here, and they are tried small."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NEED_PEERS = {"__main__", "peer_pyinfra"}
"""What has programs of others to import, or runs when it is imported."""
MODULES = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts)
                 for path in (ROOT / "tests/bench").rglob("*.py") if path.stem not in NEED_PEERS)


@pytest.mark.parametrize("module", MODULES)
def test_everything_that_a_benchmark_imports_is_there(module: str) -> None:
    import_module(module)


def test_a_sample_of_planning_is_taken() -> None:
    ended = subprocess.run([sys.executable, "-m", "tests.bench.plan_probe", "2000", "100"],
                           cwd=ROOT, check=True, capture_output=True, text=True)

    assert set(json.loads(ended.stdout)) == {"work", "no change", "1,000 changes",
                                             "fresh replicas", "resident"}
