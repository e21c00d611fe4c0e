-- An organisation's list of its people, which brings them here over SCIM.
CREATE TABLE directories (
    name  {{key}} NOT NULL PRIMARY KEY,
    heard {{int}} NOT NULL, -- when it last asked for something; 0 for never
    doc   {{bytes}} NOT NULL
){{strict}};

-- Its users (SCIM): people that it brought. Each is an owner, of one directory at most.
CREATE TABLE directory_users (
    id        {{key}} NOT NULL PRIMARY KEY,
    directory {{key}} NOT NULL,
    owner     {{key}} NOT NULL UNIQUE,
    name      {{key}} NOT NULL, -- userName, folded
    external  {{key}} NOT NULL,
    doc       {{bytes}} NOT NULL
){{strict}};
CREATE UNIQUE INDEX directory_users_name ON directory_users (directory, name);
CREATE INDEX directory_users_id ON directory_users (directory, id);
CREATE INDEX directory_users_external ON directory_users (directory, external);

-- Its groups, and who is in them.
CREATE TABLE directory_groups (
    id        {{key}} NOT NULL PRIMARY KEY,
    directory {{key}} NOT NULL,
    name      {{key}} NOT NULL, -- displayName, folded
    external  {{key}} NOT NULL,
    doc       {{bytes}} NOT NULL
){{strict}};
CREATE UNIQUE INDEX directory_groups_name ON directory_groups (directory, name);
CREATE INDEX directory_groups_id ON directory_groups (directory, id);
CREATE INDEX directory_groups_external ON directory_groups (directory, external);
CREATE TABLE directory_members (
    member_of {{key}} NOT NULL,
    member    {{key}} NOT NULL,
    PRIMARY KEY (member_of, member)
){{strict}};
CREATE INDEX directory_members_member ON directory_members (member);

-- Owners are found by their address, folded.
ALTER TABLE owners ADD COLUMN email {{key}} NOT NULL DEFAULT '';
CREATE INDEX owners_email ON owners (email);

-- Whom the provider knows a session's person as, and its own session there, so that it can end it.
ALTER TABLE sessions ADD COLUMN sub {{key}} NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN sid {{key}} NOT NULL DEFAULT '';
DELETE FROM sessions WHERE provider <> '';
CREATE INDEX sessions_sub ON sessions (provider, sub);

-- What people look at again and again in lists.
CREATE TABLE views (
    person {{key}} NOT NULL,
    list   {{key}} NOT NULL,
    name   {{key}} NOT NULL,
    doc    {{bytes}} NOT NULL,
    PRIMARY KEY (person, list, name)
){{strict}};
