-- When somebody said what a closed ticket was. Its twin is ../postgres/0009_false_alarms.sql.

-- The last word: what had failed, or that nothing had (cause 'nothing_found'). Null if nobody said, or nobody kept when.
ALTER TABLE repairs ADD COLUMN said_at INTEGER;
