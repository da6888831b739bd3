"""What the target has of a disk, told to the source: one hash for each cluster, through here.

The mover that conducts the VM's copies removes them from the source when it ends.
"""

from typing import Final

from controller.replication.mover import FOLDER, Mover

LONGEST_S: Final = 600.0


class Manifests:
    """Carries manifests of one replica from its host to the source."""

    def __init__(self, source: Mover, target: Mover, replica: str, failed: str) -> None:
        self._source, self._target = source, target
        self._replica, self._failed = replica, failed

    def path(self, disk: str) -> str:
        """Return where a disk's manifest lies on the source."""
        return f"{FOLDER}/known-{self._replica.rsplit('/', 1)[-1]}-{disk}.man"

    async def fetch(self, disk: str) -> str:
        """Bring a disk's manifest to the source and return its path there."""
        text = await self._target.run(
            "manifest-out", {"replica": self._replica, "disk": disk, "incoming": True,
                             "text": True}, failed=self._failed, timeout_s=LONGEST_S)
        await self._source.feed("manifest-in", text, self.path(disk), "text",
                                failed=self._failed, timeout_s=LONGEST_S)
        return self.path(disk)
