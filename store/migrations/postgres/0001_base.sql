-- The base of Liftline on PostgreSQL. Its twin is ../sqlite/0001_base.sql: same tables, same columns.
--
-- Times are timestamptz, ids uuid. Columns that hold a document (state, body, content, actor, what, args, detail)
-- are text with JSON in it: jsonb would refuse the character U+0000, which a device may send inside a text.
-- Wide tables of readings are made per profile, in the schema "readings".

CREATE SCHEMA IF NOT EXISTS readings;

-- Organisations and what belongs to them.

CREATE TABLE organisations (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    next_ticket bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL
);

CREATE TABLE sites (
    id uuid PRIMARY KEY,
    org uuid NOT NULL REFERENCES organisations (id),
    name text NOT NULL,
    address text NOT NULL,
    time_zone text NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (org, name)
);

CREATE TABLE devices (
    id text COLLATE "C" PRIMARY KEY,
    org uuid NOT NULL REFERENCES organisations (id),
    site uuid NOT NULL REFERENCES sites (id),
    profile text NOT NULL,
    name text NOT NULL,
    plate text UNIQUE,
    secret_sha256 bytea,
    created_at timestamptz NOT NULL
);
CREATE INDEX devices_org ON devices (org, id);
CREATE INDEX devices_site ON devices (site);

-- Written by the recorder for every device that was heard; no foreign key, so that an entry of a device that is
-- removed meanwhile never blocks the others.
CREATE TABLE device_state (
    device text PRIMARY KEY,
    last_seen timestamptz,
    online boolean,
    online_at timestamptz
);

CREATE TABLE people (
    id uuid PRIMARY KEY,
    org uuid NOT NULL REFERENCES organisations (id),
    name text NOT NULL,
    role text NOT NULL,
    language text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX people_org ON people (org, name);

CREATE TABLE receivers (
    person uuid NOT NULL REFERENCES people (id),
    position bigint NOT NULL,
    channel text NOT NULL,
    address text NOT NULL,
    PRIMARY KEY (person, position)
);
CREATE INDEX receivers_address ON receivers (address);

CREATE TABLE subscriptions (
    org uuid NOT NULL REFERENCES organisations (id),
    person uuid NOT NULL REFERENCES people (id),
    site uuid REFERENCES sites (id),
    device text REFERENCES devices (id),
    CHECK ((site IS NULL) <> (device IS NULL))
);
CREATE UNIQUE INDEX subscriptions_site ON subscriptions (site, person) WHERE site IS NOT NULL;
CREATE UNIQUE INDEX subscriptions_device ON subscriptions (device, person) WHERE device IS NOT NULL;

CREATE TABLE rotas (
    id uuid PRIMARY KEY,
    org uuid NOT NULL REFERENCES organisations (id),
    site uuid REFERENCES sites (id),
    level bigint NOT NULL,
    time_zone text NOT NULL,
    first_handover text NOT NULL,
    shift_days bigint NOT NULL,
    together bigint NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX rotas_org ON rotas (org);

CREATE TABLE rota_members (
    rota uuid NOT NULL REFERENCES rotas (id),
    position bigint NOT NULL,
    person uuid NOT NULL REFERENCES people (id),
    PRIMARY KEY (rota, position)
);

-- What devices said.

CREATE TABLE reading_channels (
    profile text NOT NULL,
    channel text NOT NULL,
    kind text NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (profile, channel)
);

CREATE TABLE device_events (
    device text NOT NULL,
    time timestamptz NOT NULL,
    code text NOT NULL,
    seq bigint,
    body text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (device, time, code)
);

CREATE TABLE rejects (
    id uuid PRIMARY KEY,
    org uuid,
    device text,
    received_at timestamptz NOT NULL,
    topic text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    payload bytea NOT NULL
);
CREATE INDEX rejects_org ON rejects (org, received_at);
CREATE INDEX rejects_received ON rejects (received_at);

-- Where the watch stands: committed together with what it found.
CREATE TABLE watch_cursors (
    part bigint PRIMARY KEY,
    events bigint NOT NULL,
    telemetry bigint NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE watch_snapshots (
    part bigint NOT NULL,
    name text NOT NULL,
    events bigint NOT NULL,
    telemetry bigint NOT NULL,
    data bytea NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (part, name)
);

-- Tickets.

CREATE TABLE tickets (
    id uuid PRIMARY KEY,
    org uuid NOT NULL REFERENCES organisations (id),
    number bigint NOT NULL,
    kind text NOT NULL,
    status text NOT NULL,
    severity text NOT NULL,
    life_safety boolean NOT NULL,
    site uuid NOT NULL,
    device text,
    group_key text NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz,
    next_due_at timestamptz,
    version bigint NOT NULL,
    lines bigint NOT NULL,
    search text NOT NULL,
    state text NOT NULL,
    UNIQUE (org, number)
);
CREATE UNIQUE INDEX tickets_group ON tickets (group_key) WHERE status <> 'closed';
CREATE INDEX tickets_due ON tickets (next_due_at) WHERE next_due_at IS NOT NULL;
CREATE INDEX tickets_device ON tickets (device) WHERE status <> 'closed';
CREATE INDEX tickets_live ON tickets (org, number) WHERE status <> 'closed';

-- Append-only; tickets.lines counts a ticket's lines.
CREATE TABLE ticket_timeline (
    ticket uuid NOT NULL REFERENCES tickets (id),
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    what text NOT NULL,
    PRIMARY KEY (ticket, seq)
);

CREATE TABLE alerts (
    id uuid PRIMARY KEY,
    ticket uuid NOT NULL REFERENCES tickets (id),
    org uuid NOT NULL,
    device text NOT NULL,
    rule text NOT NULL,
    raised_at timestamptz NOT NULL,
    cleared_at timestamptz,
    body text NOT NULL
);
CREATE INDEX alerts_ticket ON alerts (ticket);
CREATE INDEX alerts_device ON alerts (device, raised_at);
CREATE INDEX alerts_open ON alerts (id) WHERE cleared_at IS NULL;

-- The token is kept beside its hash: every later message to the affected person carries the same link again, and a
-- hash cannot be turned back into a link. It opens one care page and nothing else, and dies with its ticket.
CREATE TABLE care_links (
    affected uuid PRIMARY KEY,
    ticket uuid NOT NULL REFERENCES tickets (id),
    token text NOT NULL,
    token_sha256 bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL
);
CREATE INDEX care_links_ticket ON care_links (ticket);

-- Messages owed to people.

CREATE TABLE outbox (
    id uuid PRIMARY KEY,
    org uuid NOT NULL REFERENCES organisations (id),
    ticket uuid REFERENCES tickets (id),
    dedup_key text NOT NULL,
    person uuid,
    affected uuid,
    channel text NOT NULL,
    address text NOT NULL,
    language text NOT NULL,
    purpose text NOT NULL,
    priority bigint NOT NULL,
    life_safety boolean NOT NULL,
    content text NOT NULL,
    state text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    claims bigint NOT NULL DEFAULT 0,
    settled bigint NOT NULL DEFAULT 0,
    attempts bigint NOT NULL DEFAULT 0,
    provider_id text,
    last_error text,
    updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX outbox_dedup ON outbox (ticket, dedup_key) WHERE ticket IS NOT NULL;
CREATE UNIQUE INDEX outbox_dedup_org ON outbox (org, dedup_key) WHERE ticket IS NULL;
CREATE INDEX outbox_pending ON outbox (priority, id) WHERE state = 'pending';
CREATE INDEX outbox_pending_ticket ON outbox (ticket) WHERE state = 'pending';
CREATE INDEX outbox_dead ON outbox (org, id) WHERE state = 'dead';
CREATE INDEX outbox_sent ON outbox (updated_at) WHERE state = 'sent';

CREATE TABLE attempts (
    message uuid NOT NULL REFERENCES outbox (id),
    number bigint NOT NULL,
    at timestamptz NOT NULL,
    provider_id text,
    outcome text NOT NULL,
    PRIMARY KEY (message, number)
);
CREATE INDEX attempts_provider ON attempts (provider_id) WHERE provider_id IS NOT NULL;

-- What providers reported, also before the attempt that it is about was recorded.
CREATE TABLE delivery_reports (
    provider_id text NOT NULL,
    state text NOT NULL,
    detail text,
    at timestamptz NOT NULL,
    PRIMARY KEY (provider_id, state)
);

-- The small number by which the holder of an address names a ticket in a reply. Every number from 1 to the highest ever
-- used at an address has its row, so that the lowest free one is the lowest that is not taken, else the next.
CREATE TABLE reply_codes (
    address text NOT NULL,
    code bigint NOT NULL,
    ticket uuid NOT NULL REFERENCES tickets (id),
    taken boolean NOT NULL,
    used_at timestamptz NOT NULL,
    PRIMARY KEY (address, code)
);
CREATE INDEX reply_codes_ticket ON reply_codes (ticket, address);
CREATE INDEX reply_codes_free ON reply_codes (address, code) WHERE NOT taken;
CREATE INDEX reply_codes_latest ON reply_codes (address, used_at) WHERE taken;

-- Logins.

CREATE TABLE users (
    id uuid PRIMARY KEY,
    org uuid NOT NULL REFERENCES organisations (id),
    username text NOT NULL UNIQUE,
    name text NOT NULL,
    role text NOT NULL,
    language text NOT NULL,
    password_hash text,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL
);

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id),
    token_sha256 bytea NOT NULL UNIQUE,
    csrf text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE login_links (
    token_sha256 bytea PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id),
    expires_at timestamptz NOT NULL
);

-- Commands down to devices.

CREATE TABLE commands (
    id uuid PRIMARY KEY,
    org uuid NOT NULL REFERENCES organisations (id),
    device text NOT NULL REFERENCES devices (id),
    name text NOT NULL,
    args text NOT NULL,
    state text NOT NULL,
    detail text,
    requested_by text NOT NULL,
    created_at timestamptz NOT NULL,
    deadline timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX commands_device ON commands (device, id);
CREATE INDEX commands_live ON commands (deadline) WHERE state IN ('queued', 'sent', 'delivered');

-- Who changed what. Append-only.
CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    org uuid,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail text NOT NULL
);
CREATE INDEX audit_org ON audit (org, id);
