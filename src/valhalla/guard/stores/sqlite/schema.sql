-- instants are seconds since the epoch, those of limits whole microseconds
CREATE TABLE IF NOT EXISTS actions (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    key TEXT,
    -- whether this row answers its key; a row that another has replaced is found by its id only
    answers INTEGER NOT NULL DEFAULT 1,
    state TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    principal TEXT NOT NULL,
    generation INTEGER NOT NULL,
    version INTEGER NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    lease_until REAL NOT NULL,
    expires_at REAL,
    value_until REAL,
    keep_until REAL,
    value BLOB,
    cold BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS actions_key ON actions (name, key) WHERE answers = 1 AND key IS NOT NULL;
CREATE INDEX IF NOT EXISTS actions_open ON actions (principal) WHERE state IN ('held', 'approved');
CREATE INDEX IF NOT EXISTS actions_unfinished ON actions (state, seq)
    WHERE state IN ('held', 'approved', 'executing', 'indeterminate');
CREATE INDEX IF NOT EXISTS actions_keep ON actions (keep_until) WHERE keep_until IS NOT NULL;
CREATE INDEX IF NOT EXISTS actions_value ON actions (value_until) WHERE value IS NOT NULL AND value_until IS NOT NULL;

CREATE TABLE IF NOT EXISTS lines (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    event TEXT NOT NULL,
    name TEXT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    principal TEXT NOT NULL,
    key TEXT,
    fingerprint BLOB NOT NULL,
    generation INTEGER NOT NULL,
    reason TEXT
) STRICT;

-- tat and step belong to a GCRA limit, total to an exact one: all units it ever gave
CREATE TABLE IF NOT EXISTS buckets (
    resource TEXT NOT NULL,
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    tat REAL NOT NULL DEFAULT 0,
    step REAL NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0,
    until REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (resource, name, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS buckets_until ON buckets (until);

-- what an exact limit gave and when; "before" is the bucket's total until then, so usage is one subtraction
CREATE TABLE IF NOT EXISTS units (
    resource TEXT NOT NULL,
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    at REAL NOT NULL,
    before INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (resource, name, subject, at, before)
) STRICT, WITHOUT ROWID;
