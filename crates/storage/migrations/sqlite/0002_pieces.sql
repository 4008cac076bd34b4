-- What a file has beyond its first piece, in order. SQLite and its driver hold a value in memory several times over: in
-- pieces, storing and reading a large file takes the memory of the file and no more.
CREATE TABLE file_pieces (
    file_id INTEGER NOT NULL REFERENCES tuf_files (id) ON DELETE CASCADE,
    number  INTEGER NOT NULL CHECK (number >= 1),
    data    BLOB    NOT NULL,
    PRIMARY KEY (file_id, number)
) STRICT;
