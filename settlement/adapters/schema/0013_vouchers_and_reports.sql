-- Entries by hand, transfers of our own money out of the reserve, and what banks report of payouts.

-- -- vouchers -----------------------------------------------------------------------------------

-- Why an entry by hand was made, and by whom: beside the entry of the same (source, key), by its commit.
CREATE TABLE voucher (
    source    text NOT NULL COLLATE "C" CHECK (source IN ('voucher', 'voucher_reversal')),
    key       text NOT NULL COLLATE "C",
    reason    text NOT NULL CHECK (reason <> ''),
    evidence  text NOT NULL CHECK (evidence <> ''),
    maker     text NOT NULL COLLATE "C" CHECK (maker <> ''),
    checker   text NOT NULL COLLATE "C" CHECK (checker NOT IN ('', maker)),
    proposal  text NOT NULL COLLATE "C" UNIQUE,
    PRIMARY KEY (source, key)
);

-- -- own money out of the reserve ---------------------------------------------------------------

ALTER TABLE payout_batch DROP CONSTRAINT payout_batch_kind_check;
ALTER TABLE payout_batch ADD CONSTRAINT payout_batch_kind_check
    CHECK (kind IN ('payout', 'advance', 'sweep'));

-- received: our own account's statement shows a sweep; the paying account's still says confirmed
ALTER TABLE payout_event DROP CONSTRAINT payout_event_kind_check;
ALTER TABLE payout_event ADD CONSTRAINT payout_event_kind_check
    CHECK (kind IN ('confirmed', 'received', 'returned', 'rejected'));

-- -- reports of payouts (pain.002) --------------------------------------------------------------

CREATE TABLE payout_report (
    account  text        NOT NULL COLLATE "C",  -- of the batch: banks number their messages themselves
    id       text        NOT NULL COLLATE "C",
    batch    text        NOT NULL COLLATE "C" REFERENCES payout_decision,
    made_at  timestamptz NOT NULL,  -- the bank's
    orders   integer     NOT NULL CHECK (orders >= 0),
    sha256   text        NOT NULL COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    PRIMARY KEY (account, id)
);

CREATE TABLE payout_status (
    account        text    NOT NULL COLLATE "C",
    report         text    NOT NULL COLLATE "C",
    line           integer NOT NULL CHECK (line > 0),
    end_to_end_id  text    NOT NULL COLLATE "C" REFERENCES payout_order,
    status         text    NOT NULL COLLATE "C" CHECK (status ~ '^[A-Z]{4}$'),
    reason         text    NOT NULL COLLATE "C",
    text           text    NOT NULL,
    disagrees      text    NOT NULL,
    PRIMARY KEY (account, report, end_to_end_id),
    FOREIGN KEY (account, report) REFERENCES payout_report
);
CREATE INDEX payout_status_order ON payout_status (end_to_end_id);

GRANT SELECT, INSERT ON voucher, payout_report, payout_status TO tongbao_app;
