-- Owners that were removed: who gets the name of one later begins with this generation, and what is older than
-- stopped is none of theirs.
CREATE TABLE former_owners (
    id         {{key}} NOT NULL PRIMARY KEY,
    generation {{int}} NOT NULL,
    stopped    {{int}} NOT NULL
){{strict}};
