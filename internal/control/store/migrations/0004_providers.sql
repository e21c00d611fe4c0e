-- Identity providers of people. No two have the same issuer: by it they are found.
CREATE TABLE providers (
    name   {{key}} NOT NULL PRIMARY KEY,
    issuer {{key}} NOT NULL UNIQUE,
    doc    {{bytes}} NOT NULL
){{strict}};

-- The provider on whose word a credential stands; '' for all others.
ALTER TABLE credentials ADD COLUMN provider {{key}} NOT NULL DEFAULT '';
CREATE INDEX credentials_provider ON credentials (provider, identity) WHERE provider <> '';
