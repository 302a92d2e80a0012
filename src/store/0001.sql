-- The first schema. Times are ms since the Unix epoch, ticks are ms of running time.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- What happened, in the order in which it was taken. Appended, and removed only by retention.
CREATE TABLE events (
    id          INTEGER PRIMARY KEY,
    device      INTEGER NOT NULL,            -- devices.ref
    boot        INTEGER NOT NULL,
    seq         INTEGER NOT NULL,            -- u64, stored as i64 by its bits
    kind        TEXT    NOT NULL,
    at_ms       INTEGER NOT NULL,            -- when it happened
    at_by       TEXT    NOT NULL,            -- whose word that is: device, age, received, implausible
    received_ms INTEGER NOT NULL,
    quality     INTEGER NOT NULL,            -- of received_ms: 0 unknown, 1 estimated, 2 synchronised
    body        BLOB    NOT NULL             -- CBOR map of the kind's own fields, nothing personal
);

-- What can't be an event: kept with its reason, bounded.
CREATE TABLE quarantine (
    id          INTEGER PRIMARY KEY,
    received_ms INTEGER NOT NULL,
    source      TEXT    NOT NULL,            -- a device's id, or 'cloud'
    topic       TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    size_bytes  INTEGER NOT NULL,
    preview     TEXT    NOT NULL             -- its beginning, with personal fields and digits masked
);

CREATE TABLE devices (
    ref           INTEGER PRIMARY KEY,
    device        TEXT    NOT NULL UNIQUE,
    form          TEXT    NOT NULL,
    boot          INTEGER,
    received      INTEGER NOT NULL,
    stored        INTEGER NOT NULL,
    duplicate     INTEGER NOT NULL,
    quarantined   INTEGER NOT NULL,
    last_heard_ms INTEGER NOT NULL,
    model         TEXT,
    firmware      TEXT,
    capabilities  TEXT    NOT NULL           -- JSON array of text
);

CREATE TABLE boots (
    device        TEXT    NOT NULL,
    boot          INTEGER NOT NULL,
    upto          INTEGER NOT NULL,          -- u64 by its bits
    ahead         TEXT    NOT NULL,          -- JSON array of [first, last]
    given_up      TEXT    NOT NULL,          -- JSON array of [first, last]
    first         INTEGER,                   -- u64 by its bits
    reused        INTEGER NOT NULL,
    heard_tick_ms INTEGER NOT NULL,
    PRIMARY KEY (device, boot)
) WITHOUT ROWID;

CREATE TABLE compartments (
    bank        TEXT    NOT NULL,
    compartment INTEGER NOT NULL,
    holds       TEXT    NOT NULL,            -- nothing, reserved, parcel
    parcel      TEXT,
    door        TEXT    NOT NULL,
    occupied    INTEGER,
    fault       TEXT,
    openings    INTEGER NOT NULL,
    PRIMARY KEY (bank, compartment)
) WITHOUT ROWID;

CREATE TABLE parcels (
    parcel               TEXT    PRIMARY KEY,
    recipient            TEXT    NOT NULL,   -- an opaque token
    size                 TEXT    NOT NULL,
    zone                 TEXT    NOT NULL,
    point                TEXT    NOT NULL,
    deadline_ms          INTEGER NOT NULL,
    consent              INTEGER NOT NULL,
    items                INTEGER,
    stage                TEXT    NOT NULL,
    bank                 TEXT,
    compartment          INTEGER,
    desk                 TEXT,
    courier              TEXT,
    command              TEXT,
    opened               INTEGER NOT NULL,
    alarmed              INTEGER NOT NULL,
    reopen_until_tick_ms INTEGER,
    since_ms             INTEGER NOT NULL,
    since_tick_ms        INTEGER NOT NULL,
    archived             INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX parcels_live ON parcels (parcel) WHERE archived = 0;

CREATE TABLE codes (
    point         TEXT    NOT NULL,
    digest        BLOB    NOT NULL,          -- HMAC-SHA256; the key is in a file of its own
    digits        INTEGER NOT NULL,
    parcel        TEXT,                      -- live for this parcel, or
    until_tick_ms INTEGER,                   -- dead and resting until then
    PRIMARY KEY (point, digest)
) WITHOUT ROWID;

CREATE TABLE keypads (
    keypad               TEXT    PRIMARY KEY,
    wrong                INTEGER NOT NULL,
    lockouts             INTEGER NOT NULL,
    locked_until_tick_ms INTEGER
) WITHOUT ROWID;

CREATE TABLE couriers (
    badge          BLOB    PRIMARY KEY,      -- SHA-256 with a domain
    courier        TEXT    NOT NULL,
    valid_until_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE commands (
    id              TEXT    PRIMARY KEY,
    bank            TEXT    NOT NULL,
    compartment     INTEGER NOT NULL,
    purpose         TEXT    NOT NULL,        -- deposit, collect, by-hand
    parcel          TEXT,
    operator        TEXT,
    reason          TEXT,
    at_ms           INTEGER NOT NULL,
    quality         INTEGER NOT NULL,
    expires_tick_ms INTEGER NOT NULL,
    state           TEXT    NOT NULL,
    answer          TEXT,
    archived        INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX commands_live ON commands (id) WHERE archived = 0;
CREATE INDEX commands_parcel ON commands (parcel) WHERE parcel IS NOT NULL;

CREATE TABLE cells (
    start_ms INTEGER NOT NULL,
    building TEXT    NOT NULL,               -- '' for the whole estate
    series   TEXT    NOT NULL,
    count    INTEGER NOT NULL,
    PRIMARY KEY (start_ms, building, series)
) WITHOUT ROWID;

CREATE TABLE cell_households (
    start_ms  INTEGER NOT NULL,
    building  TEXT    NOT NULL,
    series    TEXT    NOT NULL,
    household INTEGER NOT NULL,              -- the day's keyed digest, shortened
    PRIMARY KEY (start_ms, building, series, household)
) WITHOUT ROWID;

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- Every step of every parcel: appended, never changed.
CREATE TABLE trace (
    id      INTEGER PRIMARY KEY,
    parcel  TEXT    NOT NULL,
    at_ms   INTEGER NOT NULL,
    quality INTEGER NOT NULL,
    tick_ms INTEGER NOT NULL,
    step    TEXT    NOT NULL,
    who     TEXT    NOT NULL,
    detail  TEXT
);
CREATE INDEX trace_parcel ON trace (parcel, id);

-- The lanes to the cloud: where each stands, and what waits. Rows go when the cloud has them.
CREATE TABLE lanes (
    lane        TEXT    PRIMARY KEY,
    last_seq    INTEGER NOT NULL,
    last_chain  BLOB    NOT NULL,
    acked_seq   INTEGER NOT NULL,
    acked_chain BLOB    NOT NULL
) WITHOUT ROWID;

CREATE TABLE uplink (
    lane   TEXT    NOT NULL,
    seq    INTEGER NOT NULL,
    at_ms  INTEGER NOT NULL,
    body   BLOB    NOT NULL,                 -- the item in deterministic CBOR, without its code
    secret BLOB,                             -- the code, sealed to the key in keys/store.key
    chain  BLOB    NOT NULL,                 -- the lane's chain up to and including this item
    PRIMARY KEY (lane, seq)
) WITHOUT ROWID;
