-- The books: facts of the day's end, added and never changed. Every table only grows.
--
-- A step's rows and its record are written in one transaction, so a step stands whole or not at all.
-- PANs are here as token and mask; the files they came in are sealed.

-- -- a date's run -------------------------------------------------------------------------------

-- the instant of a date's first run: the only time that reaches its reports
CREATE TABLE run (
    business_date  date        PRIMARY KEY,
    started_at     timestamptz NOT NULL
);

CREATE TABLE step (
    business_date  date  NOT NULL,
    name           text  NOT NULL COLLATE "C",
    content        text  NOT NULL COLLATE "C" CHECK (content ~ '^[0-9a-f]{64}$'),
    totals         json  NOT NULL,
    inputs         text[] NOT NULL,  -- what of the outside it rests on
    finished_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (business_date, name)
);

CREATE TABLE output (
    business_date  date   NOT NULL,
    name           text   NOT NULL COLLATE "C",
    sha256         text   NOT NULL COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    size           bigint NOT NULL,
    PRIMARY KEY (business_date, name)
);

-- -- clearing -----------------------------------------------------------------------------------

CREATE TABLE incoming_file (
    acquirer         text    NOT NULL COLLATE "C",
    name             text    NOT NULL COLLATE "C",
    version          integer NOT NULL CHECK (version > 0),
    type             text    NOT NULL COLLATE "C",
    settlement_date  date    NOT NULL,
    sequence         integer NOT NULL,
    sha256           bytea   NOT NULL CHECK (octet_length(sha256) = 32),
    rows             integer NOT NULL CHECK (rows >= 0),
    business_date    date    NOT NULL,  -- whose close took it in
    sealed           bytea   NOT NULL,
    taken_in_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (acquirer, name, version),
    UNIQUE (acquirer, settlement_date, sha256)
);

CREATE TABLE clearing_row (
    acquirer              text    NOT NULL COLLATE "C",
    file                  text    NOT NULL COLLATE "C",
    version               integer NOT NULL,
    line                  integer NOT NULL CHECK (line > 0),
    settlement_date       date    NOT NULL,
    content               bytea   NOT NULL,
    de32                  text    NOT NULL COLLATE "C",
    de33                  text    NOT NULL COLLATE "C",
    stan                  text    NOT NULL COLLATE "C",
    transmission_time     text    NOT NULL COLLATE "C",
    pan_token             bytea   NOT NULL,
    pan_masked            text    NOT NULL COLLATE "C",
    amount_minor          bigint  NOT NULL CHECK (amount_minor >= 0),
    currency              text    NOT NULL COLLATE "C",
    mti                   text    NOT NULL COLLATE "C",
    processing_code       text    NOT NULL COLLATE "C",
    mcc                   text    NOT NULL COLLATE "C",
    terminal              text    NOT NULL COLLATE "C",
    merchant              text    NOT NULL COLLATE "C",
    rrn                   text    NOT NULL COLLATE "C",
    condition_code        text    NOT NULL COLLATE "C",
    auth_code             text    NOT NULL COLLATE "C",
    original_stan         text    NOT NULL COLLATE "C",
    original_time         text    NOT NULL COLLATE "C",
    response_code         text    NOT NULL COLLATE "C",
    entry_mode            text    NOT NULL COLLATE "C",
    fee_receivable_minor  bigint,
    fee_payable_minor     bigint,
    switching_fee_minor   bigint,
    PRIMARY KEY (acquirer, file, version, line)
);
CREATE INDEX clearing_row_date ON clearing_row (settlement_date);

-- rows of each name's last version, under the id that matches and breaks use; it names the version,
-- because matches and breaks rest on that one
CREATE VIEW standing_row AS
    SELECT r.*, r.acquirer || '/' || r.file || '/' || r.version || ':' || r.line AS id
    FROM clearing_row AS r
    WHERE r.version = (SELECT max(f.version) FROM incoming_file AS f
                       WHERE (f.acquirer, f.name) = (r.acquirer, r.file));

CREATE TABLE clearing_record (
    key                text    PRIMARY KEY COLLATE "C",
    business_date      date    NOT NULL,
    settlement_date    date    NOT NULL,
    request_id         bigint  NOT NULL,
    root_request_id    bigint  NOT NULL,
    type               text    NOT NULL COLLATE "C",
    state              text    NOT NULL COLLATE "C",
    merchant           text    NOT NULL COLLATE "C",
    terminal           text    NOT NULL COLLATE "C",
    batch              integer NOT NULL,
    stan               integer NOT NULL,
    acquirer           text    NOT NULL COLLATE "C",
    effect_minor       bigint  NOT NULL,
    amount_minor       bigint  NOT NULL,
    currency           text    NOT NULL COLLATE "C",
    de32               text    NOT NULL COLLATE "C",
    de33               text    NOT NULL COLLATE "C",
    link_stan          text    NOT NULL COLLATE "C",
    transmission_time  text    NOT NULL COLLATE "C",
    rrn                text    NOT NULL COLLATE "C",
    auth_code          text    NOT NULL COLLATE "C",
    pan_token          bytea   NOT NULL,
    pan_masked         text    NOT NULL COLLATE "C",
    card_type          text    NOT NULL COLLATE "C",
    mcc                text    NOT NULL COLLATE "C",
    entry_mode         text    NOT NULL COLLATE "C",
    response_code      text    NOT NULL COLLATE "C",
    plan               text    NOT NULL COLLATE "C",
    plan_version       integer NOT NULL,
    -- c: a captured effect; r: a request that left none
    CHECK (key ~ '^[cr][0-9]+$' AND (key ~ '^c') = (effect_minor <> 0))
);
-- what is still open is asked for by settlement date, over all business dates
CREATE INDEX clearing_record_settles ON clearing_record (settlement_date);
CREATE INDEX clearing_record_date ON clearing_record (business_date);
CREATE INDEX clearing_record_root ON clearing_record (root_request_id) WHERE effect_minor <> 0;
CREATE INDEX clearing_record_request ON clearing_record (request_id) WHERE effect_minor <> 0;

-- -- reconciliation -----------------------------------------------------------------------------

CREATE TABLE match (
    business_date  date    NOT NULL,
    match_class    text    NOT NULL COLLATE "C",
    rule           text    NOT NULL COLLATE "C",
    rule_version   integer NOT NULL,
    record         text    COLLATE "C",
    row            text    COLLATE "C",
    CHECK (record IS NOT NULL OR row IS NOT NULL)
);
-- nothing stands in two matches
CREATE UNIQUE INDEX match_record ON match (record) WHERE record IS NOT NULL;
CREATE UNIQUE INDEX match_row ON match (row) WHERE row IS NOT NULL;
CREATE INDEX match_date ON match (business_date);

CREATE TABLE break_case (
    id                text   PRIMARY KEY COLLATE "C",
    business_date     date   NOT NULL,
    break_class       text   NOT NULL COLLATE "C",
    acquirer          text   NOT NULL COLLATE "C",
    currency          text   NOT NULL COLLATE "C",
    keys              json   NOT NULL,
    ours_minor        bigint,
    theirs_minor      bigint,
    record            text   NOT NULL COLLATE "C",
    row               text   NOT NULL COLLATE "C",
    evidence          json   NOT NULL,
    step              text   NOT NULL COLLATE "C",
    settlement_date   date,
    merchant          text   NOT NULL COLLATE "C",
    difference_minor  bigint NOT NULL
);
CREATE INDEX break_case_date ON break_case (business_date);

CREATE TABLE resolution (
    break_id         text PRIMARY KEY COLLATE "C" REFERENCES break_case,
    business_date    date NOT NULL,
    reason           text NOT NULL,
    settlement_date  date NOT NULL
);

-- other content under the name of a file that is in already, until a second person approves it
CREATE TABLE held_file (
    acquirer  text  NOT NULL COLLATE "C",
    name      text  NOT NULL COLLATE "C",
    sha256    bytea NOT NULL CHECK (octet_length(sha256) = 32),
    break_id  text  NOT NULL COLLATE "C" REFERENCES break_case,
    sealed    bytea NOT NULL,
    held_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (acquirer, name, sha256)
);

-- -- fees ---------------------------------------------------------------------------------------

CREATE TABLE merchant_fee (
    business_date     date    NOT NULL,
    key               text    PRIMARY KEY COLLATE "C",
    plan              text    NOT NULL COLLATE "C",
    plan_version      integer NOT NULL,
    card_type         text    NOT NULL COLLATE "C",
    net_before_minor  bigint  NOT NULL,
    net_after_minor   bigint  NOT NULL,
    discount_minor    bigint  NOT NULL
);
CREATE INDEX merchant_fee_date ON merchant_fee (business_date);

CREATE TABLE network_cost (
    business_date       date    NOT NULL,
    key                 text    PRIMARY KEY COLLATE "C",
    row                 text    NOT NULL COLLATE "C",
    plan                text    NOT NULL COLLATE "C",
    plan_version        integer NOT NULL,
    issuer_ours_minor   bigint  NOT NULL,
    network_ours_minor  bigint  NOT NULL,
    issuer_file_minor   bigint,
    network_file_minor  bigint,
    issuer_minor        bigint  NOT NULL,
    network_minor       bigint  NOT NULL
);
CREATE INDEX network_cost_date ON network_cost (business_date);

-- -- ledger -------------------------------------------------------------------------------------

CREATE FUNCTION sums_to_zero(amounts bigint[]) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    'SELECT sum(amount) = 0 FROM unnest(amounts) AS amount';

-- One entry a row, its postings in arrays of one length: an entry can not stand unbalanced, not
-- even within a transaction, and no trigger has to look at postings one by one. Debit plus.
CREATE TABLE entry (
    source           text     NOT NULL COLLATE "C",
    key              text     NOT NULL COLLATE "C",
    business_date    date     NOT NULL,
    step             text     NOT NULL COLLATE "C",
    rule             text     NOT NULL COLLATE "C",
    rule_version     integer  NOT NULL,
    currency         text     NOT NULL COLLATE "C",
    merchant         text     NOT NULL COLLATE "C",
    acquirer         text     NOT NULL COLLATE "C",
    terminal         text     NOT NULL COLLATE "C",
    batch            integer  NOT NULL,
    settlement_date  date     NOT NULL,
    accounts         text[]   NOT NULL,
    owners           text[]   NOT NULL,
    amounts          bigint[] NOT NULL,
    hash             bytea    NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (source, key),
    CHECK (cardinality(amounts) >= 2
           AND cardinality(accounts) = cardinality(amounts)
           AND cardinality(owners) = cardinality(amounts)),
    CHECK (sums_to_zero(amounts))
);
CREATE INDEX entry_date ON entry (business_date);

CREATE VIEW posting AS
    SELECT e.source, e.key, p.line, e.business_date, e.step, e.rule, e.rule_version, e.currency,
           e.merchant, e.acquirer, e.terminal, e.batch, e.settlement_date,
           p.account, p.owner, p.amount_minor
    FROM entry AS e,
         unnest(e.accounts, e.owners, e.amounts) WITH ORDINALITY
             AS p (account, owner, amount_minor, line);

-- The chain: `previous` is unique, so it can not fork.
CREATE TABLE seal (
    business_date  date    NOT NULL,
    step           text    NOT NULL COLLATE "C",
    chunk          integer NOT NULL,
    count          integer NOT NULL CHECK (count > 0),
    previous       bytea   NOT NULL UNIQUE,
    hash           bytea   NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    PRIMARY KEY (business_date, step, chunk)
);

CREATE TABLE net (
    business_date     date    NOT NULL,
    merchant          text    NOT NULL COLLATE "C",
    currency          text    NOT NULL COLLATE "C",
    count             integer NOT NULL,
    gross_minor       bigint  NOT NULL,
    taken_back_minor  bigint  NOT NULL,
    discount_minor    bigint  NOT NULL,
    held_minor        bigint  NOT NULL,
    net_minor         bigint  NOT NULL,
    PRIMARY KEY (business_date, merchant, currency),
    CHECK (net_minor = gross_minor + taken_back_minor - discount_minor - held_minor)
);

-- -- who may do what ----------------------------------------------------------------------------

GRANT USAGE ON SCHEMA settlement TO tongbao_app, tongbao_reader;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA settlement TO tongbao_app;
GRANT EXECUTE ON FUNCTION sums_to_zero TO tongbao_app;
