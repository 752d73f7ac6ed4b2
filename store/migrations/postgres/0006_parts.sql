-- Which parts repairs took. Its twin is ../sqlite/0006_parts.sql.

-- True if somebody said which parts were used, if only that there were none.
ALTER TABLE repairs ADD COLUMN parts_told boolean NOT NULL DEFAULT FALSE;
CREATE INDEX repairs_parts ON repairs (org, profile, cause) WHERE cause IS NOT NULL AND parts_told;

CREATE TABLE repair_parts (
    ticket uuid NOT NULL REFERENCES repairs (ticket),
    part text NOT NULL,
    PRIMARY KEY (ticket, part)
);
