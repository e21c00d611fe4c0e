-- The state that a killed identity was killed in, to be restored to.
ALTER TABLE identities ADD COLUMN killed_from {{key}} NOT NULL DEFAULT '';
