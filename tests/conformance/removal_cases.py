"""Cases of removal: disks are set aside, given back and purged."""

from controller.model.facts import Known
from controller.model.virtual_machine import VirtualMachine
from controller.plan.actions.machine import DefineDomain, RemoveDomain
from controller.plan.actions.storage import CreateDisk, PurgeFiles, ReturnDisk
from controller.plan.machine.domain import desired_disk, desired_domain
from controller.plan.machine.removal import aside_suffix
from controller.plan.survey.context import Context
from controller.plan.survey.survey import take_survey
from tests.conformance.stage import Stage, common, domain, known, observed, refusal

NAME, HOST = "passing", "paris-1"
SUFFIX = aside_suffix(1_000_000.0)


def machine() -> VirtualMachine:
    """A small VM that is off and that no spec has."""
    return VirtualMachine.model_validate({
        "kind": "VirtualMachine", "metadata": {"name": NAME}, "spec": {
            "power": "off", "memory": "64MiB", "deletion": "delete",
            "disks": [{"name": "vda", "size": "8MiB"}]}})


async def files(stage: Stage) -> list[str]:
    """The files of the VM in the pools of its host."""
    pools = (await known(stage, HOST)).pools
    assert isinstance(pools, Known)
    return sorted(name for pool in pools.value.values() for name in pool.volumes
                  if name.startswith(f"{NAME}-"))


async def defined(stage: Stage) -> RemoveDomain:
    """Bring the VM about, unless its disk is there, and return what removes it."""
    vm, host = machine(), stage.desired.hosts[HOST]
    survey = take_survey(stage.desired, await observed(stage), Context(), stage.clock())
    disk = desired_disk(vm, vm.spec.disks[0], host)
    await stage.provider.apply(CreateDisk(**common(NAME, HOST), disk=disk))
    await stage.provider.apply(DefineDomain(
        **common(NAME, HOST), desired=desired_domain(vm, host, None, survey)))
    return RemoveDomain(**common(NAME, HOST), domain=NAME, limit_s=5.0, disk_paths=(disk.path,),
                        suffix=SUFFIX)


async def what_is_removed_is_set_aside_given_back_and_purged(stage: Stage) -> None:
    """Each is done already when it is done; a name that is taken is never written over."""
    remove = await defined(stage)
    (path,) = remove.disk_paths
    name = path.rpartition("/")[2]
    assert await refusal(stage, remove) == "done"
    assert await domain(stage, HOST, NAME) is None
    assert await files(stage) == [name + SUFFIX]
    assert await refusal(stage, remove) == "done"
    back = ReturnDisk(**common(NAME, HOST), path=path, suffix=SUFFIX)
    assert await refusal(stage, back) == "done"
    assert await files(stage) == [name]
    assert await refusal(stage, back) == "done"
    await defined(stage)
    assert await refusal(stage, remove) == "done"
    purge = PurgeFiles(**common(NAME, HOST), paths=(path + SUFFIX,), least_age_s=0.0)
    assert await refusal(stage, purge) == "done"
    assert await files(stage) == []
    assert await refusal(stage, back) != "done"


REMOVAL_CASES = (what_is_removed_is_set_aside_given_back_and_purged,)
