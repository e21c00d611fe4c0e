-- Which gateways there were, how far they had come, and the longest lease that each may still have.
CREATE TABLE acks (
    gateway {{key}} NOT NULL PRIMARY KEY,
    epoch   {{key}} NOT NULL,
    seq     {{int}} NOT NULL,
    at      {{int}} NOT NULL, -- when that was heard
    lease   {{int}} NOT NULL  -- in microseconds
){{strict}};
