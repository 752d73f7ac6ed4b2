-- What was learnt of every closed ticket. Its twin is ../sqlite/0005_repairs.sql.

-- Rule is that of its first alert. Cause is null if nobody said what had failed, restored_at if its alerts never cleared.
CREATE TABLE repairs (
    ticket uuid PRIMARY KEY REFERENCES tickets (id),
    org uuid NOT NULL,
    profile text NOT NULL,
    rule text NOT NULL,
    kind text NOT NULL,
    cause text,
    opened_at timestamptz NOT NULL,
    restored_at timestamptz,
    closed_at timestamptz NOT NULL
);
CREATE INDEX repairs_cause ON repairs (org, profile, rule, cause) WHERE cause IS NOT NULL;
CREATE INDEX repairs_kind ON repairs (org, profile, kind, closed_at) WHERE restored_at IS NOT NULL;

-- Who uses the devices of a site, where somebody said so.
CREATE TABLE site_use (
    site uuid PRIMARY KEY REFERENCES sites (id),
    population integer NOT NULL,
    traffic text NOT NULL,
    vulnerable integer NOT NULL
);
