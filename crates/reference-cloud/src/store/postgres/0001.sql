-- Ids compare by their bytes, as they do in the cloud and in SQLite.
CREATE TABLE gateway (
    gateway       text COLLATE "C" PRIMARY KEY,
    downlink_last bigint NOT NULL DEFAULT 0,        -- the last number given to a downlink item
    public_key    bytea,                            -- Ed25519; NULL: not enrolled
    next_key      bytea                             -- takes its place when it is used
) WITH (fillfactor = 70);

-- Each is good for one enrolment, which may be repeated with the same key.
CREATE TABLE token (
    digest      bytea PRIMARY KEY,                  -- SHA-256
    gateway     text COLLATE "C",                   -- NULL: for any
    valid_until bigint NOT NULL,                    -- ms since the Unix epoch
    used_by     text COLLATE "C",
    used_key    bytea
);

-- Where each lane stands: the row that two clouds may want at the same time. It is found by its key
-- and changed in place (no index has what changes, and its page has room). Not partitioned: it has
-- three rows a gateway, and an update that must find its partition costs more than it saves.
CREATE TABLE lane (
    gateway    text COLLATE "C" NOT NULL,
    lane       smallint NOT NULL,                   -- 0 fulfilment, 1 health, 2 demand: by urgency
    epoch      bigint,                              -- the same in all lanes of a gateway; NULL: none yet
    last       bigint NOT NULL,
    chain      bytea NOT NULL,
    seen       boolean NOT NULL DEFAULT false,      -- false: made with another lane, had nothing yet
    items      bigint NOT NULL DEFAULT 0,           -- stored, in all epochs
    duplicates bigint NOT NULL DEFAULT 0,           -- sent again, in all epochs
    unknown    bigint NOT NULL DEFAULT 0,           -- of kinds that this version doesn't know
    PRIMARY KEY (gateway, lane)
) WITH (fillfactor = 50);

-- Every item once, as it came, in deterministic CBOR; without a pickup code, which is kept in
-- `notice` only. `chain` is over the item as it came, so resent items can be compared.
CREATE TABLE item (
    gateway text COLLATE "C" NOT NULL,
    epoch   bigint NOT NULL,
    lane    smallint NOT NULL,
    seq     bigint NOT NULL,
    known   boolean NOT NULL,                       -- false: a kind that this version doesn't know
    body    bytea NOT NULL,
    chain   bytea NOT NULL,
    PRIMARY KEY (gateway, epoch, lane, seq)
) PARTITION BY HASH (gateway);
CREATE TABLE item_0 PARTITION OF item FOR VALUES WITH (MODULUS 8, REMAINDER 0);
CREATE TABLE item_1 PARTITION OF item FOR VALUES WITH (MODULUS 8, REMAINDER 1);
CREATE TABLE item_2 PARTITION OF item FOR VALUES WITH (MODULUS 8, REMAINDER 2);
CREATE TABLE item_3 PARTITION OF item FOR VALUES WITH (MODULUS 8, REMAINDER 3);
CREATE TABLE item_4 PARTITION OF item FOR VALUES WITH (MODULUS 8, REMAINDER 4);
CREATE TABLE item_5 PARTITION OF item FOR VALUES WITH (MODULUS 8, REMAINDER 5);
CREATE TABLE item_6 PARTITION OF item FOR VALUES WITH (MODULUS 8, REMAINDER 6);
CREATE TABLE item_7 PARTITION OF item FOR VALUES WITH (MODULUS 8, REMAINDER 7);

-- What made each signed request unique, by the time it was signed in steps of ten minutes: a step
-- that is over is emptied as a whole, which costs nothing.
CREATE TABLE nonce (
    slot    smallint NOT NULL,                      -- seconds since the Unix epoch / 600 mod 5
    gateway text COLLATE "C" NOT NULL,
    nonce   text COLLATE "C" NOT NULL,
    PRIMARY KEY (slot, gateway, nonce)
) PARTITION BY LIST (slot);
CREATE TABLE nonce_0 PARTITION OF nonce FOR VALUES IN (0);
CREATE TABLE nonce_1 PARTITION OF nonce FOR VALUES IN (1);
CREATE TABLE nonce_2 PARTITION OF nonce FOR VALUES IN (2);
CREATE TABLE nonce_3 PARTITION OF nonce FOR VALUES IN (3);
CREATE TABLE nonce_4 PARTITION OF nonce FOR VALUES IN (4);

-- Items that wait to be told to others; gone when they are. A lane's ids rise in the order in which
-- its batches were taken, as they are given while its row is held.
CREATE TABLE outbox (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway text COLLATE "C" NOT NULL,
    epoch   bigint NOT NULL,
    lane    smallint NOT NULL,
    first   bigint NOT NULL,
    last    bigint NOT NULL
);

-- What follows from the items: made in the transaction that takes them.
CREATE TABLE parcel (
    gateway     text COLLATE "C" NOT NULL,
    parcel      text COLLATE "C" NOT NULL,
    state       text,                               -- NULL: announced, the gateway hasn't said yet
    since       bigint,
    bank        text,
    compartment integer,
    desk        text,
    unlisted    boolean NOT NULL DEFAULT false,     -- came without being announced
    return_of   text,
    PRIMARY KEY (gateway, parcel)
) WITH (fillfactor = 80);

-- The live code of a parcel, sealed as it came; gone when the parcel is.
CREATE TABLE notice (
    gateway text COLLATE "C" NOT NULL,
    parcel  text COLLATE "C" NOT NULL,
    sealed  bytea NOT NULL,
    PRIMARY KEY (gateway, parcel)
);

-- The items that say more of a parcel than its state: claims, and that no compartment took it.
CREATE TABLE about (
    gateway text COLLATE "C" NOT NULL,
    parcel  text COLLATE "C" NOT NULL,
    epoch   bigint NOT NULL,
    seq     bigint NOT NULL,                        -- the item in the lane `fulfilment`
    PRIMARY KEY (gateway, parcel, epoch, seq)
);

-- By gateway, not by month: a correction is found by its gateway and bucket, and the gateway's whole
-- demand is what is asked for. Partitions by month would be looked through one by one, and somebody
-- would have to make the next one in time.
CREATE TABLE demand (
    gateway  text COLLATE "C" NOT NULL,
    building text COLLATE "C" NOT NULL,             -- '' is the whole site
    start    bigint NOT NULL,
    minutes  bigint NOT NULL,
    revision bigint NOT NULL,
    body     bytea NOT NULL,
    PRIMARY KEY (gateway, building, start, minutes)
) PARTITION BY HASH (gateway);
CREATE TABLE demand_0 PARTITION OF demand FOR VALUES WITH (MODULUS 4, REMAINDER 0);
CREATE TABLE demand_1 PARTITION OF demand FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE demand_2 PARTITION OF demand FOR VALUES WITH (MODULUS 4, REMAINDER 2);
CREATE TABLE demand_3 PARTITION OF demand FOR VALUES WITH (MODULUS 4, REMAINDER 3);

CREATE TABLE health (
    gateway text COLLATE "C" PRIMARY KEY,
    body    bytea NOT NULL
) WITH (fillfactor = 50);

-- Where the chain over a gateway's history stood, each head once, in the order in which it came.
CREATE TABLE audit (
    id          bigint GENERATED ALWAYS AS IDENTITY,
    gateway     text COLLATE "C" NOT NULL,
    epoch       bigint NOT NULL,
    entries     bigint NOT NULL,
    head        bytea NOT NULL,
    at          bigint NOT NULL,
    contradicts text,                               -- what earlier head it contradicts, in words
    PRIMARY KEY (gateway, epoch, entries, head)
);

CREATE TABLE downlink (
    gateway text COLLATE "C" NOT NULL,
    seq     bigint NOT NULL,
    body    bytea NOT NULL,
    code    boolean NOT NULL,                       -- `body` has a courier's code
    PRIMARY KEY (gateway, seq)
);
CREATE INDEX downlink_code ON downlink (gateway, seq) WHERE code;
