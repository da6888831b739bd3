"""What the target has of a disk, told to the source: one hash for each cluster, through here.

The mover that conducts the VM's copies removes them from the source when it ends.
"""

import json
from typing import Final

from controller.model.replica import CLUSTER_BYTES
from controller.replication.mover import Mover, failure, verb_command

LONGEST_S: Final = 3600.0
KNOWN_FOLDER: Final = "/var/lib/hotsite/known"
"""On a disk of the source, for a hash of each cluster of a large one is too much for memory."""
HASH_BYTES: Final = 16
HEADER_BYTES: Final = 4096


class Manifests:
    """Carries manifests of one replica from its host to the source."""

    def __init__(self, source: Mover, target: Mover, replica: str, failed: str) -> None:
        self._source, self._target = source, target
        self._replica, self._failed = replica, failed

    def path(self, disk: str) -> str:
        """Return where a disk's manifest lies on the source."""
        return f"{KNOWN_FOLDER}/known-{self._replica.rsplit('/', 1)[-1]}-{disk}.man"

    async def fetch(self, disk: str, size_bytes: int) -> str:
        """Bring a disk's manifest to the source and return its path there.

        It is poured through, however large: 256 MiB for a TiB that is full, or has yet to come.
        The source takes no more of it than a disk of that size has.
        """
        asked = {"replica": self._replica, "disk": disk, "incoming": True}
        telling = verb_command("manifest-out", text=json.dumps(asked) + "\n",
                               timeout_s=LONGEST_S)
        most_bytes = HEADER_BYTES + -(-size_bytes // CLUSTER_BYTES) * HASH_BYTES
        taking = verb_command("manifest-in", self.path(disk), str(most_bytes),
                              timeout_s=LONGEST_S)
        for reply in await self._target.node.transport.relay(
                (self._target.name, telling), (self._source.name, taking)):
            if reply.exit_status != 0:
                raise failure(reply, self._failed)
        return self.path(disk)
