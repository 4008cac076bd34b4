-- What stands about the whole database, such as that a restore has begun and not ended.
CREATE TABLE agreed (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
