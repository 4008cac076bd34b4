-- Who did what: lines of an audit log, each chained by its hash to the one before it. Rows are only inserted.
CREATE TABLE countersign_audit (
    chain text COLLATE "C" NOT NULL,
    seq   bigint NOT NULL CHECK (seq >= 1),
    line  text COLLATE "C" NOT NULL,
    PRIMARY KEY (chain, seq)
);

-- The last entry of each chain: locked by whoever adds to the chain.
CREATE TABLE countersign_audit_heads (
    chain text COLLATE "C" PRIMARY KEY,
    seq   bigint NOT NULL CHECK (seq >= 0),
    hash  text COLLATE "C" NOT NULL CHECK (length(hash) = 64)
);
