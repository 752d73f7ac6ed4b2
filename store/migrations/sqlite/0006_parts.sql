-- Which parts repairs took. Its twin is ../postgres/0006_parts.sql.

-- True if somebody said which parts were used, if only that there were none.
ALTER TABLE repairs ADD COLUMN parts_told INTEGER NOT NULL DEFAULT FALSE;
CREATE INDEX repairs_parts ON repairs (org, profile, cause) WHERE cause IS NOT NULL AND parts_told;

CREATE TABLE repair_parts (
    ticket BLOB NOT NULL REFERENCES repairs (ticket),
    part TEXT NOT NULL,
    PRIMARY KEY (ticket, part)
) STRICT, WITHOUT ROWID;
