-- The hot path: one call stores a group of commits and says which of them lost (journal.Commit).
--
-- Rows arrive as one array per kind; `n` is the commit's place in the group. Two kinds are contested,
-- the key of a request and the outcome of a request, and besides them the end of a queue item and
-- the number of a reversal or of a queued message. A commit that loses one of these leaves no row. Rows go in sorted,
-- kind after kind in the same order everywhere, so crossing writers wait for each other and do not
-- deadlock; and a group that is sent again finds its own rows and says so ('mine').

CREATE TYPE request_commit AS (
    n integer, batch_open boolean,
    request_id bigint, owner_id bigint, generation bigint,
    merchant text, terminal text, batch integer, stan integer, kind text, content bytea,
    type text, mti text, processing_code text, amount_minor bigint, currency text, rrn text,
    received_at timestamptz, local_time text, entry_mode text, condition_code text,
    card_sequence text, mcc text, pan_token bytea, pan_masked text, pan_cipher bytea, chip bytea,
    original_request_id bigint, session_id bigint, decision text, foreign_card boolean,
    attempt smallint, acquirer text, link_stan text, transmission_time text, de32 text, de33 text,
    route_rule text
);

CREATE TYPE outcome_commit AS (
    n integer, commit_id bigint,
    request_id bigint, request_date date, state text, response_code text, decided_at timestamptz,
    rule text, attempt smallint, approved_amount_minor bigint, effect_minor bigint, auth_code text,
    settlement_date date, acquirer_rrn text, acquirer_response_code text, answer bytea,
    on_current_date boolean
);

CREATE TYPE attempt_commit AS (
    n integer, request_id bigint, request_date date, attempt smallint, acquirer text,
    link_stan text, transmission_time text, de32 text, de33 text, route_rule text
);

CREATE TYPE reversal_commit AS (
    n integer, commit_id bigint, has_outcome boolean,
    original_request_id bigint, original_date date, seq smallint, origin text, reason text,
    queued_at timestamptz, capture text
);

CREATE TYPE queue_commit AS (
    n integer, item_id bigint, acquirer text, kind text, request_id bigint, request_date date,
    root_request_id bigint, seq smallint, link_stan text, transmission_time text,
    delay_s double precision
);

CREATE TYPE late_answer_commit AS (
    n integer, commit_id bigint, request_id bigint, request_date date, attempt smallint,
    response_code text, auth_code text, amount_minor bigint, reason text, received_at timestamptz,
    release_queue boolean
);

CREATE TYPE reversal_request_commit AS (
    n integer, commit_id bigint, merchant text, terminal text, batch integer, stan integer,
    kind text, original_request_id bigint, reason text, response_code text, rule text,
    received_at timestamptz
);

CREATE TYPE case_commit AS (
    n integer, commit_id bigint, kind text, request_id bigint, merchant text, terminal text,
    detail text, opened_at timestamptz
);

CREATE TYPE end_commit AS (n integer, commit_id bigint, item_id bigint, response_code text);

CREATE TYPE sent_commit AS (n integer, item_id bigint, attempt integer);

-- `verdict`: 'date' (the first row: business date and generation, n = -1), then one row for each
-- commit that is not simply stored: 'mine' (an earlier try of the same commit stands), 'duplicate',
-- 'lost', 'stale', 'frozen' (its batch), 'taken' (its owner lost the lease to another).
CREATE TYPE store_verdict AS (
    n integer, verdict text, request_id bigint, request_date date, generation bigint,
    content bytea, tombstone boolean
);

CREATE FUNCTION store(
    requests request_commit[],
    outcomes outcome_commit[],
    attempts attempt_commit[] DEFAULT '{}',
    reversals reversal_commit[] DEFAULT '{}',
    queued queue_commit[] DEFAULT '{}',
    late_answers late_answer_commit[] DEFAULT '{}',
    reversal_requests reversal_request_commit[] DEFAULT '{}',
    cases case_commit[] DEFAULT '{}',
    ends end_commit[] DEFAULT '{}',
    sents sent_commit[] DEFAULT '{}'
) RETURNS SETOF store_verdict LANGUAGE plpgsql AS $$
DECLARE
    today    date;
    current  bigint;
    out      integer[] := '{}';  -- places of the commits that leave no row
    won      bigint[];
    verdict  switch.store_verdict;
    asked    record;
    winner   record;
    effect   record;
BEGIN
    PERFORM switch.enter();
    SELECT d.business_date, d.generation INTO STRICT today, current FROM switch.business_day AS d;
    RETURN NEXT (-1, 'date', NULL, today, current, NULL, NULL)::switch.store_verdict;

    IF cardinality(ends) > 0 THEN
        WITH ended AS (
            INSERT INTO switch.queue_end (item_id, response_code, commit_id)
            SELECT e.item_id, e.response_code, e.commit_id FROM unnest(ends) AS e
            ORDER BY e.item_id
            ON CONFLICT DO NOTHING
            RETURNING item_id
        )
        SELECT coalesce(array_agg(item_id), '{}') INTO won FROM ended;
        DELETE FROM switch.queue_open WHERE item_id = ANY (won);
        IF cardinality(won) < cardinality(ends) THEN
            FOR verdict IN
                SELECT e.n, 'lost', e.item_id, NULL, NULL, NULL, NULL
                FROM unnest(ends) AS e JOIN switch.queue_end AS q USING (item_id)
                WHERE e.item_id <> ALL (won) AND q.commit_id <> e.commit_id
            LOOP
                out := out || verdict.n;
                RETURN NEXT verdict;
            END LOOP;
        END IF;
    END IF;

    IF cardinality(requests) > 0 THEN
        WITH taken AS (
            INSERT INTO switch.request_key
            SELECT r.merchant, r.terminal, r.batch, r.stan, r.kind,
                   r.request_id, today, r.content, r.type = 'tombstone'
            FROM unnest(requests) AS r
            WHERE NOT r.n = ANY (out)
              AND (r.generation >= current OR r.type = 'tombstone')
              AND NOT EXISTS (
                  SELECT FROM switch.batch_frozen AS f
                  WHERE r.batch_open
                    AND (f.merchant, f.terminal, f.batch) = (r.merchant, r.terminal, r.batch))
              AND NOT EXISTS (
                  SELECT FROM switch.owner AS o
                  WHERE o.owner_id = r.owner_id AND o.taken_by IS NOT NULL)
            ORDER BY r.merchant, r.terminal, r.batch, r.stan, r.kind
            ON CONFLICT DO NOTHING
            RETURNING request_id
        )
        SELECT coalesce(array_agg(request_id), '{}') INTO won FROM taken;

        IF cardinality(won) < cardinality(requests) THEN
            FOR asked IN
                SELECT r.n, r.request_id, r.owner_id, r.generation, r.type,
                       k.request_id AS found, k.request_date, k.content, k.tombstone,
                       EXISTS (SELECT FROM switch.batch_frozen AS f
                               WHERE r.batch_open
                                 AND (f.merchant, f.terminal, f.batch)
                                   = (r.merchant, r.terminal, r.batch)) AS frozen,
                       EXISTS (SELECT FROM switch.owner AS o
                               WHERE o.owner_id = r.owner_id AND o.taken_by IS NOT NULL) AS taken
                FROM unnest(requests) AS r
                LEFT JOIN switch.request_key AS k
                  ON (k.merchant, k.terminal, k.batch, k.stan, k.kind)
                   = (r.merchant, r.terminal, r.batch, r.stan, r.kind)
                WHERE r.request_id <> ALL (won) AND NOT r.n = ANY (out)
            LOOP
                verdict := (asked.n, NULL, asked.found, asked.request_date, current,
                            asked.content, asked.tombstone)::switch.store_verdict;
                verdict.verdict := CASE
                    WHEN asked.found = asked.request_id THEN 'mine'
                    WHEN asked.found IS NOT NULL THEN 'duplicate'
                    WHEN asked.taken THEN 'taken'
                    WHEN asked.frozen THEN 'frozen'
                    WHEN asked.generation < current AND asked.type <> 'tombstone' THEN 'stale'
                END;
                IF verdict.verdict IS NULL THEN  -- the row that stood in the way is gone
                    RAISE EXCEPTION 'key changed under way' USING ERRCODE = 'serialization_failure';
                END IF;
                out := out || asked.n;
                RETURN NEXT verdict;
            END LOOP;
        END IF;

        INSERT INTO switch.request
        SELECT r.request_id, today, r.owner_id, r.generation,
               r.merchant, r.terminal, r.batch, r.stan, r.kind, r.content,
               r.type, r.mti, r.processing_code, r.amount_minor, r.currency, r.rrn,
               r.received_at, r.local_time, r.entry_mode, r.condition_code, r.card_sequence, r.mcc,
               r.pan_token, r.pan_masked, r.pan_cipher, r.chip,
               r.original_request_id, r.session_id, r.decision, r.foreign_card,
               NOT r.batch_open AND r.type <> 'tombstone',
               r.attempt, r.acquirer, r.link_stan, r.transmission_time, r.de32, r.de33, r.route_rule
        FROM unnest(requests) AS r
        WHERE NOT r.n = ANY (out);

        INSERT INTO switch.follow_up
        SELECT r.original_request_id, r.request_id, today
        FROM unnest(requests) AS r
        WHERE r.original_request_id IS NOT NULL AND NOT r.n = ANY (out);
    END IF;

    IF cardinality(outcomes) > 0 THEN
        WITH first AS (
            INSERT INTO switch.outcome
            SELECT o.request_id, coalesce(o.request_date, today), o.commit_id,
                   CASE WHEN o.on_current_date THEN today ELSE coalesce(o.request_date, today) END,
                   o.state, o.response_code, o.decided_at, o.rule, o.attempt,
                   o.approved_amount_minor, o.effect_minor, o.auth_code, o.settlement_date,
                   o.acquirer_rrn, o.acquirer_response_code, o.answer, o.on_current_date
            FROM unnest(outcomes) AS o
            WHERE NOT o.n = ANY (out)
            ORDER BY o.request_id
            ON CONFLICT DO NOTHING
            RETURNING commit_id, request_id, request_date, business_date, effect_minor
        ), elsewhere AS (
            INSERT INTO switch.capture
            SELECT f.request_id, 0, f.request_date, f.business_date, f.effect_minor
            FROM first AS f
            WHERE f.effect_minor IS NOT NULL AND f.business_date <> f.request_date
        )
        SELECT coalesce(array_agg(commit_id), '{}') INTO won FROM first;

        IF cardinality(won) < cardinality(outcomes) THEN
            FOR asked IN
                SELECT o.n, o.request_id, o.commit_id,
                       coalesce(o.request_date, today) AS request_date
                FROM unnest(outcomes) AS o
                WHERE o.commit_id <> ALL (won) AND NOT o.n = ANY (out)
            LOOP
                -- one by one: a join on the date would open every partition
                SELECT o.commit_id, o.business_date, o.on_current_date INTO winner
                FROM switch.outcome AS o
                WHERE o.request_id = asked.request_id AND o.request_date = asked.request_date;
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'outcome changed under way'
                        USING ERRCODE = 'serialization_failure';
                END IF;
                out := out || asked.n;
                RETURN NEXT (asked.n, CASE WHEN winner.commit_id = asked.commit_id THEN 'mine'
                                           ELSE 'lost' END,
                             asked.request_id,
                             CASE WHEN winner.on_current_date THEN winner.business_date
                                  ELSE today END,
                             current, NULL, NULL)::switch.store_verdict;
            END LOOP;
        END IF;
    END IF;

    FOR asked IN
        SELECT r.* FROM unnest(reversals) AS r WHERE NOT r.n = ANY (out)
        ORDER BY r.original_request_id, r.seq
    LOOP
        IF asked.capture <> '' THEN
            -- what stands of the original's effect, and whether its date still takes a change
            SELECT o.effect_minor, o.business_date, o.request_date INTO effect
            FROM switch.outcome AS o
            WHERE o.request_id = asked.original_request_id
              AND o.request_date = coalesce(asked.original_date, today)
              AND o.effect_minor IS NOT NULL
              AND NOT EXISTS (SELECT FROM switch.reversal AS v
                              WHERE v.original_request_id = o.request_id AND v.capture <> '');
            IF NOT FOUND THEN
                asked.capture := '';
            ELSE
                PERFORM switch.hold_date(effect.business_date);
                asked.capture := (SELECT CASE WHEN d.state IN ('open', 'cut') THEN 'cancel'
                                              ELSE 'opposite' END
                                  FROM switch.business_date AS d
                                  WHERE d.business_date = effect.business_date);
            END IF;
        END IF;
        INSERT INTO switch.reversal
        VALUES (asked.original_request_id, asked.seq, coalesce(asked.original_date, today),
                asked.origin, asked.reason, asked.queued_at, asked.capture, asked.commit_id, today)
        ON CONFLICT (original_request_id, seq) DO NOTHING;
        IF NOT FOUND THEN
            IF asked.has_outcome THEN
                RAISE EXCEPTION 'request % has a reversal and no outcome', asked.original_request_id
                    USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            out := out || asked.n;
            RETURN QUERY
                SELECT asked.n, CASE WHEN v.commit_id = asked.commit_id THEN 'mine' ELSE 'lost' END,
                       asked.original_request_id, today, current, NULL::bytea, NULL::boolean
                FROM switch.reversal AS v
                WHERE (v.original_request_id, v.seq) = (asked.original_request_id, asked.seq);
        ELSIF asked.capture = 'opposite' THEN
            INSERT INTO switch.capture
            VALUES (asked.original_request_id, asked.seq, effect.request_date, today,
                    -effect.effect_minor);
        END IF;
    END LOOP;

    IF cardinality(queued) > 0 THEN
        WITH item AS (
            INSERT INTO switch.queue_item
            SELECT q.item_id, q.acquirer, q.kind, q.request_id, coalesce(q.request_date, today),
                   q.root_request_id, q.seq, q.link_stan, q.transmission_time, q.delay_s
            FROM unnest(queued) AS q
            WHERE NOT q.n = ANY (out)
            ORDER BY q.request_id, q.kind, q.seq
            ON CONFLICT DO NOTHING
            RETURNING *
        ), waiting AS (
            INSERT INTO switch.queue_open
            SELECT i.item_id, nextval('switch.queue_position'), i.acquirer, i.kind, i.request_id,
                   i.root_request_id, i.created_at + i.delay_s * interval '1 second'
            FROM item AS i
        )
        SELECT coalesce(array_agg(item_id), '{}') INTO won FROM item;
        IF cardinality(won) < cardinality(queued) THEN
            FOR verdict IN
                SELECT q.n, CASE WHEN EXISTS (SELECT FROM switch.queue_item AS i
                                              WHERE i.item_id = q.item_id) THEN 'mine'
                                 ELSE 'lost' END,
                       q.request_id, today, current, NULL, NULL
                FROM unnest(queued) AS q
                WHERE q.item_id <> ALL (won) AND NOT q.n = ANY (out)
            LOOP
                out := out || verdict.n;
                RETURN NEXT verdict;
            END LOOP;
        END IF;
    END IF;

    IF cardinality(attempts) > 0 THEN
        INSERT INTO switch.attempt
        SELECT a.request_id, a.attempt, coalesce(a.request_date, today), a.acquirer, a.link_stan,
               a.transmission_time, a.de32, a.de33, a.route_rule
        FROM unnest(attempts) AS a
        WHERE NOT a.n = ANY (out)
        ORDER BY a.request_id, a.attempt
        ON CONFLICT DO NOTHING;
    END IF;

    IF cardinality(late_answers) > 0 THEN
        INSERT INTO switch.late_answer
        SELECT l.commit_id, l.request_id, l.request_date, l.attempt, l.response_code, l.auth_code,
               l.amount_minor, l.reason, l.received_at, l.release_queue
        FROM unnest(late_answers) AS l
        WHERE NOT l.n = ANY (out)
        ON CONFLICT DO NOTHING;
        UPDATE switch.queue_open AS q SET not_before = clock_timestamp()
        FROM unnest(late_answers) AS l
        WHERE l.release_queue AND NOT l.n = ANY (out)
          AND q.request_id = l.request_id AND q.kind = 'reversal'
          AND q.not_before > clock_timestamp();
    END IF;

    IF cardinality(reversal_requests) > 0 THEN
        INSERT INTO switch.reversal_request
        SELECT r.commit_id, r.merchant, r.terminal, r.batch, r.stan, r.kind, r.original_request_id,
               r.reason, r.response_code, r.rule, r.received_at, today
        FROM unnest(reversal_requests) AS r
        WHERE NOT r.n = ANY (out)
        ON CONFLICT DO NOTHING;
    END IF;

    IF cardinality(cases) > 0 THEN
        INSERT INTO switch.case_fact
        SELECT c.commit_id, 0, c.kind, c.request_id, c.merchant, c.terminal, c.detail, c.opened_at,
               today
        FROM unnest(cases) AS c
        WHERE NOT c.n = ANY (out)
        ON CONFLICT DO NOTHING;
    END IF;

    IF cardinality(sents) > 0 THEN
        INSERT INTO switch.queue_sent
        SELECT s.item_id, s.attempt FROM unnest(sents) AS s
        WHERE NOT s.n = ANY (out)
        ORDER BY s.item_id, s.attempt
        ON CONFLICT DO NOTHING;
    END IF;
END
$$;
