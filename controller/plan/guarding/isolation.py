"""What guards and grantors forbid to start.

A guest that a guard ended looks as if it had shut itself down. Whoever started it again would undo
what a failover elsewhere may rest on. So:

    its tombstone lies on a host whose guard is not content    it waits until that host is granted
    a grantor refuses the host that it would start on          it waits until the grants are back

Once the host is granted again and nobody refuses it, no failover has taken the VM over from there
(a failover never restores the grants of what it started elsewhere, and copies of older epochs are
never started): then it is a VM that is off and should not be, and is started as any other. The
guard takes the tombstone away when it sees the VM run. One beside an older copy says nothing of the
copy that is the VM by now.
"""

from controller.plan.survey.survey import Survey


def isolation_blocker(name: str, host: str, survey: Survey) -> str | None:
    """Return why guards or grantors forbid to start a VM on a host; None if none does."""
    isolation = survey.isolation
    if host in isolation.refused:
        epoch, by = isolation.refused[host]
        refuse = "refuses" if len(by) == 1 else "refuse"
        return (f"{name} is not started on {host}: {' and '.join(by)} {refuse} {host} its grants"
                f" for the failover with epoch {epoch}, which may start its VMs elsewhere; it is"
                " started once the grants are restored")
    for where, domain in survey.sightings.get(name, ()):
        ended = isolation.ended.get((where, domain.uuid))
        if ended is not None:
            return (f"{name} is not started on {host}: the guard of {where} has ended it"
                    f" ({ended.why}), and it may have been started elsewhere since; it is"
                    f" started once {where} is granted again")
    return None
