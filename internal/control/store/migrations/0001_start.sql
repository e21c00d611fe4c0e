-- The whole state of the control plane. {{words}} are the engine's; times are microseconds UTC.
CREATE TABLE head (
    one    {{int}} NOT NULL PRIMARY KEY CHECK (one = 1), -- every commit writes this row, which puts commits in an order
    epoch  {{key}} NOT NULL,   -- of the feed; another after a restore
    seq    {{int}} NOT NULL,   -- of the last change
    kept   {{int}} NOT NULL,   -- changes after this one are kept
    size   {{int}} NOT NULL,   -- of the ledger
    root   {{bytes}} NOT NULL  -- of the ledger's Merkle tree
){{strict}};

CREATE TABLE meta (
    name  {{key}} NOT NULL PRIMARY KEY,
    value {{bytes}} NOT NULL
){{strict}};

CREATE TABLE owners (
    id  {{key}} NOT NULL PRIMARY KEY,
    doc {{bytes}} NOT NULL
){{strict}};

-- A column beside doc holds what is searched by, or changed in bulk; it then counts, not what doc says.
CREATE TABLE identities (
    id         {{key}} NOT NULL PRIMARY KEY,
    name       {{key}} NOT NULL UNIQUE, -- across kinds, so that people can say "invoice-bot"
    kind       {{key}} NOT NULL,
    owner      {{key}} REFERENCES owners (id),
    state      {{key}} NOT NULL,
    expires    {{int}} NOT NULL,
    generation {{int}} NOT NULL,
    killed_by  {{key}} NOT NULL,
    version    {{int}} NOT NULL,
    doc        {{bytes}} NOT NULL
){{strict}};
CREATE INDEX identities_owner ON identities (owner, id);
CREATE INDEX identities_expires ON identities (state, expires);
CREATE INDEX identities_killed ON identities (killed_by) WHERE killed_by <> '';

CREATE TABLE credentials (
    id         {{key}} NOT NULL PRIMARY KEY,
    identity   {{key}} NOT NULL REFERENCES identities (id),
    thumbprint {{key}} NOT NULL UNIQUE,
    revoked    {{int}} NOT NULL, -- 0: it is not
    last_used  {{int}} NOT NULL,
    doc        {{bytes}} NOT NULL
){{strict}};
CREATE INDEX credentials_identity ON credentials (identity, id);

CREATE TABLE upstreams (
    name    {{key}} NOT NULL PRIMARY KEY,
    owner   {{key}} REFERENCES owners (id),
    killed  {{bool}} NOT NULL,
    version {{int}} NOT NULL,
    doc     {{bytes}} NOT NULL
){{strict}};
CREATE INDEX upstreams_owner ON upstreams (owner);

CREATE TABLE grants (
    id       {{key}} NOT NULL PRIMARY KEY,
    identity {{key}} NOT NULL REFERENCES identities (id),
    upstream {{key}} NOT NULL REFERENCES upstreams (name),
    doc      {{bytes}} NOT NULL
){{strict}};
CREATE INDEX grants_identity ON grants (identity, id);
CREATE INDEX grants_upstream ON grants (upstream, id);

CREATE TABLE guardrails (
    id  {{key}} NOT NULL PRIMARY KEY,
    doc {{bytes}} NOT NULL
){{strict}};

-- Tokens revoked before their time.
CREATE TABLE tokens (
    id      {{key}} NOT NULL PRIMARY KEY,
    expires {{int}} NOT NULL
){{strict}};
CREATE INDEX tokens_expires ON tokens (expires);

-- Sealed, by what they are: upstream/<name>, key/<kid>, checkpoint.
CREATE TABLE secrets (
    name   {{key}} NOT NULL PRIMARY KEY,
    sealed {{bytes}} NOT NULL
){{strict}};

CREATE TABLE changes (
    seq {{int}} NOT NULL PRIMARY KEY,
    doc {{bytes}} NOT NULL
){{strict}};

CREATE TABLE events (
    seq  {{int}} NOT NULL PRIMARY KEY, -- index in the Merkle tree, from 0
    id   {{key}} NOT NULL UNIQUE,      -- the same event recorded twice counts once
    leaf {{bytes}} NOT NULL
){{strict}};

CREATE TABLE tiles (
    level {{int}} NOT NULL,
    n     {{int}} NOT NULL,
    data  {{bytes}} NOT NULL,
    PRIMARY KEY (level, n)
){{strict}};
