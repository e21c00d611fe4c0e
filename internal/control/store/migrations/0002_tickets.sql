-- What was given out as a random text, by kind and hash: sign-in codes, sessions, authorization codes, refresh tokens, clients.
CREATE TABLE tickets (
    kind    {{key}} NOT NULL,
    hash    {{key}} NOT NULL,
    expires {{int}} NOT NULL,
    doc     {{bytes}} NOT NULL,
    PRIMARY KEY (kind, hash)
){{strict}};
CREATE INDEX tickets_expires ON tickets (expires);
