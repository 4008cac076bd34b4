-- Who did what: lines of an audit log, each chained by its hash to the one before it. Rows are only inserted.
CREATE TABLE audit_entries (
    chain TEXT NOT NULL,
    seq   INTEGER NOT NULL CHECK (seq >= 1),
    line  TEXT NOT NULL,
    PRIMARY KEY (chain, seq)
) STRICT, WITHOUT ROWID;

-- The last entry of each chain.
CREATE TABLE audit_heads (
    chain TEXT PRIMARY KEY,
    seq   INTEGER NOT NULL CHECK (seq >= 0),
    hash  TEXT NOT NULL CHECK (length(hash) = 64)
) STRICT, WITHOUT ROWID;
