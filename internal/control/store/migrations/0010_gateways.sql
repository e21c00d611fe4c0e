-- Gateways that joined from elsewhere. doc has their certificates' thumbprints.
CREATE TABLE gateways (
    name  {{key}} NOT NULL PRIMARY KEY,
    state {{key}} NOT NULL,
    seen  {{int}} NOT NULL, -- 0: never
    doc   {{bytes}} NOT NULL
){{strict}};
