-- What the closes' records came to by merchant and settlement date, for the networks' own sums. A
-- close adds to neighbouring settlement dates, too, and takes away what moved to another.
CREATE TABLE settled_sum (
    business_date    date    NOT NULL,  -- of the close
    acquirer         text    NOT NULL COLLATE "C",
    settlement_date  date    NOT NULL,
    currency         text    NOT NULL COLLATE "C",
    merchant         text    NOT NULL COLLATE "C",
    count            bigint  NOT NULL,
    amount_minor     bigint  NOT NULL,
    PRIMARY KEY (settlement_date, business_date, acquirer, currency, merchant)
);
CREATE INDEX settled_sum_business_date ON settled_sum (business_date);

GRANT SELECT, INSERT ON settled_sum TO tongbao_app;
