-- Another text each time that a gateway's row is noted: one that stays the same is of a gateway that nobody hears of.
ALTER TABLE acks ADD COLUMN turn {{key}} NOT NULL DEFAULT '';
