-- For lists of a kind, of a state and of an owner, counts of an owner, and the list of those that nobody started. What names are searched by is the engine's (search.go).
CREATE INDEX identities_kind ON identities (kind, name);
CREATE INDEX identities_state ON identities (state, name);
CREATE INDEX identities_roots ON identities (name) WHERE parent IS NULL;
DROP INDEX identities_owner;
CREATE INDEX identities_owner ON identities (owner, name, state);
