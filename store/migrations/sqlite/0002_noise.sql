-- What keeps pages few. Its twin is ../postgres/0002_noise.sql.

-- The alert or the silence that holds a ticket's pages back, and the ticket of that alert.
ALTER TABLE tickets ADD COLUMN held_by BLOB;
ALTER TABLE tickets ADD COLUMN parent BLOB;
CREATE INDEX tickets_held ON tickets (held_by) WHERE held_by IS NOT NULL;
CREATE INDEX tickets_parent ON tickets (parent) WHERE parent IS NOT NULL;
CREATE INDEX alerts_open_rule ON alerts (org, rule) WHERE cleared_at IS NULL;

-- What somebody decided not to be paged for. A silence that is ended early keeps its row with an earlier end.
CREATE TABLE silences (
    id BLOB PRIMARY KEY,
    org BLOB NOT NULL REFERENCES organisations (id),
    author BLOB NOT NULL,
    author_name TEXT NOT NULL,
    reason TEXT NOT NULL,
    matchers TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    ended_by TEXT
) STRICT;
CREATE INDEX silences_org ON silences (org, ends_at);

-- How often conditions came lately.
CREATE TABLE flaps (
    device TEXT NOT NULL,
    rule TEXT NOT NULL,
    score REAL NOT NULL,
    at INTEGER NOT NULL,
    flapping INTEGER NOT NULL,
    PRIMARY KEY (device, rule)
) STRICT;
CREATE INDEX flaps_at ON flaps (at);
