BEGIN TRANSACTION;
CREATE TABLE applied (one INTEGER PRIMARY KEY CHECK (one = 1), revision TEXT NOT NULL,
            fingerprints TEXT NOT NULL, at REAL NOT NULL) STRICT;
INSERT INTO "applied" VALUES(1,'r1','{}',100.0);
CREATE TABLE approvals (action_id TEXT NOT NULL, revision TEXT NOT NULL,
            by TEXT NOT NULL, expires_at REAL NOT NULL, content TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (action_id, revision)) STRICT;
INSERT INTO "approvals" VALUES('start:VirtualMachine/sql@paris-1','r1','ann',9000000000.0,'');
CREATE TABLE conditions (target TEXT NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL,
            reason TEXT NOT NULL, message TEXT NOT NULL, revision TEXT NOT NULL,
            since_at REAL NOT NULL, PRIMARY KEY (target, type)) STRICT;
INSERT INTO "conditions" VALUES('VirtualMachine/sql','Ready','true','Running','it runs','r1',100.0);
CREATE TABLE confirmations (host TEXT PRIMARY KEY, by TEXT NOT NULL, why TEXT NOT NULL,
        boot_id TEXT NOT NULL, at REAL NOT NULL) STRICT;
INSERT INTO "confirmations" VALUES('paris-1','ann','cords','b',100.0);
CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL,
            target TEXT NOT NULL, node TEXT NOT NULL DEFAULT '', verb TEXT NOT NULL DEFAULT '',
            action_id TEXT NOT NULL DEFAULT '', revision TEXT NOT NULL DEFAULT '',
            cause TEXT NOT NULL DEFAULT '', outcome TEXT NOT NULL DEFAULT '', intent INTEGER,
            sentence TEXT NOT NULL, term INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "events" VALUES(1,100.0,'intent','VirtualMachine/sql','paris-1','start','start:VirtualMachine/sql@paris-1','','drift','',NULL,'it is off',0);
CREATE TABLE failed_moves (target TEXT PRIMARY KEY, tries INTEGER NOT NULL,
        sentence TEXT NOT NULL, at REAL NOT NULL) STRICT;
CREATE TABLE failovers (target TEXT NOT NULL, planned INTEGER NOT NULL, by TEXT NOT NULL,
        why TEXT NOT NULL, at REAL NOT NULL, accepts_loss INTEGER NOT NULL, point TEXT NOT NULL,
        back INTEGER NOT NULL,
        PRIMARY KEY (target, planned)) STRICT;
INSERT INTO "failovers" VALUES('Site/paris',0,'ann','fire',100.0,0,'',0);
CREATE TABLE memories (kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (kind, name)) STRICT;
INSERT INTO "memories" VALUES('lived','sql','1');
CREATE TABLE open_intents (id INTEGER PRIMARY KEY) STRICT;
INSERT INTO "open_intents" VALUES(1);
CREATE TABLE requests (machine TEXT NOT NULL, wish TEXT NOT NULL, by TEXT NOT NULL,
        at REAL NOT NULL, PRIMARY KEY (machine, wish)) STRICT;
INSERT INTO "requests" VALUES('sql','verify','ann',100.0);
CREATE TABLE seen (node TEXT PRIMARY KEY, facts TEXT NOT NULL, at REAL NOT NULL, silent INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "seen" VALUES('paris-1','{}',100.0,0);
CREATE TABLE status (one INTEGER PRIMARY KEY CHECK (one = 1),
            content TEXT NOT NULL) STRICT;
INSERT INTO "status" VALUES(1,'{}');
CREATE TABLE suspensions (target TEXT PRIMARY KEY, by TEXT NOT NULL, why TEXT NOT NULL,
            until_at REAL NOT NULL) STRICT;
INSERT INTO "suspensions" VALUES('Host/paris-1','ann','new disks',9000000000.0);
CREATE TABLE undone (action_id TEXT PRIMARY KEY, target TEXT NOT NULL, goal TEXT NOT NULL,
        sentence TEXT NOT NULL, at REAL NOT NULL, spec TEXT NOT NULL) STRICT;
INSERT INTO "undone" VALUES('widen-trunk:Host/paris-1@paris-1','Host/paris-1','g','it was undone',100.0,'s');
CREATE INDEX events_by_target ON events (target, id);
CREATE INDEX repairs ON events (at) WHERE kind = 'outcome' AND cause = 'drift';
CREATE INDEX routine ON events (id) WHERE cause = 'routine' AND outcome IN ('', 'done');
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',1);
COMMIT;
PRAGMA user_version=10;
PRAGMA application_id=1752134771;
