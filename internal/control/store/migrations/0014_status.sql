-- What tokens that have a place in a status list stand on, until they end. seq is that of the event which
-- says that the token was issued, and so in the order of commits.
CREATE TABLE statuses (
    seq     {{int}} NOT NULL PRIMARY KEY,
    list    {{key}} NOT NULL,
    idx     {{int}} NOT NULL,
    expires {{int}} NOT NULL,
    doc     {{bytes}} NOT NULL
){{strict}};
CREATE INDEX statuses_expires ON statuses (expires);

-- Resource servers elsewhere that are told what ends (CAEP).
CREATE TABLE receivers (
    name {{key}} NOT NULL PRIMARY KEY,
    doc  {{bytes}} NOT NULL
){{strict}};

-- What they are told. Who is still to be told is in the outbox, whose approval is the id here.
CREATE TABLE signals (
    id  {{key}} NOT NULL PRIMARY KEY,
    doc {{bytes}} NOT NULL
){{strict}};
CREATE INDEX outbox_approval ON outbox (approval);
