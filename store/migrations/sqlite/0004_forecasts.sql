-- Failure models and what they forecast. Its twin is ../postgres/0004_forecasts.sql.

-- When the hub learnt of an alert and of its end: what it knew at a moment can be told from what devices sent later.
ALTER TABLE alerts ADD COLUMN raised_known_at INTEGER;
ALTER TABLE alerts ADD COLUMN cleared_known_at INTEGER;
CREATE INDEX alerts_rule ON alerts (rule, raised_at);

-- Scores is a document. A model that was never used loses its artefact when enough newer ones are there.
CREATE TABLE failure_models (
    id BLOB PRIMARY KEY,
    profile TEXT NOT NULL,
    horizon INTEGER NOT NULL,
    state TEXT NOT NULL,
    trained_from INTEGER NOT NULL,
    train_until INTEGER NOT NULL,
    calibrate_until INTEGER NOT NULL,
    tested_until INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    scores TEXT NOT NULL,
    artefact BLOB,
    created_at INTEGER NOT NULL,
    promoted_at INTEGER,
    retired_at INTEGER
) STRICT;
CREATE UNIQUE INDEX failure_models_champion ON failure_models (profile, horizon) WHERE state = 'champion';
CREATE INDEX failure_models_profile ON failure_models (profile, horizon, created_at);

-- What was forecast, and what came of it: outcome is null until the horizon has passed.
CREATE TABLE failure_forecasts (
    device TEXT NOT NULL,
    horizon INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    org BLOB NOT NULL,
    profile TEXT NOT NULL,
    model BLOB NOT NULL REFERENCES failure_models (id),
    method TEXT NOT NULL,
    probability REAL NOT NULL,
    naive REAL NOT NULL,
    threshold REAL NOT NULL,
    alerted INTEGER NOT NULL,
    outcome INTEGER,
    failed_at INTEGER,
    PRIMARY KEY (device, horizon, made_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX failure_forecasts_profile ON failure_forecasts (profile, horizon, made_at);
CREATE INDEX failure_forecasts_open ON failure_forecasts (profile, horizon, made_at) WHERE outcome IS NULL;

-- The mean of a channel over a day, as it stood when the day was over: what came later changes no feature of the past.
CREATE TABLE channel_days (
    device TEXT NOT NULL,
    channel TEXT NOT NULL,
    ended_at INTEGER NOT NULL,
    mean REAL NOT NULL,
    PRIMARY KEY (device, channel, ended_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX channel_days_ended ON channel_days (ended_at);
