"""How the controller logs in: what holds for every node, and what a node has of its own."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StringConstraints, model_validator

from controller.model.document import Spec, Text

Address = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9A-Za-z:][0-9A-Za-z.:-]{0,252}$", strict=True),
]
"""A host name or an IP address."""
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
UserName = Annotated[str, StringConstraints(
    pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$", strict=True)]
Sudo = Literal["auto"] | StrictBool


class JumpSpec(Spec):
    """A machine that passes a login on; it runs nothing, and its host key is checked like any."""

    address: Address
    port: Port = 22
    user: UserName | None = None
    """Unset: the account on the node behind it."""


class LoginSpec(Spec):
    """What one node's login has of its own; what is unset is as the Estate's `ssh` says."""

    user: UserName | None = None
    port: Port | None = None
    sudo: Sudo | None = None
    key_file: Text | None = None
    certificate_file: Text | None = None
    agent: Text | None = None
    jump: tuple[JumpSpec, ...] | None = Field(default=None, max_length=4)
    """The machines on the way, the first one first; `[]`: none, it is reached directly."""


class SshSpec(Spec):
    """How the controller logs in to hosts, switches and witnesses."""

    user: UserName = "root"
    """The account on every node."""
    key_file: Text | None = None
    """The private key, readable by the controller alone; unset: only those of `agent`."""
    certificate_file: Text | None = None
    """The OpenSSH certificate of that key, where nodes trust an authority (TrustedUserCAKeys)."""
    agent: Text | None = None
    """The socket of an ssh-agent whose keys and certificates are offered, too."""
    known_hosts: Text
    """Every node's host key, or `@cert-authority` lines; a node that is not in it is never
    contacted."""
    port: Port = 22
    """The TCP port of sshd on every node."""
    sudo: Sudo = "auto"
    """Whether commands run by `sudo -n`; auto: if the account is not root."""
    jump: tuple[JumpSpec, ...] = Field(default=(), max_length=4)
    """The machines on the way to every node, the first one first."""

    @model_validator(mode="after")
    def _has_a_key(self) -> "SshSpec":
        if self.key_file is None and self.agent is None:
            raise ValueError("no login is possible without a key: write one of `keyFile:` and"
                             " `agent:`")
        if self.certificate_file is not None and self.key_file is None:
            raise ValueError("`certificateFile:` is of the key in `keyFile:`, which is not"
                             " declared; certificates of an agent need neither")
        return self
