-- Payouts, bank statements, and what dates come to after their close. Every table only grows.
--
-- All acts are in one order: an act's rows and its number in payout_act are one transaction, and the
-- number is the next one after those that the act has read. Two acts at once: one stands.

CREATE TABLE payout_act (
    generation  bigint      PRIMARY KEY CHECK (generation > 0),
    act         text        NOT NULL COLLATE "C",
    at          timestamptz NOT NULL
);

-- -- payouts ------------------------------------------------------------------------------------

CREATE TABLE payout_batch (
    id              text        PRIMARY KEY COLLATE "C",
    payout_date     date        NOT NULL,
    account         text        NOT NULL COLLATE "C",
    currency        text        NOT NULL COLLATE "C",
    kind            text        NOT NULL COLLATE "C" CHECK (kind IN ('payout', 'advance')),
    count           integer     NOT NULL CHECK (count > 0),
    sum_minor       bigint      NOT NULL CHECK (sum_minor > 0),
    sha256          text        NOT NULL COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    debtor_name     text        NOT NULL,
    debtor_account  text        NOT NULL COLLATE "C",
    debtor_bank     text        NOT NULL COLLATE "C",
    made_at         timestamptz NOT NULL,
    maker           text        NOT NULL COLLATE "C"
);
CREATE INDEX payout_batch_date ON payout_batch (payout_date);

CREATE TABLE payout_order (
    batch             text    NOT NULL COLLATE "C" REFERENCES payout_batch,
    end_to_end_id     text    PRIMARY KEY COLLATE "C" CHECK (length(end_to_end_id) <= 35),
    payee             text    NOT NULL COLLATE "C",  -- a merchant, or agent/ID
    currency          text    NOT NULL COLLATE "C",
    cycle             text    NOT NULL COLLATE "C",
    sequence          integer NOT NULL CHECK (sequence > 0),
    amount_minor      bigint  NOT NULL CHECK (amount_minor > 0),  -- a minus is never paid
    fee_minor         bigint  NOT NULL CHECK (fee_minor >= 0),
    through           date    NOT NULL,
    creditor_name     text    NOT NULL,
    creditor_account  text    NOT NULL COLLATE "C" CHECK (creditor_account <> ''),
    creditor_bank     text    NOT NULL COLLATE "C" CHECK (creditor_bank <> ''),
    replaces          text    NOT NULL COLLATE "C"
);
CREATE INDEX payout_order_batch ON payout_order (batch);
CREATE INDEX payout_order_replaces ON payout_order (replaces) WHERE replaces <> '';

-- released or withdrawn: one of them, once
CREATE TABLE payout_decision (
    batch          text   PRIMARY KEY COLLATE "C" REFERENCES payout_batch,
    decision       text   NOT NULL COLLATE "C" CHECK (decision IN ('released', 'withdrawn')),
    operator       text   NOT NULL COLLATE "C",
    business_date  date   NOT NULL,
    proposal       text   NOT NULL COLLATE "C",
    generation     bigint NOT NULL REFERENCES payout_act,
    CHECK (decision = 'withdrawn' OR proposal <> '')
);
-- an approval lets one batch go
CREATE UNIQUE INDEX payout_decision_proposal ON payout_decision (proposal) WHERE proposal <> '';

CREATE TABLE payout_event (
    end_to_end_id  text    NOT NULL COLLATE "C" REFERENCES payout_order,
    kind           text    NOT NULL COLLATE "C" CHECK (kind IN ('confirmed', 'returned', 'rejected')),
    business_date  date    NOT NULL,
    account        text    NOT NULL COLLATE "C",
    statement      text    NOT NULL COLLATE "C",
    line           integer NOT NULL,
    reason         text    NOT NULL COLLATE "C",
    PRIMARY KEY (end_to_end_id, kind)
);

CREATE TABLE rolling_reserve (
    business_date  date   NOT NULL,
    merchant       text   NOT NULL COLLATE "C",
    currency       text   NOT NULL COLLATE "C",
    kind           text   NOT NULL COLLATE "C" CHECK (kind IN ('withheld', 'released')),
    amount_minor   bigint NOT NULL CHECK (amount_minor > 0),
    release_on     date   NOT NULL,
    PRIMARY KEY (business_date, merchant, currency, kind)
);
CREATE INDEX rolling_reserve_release ON rolling_reserve (release_on) WHERE kind = 'withheld';

CREATE TABLE payout_file (
    batch   text   PRIMARY KEY COLLATE "C" REFERENCES payout_decision,
    name    text   NOT NULL COLLATE "C" UNIQUE,
    sha256  text   NOT NULL COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    size    bigint NOT NULL
);

-- -- bank statements ----------------------------------------------------------------------------

CREATE TABLE statement_file (
    sha256  text  PRIMARY KEY COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    name    text  NOT NULL,
    sealed  bytea NOT NULL
);

CREATE TABLE statement (
    account        text    NOT NULL COLLATE "C",
    id             text    NOT NULL COLLATE "C",
    sequence       bigint,
    first          date    NOT NULL,
    last           date    NOT NULL,
    currency       text    NOT NULL COLLATE "C",
    opening_minor  bigint  NOT NULL,
    closing_minor  bigint  NOT NULL,
    lines          integer NOT NULL CHECK (lines >= 0),
    sha256         text    NOT NULL COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    business_date  date    NOT NULL,  -- on which its entries stand
    PRIMARY KEY (account, id)
);

CREATE TABLE statement_line (
    account            text    NOT NULL COLLATE "C",
    statement          text    NOT NULL COLLATE "C",
    line               integer NOT NULL CHECK (line > 0),
    booked_on          date    NOT NULL,
    value_on           date    NOT NULL,
    currency           text    NOT NULL COLLATE "C",
    amount_minor       bigint  NOT NULL CHECK (amount_minor <> 0),
    end_to_end_id      text    NOT NULL COLLATE "C",
    batch              text    NOT NULL COLLATE "C",
    reference          text    NOT NULL COLLATE "C",
    counterparty       text    NOT NULL COLLATE "C",
    counterparty_name  text    NOT NULL,
    text               text    NOT NULL,
    return_reason      text    NOT NULL COLLATE "C",
    PRIMARY KEY (account, statement, line),
    FOREIGN KEY (account, statement) REFERENCES statement
);

-- a line is explained once
CREATE TABLE line_match (
    account        text    NOT NULL COLLATE "C",
    statement      text    NOT NULL COLLATE "C",
    line           integer NOT NULL,
    rule           text    NOT NULL COLLATE "C",
    rule_version   integer NOT NULL,
    kind           text    NOT NULL COLLATE "C" CHECK (kind IN ('payout', 'return', 'receivable', 'own')),
    objects        text[]  NOT NULL,
    business_date  date    NOT NULL,
    PRIMARY KEY (account, statement, line),
    FOREIGN KEY (account, statement, line) REFERENCES statement_line
);

-- -- dates --------------------------------------------------------------------------------------

CREATE TABLE date_state (
    business_date  date   NOT NULL,
    state          text   NOT NULL COLLATE "C"
                   CHECK (state IN ('withheld', 'funded', 'paid', 'confirmed')),
    generation     bigint NOT NULL REFERENCES payout_act,
    PRIMARY KEY (business_date, state)
);

CREATE TABLE reserve_check (
    business_date           date   NOT NULL,
    currency                text   NOT NULL COLLATE "C",
    terms                   json   NOT NULL,
    bank_difference_minor   bigint NOT NULL,
    cover_difference_minor  bigint NOT NULL,
    PRIMARY KEY (business_date, currency)
);

GRANT SELECT, INSERT ON payout_act, payout_batch, payout_order, payout_decision, payout_event,
    rolling_reserve, payout_file, statement_file, statement, statement_line, line_match, date_state,
    reserve_check TO tongbao_app;
