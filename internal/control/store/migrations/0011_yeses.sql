-- Who said yes to what can still be taken back. given is the grant that it became, '' for none.
CREATE TABLE yeses (
    owner    {{key}} NOT NULL, -- or operator:<name>
    approval {{key}} NOT NULL REFERENCES approvals (id),
    given    {{key}} NOT NULL,
    PRIMARY KEY (owner, approval)
){{strict}};
CREATE INDEX yeses_approval ON yeses (approval);
