-- Who did what: lines of an audit log, each chained by its hash to the one before it. Rows are only inserted.
CREATE TABLE countersign_audit (
    chain varbinary(128) NOT NULL,
    seq   bigint NOT NULL CHECK (seq >= 1),
    line  mediumblob NOT NULL,
    PRIMARY KEY (chain, seq)
) ENGINE = InnoDB;

-- The last entry of each chain: locked by whoever adds to the chain.
CREATE TABLE countersign_audit_heads (
    chain varbinary(128) PRIMARY KEY,
    seq   bigint NOT NULL CHECK (seq >= 0),
    hash  varbinary(64) NOT NULL CHECK (length(hash) = 64)
) ENGINE = InnoDB;
