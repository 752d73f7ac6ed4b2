-- The base of Liftline on SQLite. Its twin is ../postgres/0001_base.sql: same tables, same columns.
--
-- Times are integer microseconds since 1970, ids 16-byte blobs, truth values 0 and 1. Columns that hold a document
-- (state, body, content, actor, what, args, detail) are text with JSON in it.
-- Wide tables of readings are made per profile, named "readings_" and the profile.

-- Organisations and what belongs to them.

CREATE TABLE organisations (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    next_ticket INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sites (
    id BLOB PRIMARY KEY,
    org BLOB NOT NULL REFERENCES organisations (id),
    name TEXT NOT NULL,
    address TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (org, name)
) STRICT;

CREATE TABLE devices (
    id TEXT PRIMARY KEY,
    org BLOB NOT NULL REFERENCES organisations (id),
    site BLOB NOT NULL REFERENCES sites (id),
    profile TEXT NOT NULL,
    name TEXT NOT NULL,
    plate TEXT UNIQUE,
    secret_sha256 BLOB,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX devices_org ON devices (org, id);
CREATE INDEX devices_site ON devices (site);

-- Written by the recorder for every device that was heard; no foreign key, so that an entry of a device that is
-- removed meanwhile never blocks the others.
CREATE TABLE device_state (
    device TEXT PRIMARY KEY,
    last_seen INTEGER,
    online INTEGER,
    online_at INTEGER
) STRICT;

CREATE TABLE people (
    id BLOB PRIMARY KEY,
    org BLOB NOT NULL REFERENCES organisations (id),
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    language TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX people_org ON people (org, name);

CREATE TABLE receivers (
    person BLOB NOT NULL REFERENCES people (id),
    position INTEGER NOT NULL,
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    PRIMARY KEY (person, position)
) STRICT;
CREATE INDEX receivers_address ON receivers (address);

CREATE TABLE subscriptions (
    org BLOB NOT NULL REFERENCES organisations (id),
    person BLOB NOT NULL REFERENCES people (id),
    site BLOB REFERENCES sites (id),
    device TEXT REFERENCES devices (id),
    CHECK ((site IS NULL) <> (device IS NULL))
) STRICT;
CREATE UNIQUE INDEX subscriptions_site ON subscriptions (site, person) WHERE site IS NOT NULL;
CREATE UNIQUE INDEX subscriptions_device ON subscriptions (device, person) WHERE device IS NOT NULL;

CREATE TABLE rotas (
    id BLOB PRIMARY KEY,
    org BLOB NOT NULL REFERENCES organisations (id),
    site BLOB REFERENCES sites (id),
    level INTEGER NOT NULL,
    time_zone TEXT NOT NULL,
    first_handover TEXT NOT NULL,
    shift_days INTEGER NOT NULL,
    together INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX rotas_org ON rotas (org);

CREATE TABLE rota_members (
    rota BLOB NOT NULL REFERENCES rotas (id),
    position INTEGER NOT NULL,
    person BLOB NOT NULL REFERENCES people (id),
    PRIMARY KEY (rota, position)
) STRICT;

-- What devices said.

CREATE TABLE reading_channels (
    profile TEXT NOT NULL,
    channel TEXT NOT NULL,
    kind TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (profile, channel)
) STRICT;

CREATE TABLE device_events (
    device TEXT NOT NULL,
    time INTEGER NOT NULL,
    code TEXT NOT NULL,
    seq INTEGER,
    body TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (device, time, code)
) STRICT;

CREATE TABLE rejects (
    id BLOB PRIMARY KEY,
    org BLOB,
    device TEXT,
    received_at INTEGER NOT NULL,
    topic TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX rejects_org ON rejects (org, received_at);
CREATE INDEX rejects_received ON rejects (received_at);

-- Where the watch stands: committed together with what it found.
CREATE TABLE watch_cursors (
    part INTEGER PRIMARY KEY,
    events INTEGER NOT NULL,
    telemetry INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE watch_snapshots (
    part INTEGER NOT NULL,
    name TEXT NOT NULL,
    events INTEGER NOT NULL,
    telemetry INTEGER NOT NULL,
    data BLOB NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (part, name)
) STRICT;

-- Tickets.

CREATE TABLE tickets (
    id BLOB PRIMARY KEY,
    org BLOB NOT NULL REFERENCES organisations (id),
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    severity TEXT NOT NULL,
    life_safety INTEGER NOT NULL,
    site BLOB NOT NULL,
    device TEXT,
    group_key TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    next_due_at INTEGER,
    version INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    search TEXT NOT NULL,
    state TEXT NOT NULL,
    UNIQUE (org, number)
) STRICT;
CREATE UNIQUE INDEX tickets_group ON tickets (group_key) WHERE status <> 'closed';
CREATE INDEX tickets_due ON tickets (next_due_at) WHERE next_due_at IS NOT NULL;
CREATE INDEX tickets_device ON tickets (device) WHERE status <> 'closed';
CREATE INDEX tickets_live ON tickets (org, number) WHERE status <> 'closed';

-- Append-only; tickets.lines counts a ticket's lines.
CREATE TABLE ticket_timeline (
    ticket BLOB NOT NULL REFERENCES tickets (id),
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (ticket, seq)
) STRICT;

CREATE TABLE alerts (
    id BLOB PRIMARY KEY,
    ticket BLOB NOT NULL REFERENCES tickets (id),
    org BLOB NOT NULL,
    device TEXT NOT NULL,
    rule TEXT NOT NULL,
    raised_at INTEGER NOT NULL,
    cleared_at INTEGER,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX alerts_ticket ON alerts (ticket);
CREATE INDEX alerts_device ON alerts (device, raised_at);
CREATE INDEX alerts_open ON alerts (id) WHERE cleared_at IS NULL;

-- The token is kept beside its hash: every later message to the affected person carries the same link again, and a
-- hash cannot be turned back into a link. It opens one care page and nothing else, and dies with its ticket.
CREATE TABLE care_links (
    affected BLOB PRIMARY KEY,
    ticket BLOB NOT NULL REFERENCES tickets (id),
    token TEXT NOT NULL,
    token_sha256 BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX care_links_ticket ON care_links (ticket);

-- Messages owed to people.

CREATE TABLE outbox (
    id BLOB PRIMARY KEY,
    org BLOB NOT NULL REFERENCES organisations (id),
    ticket BLOB REFERENCES tickets (id),
    dedup_key TEXT NOT NULL,
    person BLOB,
    affected BLOB,
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    language TEXT NOT NULL,
    purpose TEXT NOT NULL,
    priority INTEGER NOT NULL,
    life_safety INTEGER NOT NULL,
    content TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    claims INTEGER NOT NULL DEFAULT 0,
    settled INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    provider_id TEXT,
    last_error TEXT,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX outbox_dedup ON outbox (ticket, dedup_key) WHERE ticket IS NOT NULL;
CREATE UNIQUE INDEX outbox_dedup_org ON outbox (org, dedup_key) WHERE ticket IS NULL;
CREATE INDEX outbox_pending ON outbox (priority, id) WHERE state = 'pending';
CREATE INDEX outbox_pending_ticket ON outbox (ticket) WHERE state = 'pending';
CREATE INDEX outbox_dead ON outbox (org, id) WHERE state = 'dead';
CREATE INDEX outbox_sent ON outbox (updated_at) WHERE state = 'sent';

CREATE TABLE attempts (
    message BLOB NOT NULL REFERENCES outbox (id),
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    provider_id TEXT,
    outcome TEXT NOT NULL,
    PRIMARY KEY (message, number)
) STRICT;
CREATE INDEX attempts_provider ON attempts (provider_id) WHERE provider_id IS NOT NULL;

-- What providers reported, also before the attempt that it is about was recorded.
CREATE TABLE delivery_reports (
    provider_id TEXT NOT NULL,
    state TEXT NOT NULL,
    detail TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (provider_id, state)
) STRICT;

-- The small number by which the holder of an address names a ticket in a reply. Every number from 1 to the highest ever
-- used at an address has its row, so that the lowest free one is the lowest that is not taken, else the next.
CREATE TABLE reply_codes (
    address TEXT NOT NULL,
    code INTEGER NOT NULL,
    ticket BLOB NOT NULL REFERENCES tickets (id),
    taken INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (address, code)
) STRICT;
CREATE INDEX reply_codes_ticket ON reply_codes (ticket, address);
CREATE INDEX reply_codes_free ON reply_codes (address, code) WHERE NOT taken;
CREATE INDEX reply_codes_latest ON reply_codes (address, used_at) WHERE taken;

-- Logins.

CREATE TABLE users (
    id BLOB PRIMARY KEY,
    org BLOB NOT NULL REFERENCES organisations (id),
    username TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    language TEXT NOT NULL,
    password_hash TEXT,
    disabled_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    id BLOB PRIMARY KEY,
    user_id BLOB NOT NULL REFERENCES users (id),
    token_sha256 BLOB NOT NULL UNIQUE,
    csrf TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE login_links (
    token_sha256 BLOB PRIMARY KEY,
    user_id BLOB NOT NULL REFERENCES users (id),
    expires_at INTEGER NOT NULL
) STRICT;

-- Commands down to devices.

CREATE TABLE commands (
    id BLOB PRIMARY KEY,
    org BLOB NOT NULL REFERENCES organisations (id),
    device TEXT NOT NULL REFERENCES devices (id),
    name TEXT NOT NULL,
    args TEXT NOT NULL,
    state TEXT NOT NULL,
    detail TEXT,
    requested_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX commands_device ON commands (device, id);
CREATE INDEX commands_live ON commands (deadline) WHERE state IN ('queued', 'sent', 'delivered');

-- Who changed what. Append-only.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    org BLOB,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_org ON audit (org, id);
