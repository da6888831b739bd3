"""What people asked of replicas; each wish is used up when an action for it is begun."""

from controller.plan.policy import WISH_LASTS_S, ReplicaRequest, ReplicaWish
from controller.store.shelf import Shelf


class Requests(Shelf):
    """One request per VM and wish; a newer one takes the older one's place."""

    def request(self, request: ReplicaRequest) -> None:
        """Remember what was asked for until it is begun."""
        with self._database.write(durable=True) as connection:
            connection.execute("DELETE FROM requests WHERE at < ?", (request.at - WISH_LASTS_S,))
            connection.execute("INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?)",
                               (request.machine, request.wish.value, request.by, request.at))

    def withdraw(self, request: ReplicaRequest) -> None:
        """Forget what was asked for, if it has not been begun."""
        with self._database.write(durable=True) as connection:
            connection.execute("DELETE FROM requests WHERE machine = ? AND wish = ?",
                               (request.machine, request.wish.value))

    def requests(self) -> tuple[ReplicaRequest, ...]:
        """Return what has been asked for and not begun, by VM and wish."""
        rows = self._database.read("SELECT machine, wish, by, at FROM requests"
                                   " ORDER BY machine, wish")
        return tuple(ReplicaRequest(machine, ReplicaWish(wish), by, at)
                     for machine, wish, by, at in rows)
