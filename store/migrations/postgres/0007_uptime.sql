-- When the hub was up, and alerts that were none. Its twin is ../sqlite/0007_uptime.sql.

-- One row a stretch without a break.
CREATE TABLE hub_up (
    began_at timestamptz PRIMARY KEY,
    until_at timestamptz NOT NULL
);

-- True if an alert ended because it should never have been raised. A body is JSON without blanks.
ALTER TABLE alerts ADD COLUMN withdrawn boolean NOT NULL DEFAULT FALSE;
UPDATE alerts SET withdrawn = TRUE WHERE body LIKE '%"withdrawn":true%';

-- True if nobody was watching when it should have come true: it has no outcome.
ALTER TABLE failure_forecasts ADD COLUMN left_out boolean NOT NULL DEFAULT FALSE;
