-- The state that a killed identity was killed in, to be restored to.
ALTER TABLE identities ADD COLUMN killed_from {{key}} NOT NULL DEFAULT '';

-- The key itself, of which there is one credential, whether it came as a JWK or in a certificate. It is the
-- thumbprint again of what has none, and of certificates that were added before this.
ALTER TABLE credentials ADD COLUMN key_thumbprint {{key}} NOT NULL DEFAULT '';
UPDATE credentials SET key_thumbprint = thumbprint;
CREATE UNIQUE INDEX credentials_key ON credentials (key_thumbprint);
