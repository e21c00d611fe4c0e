-- Pieces of work. given is what of its budget gateways have drawn and not given back, as JSON.
CREATE TABLE tasks (
    id       {{key}} NOT NULL PRIMARY KEY,
    identity {{key}} NOT NULL REFERENCES identities (id),
    state    {{key}} NOT NULL,
    until    {{int}} NOT NULL,
    given    {{bytes}} NOT NULL,
    doc      {{bytes}} NOT NULL
){{strict}};
CREATE INDEX tasks_identity ON tasks (identity);
CREATE INDEX tasks_until ON tasks (until) WHERE state = 'open';
