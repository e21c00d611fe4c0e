-- Questions to people. What they see of a request is a secret, approval/<id>.
CREATE TABLE approvals (
    id       {{key}} NOT NULL PRIMARY KEY,
    hash     {{key}} NOT NULL, -- of the request
    identity {{key}} NOT NULL REFERENCES identities (id),
    state    {{key}} NOT NULL,
    asked    {{int}} NOT NULL,
    expires  {{int}} NOT NULL,
    doc      {{bytes}} NOT NULL
){{strict}};
CREATE INDEX approvals_hash ON approvals (hash, asked);
CREATE INDEX approvals_identity ON approvals (identity, state);
CREATE INDEX approvals_state ON approvals (state, expires);
CREATE INDEX approvals_asked ON approvals (asked);

-- What is still to be told to whom, by door: webhook, mail, command.
CREATE TABLE outbox (
    id       {{key}} NOT NULL PRIMARY KEY,
    door     {{key}} NOT NULL,
    approval {{key}} NOT NULL,
    made     {{int}} NOT NULL
){{strict}};
