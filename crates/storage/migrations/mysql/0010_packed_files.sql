-- Large files are stored compressed, some of them as what is different from an earlier version of their role. `length` is the
-- file's length, 0 where `data` (with its further pieces) is the file itself; `base` is the version that has to be read with it,
-- 0 where there is none.
ALTER TABLE countersign_files
    ADD COLUMN length bigint NOT NULL DEFAULT 0,
    ADD COLUMN base   bigint NOT NULL DEFAULT 0;
