-- The whole life of a parcel: why it goes back, shared compartments, returns, the command ledger.

-- What a compartment holds: several parcels of one recipient, and one that is coming in.
ALTER TABLE compartments ADD COLUMN contents TEXT NOT NULL DEFAULT '[]';  -- JSON array of parcels
ALTER TABLE compartments ADD COLUMN reserved TEXT;                        -- the parcel coming in
ALTER TABLE compartments ADD COLUMN disabled TEXT;                        -- why nothing is put in
UPDATE compartments SET contents = json_array(parcel) WHERE holds = 'parcel';
UPDATE compartments SET reserved = parcel WHERE holds = 'reserved';
ALTER TABLE compartments DROP COLUMN holds;
ALTER TABLE compartments DROP COLUMN parcel;

ALTER TABLE parcels ADD COLUMN low INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parcels ADD COLUMN return_of TEXT;
ALTER TABLE parcels ADD COLUMN back TEXT;           -- overdue, cancelled, refused, claimed, return
ALTER TABLE parcels ADD COLUMN due_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parcels ADD COLUMN due_tick_ms INTEGER; -- not before this tick
ALTER TABLE parcels ADD COLUMN due_quality INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parcels ADD COLUMN unlisted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parcels ADD COLUMN to_desk INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parcels ADD COLUMN taker TEXT;          -- recipient, courier, operator, desk
UPDATE parcels SET due_ms = deadline_ms;
UPDATE parcels SET taker = 'recipient' WHERE stage = 'collecting';

ALTER TABLE couriers RENAME COLUMN badge TO proof;  -- a badge's SHA-256, or a code's HMAC
ALTER TABLE couriers ADD COLUMN digits INTEGER;     -- of a code
ALTER TABLE couriers ADD COLUMN due_tick_ms INTEGER;
ALTER TABLE couriers ADD COLUMN due_quality INTEGER NOT NULL DEFAULT 0;

ALTER TABLE codes ADD COLUMN bank_digest BLOB;      -- HMAC-SHA256 with the bank's salt
ALTER TABLE keypads ADD COLUMN astray INTEGER NOT NULL DEFAULT 0;

ALTER TABLE commands ADD COLUMN sent_ms INTEGER;
ALTER TABLE commands ADD COLUMN opened_ms INTEGER;
ALTER TABLE commands ADD COLUMN closed_ms INTEGER;
UPDATE commands SET state = 'unknown' WHERE state = 'expired';
