"""A replica is named after its VM, and stays its replica when the VM is renamed."""

from pathlib import Path

import pytest
from mover.errors import Refused
from mover.replica.replica import Replica, create

from tests.mover.replicas import HASHER
from tests.mover.transfers import SECRET


def test_a_replica_follows_the_name_of_its_vm(tmp_path: Path) -> None:
    root = str(tmp_path / "uuid")

    def made(vm: str, **facts: str) -> dict[str, object]:
        return dict(create(root, vm, HASHER.algorithm, SECRET, facts).facts)

    assert made("uuid", machine="sql", estate="lab") == {"machine": "sql", "estate": "lab"}
    before = Replica(root).state
    assert made("uuid", machine="sql-prod", estate="lab")["machine"] == "sql-prod"
    after = Replica(root).state
    assert after.facts["machine"] == "sql-prod"
    assert (after.vm, after.points, after.secret_id) == (before.vm, before.points, before.secret_id)
    made("uuid", machine="sql-prod", estate="lab")
    assert Replica(root).state.generation == after.generation, "the same name writes nothing"
    with pytest.raises(Refused, match="holds the replica of uuid, not of another"):
        made("another", machine="sql-prod", estate="lab")
