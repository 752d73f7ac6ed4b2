-- What keeps pages few. Its twin is ../sqlite/0002_noise.sql.

-- The alert or the silence that holds a ticket's pages back, and the ticket of that alert.
ALTER TABLE tickets ADD COLUMN held_by uuid;
ALTER TABLE tickets ADD COLUMN parent uuid;
CREATE INDEX tickets_held ON tickets (held_by) WHERE held_by IS NOT NULL;
CREATE INDEX tickets_parent ON tickets (parent) WHERE parent IS NOT NULL;
CREATE INDEX alerts_open_rule ON alerts (org, rule) WHERE cleared_at IS NULL;

-- What somebody decided not to be paged for. A silence that is ended early keeps its row with an earlier end.
CREATE TABLE silences (
    id uuid PRIMARY KEY,
    org uuid NOT NULL REFERENCES organisations (id),
    author uuid NOT NULL,
    author_name text NOT NULL,
    reason text NOT NULL,
    matchers text NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    ended_by text
);
CREATE INDEX silences_org ON silences (org, ends_at);

-- How often conditions came lately.
CREATE TABLE flaps (
    device text NOT NULL,
    rule text NOT NULL,
    score double precision NOT NULL,
    at timestamptz NOT NULL,
    flapping boolean NOT NULL,
    PRIMARY KEY (device, rule)
);
CREATE INDEX flaps_at ON flaps (at);
