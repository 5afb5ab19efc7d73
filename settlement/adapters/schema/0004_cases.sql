-- Casework and disputes: facts, added and never changed. How a case or dispute stands is folded from
-- its events (settlement/casework/states.py, settlement/disputes/table.py); an event also says the
-- state that it came to, which is checked when it is read.

-- a case that something else than the day's end opened; the day's end's are in break_case
CREATE TABLE case_opened (
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

-- The key makes two who act on one state come to one.
CREATE TABLE case_event (
    case_id           text        NOT NULL COLLATE "C",
    sequence          integer     NOT NULL CHECK (sequence > 0),
    kind              text        NOT NULL COLLATE "C",
    state             text        NOT NULL COLLATE "C",  -- of the case after it
    operator          text        NOT NULL COLLATE "C",
    at                timestamptz NOT NULL,
    business_date     date        NOT NULL,
    text              text        NOT NULL,
    owner             text        NOT NULL COLLATE "C",
    act               text        NOT NULL COLLATE "C",
    proposal          text        NOT NULL COLLATE "C",
    checker           text        NOT NULL COLLATE "C",
    dispute           text        NOT NULL COLLATE "C",
    difference_minor  bigint      NOT NULL,
    released_minor    bigint      NOT NULL,
    resolved          boolean     NOT NULL,
    PRIMARY KEY (case_id, sequence),
    -- money by hand: a maker and another who checks; money by the network's row names its dispute
    CHECK ((difference_minor = 0 AND released_minor = 0) OR dispute <> ''
           OR (proposal <> '' AND checker <> '' AND checker <> operator))
);
-- an approval is used once
CREATE UNIQUE INDEX case_event_approved ON case_event (proposal) WHERE checker <> '';

-- what suspense holds of every case, by whom it was found
CREATE VIEW case_found AS
    SELECT id, business_date, break_class, acquirer, currency, keys, ours_minor, theirs_minor,
           record, row, evidence, step, settlement_date, merchant, difference_minor,
           false AS opened
    FROM break_case
    UNION ALL
    SELECT id, business_date, break_class, acquirer, currency, keys, ours_minor, theirs_minor,
           record, row, evidence, step, settlement_date, merchant, difference_minor, true
    FROM case_opened;

CREATE TABLE dispute (
    id                 text   PRIMARY KEY COLLATE "C",
    business_date      date   NOT NULL,
    acquirer           text   NOT NULL COLLATE "C",
    currency           text   NOT NULL COLLATE "C",
    merchant           text   NOT NULL COLLATE "C",
    terminal           text   NOT NULL COLLATE "C",
    record             text   NOT NULL COLLATE "C",
    case_id            text   NOT NULL COLLATE "C",
    rrn                text   NOT NULL COLLATE "C",
    link_stan          text   NOT NULL COLLATE "C",
    transmission_time  text   NOT NULL COLLATE "C",
    pan_masked         text   NOT NULL COLLATE "C",
    original_minor     bigint NOT NULL CHECK (original_minor > 0),
    settlement_date    date
);
CREATE INDEX dispute_original ON dispute (acquirer, rrn);

CREATE TABLE dispute_event (
    dispute_id         text        NOT NULL COLLATE "C" REFERENCES dispute,
    sequence           integer     NOT NULL CHECK (sequence > 0),
    event              text        NOT NULL COLLATE "C",
    state              text        NOT NULL COLLATE "C",  -- of the dispute after it
    by                 text        NOT NULL COLLATE "C",
    at                 timestamptz NOT NULL,
    business_date      date        NOT NULL,
    deadline           date,
    settlement_date    date,
    amount_minor       bigint      NOT NULL CHECK (amount_minor >= 0),
    issuer_fee_minor   bigint      NOT NULL,
    network_fee_minor  bigint      NOT NULL,
    charged_minor      bigint      NOT NULL CHECK (charged_minor >= 0),
    held_minor         bigint      NOT NULL CHECK (held_minor >= 0),
    reason             text        NOT NULL COLLATE "C",
    text               text        NOT NULL,
    row                text        NOT NULL COLLATE "C",
    operator           text        NOT NULL COLLATE "C",
    checker            text        NOT NULL COLLATE "C",
    proposal           text        NOT NULL COLLATE "C",
    PRIMARY KEY (dispute_id, sequence),
    CHECK (checker = '' OR checker <> operator)
);
CREATE UNIQUE INDEX dispute_event_approved ON dispute_event (proposal) WHERE checker <> '';

CREATE TABLE dispute_evidence (
    dispute_id  text        NOT NULL COLLATE "C" REFERENCES dispute,
    name        text        NOT NULL COLLATE "C",
    sha256      text        NOT NULL COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    size        bigint      NOT NULL CHECK (size >= 0),
    operator    text        NOT NULL COLLATE "C",
    at          timestamptz NOT NULL,
    text        text        NOT NULL,
    PRIMARY KEY (dispute_id, name, sha256)
);

-- rows of error files, and what became of them; the key makes the same row again nothing
CREATE TABLE placed_row (
    key              text    PRIMARY KEY COLLATE "C",
    acquirer         text    NOT NULL COLLATE "C",
    settlement_date  date    NOT NULL,
    file             text    NOT NULL COLLATE "C",
    line             integer NOT NULL,
    error_type       text    NOT NULL COLLATE "C",
    reason           text    NOT NULL COLLATE "C",
    currency         text    NOT NULL COLLATE "C",
    effect_minor     bigint  NOT NULL,
    dispute_id       text    NOT NULL COLLATE "C",
    case_id          text    NOT NULL COLLATE "C",
    CHECK ((dispute_id <> '') <> (case_id <> ''))
);

GRANT SELECT, INSERT ON case_opened, case_event, dispute, dispute_event, dispute_evidence,
    placed_row TO tongbao_app;
GRANT SELECT ON case_found TO tongbao_app;
