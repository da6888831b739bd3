"""People's yes to single actions of one revision; each is used up when its action is begun."""

from controller.plan.policy import Approval
from controller.store.shelf import Shelf


class Approvals(Shelf):
    """One approval per action and revision; a newer one takes the older one's place."""

    def approve(self, approval: Approval) -> None:
        """Remember a yes until it expires."""
        with self._database.write(durable=True) as connection:
            connection.execute("INSERT OR REPLACE INTO approvals (action_id, revision, by,"
                               " expires_at, content) VALUES (?, ?, ?, ?, ?)",
                               (approval.action_id, approval.revision, approval.by,
                                approval.expires_at, approval.content))

    def approvals(self, now_s: float) -> tuple[Approval, ...]:
        """Return the approvals that have not expired, by action and revision."""
        rows = self._database.read("SELECT action_id, revision, by, expires_at, content"
                                   " FROM approvals WHERE expires_at > ?"
                                   " ORDER BY action_id, revision", (now_s,))
        return tuple(Approval(*row) for row in rows)
