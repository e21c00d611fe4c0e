-- Sessions of people. Of what a browser or a program shows, the hash is kept.
CREATE TABLE sessions (
    id       {{key}} NOT NULL PRIMARY KEY, -- what people call it
    hash     {{key}} NOT NULL UNIQUE,
    person   {{key}} NOT NULL, -- as in events
    owner    {{key}} NOT NULL, -- '' for who is none
    provider {{key}} NOT NULL, -- on whose word; '' for nobody's
    expires  {{int}} NOT NULL,
    doc      {{bytes}} NOT NULL
){{strict}};
CREATE INDEX sessions_person ON sessions (person, id);
CREATE INDEX sessions_expires ON sessions (expires);
DELETE FROM tickets WHERE kind = 'session';

-- Keys that people sign in with (WebAuthn).
CREATE TABLE passkeys (
    id     {{key}} NOT NULL PRIMARY KEY, -- the credential's own, base64url
    person {{key}} NOT NULL,
    doc    {{bytes}} NOT NULL
){{strict}};
CREATE INDEX passkeys_person ON passkeys (person, id);

-- What identities are listed by. search holds name, purpose and owner, folded; used is the newest of last_used.
ALTER TABLE identities ADD COLUMN environment {{key}} NOT NULL DEFAULT '';
ALTER TABLE identities ADD COLUMN created {{int}} NOT NULL DEFAULT 0;
ALTER TABLE identities ADD COLUMN used {{int}} NOT NULL DEFAULT 0;
ALTER TABLE identities ADD COLUMN search {{key}} NOT NULL DEFAULT '';
CREATE INDEX identities_by_owner ON identities ((COALESCE(owner, '')), name);
CREATE INDEX identities_by_state ON identities (state, name);
CREATE INDEX identities_by_end ON identities (expires, name);
CREATE INDEX identities_by_use ON identities (used, name);
CREATE INDEX identities_by_birth ON identities (created, name);
CREATE INDEX identities_idle ON identities (state, used, created, parent);
