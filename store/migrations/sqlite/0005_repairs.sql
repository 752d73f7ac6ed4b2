-- What was learnt of every closed ticket. Its twin is ../postgres/0005_repairs.sql.

-- Rule is that of its first alert. Cause is null if nobody said what had failed, restored_at if its alerts never cleared.
CREATE TABLE repairs (
    ticket BLOB PRIMARY KEY REFERENCES tickets (id),
    org BLOB NOT NULL,
    profile TEXT NOT NULL,
    rule TEXT NOT NULL,
    kind TEXT NOT NULL,
    cause TEXT,
    opened_at INTEGER NOT NULL,
    restored_at INTEGER,
    closed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX repairs_cause ON repairs (org, profile, rule, cause) WHERE cause IS NOT NULL;
CREATE INDEX repairs_kind ON repairs (org, profile, kind, closed_at) WHERE restored_at IS NOT NULL;

-- Who uses the devices of a site, where somebody said so.
CREATE TABLE site_use (
    site BLOB PRIMARY KEY REFERENCES sites (id),
    population INTEGER NOT NULL,
    traffic TEXT NOT NULL,
    vulnerable INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
