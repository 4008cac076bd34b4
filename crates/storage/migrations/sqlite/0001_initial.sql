-- Every version of every file, exactly as received or made. Rows are never changed, only inserted and deleted.
-- Times are microseconds since 1970, UTC.
CREATE TABLE tuf_files (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    gun        TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    version    INTEGER NOT NULL CHECK (version >= 1),
    sha256     TEXT    NOT NULL CHECK (length(sha256) = 64),
    created_at INTEGER NOT NULL,
    data       BLOB    NOT NULL,
    UNIQUE (gun, role, version)
) STRICT;
CREATE INDEX tuf_files_sha256_idx ON tuf_files (gun, role, sha256);

-- The files of the last publication of a collection: moved in the transaction that stores the files.
CREATE TABLE current_files (
    gun     TEXT    NOT NULL,
    role    TEXT    NOT NULL,
    file_id INTEGER NOT NULL UNIQUE REFERENCES tuf_files (id),
    PRIMARY KEY (gun, role)
) STRICT, WITHOUT ROWID;

CREATE TABLE changefeed (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at INTEGER NOT NULL,
    gun        TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    sha256     TEXT,
    category   TEXT    NOT NULL CHECK (category IN ('update', 'deletion'))
) STRICT;
CREATE INDEX changefeed_gun_idx ON changefeed (gun, id);

-- Private keys of the service, each a compact JWE. A key that has never signed (last_used is null) is pending.
CREATE TABLE service_keys (
    key_id     TEXT    PRIMARY KEY CHECK (length(key_id) = 64),
    gun        TEXT    NOT NULL,
    role       TEXT    NOT NULL CHECK (role IN ('snapshot', 'timestamp')),
    algorithm  TEXT    NOT NULL,
    public     BLOB    NOT NULL,
    private    TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    last_used  INTEGER
) STRICT, WITHOUT ROWID;
-- At most one pending key per collection, role and algorithm, whoever asks at the same time.
CREATE UNIQUE INDEX service_keys_pending_idx ON service_keys (gun, role, algorithm) WHERE last_used IS NULL;
CREATE INDEX service_keys_pending_age_idx ON service_keys (created_at) WHERE last_used IS NULL;
