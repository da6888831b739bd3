"""The uuids that domains of ours get: the same for ever, for the same estate and VM."""

from uuid import NAMESPACE_URL, uuid5

from controller.plan.identity import Names


def domain_uuid(estate: str, vm: str) -> str:
    """Return the uuid that a new domain of `vm` gets, the same for ever."""
    return str(uuid5(NAMESPACE_URL, f"hotsite:{estate}/{vm}"))


def domain_uuids(names: Names, vm: str) -> tuple[str, ...]:
    """Return every uuid that a domain of `vm` may have got from us, under all names there were."""
    return tuple(domain_uuid(estate, name) for estate in sorted(names.estates)
                 for name in (vm, *names.formers.get(vm, ())))
