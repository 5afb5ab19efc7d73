-- What clearing files say besides transactions: adjustments, brand fees, merchants' totals, payout
-- lines, shares, and rows that cancel one another. PANs are token and mask.

CREATE TABLE file_row (
    acquirer         text    NOT NULL COLLATE "C",
    file             text    NOT NULL COLLATE "C",
    version          integer NOT NULL,
    line             integer NOT NULL CHECK (line > 0),
    kind             text    NOT NULL COLLATE "C",
    settlement_date  date    NOT NULL,
    merchant         text    NOT NULL COLLATE "C",
    rrn              text    NOT NULL COLLATE "C",
    pan_token        bytea   NOT NULL,
    pan_masked       text    NOT NULL COLLATE "C",
    amount_minor     bigint  NOT NULL,
    currency         text    NOT NULL COLLATE "C",
    content          json    NOT NULL,  -- the fields of its kind alone
    PRIMARY KEY (acquirer, file, version, line, kind)
);
CREATE INDEX file_row_date ON file_row (kind, settlement_date);
CREATE INDEX file_row_merchant ON file_row (merchant, settlement_date) WHERE merchant <> '';

CREATE VIEW standing_file_row AS
    SELECT r.*
    FROM file_row AS r
    WHERE r.version = (SELECT max(f.version) FROM incoming_file AS f
                       WHERE (f.acquirer, f.name) = (r.acquirer, r.file));

-- A day brings files of several types, and two of them may well be empty.
ALTER TABLE incoming_file
    DROP CONSTRAINT incoming_file_acquirer_settlement_date_sha256_key,
    ADD UNIQUE (acquirer, type, settlement_date, sha256);

GRANT SELECT, INSERT ON file_row TO tongbao_app;
GRANT SELECT ON standing_file_row TO tongbao_app;
