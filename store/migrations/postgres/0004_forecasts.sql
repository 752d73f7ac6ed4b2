-- Failure models and what they forecast. Its twin is ../sqlite/0004_forecasts.sql.

-- When the hub learnt of an alert and of its end: what it knew at a moment can be told from what devices sent later.
ALTER TABLE alerts ADD COLUMN raised_known_at timestamptz;
ALTER TABLE alerts ADD COLUMN cleared_known_at timestamptz;
CREATE INDEX alerts_rule ON alerts (rule, raised_at);

-- Scores is a document. A model that was never used loses its artefact when enough newer ones are there.
CREATE TABLE failure_models (
    id uuid PRIMARY KEY,
    profile text NOT NULL,
    horizon bigint NOT NULL,
    state text NOT NULL,
    trained_from timestamptz NOT NULL,
    train_until timestamptz NOT NULL,
    calibrate_until timestamptz NOT NULL,
    tested_until timestamptz NOT NULL,
    seed bigint NOT NULL,
    scores text NOT NULL,
    artefact bytea,
    created_at timestamptz NOT NULL,
    promoted_at timestamptz,
    retired_at timestamptz
);
CREATE UNIQUE INDEX failure_models_champion ON failure_models (profile, horizon) WHERE state = 'champion';
CREATE INDEX failure_models_profile ON failure_models (profile, horizon, created_at);

-- What was forecast, and what came of it: outcome is null until the horizon has passed.
CREATE TABLE failure_forecasts (
    device text COLLATE "C" NOT NULL,
    horizon bigint NOT NULL,
    made_at timestamptz NOT NULL,
    org uuid NOT NULL,
    profile text NOT NULL,
    model uuid NOT NULL REFERENCES failure_models (id),
    method text NOT NULL,
    probability double precision NOT NULL,
    naive double precision NOT NULL,
    threshold double precision NOT NULL,
    alerted boolean NOT NULL,
    outcome boolean,
    failed_at timestamptz,
    PRIMARY KEY (device, horizon, made_at)
);
CREATE INDEX failure_forecasts_profile ON failure_forecasts (profile, horizon, made_at);
CREATE INDEX failure_forecasts_open ON failure_forecasts (profile, horizon, made_at) WHERE outcome IS NULL;

-- The mean of a channel over a day, as it stood when the day was over: what came later changes no feature of the past.
CREATE TABLE channel_days (
    device text COLLATE "C" NOT NULL,
    channel text NOT NULL,
    ended_at timestamptz NOT NULL,
    mean double precision NOT NULL,
    PRIMARY KEY (device, channel, ended_at)
);
CREATE INDEX channel_days_ended ON channel_days (ended_at);
