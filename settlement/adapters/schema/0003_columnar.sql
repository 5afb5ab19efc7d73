-- The day's end in columns: what its relations hold, and indexes that a million rows a day can bear.

-- A relation that a step added, by the hash of its canonical text (settlement/columns.py). The files
-- of a run are read again only where they still have it.
CREATE TABLE extract (
    business_date  date NOT NULL,
    name           text NOT NULL COLLATE "C",
    sha256         text NOT NULL COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    PRIMARY KEY (business_date, name)
);
GRANT SELECT, INSERT ON extract TO tongbao_app;

-- Rows come in date by date and are asked for by date: a range of blocks knows its dates, and costs
-- nothing a row.
DROP INDEX clearing_row_date;
CREATE INDEX clearing_row_date ON clearing_row USING brin (settlement_date);
DROP INDEX clearing_record_date;
CREATE INDEX clearing_record_date ON clearing_record USING brin (business_date);
DROP INDEX clearing_record_settles;
CREATE INDEX clearing_record_settles ON clearing_record USING brin (settlement_date);
DROP INDEX match_date;
CREATE INDEX match_date ON match USING brin (business_date);
DROP INDEX merchant_fee_date;
CREATE INDEX merchant_fee_date ON merchant_fee USING brin (business_date);
DROP INDEX network_cost_date;
CREATE INDEX network_cost_date ON network_cost USING brin (business_date);

-- Only a chain's later parts have another root than themselves.
DROP INDEX clearing_record_request;
CREATE INDEX clearing_record_request ON clearing_record (request_id)
    WHERE effect_minor <> 0 AND request_id <> root_request_id;

-- An entry sums to zero, still; but said without a function, which ran a query for each entry.
ALTER TABLE entry DROP CONSTRAINT entry_amounts_check;
ALTER TABLE entry ADD CONSTRAINT entry_sums_to_zero CHECK (
    cardinality(amounts) <= 16
    AND amounts[1] + amounts[2] + coalesce(amounts[3], 0) + coalesce(amounts[4], 0) + coalesce(amounts[5], 0) + coalesce(amounts[6], 0) + coalesce(amounts[7], 0) + coalesce(amounts[8], 0)
        + coalesce(amounts[9], 0) + coalesce(amounts[10], 0) + coalesce(amounts[11], 0) + coalesce(amounts[12], 0) + coalesce(amounts[13], 0) + coalesce(amounts[14], 0) + coalesce(amounts[15], 0) + coalesce(amounts[16], 0) = 0);
