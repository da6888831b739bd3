"""The tables, as a list of migrations that is only ever appended to."""

from typing import Final

from controller.errors import JournalUnavailable
from controller.store.database import Database

APPLICATION_ID: Final = 0x686F7473
"""`hots`: marks the file as ours."""

JSON: Final[dict[str, str]] = {"applied": "fingerprints", "seen": "facts", "status": "content",
                              "declared": "content", "samples": "content",
                              "receivers": "content", "break_glass": "content"}
"""By table: the column that holds JSON, which is checked for bit rot."""

def _numbered(table: str, kind: str, name: str, *, updated: str = "") -> tuple[str, ...]:
    """Return triggers that number each change of a table, whoever makes it.

    Source: for_readers/changes.py
    """
    return tuple(
        f"CREATE TRIGGER {table}_{event.split()[0].lower()}_numbered AFTER {event} ON {table} BEGIN"
        f" INSERT INTO changes SELECT '{kind}', {name.replace('ROW', row)},"
        " coalesce(max(number), 0) + 1 FROM changes WHERE true"
        " ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END"
        for event, row in (("INSERT", "NEW"), (f"UPDATE{updated}", "NEW"), ("DELETE", "OLD")))


STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL,
            target TEXT NOT NULL, node TEXT NOT NULL DEFAULT '', verb TEXT NOT NULL DEFAULT '',
            action_id TEXT NOT NULL DEFAULT '', revision TEXT NOT NULL DEFAULT '',
            cause TEXT NOT NULL DEFAULT '', outcome TEXT NOT NULL DEFAULT '', intent INTEGER,
            sentence TEXT NOT NULL) STRICT""",
        "CREATE INDEX events_by_target ON events (target, id)",
        "CREATE INDEX repairs ON events (at) WHERE kind = 'outcome' AND cause = 'drift'",
        "CREATE TABLE open_intents (id INTEGER PRIMARY KEY) STRICT",
        """CREATE TABLE suspensions (target TEXT PRIMARY KEY, by TEXT NOT NULL, why TEXT NOT NULL,
            until_at REAL NOT NULL) STRICT""",
        """CREATE TABLE approvals (action_id TEXT NOT NULL, revision TEXT NOT NULL,
            by TEXT NOT NULL, expires_at REAL NOT NULL,
            PRIMARY KEY (action_id, revision)) STRICT""",
        """CREATE TABLE conditions (target TEXT NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL,
            reason TEXT NOT NULL, message TEXT NOT NULL, revision TEXT NOT NULL,
            since_at REAL NOT NULL, PRIMARY KEY (target, type)) STRICT""",
        """CREATE TABLE applied (one INTEGER PRIMARY KEY CHECK (one = 1), revision TEXT NOT NULL,
            fingerprints TEXT NOT NULL, at REAL NOT NULL) STRICT""",
        "CREATE TABLE seen (node TEXT PRIMARY KEY, facts TEXT NOT NULL, at REAL NOT NULL) STRICT",
        """CREATE TABLE status (one INTEGER PRIMARY KEY CHECK (one = 1),
            content TEXT NOT NULL) STRICT""",
    ),
    ("ALTER TABLE seen ADD COLUMN silent INTEGER NOT NULL DEFAULT 0",),
    ("ALTER TABLE approvals ADD COLUMN content TEXT NOT NULL DEFAULT ''",),
    ("""CREATE TABLE requests (machine TEXT NOT NULL, wish TEXT NOT NULL, by TEXT NOT NULL,
        at REAL NOT NULL, PRIMARY KEY (machine, wish)) STRICT""",),
    ("CREATE INDEX routine ON events (id) WHERE cause = 'routine' AND outcome IN ('', 'done')",),
    ("""CREATE TABLE memories (kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (kind, name)) STRICT""",),
    ("""CREATE TABLE undone (action_id TEXT PRIMARY KEY, target TEXT NOT NULL, goal TEXT NOT NULL,
        sentence TEXT NOT NULL, at REAL NOT NULL, spec TEXT NOT NULL) STRICT""",),
    ("""CREATE TABLE failovers (target TEXT NOT NULL, planned INTEGER NOT NULL, by TEXT NOT NULL,
        why TEXT NOT NULL, at REAL NOT NULL, accepts_loss INTEGER NOT NULL, point TEXT NOT NULL,
        back INTEGER NOT NULL,
        PRIMARY KEY (target, planned)) STRICT""",
     """CREATE TABLE confirmations (host TEXT PRIMARY KEY, by TEXT NOT NULL, why TEXT NOT NULL,
        boot_id TEXT NOT NULL, at REAL NOT NULL) STRICT"""),
    ("ALTER TABLE events ADD COLUMN term INTEGER NOT NULL DEFAULT 0",),
    ("""CREATE TABLE failed_moves (target TEXT PRIMARY KEY, tries INTEGER NOT NULL,
        sentence TEXT NOT NULL, at REAL NOT NULL) STRICT""",),
    ("""CREATE TABLE changes (kind TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL,
        PRIMARY KEY (kind, name)) STRICT""",
     "CREATE INDEX changes_by_number ON changes (number)",
     """CREATE TABLE declared (target TEXT PRIMARY KEY, place TEXT NOT NULL, content TEXT NOT NULL)
        STRICT""",
     """CREATE TABLE progress (target TEXT PRIMARY KEY, sentence TEXT NOT NULL, at REAL NOT NULL)
        STRICT""",
     *_numbered("conditions", "condition", "ROW.target"),
     *_numbered("declared", "declared", "ROW.target"),
     *_numbered("progress", "progress", "ROW.target"),
     *_numbered("suspensions", "suspension", "ROW.target"),
     *_numbered("approvals", "approval", "ROW.action_id"),
     *_numbered("open_intents", "work", "''"),
     *_numbered("seen", "seen", "ROW.node", updated=" OF facts, silent"),
     *_numbered("status", "status", "''")),
    ("""CREATE TABLE samples (step INTEGER NOT NULL, at INTEGER NOT NULL, content TEXT NOT NULL,
        PRIMARY KEY (step, at)) STRICT""",),
    ("CREATE TABLE receivers (name TEXT PRIMARY KEY, content TEXT NOT NULL) STRICT",),
    ("ALTER TABLE approvals RENAME TO approvals_of_one",
     """CREATE TABLE approvals (action_id TEXT NOT NULL, revision TEXT NOT NULL,
        by TEXT NOT NULL, expires_at REAL NOT NULL, content TEXT NOT NULL, why TEXT NOT NULL,
        PRIMARY KEY (action_id, revision, by)) STRICT""",
     """INSERT INTO approvals SELECT action_id, revision, by, expires_at, content, ''
        FROM approvals_of_one""",
     "DROP TABLE approvals_of_one",
     *_numbered("approvals", "approval", "ROW.action_id")),
    ("""CREATE TABLE break_glass (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL,
        content TEXT NOT NULL, ended_at REAL, sentence TEXT NOT NULL) STRICT""",
     *_numbered("break_glass", "glass", "ROW.id")),
)


def migrate(database: Database) -> None:
    """Bring the file to the newest migration; a file that is there already is not written to.

    Errors: JournalUnavailable when the file is another program's or a newer hotsite's.
    """
    done = _version(database)
    if done == len(STEPS):
        return
    with database.write(durable=True) as connection:
        (done,), = connection.execute("PRAGMA user_version").fetchall()
        for step in STEPS[done:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={len(STEPS)}")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")


ONE_LOOK: Final = """SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema)
FROM pragma_user_version, pragma_application_id"""
"""One statement, so that it is consistent while another process creates the file."""


def _version(database: Database) -> int:
    """Return how many migrations the file has had, after checking that it is ours."""
    (version, owner, tables), = database.read(ONE_LOOK)
    if tables and owner != APPLICATION_ID:
        raise JournalUnavailable(f"{database.path} is another program's database, not hotsite's "
                                 "journal: name another state folder")
    if version > len(STEPS):
        raise JournalUnavailable(f"the journal {database.path} was written by a newer hotsite "
                                 f"(schema {version}, this one knows {len(STEPS)}): "
                                 "use that one, or another state folder")
    return int(version)
