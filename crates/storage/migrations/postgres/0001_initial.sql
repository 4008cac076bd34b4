-- Names are compared byte by byte (collation "C"). Times are microseconds since 1970, UTC.

-- One row for each collection that was ever published: locked by whoever changes the collection.
CREATE TABLE countersign_collections (
    gun      text COLLATE "C" PRIMARY KEY,
    revision bigint NOT NULL
);

-- Every version of every file, exactly as received or made. Rows are never changed, only inserted and deleted.
CREATE TABLE countersign_files (
    gun       text COLLATE "C" NOT NULL,
    role      text COLLATE "C" NOT NULL,
    version   bigint NOT NULL CHECK (version >= 1),
    sha256    text COLLATE "C" NOT NULL CHECK (length(sha256) = 64),
    stored_at bigint NOT NULL,
    pieces    bigint NOT NULL CHECK (pieces >= 0),
    data      bytea NOT NULL,
    PRIMARY KEY (gun, role, version)
);
CREATE INDEX countersign_files_sha256_idx ON countersign_files (gun, role, sha256);

-- What a large file has beyond the first piece, in order.
CREATE TABLE countersign_pieces (
    gun     text COLLATE "C" NOT NULL,
    role    text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    number  bigint NOT NULL CHECK (number >= 1),
    data    bytea NOT NULL,
    PRIMARY KEY (gun, role, version, number),
    FOREIGN KEY (gun, role, version) REFERENCES countersign_files (gun, role, version) ON DELETE CASCADE
);

-- The files of the last publication of a collection: moved in the transaction that stores the files. A role's current
-- version is the highest it has.
CREATE TABLE countersign_current (
    gun       text COLLATE "C" NOT NULL,
    role      text COLLATE "C" NOT NULL,
    version   bigint NOT NULL,
    sha256    text COLLATE "C" NOT NULL,
    stored_at bigint NOT NULL,
    PRIMARY KEY (gun, role)
);

CREATE TABLE countersign_changes (
    id         bigint PRIMARY KEY,
    created_at bigint NOT NULL,
    gun        text COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    sha256     text COLLATE "C",
    category   text COLLATE "C" NOT NULL CHECK (category IN ('update', 'deletion'))
);
CREATE INDEX countersign_changes_gun_idx ON countersign_changes (gun, id);

-- "changes": the last change's number, counted in the transaction of the change, so that changes become visible in the
-- order of their numbers. "keys": locked by whoever makes a key. "health": written to find out whether writing works.
CREATE TABLE countersign_counters (
    name  text COLLATE "C" PRIMARY KEY,
    value bigint NOT NULL
);
INSERT INTO countersign_counters (name, value) VALUES ('changes', 0), ('health', 0), ('keys', 0);

-- Private keys of the service, each a compact JWE. A key that has never signed is pending: at most one for each
-- collection, role and algorithm (nulls are distinct).
CREATE TABLE countersign_keys (
    key_id     text COLLATE "C" PRIMARY KEY CHECK (length(key_id) = 64),
    gun        text COLLATE "C" NOT NULL,
    role       text COLLATE "C" NOT NULL CHECK (role IN ('snapshot', 'timestamp')),
    algorithm  text COLLATE "C" NOT NULL,
    public     bytea NOT NULL,
    private    text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    last_used  bigint,
    retired_at bigint,
    pending    bigint,
    UNIQUE (gun, role, algorithm, pending)
);
CREATE INDEX countersign_keys_pending_idx ON countersign_keys (created_at) WHERE pending IS NOT NULL;

-- What all replicas must agree upon.
CREATE TABLE countersign_agreed (
    name  text COLLATE "C" PRIMARY KEY,
    value text COLLATE "C" NOT NULL
);
