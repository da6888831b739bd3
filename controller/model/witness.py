"""A witness: a machine at a third place that both sites reach by ways of their own."""

from typing import Literal

from controller.model.document import Document, Name, Scope
from controller.model.login.ssh import Address, LoginSpec


class WitnessSpec(Scope):
    """One machine that says whom it sees, and to whom it goes on granting."""

    address: Address
    place: Name
    """Where it stands. The name of a site makes it a part of that site's view, and no second one.
    """
    ssh: LoginSpec = LoginSpec()
    """What its login has of its own."""


class Witness(Document):
    """One witness."""

    kind: Literal["Witness"] = "Witness"
    spec: WitnessSpec
