-- Rejects are counted one by one and kept as samples. Its twin is ../postgres/0003_reject_counts.sql.

-- Of how many parts of a message a sample speaks.
ALTER TABLE rejects ADD COLUMN parts INTEGER NOT NULL DEFAULT 1;

-- How many there were; the device is '' where it is not known.
CREATE TABLE reject_counts (
    device TEXT NOT NULL,
    reason TEXT NOT NULL,
    org BLOB,
    count INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (device, reason)
) STRICT;
CREATE INDEX reject_counts_org ON reject_counts (org);
INSERT INTO reject_counts (device, reason, org, count, last_at)
    SELECT coalesce(r.device, ''), r.reason, d.org, count(*), max(r.received_at)
    FROM rejects r LEFT JOIN devices d ON d.id = r.device GROUP BY 1, 2, 3;

-- Up to which entry of the telemetry lane they are counted: one row, written with the counts.
CREATE TABLE reject_cursor (
    part INTEGER PRIMARY KEY,
    counted_to INTEGER NOT NULL
) STRICT;
