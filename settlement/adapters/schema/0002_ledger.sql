-- The general ledger: layers, the chain's anchors, checkpoints of balances, and balances with limits.
--
-- Entries stay one row each (0001). What is new beside them is derived from them and checked against
-- them by `tongbao ledger verify`.

DO $$
BEGIN
    IF EXISTS (SELECT FROM settlement.entry) THEN
        RAISE EXCEPTION 'the ledger has entries whose hashes are of a form before 0002'
            USING HINT = 'no release made them; start with an empty database';
    END IF;
END $$;

-- pending: captured, its file still to come; settled: everything else. An entry stands in one layer.
ALTER TABLE entry ADD COLUMN layer text COLLATE "C" NOT NULL DEFAULT 'settled'
    CHECK (layer IN ('pending', 'settled'));

CREATE OR REPLACE VIEW posting AS
    SELECT e.source, e.key, p.line, e.business_date, e.step, e.rule, e.rule_version, e.currency,
           e.merchant, e.acquirer, e.terminal, e.batch, e.settlement_date,
           p.account, p.owner, p.amount_minor, e.layer
    FROM entry AS e,
         unnest(e.accounts, e.owners, e.amounts) WITH ORDINALITY
             AS p (account, owner, amount_minor, line);

-- By date; within it by the rules that post on an account, and by merchant: what a statement reads.
DROP INDEX entry_date;
CREATE INDEX entry_date ON entry (business_date, rule, merchant);

-- -- the chain ----------------------------------------------------------------------------------

ALTER TABLE seal
    ADD COLUMN first_source text COLLATE "C" NOT NULL,
    ADD COLUMN first_key text COLLATE "C" NOT NULL,
    ADD COLUMN fingerprints bytea NOT NULL,  -- eight bytes of each entry's hash
    ADD CHECK (octet_length(fingerprints) = 8 * count);

-- A date that takes no more entries. Posters hold the ledger's advisory lock shared while they look here
-- and until they commit; who adds a row holds it alone.
CREATE TABLE posting_end (
    business_date  date        PRIMARY KEY,
    ended_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE anchor (
    business_date  date        PRIMARY KEY,
    entries        bigint      NOT NULL CHECK (entries >= 0),
    link           bytea       NOT NULL,  -- the last link so far; empty where there is none
    previous       bytea       NOT NULL UNIQUE,
    hash           bytea       NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    sealed_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The closing balance of every account that moved on a sealed date: a balance at any date is one row.
CREATE TABLE checkpoint (
    account        text   NOT NULL COLLATE "C",
    owner          text   NOT NULL COLLATE "C",
    currency       text   NOT NULL COLLATE "C",
    layer          text   NOT NULL COLLATE "C",
    business_date  date   NOT NULL,
    count          bigint NOT NULL CHECK (count > 0),  -- postings
    debit_minor    bigint NOT NULL CHECK (debit_minor >= 0),
    credit_minor   bigint NOT NULL CHECK (credit_minor >= 0),
    balance_minor  bigint NOT NULL,
    PRIMARY KEY (account, owner, currency, layer, business_date)
);
CREATE INDEX checkpoint_date ON checkpoint (business_date);

-- Accounts and posting rules as they were when a date was sealed under them, each version once.
CREATE TABLE definition (
    kind       text    NOT NULL COLLATE "C" CHECK (kind IN ('account', 'composite', 'rule')),
    name       text    NOT NULL COLLATE "C",
    version    integer NOT NULL CHECK (version > 0),
    content    json    NOT NULL,
    sha256     bytea   NOT NULL CHECK (octet_length(sha256) = 32),
    PRIMARY KEY (kind, name, version)
);

-- -- balances with limits -----------------------------------------------------------------------

-- The one table of the books that changes: a counter beside the entries, so that two posters can not both
-- pass a check of the same balance. Only the functions below write it.
CREATE TABLE limited_balance (
    account        text   NOT NULL COLLATE "C",
    owner          text   NOT NULL COLLATE "C",
    currency       text   NOT NULL COLLATE "C",
    pending_minor  bigint NOT NULL,
    settled_minor  bigint NOT NULL,
    PRIMARY KEY (account, owner, currency)
);

-- Lock balances, in order, until the transaction ends. One that has no row yet gets one out of the entries,
-- those of this transaction included; it is `made`.
CREATE FUNCTION hold_balances(asked_accounts text[], asked_owners text[], asked_currencies text[],
                              rules text[])
RETURNS TABLE (account text, owner text, currency text,
               pending_minor bigint, settled_minor bigint, made boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = settlement, pg_temp AS $$
#variable_conflict use_column
DECLARE
    last_sealed  date := coalesce((SELECT max(a.business_date) FROM settlement.anchor AS a),
                                  '-infinity');
    new          settlement.limited_balance[];
BEGIN
    WITH asked AS (
        SELECT q.account COLLATE "C" AS account, q.owner COLLATE "C" AS owner,
               q.currency COLLATE "C" AS currency
        FROM unnest(asked_accounts, asked_owners, asked_currencies) AS q (account, owner, currency)
        WHERE NOT EXISTS (SELECT FROM settlement.limited_balance AS b
                          WHERE (b.account, b.owner, b.currency)
                              = (q.account, q.owner, q.currency))
    ), open AS (
        SELECT p.account, p.owner, p.currency,
               sum(p.amount_minor) FILTER (WHERE p.layer = 'pending') AS pending,
               sum(p.amount_minor) FILTER (WHERE p.layer = 'settled') AS settled
        FROM settlement.posting AS p JOIN asked USING (account, owner, currency)
        WHERE p.business_date > last_sealed AND p.rule = ANY (rules)
        GROUP BY 1, 2, 3
    ), added AS (
        INSERT INTO settlement.limited_balance
        SELECT q.account, q.owner, q.currency,
               settlement.closing(q.account, q.owner, q.currency, 'pending', last_sealed)
                   + coalesce(o.pending, 0),
               settlement.closing(q.account, q.owner, q.currency, 'settled', last_sealed)
                   + coalesce(o.settled, 0)
        FROM asked AS q LEFT JOIN open AS o USING (account, owner, currency)
        ORDER BY 1, 2, 3
        ON CONFLICT DO NOTHING
        RETURNING limited_balance
    )
    SELECT coalesce(array_agg(a.limited_balance), '{}') INTO new FROM added AS a;

    RETURN QUERY
        SELECT b.account, b.owner, b.currency, b.pending_minor, b.settled_minor,
               EXISTS (SELECT FROM unnest(new) AS n
                       WHERE (n.account, n.owner, n.currency)
                           = (b.account, b.owner, b.currency))
        FROM settlement.limited_balance AS b
        JOIN unnest(asked_accounts, asked_owners, asked_currencies) AS q (account, owner, currency)
          ON (b.account, b.owner, b.currency) = (q.account, q.owner, q.currency)
        ORDER BY b.account, b.owner, b.currency
        FOR UPDATE OF b;
END
$$;

-- Move balances that `hold_balances` has locked.
CREATE FUNCTION move_balances(accounts text[], owners text[], currencies text[],
                              pending bigint[], settled bigint[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = settlement, pg_temp AS $$
    UPDATE settlement.limited_balance AS b
    SET pending_minor = b.pending_minor + q.pending, settled_minor = b.settled_minor + q.settled
    FROM unnest(accounts, owners, currencies, pending, settled)
        AS q (account, owner, currency, pending, settled)
    WHERE (b.account, b.owner, b.currency) = (q.account, q.owner, q.currency)
$$;

-- The balance at the end of a sealed date.
CREATE FUNCTION closing(account text, owner text, currency text, layer text, at date)
RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce((SELECT c.balance_minor FROM settlement.checkpoint AS c
                     WHERE c.account = $1 AND c.owner = $2 AND c.currency = $3 AND c.layer = $4
                       AND c.business_date <= $5
                     ORDER BY c.business_date DESC LIMIT 1), 0)
$$;

-- -- who may do what ----------------------------------------------------------------------------

GRANT SELECT, INSERT ON posting_end, anchor, checkpoint, definition TO tongbao_app;
GRANT SELECT ON limited_balance TO tongbao_app;
REVOKE ALL ON FUNCTION hold_balances, move_balances FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hold_balances, move_balances, closing TO tongbao_app;
