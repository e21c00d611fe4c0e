-- Who started an identity, of which generation that was, and when it ended (0: it has not), for children to be
-- counted, stopped with their parent in one statement, and forgotten.
ALTER TABLE identities ADD COLUMN parent {{key}};
ALTER TABLE identities ADD COLUMN born {{int}} NOT NULL DEFAULT 0;
ALTER TABLE identities ADD COLUMN ended {{int}} NOT NULL DEFAULT 0;
CREATE INDEX identities_parent ON identities (parent, state, expires) WHERE parent IS NOT NULL;
CREATE INDEX identities_ended ON identities (ended) WHERE parent IS NOT NULL AND ended > 0;

-- Who was stopped while what it had started is still listed as living, and by which kill.
CREATE TABLE orphaned (
    root {{key}} NOT NULL PRIMARY KEY,
    kill {{key}} NOT NULL
){{strict}};

-- Keys of children that are forgotten: a key that was somebody's never is anybody else's.
CREATE TABLE spent_keys (
    thumbprint {{key}} NOT NULL PRIMARY KEY
){{strict}};
