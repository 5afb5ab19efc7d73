-- Limits and risk rules: counters, what may still be taken back of them, alerts.
--
-- A counter is (counter, subject) with a row for each bucket of time. `risk_bucket` and `risk_move` are
-- derived: they may be lost but for the limits of a window. A decision locks its counters first
-- (risk_count), sorted, reads them, and adds to them (risk_add) in the transaction that stores its
-- request; nobody else adds. The locks are advisory, as those of originals: a counter that nobody has
-- used yet has no row, and one that ended has none any more. A request that ends without approval, or is
-- reversed, gives back by a trigger, whoever wrote the outcome; that takes no lock but those of its
-- rows, and can only make a reading too high.

CREATE TABLE risk_bucket (
    counter       text    NOT NULL COLLATE "C",
    subject       text    NOT NULL COLLATE "C",
    bucket        bigint  NOT NULL,
    count         bigint  NOT NULL,
    amount_minor  bigint  NOT NULL,
    kept_until    timestamptz NOT NULL,  -- after it no window reads this bucket
    PRIMARY KEY (counter, subject, bucket)
);
CREATE INDEX risk_bucket_kept ON risk_bucket (kept_until);

CREATE TABLE risk_move (
    request_id    bigint  NOT NULL,
    counter       text    NOT NULL COLLATE "C",
    subject       text    NOT NULL COLLATE "C",
    bucket        bigint  NOT NULL,
    count         bigint  NOT NULL,
    amount_minor  bigint  NOT NULL,
    returns       boolean NOT NULL,
    kept_until    timestamptz NOT NULL,
    PRIMARY KEY (request_id, counter, subject)
);
CREATE INDEX risk_move_kept ON risk_move (kept_until);

CREATE TABLE risk_alert (
    alert_id       bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id     bigint  NOT NULL,
    rule           text    NOT NULL COLLATE "C",
    version        integer NOT NULL,
    action         text    NOT NULL COLLATE "C" CHECK (action IN ('decline', 'review', 'alert')),
    scope          text    NOT NULL COLLATE "C",
    subject        text    NOT NULL COLLATE "C",
    day            integer NOT NULL,
    measured       bigint  NOT NULL,
    threshold      bigint  NOT NULL,
    merchant       text    NOT NULL COLLATE "C",
    terminal       text    NOT NULL COLLATE "C",
    pan_masked     text    NOT NULL COLLATE "C",
    raised_at      timestamptz NOT NULL,
    business_date  date    NOT NULL,
    UNIQUE (rule, subject, day)
);

-- the state of an alert and its owner are those of its newest act
CREATE TABLE risk_alert_act (
    alert_id  bigint  NOT NULL REFERENCES risk_alert,
    seq       integer NOT NULL CHECK (seq BETWEEN 1 AND 1000),
    act       text    NOT NULL COLLATE "C" CHECK (act IN ('taken', 'closed')),
    operator  text    NOT NULL COLLATE "C",
    reason    text    NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (alert_id, seq)
);

CREATE TYPE risk_move_commit AS (
    request_id bigint, counter text, subject text, bucket bigint, count bigint, amount_minor bigint,
    returns boolean, kept_until timestamptz
);

CREATE TYPE risk_alert_commit AS (
    request_id bigint, rule text, version integer, action text, scope text, subject text,
    day integer, measured bigint, threshold bigint, merchant text, terminal text, pan_masked text,
    raised_at timestamptz
);

-- Lock these counters to the end of the transaction, then read them; in the order asked.
CREATE FUNCTION risk_count(counters text[], subjects text[], from_buckets bigint[])
RETURNS TABLE (count bigint, amount_minor bigint, newest bigint) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(8590, sorted.hash)
    FROM (SELECT DISTINCT hashtext(a.counter || ' ' || a.subject) AS hash
          FROM unnest(counters, subjects) AS a (counter, subject) ORDER BY 1 OFFSET 0) AS sorted;
    -- another statement: its snapshot is of after the locks
    RETURN QUERY
        SELECT coalesce(sum(b.count) FILTER (WHERE b.bucket >= a.from_bucket), 0)::bigint,
               coalesce(sum(b.amount_minor) FILTER (WHERE b.bucket >= a.from_bucket), 0)::bigint,
               max(b.bucket)
        FROM unnest(counters, subjects, from_buckets) WITH ORDINALITY
                 AS a (counter, subject, from_bucket, place)
        LEFT JOIN switch.risk_bucket AS b ON (b.counter, b.subject) = (a.counter, a.subject)
        GROUP BY a.place ORDER BY a.place;
END
$$;

-- What a stored decision adds, once a request and counter; called under the locks of risk_count.
CREATE FUNCTION risk_add(moves risk_move_commit[], alerts risk_alert_commit[])
RETURNS void LANGUAGE sql AS $$
    WITH moved AS (
        INSERT INTO switch.risk_move
        SELECT m.* FROM unnest(moves) AS m
        ON CONFLICT DO NOTHING
        RETURNING *
    )
    INSERT INTO switch.risk_bucket AS b
    SELECT m.counter, m.subject, m.bucket, m.count, m.amount_minor, m.kept_until
    FROM moved AS m ORDER BY m.counter, m.subject, m.bucket
    ON CONFLICT (counter, subject, bucket) DO UPDATE
    SET count = b.count + excluded.count, amount_minor = b.amount_minor + excluded.amount_minor;

    INSERT INTO switch.risk_alert
        (request_id, rule, version, action, scope, subject, day, measured, threshold,
         merchant, terminal, pan_masked, raised_at, business_date)
    SELECT a.*, d.business_date FROM unnest(alerts) AS a, switch.business_day AS d
    ORDER BY a.rule, a.subject
    ON CONFLICT DO NOTHING;
$$;

CREATE FUNCTION risk_give_back() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended  bigint;
BEGIN
    IF TG_ARGV[0] = 'reversal' THEN
        ended := NEW.original_request_id;
    ELSE
        ended := NEW.request_id;
    END IF;
    WITH gone AS (
        DELETE FROM switch.risk_move AS m WHERE m.request_id = ended AND m.returns
        RETURNING m.*
    )
    UPDATE switch.risk_bucket AS b
    SET count = b.count - g.count, amount_minor = b.amount_minor - g.amount_minor
    FROM gone AS g
    WHERE (b.counter, b.subject, b.bucket) = (g.counter, g.subject, g.bucket);
    RETURN NULL;
END
$$;

-- approved outcomes, and refusals of ours, which moved nothing, do not even call it
CREATE TRIGGER risk_give_back AFTER INSERT ON outcome FOR EACH ROW
    WHEN (NEW.state IN ('declined', 'unknown', 'reversed')) EXECUTE FUNCTION risk_give_back('outcome');
CREATE TRIGGER risk_give_back AFTER INSERT ON reversal FOR EACH ROW
    EXECUTE FUNCTION risk_give_back('reversal');


CREATE VIEW risk_alert_v1 AS
    SELECT a.alert_id, coalesce(l.act, 'open') AS state, coalesce(l.operator, '') AS owner,
           coalesce(l.reason, '') AS reason, l.at AS changed_at,
           a.rule, a.version, a.action, a.scope,
           CASE a.scope WHEN 'card' THEN a.pan_masked ELSE a.subject END AS subject,
           a.measured, a.threshold, a.merchant, a.terminal, a.request_id, a.raised_at,
           a.business_date
    FROM risk_alert AS a
    LEFT JOIN LATERAL (SELECT * FROM risk_alert_act AS t WHERE t.alert_id = a.alert_id
                       ORDER BY t.seq DESC LIMIT 1) AS l ON true;

REVOKE ALL ON FUNCTION risk_count, risk_add, risk_give_back FROM PUBLIC;
GRANT EXECUTE ON FUNCTION risk_count, risk_add, risk_give_back TO tongbao_app;
GRANT SELECT ON risk_bucket, risk_move, risk_alert, risk_alert_act TO tongbao_app;
GRANT INSERT, UPDATE, DELETE ON risk_bucket TO tongbao_app;
GRANT INSERT, DELETE ON risk_move TO tongbao_app;
GRANT INSERT ON risk_alert, risk_alert_act TO tongbao_app;
GRANT SELECT ON risk_alert_v1 TO tongbao_app, tongbao_reader;
