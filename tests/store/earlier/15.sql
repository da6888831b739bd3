BEGIN TRANSACTION;
CREATE TABLE applied (one INTEGER PRIMARY KEY CHECK (one = 1), revision TEXT NOT NULL,
            fingerprints TEXT NOT NULL, at REAL NOT NULL) STRICT;
INSERT INTO "applied" VALUES(1,'r1','{}',100.0);
CREATE TABLE approvals (action_id TEXT NOT NULL, revision TEXT NOT NULL,
        by TEXT NOT NULL, expires_at REAL NOT NULL, content TEXT NOT NULL, why TEXT NOT NULL,
        PRIMARY KEY (action_id, revision, by)) STRICT;
INSERT INTO "approvals" VALUES('start:VirtualMachine/sql@paris-1','r1','ann',9000000000.0,'c1','the alarm');
CREATE TABLE break_glass (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL,
        content TEXT NOT NULL, ended_at REAL, sentence TEXT NOT NULL) STRICT;
INSERT INTO "break_glass" VALUES(1,'0badcafe','{"id":"0badcafe","by":"ann","why":"the forge is down","begun_at":1.0,"until_at":9000000000.0,"base":"c0ffee","changes":[{"target":"VirtualMachine/sql","file":"vms.yaml","before":"{}","after":"{\"a\":1}","text":"x"}],"targets":["VirtualMachine/sql"],"patch":"patch","agreed":[["start:VirtualMachine/sql@paris-1","c1"]],"undoes":null}',NULL,'');
CREATE TABLE changes (kind TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL,
        PRIMARY KEY (kind, name)) STRICT;
INSERT INTO "changes" VALUES('approval','start:VirtualMachine/sql@paris-1',1);
INSERT INTO "changes" VALUES('glass','0badcafe',2);
CREATE TABLE conditions (target TEXT NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL,
            reason TEXT NOT NULL, message TEXT NOT NULL, revision TEXT NOT NULL,
            since_at REAL NOT NULL, PRIMARY KEY (target, type)) STRICT;
INSERT INTO "conditions" VALUES('VirtualMachine/sql','Ready','true','Running','it runs','r1',100.0);
CREATE TABLE confirmations (host TEXT PRIMARY KEY, by TEXT NOT NULL, why TEXT NOT NULL,
        boot_id TEXT NOT NULL, at REAL NOT NULL) STRICT;
INSERT INTO "confirmations" VALUES('paris-1','ann','cords','b',100.0);
CREATE TABLE declared (target TEXT PRIMARY KEY, place TEXT NOT NULL, content TEXT NOT NULL)
        STRICT;
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
CREATE TABLE progress (target TEXT PRIMARY KEY, sentence TEXT NOT NULL, at REAL NOT NULL)
        STRICT;
CREATE TABLE receivers (name TEXT PRIMARY KEY, content TEXT NOT NULL) STRICT;
INSERT INTO "receivers" VALUES('oncall','{"history": [], "outbox": {}}');
CREATE TABLE requests (machine TEXT NOT NULL, wish TEXT NOT NULL, by TEXT NOT NULL,
        at REAL NOT NULL, PRIMARY KEY (machine, wish)) STRICT;
INSERT INTO "requests" VALUES('sql','verify','ann',100.0);
CREATE TABLE samples (step INTEGER NOT NULL, at INTEGER NOT NULL, content TEXT NOT NULL,
        PRIMARY KEY (step, at)) STRICT;
INSERT INTO "samples" VALUES(60,960,'{"paris-1":[0.5,1073741824]}');
INSERT INTO "samples" VALUES(3600,0,'{"paris-1":[0.5,1073741824]}');
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
CREATE INDEX changes_by_number ON changes (number);
CREATE TRIGGER conditions_insert_numbered AFTER INSERT ON conditions BEGIN INSERT INTO changes SELECT 'condition', NEW.target, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER conditions_update_numbered AFTER UPDATE ON conditions BEGIN INSERT INTO changes SELECT 'condition', NEW.target, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER conditions_delete_numbered AFTER DELETE ON conditions BEGIN INSERT INTO changes SELECT 'condition', OLD.target, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER declared_insert_numbered AFTER INSERT ON declared BEGIN INSERT INTO changes SELECT 'declared', NEW.target, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER declared_update_numbered AFTER UPDATE ON declared BEGIN INSERT INTO changes SELECT 'declared', NEW.target, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER declared_delete_numbered AFTER DELETE ON declared BEGIN INSERT INTO changes SELECT 'declared', OLD.target, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER progress_insert_numbered AFTER INSERT ON progress BEGIN INSERT INTO changes SELECT 'progress', NEW.target, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER progress_update_numbered AFTER UPDATE ON progress BEGIN INSERT INTO changes SELECT 'progress', NEW.target, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER progress_delete_numbered AFTER DELETE ON progress BEGIN INSERT INTO changes SELECT 'progress', OLD.target, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER suspensions_insert_numbered AFTER INSERT ON suspensions BEGIN INSERT INTO changes SELECT 'suspension', NEW.target, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER suspensions_update_numbered AFTER UPDATE ON suspensions BEGIN INSERT INTO changes SELECT 'suspension', NEW.target, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER suspensions_delete_numbered AFTER DELETE ON suspensions BEGIN INSERT INTO changes SELECT 'suspension', OLD.target, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER open_intents_insert_numbered AFTER INSERT ON open_intents BEGIN INSERT INTO changes SELECT 'work', '', coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER open_intents_update_numbered AFTER UPDATE ON open_intents BEGIN INSERT INTO changes SELECT 'work', '', coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER open_intents_delete_numbered AFTER DELETE ON open_intents BEGIN INSERT INTO changes SELECT 'work', '', coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER seen_insert_numbered AFTER INSERT ON seen BEGIN INSERT INTO changes SELECT 'seen', NEW.node, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER seen_update_numbered AFTER UPDATE OF facts, silent ON seen BEGIN INSERT INTO changes SELECT 'seen', NEW.node, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER seen_delete_numbered AFTER DELETE ON seen BEGIN INSERT INTO changes SELECT 'seen', OLD.node, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER status_insert_numbered AFTER INSERT ON status BEGIN INSERT INTO changes SELECT 'status', '', coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER status_update_numbered AFTER UPDATE ON status BEGIN INSERT INTO changes SELECT 'status', '', coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER status_delete_numbered AFTER DELETE ON status BEGIN INSERT INTO changes SELECT 'status', '', coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER approvals_insert_numbered AFTER INSERT ON approvals BEGIN INSERT INTO changes SELECT 'approval', NEW.action_id, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER approvals_update_numbered AFTER UPDATE ON approvals BEGIN INSERT INTO changes SELECT 'approval', NEW.action_id, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER approvals_delete_numbered AFTER DELETE ON approvals BEGIN INSERT INTO changes SELECT 'approval', OLD.action_id, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER break_glass_insert_numbered AFTER INSERT ON break_glass BEGIN INSERT INTO changes SELECT 'glass', NEW.id, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER break_glass_update_numbered AFTER UPDATE ON break_glass BEGIN INSERT INTO changes SELECT 'glass', NEW.id, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
CREATE TRIGGER break_glass_delete_numbered AFTER DELETE ON break_glass BEGIN INSERT INTO changes SELECT 'glass', OLD.id, coalesce(max(number), 0) + 1 FROM changes WHERE true ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number; END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',1);
COMMIT;
PRAGMA user_version=15;
PRAGMA application_id=1752134771;
