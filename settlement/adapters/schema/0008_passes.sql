-- Matches of one with several, and the terminals' totals against the journal.

-- Which lines make one match: the one that is the sum, and each line it is the sum of. Every member
-- stands alone in `match`, too, whose unique indexes say that nothing is in two matches.
CREATE TABLE match_member (
    business_date  date    NOT NULL,
    match_id       text    NOT NULL COLLATE "C",  -- identity of the line that is the sum
    rule           text    NOT NULL COLLATE "C",
    rule_version   integer NOT NULL,
    side           text    NOT NULL COLLATE "C" CHECK (side IN ('ours', 'theirs')),
    member         text    NOT NULL COLLATE "C",
    PRIMARY KEY (side, member)
);
CREATE INDEX match_member_match ON match_member (match_id);

-- What the records of a business date came to by batch; a batch may have captures on several dates.
CREATE TABLE batch_sum (
    business_date  date    NOT NULL,
    merchant       text    NOT NULL COLLATE "C",
    terminal       text    NOT NULL COLLATE "C",
    batch          integer NOT NULL,
    debit_minor    bigint  NOT NULL,
    debit_count    bigint  NOT NULL,
    credit_minor   bigint  NOT NULL,
    credit_count   bigint  NOT NULL,
    PRIMARY KEY (merchant, terminal, batch, business_date)
);

-- Batches whose totals a close has held against the journal: each once.
CREATE TABLE batch_checked (
    merchant       text    NOT NULL COLLATE "C",
    terminal       text    NOT NULL COLLATE "C",
    batch          integer NOT NULL,
    business_date  date    NOT NULL,  -- of that close
    PRIMARY KEY (merchant, terminal, batch)
);
CREATE INDEX batch_checked_date ON batch_checked (business_date);

GRANT SELECT, INSERT ON match_member, batch_sum, batch_checked TO tongbao_app;
