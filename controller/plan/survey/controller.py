"""Where this controller itself runs: a VM of the estate dies with what it should survive."""

from controller.failover.power import same_uuid
from controller.plan.survey.survey import Survey


def vm_of_controller(survey: Survey) -> str | None:
    """Return the VM of the estate that this controller runs in; None where it runs in none.

    Shapes: on a silent host what was seen last counts: it may be only our line that is cut.
    """
    own = survey.context.machine_uuid
    if not own:
        return None
    last = [one.domains for one in survey.unreachable.values() if one.domains is not None]
    for domains in (*survey.domains.values(), *last):
        for name, domain in domains.items():
            if same_uuid(own, domain.uuid):
                return name
    return None


def controller_inside(survey: Survey) -> str:
    """Return why no failover may be automatic with this controller; empty where it may."""
    name = vm_of_controller(survey)
    return "" if name is None else (
        f"this controller runs inside VM {name} of the estate, and would fail with it: no failover"
        " is automatic; run it on a machine of its own, best beside the witness")
