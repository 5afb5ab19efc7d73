-- The journal: facts about requests, added and never changed.
--
-- What may change is derived or a lease, and says so: business_day, business_date, owner,
-- acquirer_lease, queue_open. Everything else only grows; a state is a reading of facts.
--
-- `request` and `outcome` are wide and partitioned by the business date of the request. A request's
-- first attempt and its captured effect stand in the same rows as the request and the outcome,
-- because nearly every request has exactly one of each: a row and an index entry less.
--
-- The gate. Every transaction that reads the business date or a mark (frozen batch, taken owner)
-- first takes switch.enter(): a shared advisory lock, held to its end. Cut-over takes it exclusively.
-- Whoever sets a mark commits it and then waits until every holder that it finds is gone
-- (switch.holders()); what comes later sees the mark. A row lock FOR KEY SHARE would do too, but who
-- waits FOR UPDATE may be overtaken by new sharers (measured with 32 of them: 0.26 s, against 0.01 s
-- here), it needs the privilege to update, and it writes the row at every flush. Advisory locks
-- queue in order and write nothing.

-- -- dates ------------------------------------------------------------------------------------

CREATE TABLE business_day (
    one            boolean PRIMARY KEY DEFAULT true CHECK (one),
    business_date  date    NOT NULL,
    generation     bigint  NOT NULL DEFAULT 1,       -- of the reference data
    scheduled_until timestamptz NOT NULL DEFAULT now() -- items effective up to here are counted in it
);

CREATE TABLE business_date (
    business_date  date PRIMARY KEY,
    state          text NOT NULL CHECK (state IN ('open', 'cut', 'frozen', 'posted')),
    opened_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    cut_at         timestamptz,
    frozen_at      timestamptz,
    posted_at      timestamptz
);
CREATE UNIQUE INDEX business_date_one_open ON business_date (state) WHERE state = 'open';

CREATE FUNCTION enter() RETURNS void LANGUAGE sql AS
    'SELECT pg_advisory_xact_lock_shared(8583, 1)';

-- the same lock, alone: nobody is inside, nobody comes in
CREATE FUNCTION enter_alone() RETURNS void LANGUAGE sql AS
    'SELECT pg_advisory_xact_lock(8583, 1)';

-- transactions that are inside now
CREATE FUNCTION holders() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT virtualtransaction FROM pg_catalog.pg_locks
    WHERE locktype = 'advisory' AND classid = 8583 AND objid = 1 AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
      AND pid <> pg_backend_pid()
$$;

-- shared: the state of this date stays as it is until the end of the transaction
CREATE FUNCTION hold_date(held date) RETURNS void LANGUAGE sql AS
    $$SELECT pg_advisory_xact_lock_shared(8584, held - date '2000-01-01')$$;

CREATE FUNCTION hold_date_alone(held date) RETURNS void LANGUAGE sql AS
    $$SELECT pg_advisory_xact_lock(8584, held - date '2000-01-01')$$;

-- -- numbers ----------------------------------------------------------------------------------

CREATE TABLE number_block (
    name   text   PRIMARY KEY COLLATE "C",
    given  bigint NOT NULL  -- the first number not yet given
);

-- every connection that writes takes one: the upper half of its commit ids
CREATE SEQUENCE writer_id;

-- -- who decides ------------------------------------------------------------------------------

CREATE TABLE owner (
    owner_id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node               text   NOT NULL COLLATE "C",
    worker             integer NOT NULL,
    registered_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until        timestamptz NOT NULL,
    undecided_from_id  bigint NOT NULL,  -- none of its requests below this id is undecided
    taken_by           bigint,
    closed_at          timestamptz
);
CREATE INDEX owner_live ON owner (owner_id) WHERE closed_at IS NULL;

CREATE TABLE acquirer_lease (
    acquirer     text   PRIMARY KEY COLLATE "C",
    owner_id     bigint NOT NULL,
    epoch        integer NOT NULL,
    lease_until  timestamptz NOT NULL
);

-- -- requests ---------------------------------------------------------------------------------

CREATE TABLE request_key (
    merchant      text    NOT NULL COLLATE "C",
    terminal      text    NOT NULL COLLATE "C",
    batch         integer NOT NULL,
    stan          integer NOT NULL,
    kind          text    NOT NULL COLLATE "C",
    request_id    bigint  NOT NULL,
    request_date  date    NOT NULL,
    content       bytea   NOT NULL,
    tombstone     boolean NOT NULL,
    PRIMARY KEY (merchant, terminal, batch, stan, kind)
);

CREATE TABLE request (
    request_id           bigint  NOT NULL,
    request_date         date    NOT NULL,
    owner_id             bigint  NOT NULL,
    generation           bigint  NOT NULL,
    merchant             text    NOT NULL COLLATE "C",
    terminal             text    NOT NULL COLLATE "C",
    batch                integer NOT NULL,
    stan                 integer NOT NULL,
    kind                 text    NOT NULL COLLATE "C",
    content              bytea   NOT NULL,
    type                 text    NOT NULL COLLATE "C",
    mti                  text    NOT NULL COLLATE "C",
    processing_code      text    NOT NULL COLLATE "C",
    amount_minor         bigint  NOT NULL CHECK (amount_minor >= 0),
    currency             text    NOT NULL COLLATE "C",
    rrn                  text    NOT NULL COLLATE "C",
    received_at          timestamptz NOT NULL,
    local_time           text    NOT NULL COLLATE "C",
    entry_mode           text    NOT NULL COLLATE "C",
    condition_code       text    NOT NULL COLLATE "C",
    card_sequence        text    NOT NULL COLLATE "C",
    mcc                  text    NOT NULL COLLATE "C",
    pan_token            bytea,
    pan_masked           text    NOT NULL COLLATE "C",
    pan_cipher           bytea,
    chip                 bytea,
    original_request_id  bigint,
    session_id           bigint,
    decision             text    NOT NULL,
    foreign_card         boolean NOT NULL,
    any_batch            boolean NOT NULL,
    -- the attempt that was committed with the request; later ones are in `attempt`
    attempt              smallint,
    acquirer             text    COLLATE "C",
    link_stan            text    COLLATE "C",
    transmission_time    text    COLLATE "C",
    de32                 text    COLLATE "C",
    de33                 text    COLLATE "C",
    route_rule           text    COLLATE "C",
    PRIMARY KEY (request_id, request_date),
    CHECK ((attempt IS NULL) = (acquirer IS NULL))
) PARTITION BY RANGE (request_date);
CREATE INDEX request_reference ON request (merchant, stan, batch);
-- the way back from a late answer to the attempt it belongs to
CREATE INDEX request_link_stan ON request (link_stan) WHERE link_stan IS NOT NULL;

CREATE TABLE attempt (
    request_id         bigint   NOT NULL,
    attempt            smallint NOT NULL CHECK (attempt > 0),
    request_date       date     NOT NULL,
    acquirer           text     NOT NULL COLLATE "C",
    link_stan          text     NOT NULL COLLATE "C",
    transmission_time  text     NOT NULL COLLATE "C",
    de32               text     NOT NULL COLLATE "C",
    de33               text     NOT NULL COLLATE "C",
    route_rule         text     NOT NULL COLLATE "C",
    recorded_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (request_id, attempt)
);
CREATE INDEX attempt_date ON attempt (request_date);
CREATE INDEX attempt_link_stan ON attempt (link_stan);

-- which requests name an original: narrow, so that looking costs the same after half a year
CREATE TABLE follow_up (
    original_request_id  bigint NOT NULL,
    request_id           bigint NOT NULL,
    request_date         date   NOT NULL,
    PRIMARY KEY (original_request_id, request_id)
);

-- -- outcomes ---------------------------------------------------------------------------------

CREATE TABLE outcome (
    request_id              bigint NOT NULL,
    request_date            date   NOT NULL,
    commit_id               bigint NOT NULL,  -- whose it is: how a writer knows its own row again
    business_date           date   NOT NULL,  -- of the captured effect
    state                   text   NOT NULL COLLATE "C"
        CHECK (state IN ('approved', 'declined', 'refused', 'unknown', 'reversed')),
    response_code           text   NOT NULL COLLATE "C",
    decided_at              timestamptz NOT NULL,
    rule                    text   NOT NULL COLLATE "C",
    attempt                 smallint,
    approved_amount_minor   bigint CHECK (approved_amount_minor >= 0),
    effect_minor            bigint,
    auth_code               text   NOT NULL COLLATE "C",
    settlement_date         date,
    acquirer_rrn            text   NOT NULL COLLATE "C",
    acquirer_response_code  text   NOT NULL COLLATE "C",
    answer                  bytea  NOT NULL,
    on_current_date         boolean NOT NULL,
    PRIMARY KEY (request_id, request_date),
    CHECK (effect_minor IS NULL OR state = 'approved'),
    CHECK (on_current_date OR business_date = request_date)
) PARTITION BY RANGE (request_date);

-- captured effects that are not on the date of their request: late outcomes of `repeat` types
-- (seq 0), and the linked opposites of reversals after the freeze (seq of the reversal)
CREATE TABLE capture (
    request_id     bigint   NOT NULL,
    seq            smallint NOT NULL CHECK (seq BETWEEN 0 AND 15),
    request_date   date     NOT NULL,
    business_date  date     NOT NULL,
    effect_minor   bigint   NOT NULL,
    PRIMARY KEY (request_id, seq)
);
CREATE INDEX capture_date ON capture (business_date);

CREATE TABLE reversal (
    original_request_id  bigint   NOT NULL,
    seq                  smallint NOT NULL CHECK (seq BETWEEN 1 AND 15),
    original_date        date     NOT NULL,
    origin               text     NOT NULL COLLATE "C",
    reason               text     NOT NULL COLLATE "C",
    queued_at            timestamptz NOT NULL,
    capture              text     NOT NULL COLLATE "C" CHECK (capture IN ('', 'cancel', 'opposite')),
    commit_id            bigint   NOT NULL,
    business_date        date     NOT NULL,
    PRIMARY KEY (original_request_id, seq)
);
CREATE UNIQUE INDEX reversal_one_effect ON reversal (original_request_id) WHERE capture <> '';
CREATE INDEX reversal_date ON reversal (original_date);

CREATE TABLE late_answer (
    commit_id       bigint   PRIMARY KEY,
    request_id      bigint   NOT NULL,
    request_date    date     NOT NULL,
    attempt         smallint NOT NULL,
    response_code   text     NOT NULL COLLATE "C",
    auth_code       text     NOT NULL COLLATE "C",
    amount_minor    bigint,
    reason          text     NOT NULL COLLATE "C",
    received_at     timestamptz NOT NULL,
    release_queue   boolean  NOT NULL
);
CREATE INDEX late_answer_request ON late_answer (request_id);

CREATE TABLE reversal_request (
    commit_id            bigint  PRIMARY KEY,
    merchant             text    NOT NULL COLLATE "C",
    terminal             text    NOT NULL COLLATE "C",
    batch                integer NOT NULL,
    stan                 integer NOT NULL,
    kind                 text    NOT NULL COLLATE "C",
    original_request_id  bigint,
    reason               text    NOT NULL COLLATE "C",
    response_code        text    NOT NULL COLLATE "C",
    rule                 text    NOT NULL COLLATE "C",
    received_at          timestamptz NOT NULL,
    business_date        date    NOT NULL
);
CREATE INDEX reversal_request_key ON reversal_request (merchant, terminal, batch, stan, kind);

CREATE TABLE case_fact (
    commit_id      bigint NOT NULL,
    seq            integer NOT NULL DEFAULT 0,
    kind           text   NOT NULL COLLATE "C",
    request_id     bigint,
    merchant       text   NOT NULL COLLATE "C",
    terminal       text   NOT NULL COLLATE "C",
    detail         text   NOT NULL,
    opened_at      timestamptz NOT NULL,
    business_date  date   NOT NULL,
    PRIMARY KEY (commit_id, seq)
);
CREATE INDEX case_fact_date ON case_fact (business_date);

-- how often a writer had to ask whether its commit stood
CREATE TABLE rerun (
    commit_id  bigint NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    commits    integer NOT NULL,
    reason     text NOT NULL
);

-- -- store and forward ------------------------------------------------------------------------

CREATE SEQUENCE queue_position;

CREATE TABLE queue_item (
    item_id            bigint   PRIMARY KEY,
    acquirer           text     NOT NULL COLLATE "C",
    kind               text     NOT NULL COLLATE "C" CHECK (kind IN ('reversal', 'repeat')),
    request_id         bigint   NOT NULL,
    request_date       date     NOT NULL,
    root_request_id    bigint   NOT NULL,
    seq                smallint NOT NULL,
    link_stan          text     NOT NULL COLLATE "C",
    transmission_time  text     NOT NULL COLLATE "C",
    delay_s            double precision NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (request_id, kind, seq)
);

-- derived: the items without an end
CREATE TABLE queue_open (
    item_id          bigint   PRIMARY KEY,
    position         bigint   NOT NULL,
    acquirer         text     NOT NULL COLLATE "C",
    kind             text     NOT NULL COLLATE "C",
    request_id       bigint   NOT NULL,
    root_request_id  bigint   NOT NULL,
    not_before       timestamptz NOT NULL
);
CREATE UNIQUE INDEX queue_open_order ON queue_open (acquirer, position);
CREATE INDEX queue_open_root ON queue_open (root_request_id, position);
CREATE INDEX queue_open_request ON queue_open (request_id);

CREATE TABLE queue_sent (
    item_id  bigint   NOT NULL,
    attempt  integer  NOT NULL,
    sent_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (item_id, attempt)
);

CREATE TABLE queue_end (
    item_id        bigint PRIMARY KEY,
    response_code  text   NOT NULL COLLATE "C",
    ended_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    commit_id      bigint NOT NULL
);

-- -- batches ----------------------------------------------------------------------------------

-- addresses that have shown a verified MAC for a batch: what an unsigned settlement or upload may
-- come from (rules §10)
CREATE TABLE source (
    merchant   text    NOT NULL COLLATE "C",
    terminal   text    NOT NULL COLLATE "C",
    batch      integer NOT NULL,
    address    text    NOT NULL COLLATE "C",
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (merchant, terminal, batch, address)
);

CREATE TABLE batch (
    merchant   text    NOT NULL COLLATE "C",
    terminal   text    NOT NULL COLLATE "C",
    batch      integer NOT NULL CHECK (batch BETWEEN 1 AND 999999),
    position   integer NOT NULL,  -- 1, 2 … of this terminal
    opened_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (merchant, terminal, position)
);
CREATE INDEX batch_number ON batch (merchant, terminal, batch);

CREATE TABLE batch_frozen (
    merchant   text    NOT NULL COLLATE "C",
    terminal   text    NOT NULL COLLATE "C",
    batch      integer NOT NULL,
    frozen_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (merchant, terminal, batch)
);

-- what the 0500 said and what it was told; each side RMB first, then foreign
CREATE TABLE batch_settled (
    merchant      text    NOT NULL COLLATE "C",
    terminal      text    NOT NULL COLLATE "C",
    batch         integer NOT NULL,
    said          bigint[] NOT NULL CHECK (cardinality(said) = 8),
    ours          bigint[] NOT NULL CHECK (cardinality(ours) = 8),
    result        text    NOT NULL COLLATE "C",
    settled_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (merchant, terminal, batch)
);

CREATE TABLE batch_upload (
    merchant      text    NOT NULL COLLATE "C",
    terminal      text    NOT NULL COLLATE "C",
    batch         integer NOT NULL,
    stan          integer NOT NULL,
    amount_minor  bigint  NOT NULL,
    pan_token     bytea,
    foreign_card  boolean NOT NULL,
    after_close   boolean NOT NULL,  -- kept as evidence only
    uploaded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (merchant, terminal, batch, stan)
);

CREATE TABLE batch_closed (
    merchant   text    NOT NULL COLLATE "C",
    terminal   text    NOT NULL COLLATE "C",
    batch      integer NOT NULL,
    rule       text    NOT NULL COLLATE "C" CHECK (rule IN ('balanced', 'uploaded')),
    closed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (merchant, terminal, batch)
);

CREATE SEQUENCE session_id;

CREATE TABLE session (
    session_id  bigint PRIMARY KEY,
    merchant    text   NOT NULL COLLATE "C",
    terminal    text   NOT NULL COLLATE "C",
    layout      text   NOT NULL COLLATE "C",
    pik         text   NOT NULL COLLATE "C",
    mak         text   NOT NULL COLLATE "C",
    tdk         text   COLLATE "C",
    created_at  timestamptz NOT NULL
);
CREATE INDEX session_terminal ON session (merchant, terminal, session_id);

CREATE TABLE session_confirmed (
    session_id    bigint PRIMARY KEY,
    confirmed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- -- reference data ---------------------------------------------------------------------------

CREATE TABLE reference_item (
    kind            text    NOT NULL COLLATE "C",
    key             text    NOT NULL COLLATE "C",
    version         integer NOT NULL CHECK (version > 0),
    effective_from  timestamptz NOT NULL,
    content         jsonb   NOT NULL,
    sha256          bytea   NOT NULL CHECK (octet_length(sha256) = 32),
    maker           text    NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (kind, key, version)
);
CREATE INDEX reference_item_scheduled ON reference_item (effective_from)
    WHERE effective_from > created_at;

CREATE TABLE stored_key (
    owner        text    NOT NULL COLLATE "C",
    usage        text    NOT NULL COLLATE "C",
    version      integer NOT NULL CHECK (version > 0),
    block        text    NOT NULL COLLATE "C",
    check_value  text    NOT NULL COLLATE "C",
    lmk_id       text    NOT NULL COLLATE "C",
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (owner, usage, version)
);
