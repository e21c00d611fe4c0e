-- What a search needs to know of 256 events to pass over them: sieve n is of those from 256 n on. It is made of
-- them, so that all that it says can be checked; bits is a Bloom filter. Times are in microseconds, own is 0 for none.
CREATE TABLE sieves (
    n     {{int}} NOT NULL PRIMARY KEY,
    first {{int}} NOT NULL,
    last  {{int}} NOT NULL,
    own   {{int}} NOT NULL,
    bits  {{bytes}} NOT NULL
){{strict}};
