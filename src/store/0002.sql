-- The hash chain over the trace (AUDIT.md). `id` is an entry's number from now on: from 1, without a
-- gap. Rows that are there are numbered and chained in the same transaction (trace.rs).
ALTER TABLE trace ADD COLUMN chain BLOB NOT NULL DEFAULT x'';
