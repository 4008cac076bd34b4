-- The signing service's private keys, each a compact JWE under the passphrase that the alias names. The binding ties the
-- private key to the row's id, collection, role and algorithm. A key that has never signed (last_used is null) is pending.
-- A deleted key signs nothing, but its row stays. Times are microseconds since 1970, UTC.
CREATE TABLE private_keys (
    key_id           TEXT    PRIMARY KEY CHECK (length(key_id) = 64),
    gun              TEXT    NOT NULL,
    role             TEXT    NOT NULL CHECK (role IN ('snapshot', 'timestamp')),
    algorithm        TEXT    NOT NULL,
    passphrase_alias TEXT    NOT NULL CHECK (length(passphrase_alias) BETWEEN 1 AND 50),
    public           BLOB    NOT NULL,
    private          TEXT    NOT NULL,
    binding          BLOB    NOT NULL CHECK (length(binding) = 32),
    created_at       INTEGER NOT NULL,
    last_used        INTEGER,
    deleted_at       INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX private_keys_gun_idx ON private_keys (gun) WHERE last_used IS NOT NULL;
-- At most one pending key per collection, role and algorithm, whoever asks at the same time.
CREATE UNIQUE INDEX private_keys_pending_idx ON private_keys (gun, role, algorithm)
    WHERE last_used IS NULL AND deleted_at IS NULL;
CREATE INDEX private_keys_pending_age_idx ON private_keys (created_at) WHERE last_used IS NULL AND deleted_at IS NULL;
CREATE INDEX private_keys_alias_idx ON private_keys (passphrase_alias, key_id);
