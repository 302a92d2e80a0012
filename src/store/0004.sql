-- Numbers are given when a batch is cut, not when an item is made (lanes/mod.rs): so a newer item may
-- take the place of one that wasn't cut yet, and codes are sealed to the cloud's key at the cut.

ALTER TABLE uplink RENAME TO uplink_before;

-- What waits for the cloud, in the order of its making; within a lane what is cut comes first. Rows go
-- when the cloud has them.
CREATE TABLE uplink (
    id      INTEGER PRIMARY KEY,             -- rises, is never used again
    lane    TEXT    NOT NULL,
    subject TEXT,                            -- what a newer item replaces; NULL for a fact, and once cut
    at_ms   INTEGER NOT NULL,
    body    BLOB    NOT NULL,                -- the item in CBOR without its number; its code only sealed
    secret  BLOB,                            -- the code, sealed to the key in keys/store.key
    seq     INTEGER,                         -- given at the cut, with
    chain   BLOB                             -- the lane's chain up to and including this item
);
INSERT INTO uplink (lane, at_ms, body, secret)
    SELECT lane, at_ms, body, secret FROM uplink_before ORDER BY lane, seq;
DROP TABLE uplink_before;
CREATE INDEX uplink_lane ON uplink (lane);
CREATE INDEX uplink_subject ON uplink (subject) WHERE subject IS NOT NULL;

-- Where the lanes stand. A new epoch: all that waits is numbered anew.
DROP TABLE lanes;
CREATE TABLE lanes (
    lane        TEXT    PRIMARY KEY,
    last_seq    INTEGER NOT NULL,            -- the last item that was cut
    last_chain  BLOB    NOT NULL,
    acked_seq   INTEGER NOT NULL,            -- the last item that the cloud has for good
    acked_chain BLOB    NOT NULL,
    waiting     INTEGER NOT NULL,            -- rows of the lane in uplink with an id up to
    counted_id  INTEGER NOT NULL             -- this one
) WITHOUT ROWID;
INSERT INTO lanes
    SELECT lane, 0, zeroblob(32), 0, zeroblob(32),
           (SELECT count(*) FROM uplink u WHERE u.lane = l.lane),
           (SELECT coalesce(max(id), 0) FROM uplink)
    FROM (SELECT 'fulfilment' AS lane UNION SELECT 'health' UNION SELECT 'demand') l;

-- Up to when the demand of a building was cut: no span that begins before it is summed up any more.
CREATE TABLE demand_cut (
    building TEXT    PRIMARY KEY,            -- '' for the whole estate
    until_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- What has crossed the line to the cloud, by month.
CREATE TABLE line_use (
    month    INTEGER NOT NULL,               -- its first day, days since the Unix epoch
    traffic  TEXT    NOT NULL,               -- fulfilment, health, demand, downlink, other
    sent     INTEGER NOT NULL,               -- bytes
    received INTEGER NOT NULL,
    PRIMARY KEY (month, traffic)
) WITHOUT ROWID;
