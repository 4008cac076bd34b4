-- Before a version goes, who is stored as a difference from it is asked: without reading all versions of the role.
CREATE INDEX countersign_files_base_idx ON countersign_files (gun, role, base);
