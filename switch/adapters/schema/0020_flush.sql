-- The hot path again, as `switch.flush`: what `switch.store` (0002) does, in fewer statements, and with the
-- counters of risk rules. `switch.store` stays for nodes of the former release.
--
-- A flush carries a handful of commits, so what a statement costs before its first row weighs more than the
-- rows. Kinds that nobody sent are NULL and cost nothing. The client sorts: requests by key, outcomes,
-- reversals and queued items by request, all others by commit. Locks are taken in one order everywhere, so
-- crossing flushes wait for each other and do not deadlock: the gate; counters, by their hash; the rows of
-- each kind, sorted; rows of counters. Whether every row of a kind went in is told by their number;
-- only where one did not is it asked which. What this transaction inserted itself is known by xmin.
--
-- Counters. A commit that was judged on what may be counted comes with the guards of that judgement
-- (switch.journal.Guard): whether each rule fires is a sign of a number that is linear in what is counted.
-- Under the locks, commit after commit, each guard is asked with what stands then. Where all say what the
-- judgement took for granted, the commit is stored and moves its counters, and the next one sees that. Where
-- one does not, the commit leaves no row and is told 'again', with all counters as they now stand.

CREATE TYPE counter_asked AS (counter text, subject text, from_bucket bigint);

-- `place`, `part`: of the counters, from 1; 0 none. `moved`: 0 nothing, 1 the counter, 3 its part as well.
CREATE TYPE guard_commit AS (
    n integer, place integer, part integer,
    constant bigint, per_count bigint, per_amount bigint,
    per_part_count bigint, per_part_amount bigint, per_newest bigint,
    minimum_count bigint, fires boolean,
    moved integer, amount_minor bigint, bucket bigint
);

-- the guards of one commit: first to last, from 1
CREATE TYPE judged_commit AS (n integer, first integer, last integer);

CREATE TYPE move_commit AS (
    n integer, request_id bigint, counter text, subject text, bucket bigint, count bigint,
    amount_minor bigint, returns boolean, kept_until timestamptz
);

CREATE TYPE alert_commit AS (
    n integer, request_id bigint, rule text, version integer, action text, scope text, subject text,
    day integer, measured bigint, threshold bigint, merchant text, terminal text, pan_masked text,
    raised_at timestamptz
);

-- `verdicts`: NULL where every commit is simply stored, else as of switch.store, and 'again'.
-- `counted`: count, amount and newest bucket of each counter, where one was told 'again'.
CREATE TYPE flush_result AS (
    business_date date, generation bigint, verdicts store_verdict[], counted bigint[]
);

-- Take back keys that this very transaction has put in, and no other: of these requests, those at `places`.
CREATE FUNCTION unkey(requests request_commit[], places integer[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
    DELETE FROM switch.request_key AS k USING unnest(requests) AS r
    WHERE r.n = ANY (places)
      AND (k.merchant, k.terminal, k.batch, k.stan, k.kind)
        = (r.merchant, r.terminal, r.batch, r.stan, r.kind)
      AND k.request_id = r.request_id AND k.xmin = pg_current_xact_id()::xid
$$;

-- The trigger of 0014 gives back row by row, whenever an outcome comes; a flush does it at its end.
CREATE OR REPLACE FUNCTION risk_give_back() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended  bigint;
BEGIN
    IF current_setting('tongbao.give_back', true) = 'later' THEN
        RETURN NULL;
    ELSIF TG_ARGV[0] = 'reversal' THEN
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

-- the same few rows again and again: room to write them where they are
ALTER TABLE risk_bucket SET (fillfactor = 70);

CREATE FUNCTION flush(
    requests request_commit[],
    outcomes outcome_commit[],
    owners bigint[] DEFAULT NULL,             -- of the requests
    besides boolean DEFAULT false,            -- follow-ups, or captures on another date, among them
    attempts attempt_commit[] DEFAULT NULL,
    reversals reversal_commit[] DEFAULT NULL,
    queued queue_commit[] DEFAULT NULL,
    late_answers late_answer_commit[] DEFAULT NULL,
    reversal_requests reversal_request_commit[] DEFAULT NULL,
    cases case_commit[] DEFAULT NULL,
    ends end_commit[] DEFAULT NULL,
    sents sent_commit[] DEFAULT NULL,
    gives_back boolean DEFAULT false,         -- what ends otherwise than approved, or is reversed
    counters counter_asked[] DEFAULT NULL,    -- each once
    judged judged_commit[] DEFAULT NULL,      -- by commit
    guards guard_commit[] DEFAULT NULL,
    moves move_commit[] DEFAULT NULL,
    alerts alert_commit[] DEFAULT NULL
) RETURNS flush_result LANGUAGE plpgsql AS $$
DECLARE
    today     date;
    current   bigint;
    taken     boolean;
    out       integer[] := '{}';  -- places of the commits that leave no row
    again     integer[];
    verdicts  switch.store_verdict[];
    verdict   switch.store_verdict;
    done      bigint;
    asked     record;
    winner    record;
    effect    record;
    counts    bigint[];
    amounts   bigint[];
    newests   bigint[];
    counted   bigint[];
    gone      switch.risk_move[];
    of        switch.judged_commit;
    guard     switch.guard_commit;
    value     bigint;
    holds     boolean;
    place     integer;
BEGIN
    IF pg_advisory_xact_lock_shared(8583, 1) IS NULL THEN END IF;  -- switch.enter(), as an expression
    -- another statement: its snapshot is of after the gate
    SELECT d.business_date, d.generation,
           EXISTS (SELECT FROM switch.owner AS o
                   WHERE o.owner_id = ANY (owners) AND o.taken_by IS NOT NULL)
    INTO STRICT today, current, taken FROM switch.business_day AS d;

    IF counters IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(8590, sorted.hash)
        FROM (SELECT DISTINCT hashtext(c.counter || ' ' || c.subject) AS hash
              FROM unnest(counters) AS c ORDER BY 1 OFFSET 0) AS sorted;
    END IF;
    IF gives_back AND set_config('tongbao.give_back', 'later', true) IS NULL THEN END IF;

    IF ends IS NOT NULL THEN
        INSERT INTO switch.queue_end (item_id, response_code, commit_id)
        SELECT e.item_id, e.response_code, e.commit_id FROM unnest(ends) AS e
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS done = ROW_COUNT;
        IF done < cardinality(ends) THEN
            FOR asked IN
                SELECT e.n, e.item_id, e.commit_id, q.commit_id AS winner
                FROM unnest(ends) AS e LEFT JOIN switch.queue_end AS q USING (item_id)
            LOOP
                IF asked.winner IS NULL THEN
                    RAISE EXCEPTION 'end changed under way' USING ERRCODE = 'serialization_failure';
                ELSIF asked.winner <> asked.commit_id THEN
                    out := out || asked.n;
                    verdicts := verdicts || (asked.n, 'lost', asked.item_id, NULL, NULL, NULL,
                                             NULL)::switch.store_verdict;
                END IF;
            END LOOP;
        END IF;
        DELETE FROM switch.queue_open WHERE item_id IN
            (SELECT e.item_id FROM unnest(ends) AS e WHERE NOT e.n = ANY (out));
    END IF;

    IF requests IS NOT NULL THEN
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
          AND NOT (taken AND EXISTS (
              SELECT FROM switch.owner AS o
              WHERE o.owner_id = r.owner_id AND o.taken_by IS NOT NULL))
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS done = ROW_COUNT;

        IF done < cardinality(requests) THEN
            FOR asked IN
                SELECT r.n, r.request_id, r.owner_id, r.generation, r.type,
                       k.request_id AS found, k.request_date, k.content, k.tombstone,
                       k.xmin = pg_current_xact_id()::xid AS new,
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
                WHERE NOT r.n = ANY (out)
            LOOP
                CONTINUE WHEN asked.new AND asked.found = asked.request_id;
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
                verdicts := verdicts || verdict;
            END LOOP;
        END IF;
    END IF;

    IF counters IS NOT NULL THEN
        SELECT array_agg(c.count ORDER BY c.place), array_agg(c.amount_minor ORDER BY c.place),
               array_agg(c.newest ORDER BY c.place)
        INTO counts, amounts, newests
        FROM (SELECT a.place,
                     coalesce(sum(b.count) FILTER (WHERE b.bucket >= a.from_bucket), 0)::bigint
                         AS count,
                     coalesce(sum(b.amount_minor) FILTER (WHERE b.bucket >= a.from_bucket),
                              0)::bigint AS amount_minor,
                     max(b.bucket) AS newest
              FROM unnest(counters) WITH ORDINALITY AS a (counter, subject, from_bucket, place)
              LEFT JOIN switch.risk_bucket AS b
                ON (b.counter, b.subject) = (a.counter, a.subject)
              GROUP BY a.place) AS c;
        FOREACH of IN ARRAY judged LOOP
            CONTINUE WHEN of.n = ANY (out);
            holds := true;
            FOR i IN of.first .. of.last LOOP
                guard := guards[i];
                place := guard.place;
                value := guard.constant + guard.per_count * counts[place]
                       + guard.per_amount * amounts[place];
                IF guard.per_newest <> 0 THEN
                    value := coalesce(value + guard.per_newest * newests[place], 0);
                END IF;
                IF guard.part > 0 THEN
                    value := value + guard.per_part_count * counts[guard.part]
                           + guard.per_part_amount * amounts[guard.part];
                END IF;
                holds := holds AND guard.fires
                    = (value > 0 AND counts[place] >= guard.minimum_count);
            END LOOP;
            IF NOT holds THEN
                again := again || of.n;
                CONTINUE;
            END IF;
            FOR i IN of.first .. of.last LOOP
                guard := guards[i];
                place := guard.place;
                WHILE guard.moved > 0 LOOP
                    counts[place] := counts[place] + 1;
                    amounts[place] := amounts[place] + guard.amount_minor;
                    newests[place] := greatest(newests[place], guard.bucket);
                    guard.moved := guard.moved >> 1;
                    place := guard.part;
                END LOOP;
            END LOOP;
        END LOOP;
        IF again IS NOT NULL THEN
            PERFORM switch.unkey(requests, again);
            out := out || again;
            FOREACH place IN ARRAY again LOOP
                verdicts := verdicts || (place, 'again', NULL, NULL, NULL, NULL,
                                         NULL)::switch.store_verdict;
            END LOOP;
            counted := counts || amounts || newests;
        END IF;
    END IF;

    IF requests IS NOT NULL THEN
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
        IF besides THEN
            INSERT INTO switch.follow_up
            SELECT r.original_request_id, r.request_id, today
            FROM unnest(requests) AS r
            WHERE r.original_request_id IS NOT NULL AND NOT r.n = ANY (out);
        END IF;
    END IF;

    IF outcomes IS NOT NULL THEN
        place := cardinality(outcomes);
        IF cardinality(out) > 0 THEN
            place := (SELECT count(*) FROM unnest(outcomes) AS o WHERE NOT o.n = ANY (out));
        END IF;
        INSERT INTO switch.outcome
        SELECT o.request_id, coalesce(o.request_date, today), o.commit_id,
               CASE WHEN o.on_current_date THEN today ELSE coalesce(o.request_date, today) END,
               o.state, o.response_code, o.decided_at, o.rule, o.attempt,
               o.approved_amount_minor, o.effect_minor, o.auth_code, o.settlement_date,
               o.acquirer_rrn, o.acquirer_response_code, o.answer, o.on_current_date
        FROM unnest(outcomes) AS o
        WHERE NOT o.n = ANY (out)
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS done = ROW_COUNT;
        IF done < place THEN
            FOR asked IN
                SELECT o.n, o.request_id, o.commit_id,
                       coalesce(o.request_date, today) AS request_date
                FROM unnest(outcomes) AS o
                WHERE NOT o.n = ANY (out)
            LOOP
                -- one by one: a join on the date would open every partition
                SELECT o.commit_id, o.business_date, o.on_current_date,
                       o.xmin = pg_current_xact_id()::xid AS new INTO winner
                FROM switch.outcome AS o
                WHERE o.request_id = asked.request_id AND o.request_date = asked.request_date;
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'outcome changed under way'
                        USING ERRCODE = 'serialization_failure';
                END IF;
                CONTINUE WHEN winner.new AND winner.commit_id = asked.commit_id;
                out := out || asked.n;
                verdicts := verdicts || (
                    asked.n,
                    CASE WHEN winner.commit_id = asked.commit_id THEN 'mine' ELSE 'lost' END,
                    asked.request_id,
                    CASE WHEN winner.on_current_date THEN winner.business_date ELSE today END,
                    current, NULL, NULL)::switch.store_verdict;
            END LOOP;
        END IF;
        IF besides THEN
            INSERT INTO switch.capture
            SELECT o.request_id, 0, o.request_date, today, o.effect_minor
            FROM unnest(outcomes) AS o
            WHERE NOT o.n = ANY (out)
              AND o.on_current_date AND o.effect_minor IS NOT NULL AND o.request_date <> today;
        END IF;
    END IF;

    IF reversals IS NOT NULL THEN
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
                verdicts := verdicts || (
                    SELECT (asked.n,
                            CASE WHEN v.commit_id = asked.commit_id THEN 'mine' ELSE 'lost' END,
                            asked.original_request_id, today, current, NULL,
                            NULL)::switch.store_verdict
                    FROM switch.reversal AS v
                    WHERE (v.original_request_id, v.seq) = (asked.original_request_id, asked.seq));
            ELSIF asked.capture = 'opposite' THEN
                INSERT INTO switch.capture
                VALUES (asked.original_request_id, asked.seq, effect.request_date, today,
                        -effect.effect_minor);
            END IF;
        END LOOP;
    END IF;

    IF queued IS NOT NULL THEN
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
        SELECT coalesce(array_agg(item_id), '{}') INTO counts FROM item;
        IF cardinality(counts) < cardinality(queued) THEN
            FOR verdict IN
                SELECT q.n, CASE WHEN EXISTS (SELECT FROM switch.queue_item AS i
                                              WHERE i.item_id = q.item_id) THEN 'mine'
                                 ELSE 'lost' END,
                       q.request_id, today, current, NULL, NULL
                FROM unnest(queued) AS q
                WHERE q.item_id <> ALL (counts) AND NOT q.n = ANY (out)
            LOOP
                out := out || verdict.n;
                verdicts := verdicts || verdict;
            END LOOP;
        END IF;
    END IF;

    IF attempts IS NOT NULL THEN
        INSERT INTO switch.attempt
        SELECT a.request_id, a.attempt, coalesce(a.request_date, today), a.acquirer, a.link_stan,
               a.transmission_time, a.de32, a.de33, a.route_rule
        FROM unnest(attempts) AS a
        WHERE NOT a.n = ANY (out)
        ORDER BY a.request_id, a.attempt
        ON CONFLICT DO NOTHING;
    END IF;

    IF late_answers IS NOT NULL THEN
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

    IF reversal_requests IS NOT NULL THEN
        INSERT INTO switch.reversal_request
        SELECT r.commit_id, r.merchant, r.terminal, r.batch, r.stan, r.kind, r.original_request_id,
               r.reason, r.response_code, r.rule, r.received_at, today
        FROM unnest(reversal_requests) AS r
        WHERE NOT r.n = ANY (out)
        ON CONFLICT DO NOTHING;
    END IF;

    IF cases IS NOT NULL THEN
        INSERT INTO switch.case_fact
        SELECT c.commit_id, 0, c.kind, c.request_id, c.merchant, c.terminal, c.detail, c.opened_at,
               today
        FROM unnest(cases) AS c
        WHERE NOT c.n = ANY (out)
        ON CONFLICT DO NOTHING;
    END IF;

    IF sents IS NOT NULL THEN
        INSERT INTO switch.queue_sent
        SELECT s.item_id, s.attempt FROM unnest(sents) AS s
        WHERE NOT s.n = ANY (out)
        ORDER BY s.item_id, s.attempt
        ON CONFLICT DO NOTHING;
    END IF;

    -- rows of counters come last, and sorted, whether they are given back or moved
    IF gives_back THEN
        WITH ended AS (
            SELECT o.request_id FROM unnest(outcomes) AS o
            WHERE o.state IN ('declined', 'unknown', 'reversed') AND NOT o.n = ANY (out)
            UNION
            SELECT r.original_request_id FROM unnest(reversals) AS r WHERE NOT r.n = ANY (out)
            ORDER BY 1
        ), gone AS (
            DELETE FROM switch.risk_move AS m USING ended AS e
            WHERE m.request_id = e.request_id AND m.returns
            RETURNING m.*
        )
        SELECT array_agg(g::switch.risk_move) INTO gone FROM gone AS g;
        IF gone IS NOT NULL THEN
            PERFORM FROM switch.risk_bucket AS b
            JOIN (SELECT g.counter, g.subject, g.bucket FROM unnest(gone) AS g
                  UNION
                  SELECT m.counter, m.subject, m.bucket FROM unnest(moves) AS m)
              AS t USING (counter, subject, bucket)
            ORDER BY b.counter, b.subject, b.bucket FOR UPDATE OF b;
            UPDATE switch.risk_bucket AS b
            SET count = b.count - t.count, amount_minor = b.amount_minor - t.amount_minor
            FROM (SELECT g.counter, g.subject, g.bucket, sum(g.count) AS count,
                         sum(g.amount_minor) AS amount_minor
                  FROM unnest(gone) AS g GROUP BY g.counter, g.subject, g.bucket) AS t
            WHERE (b.counter, b.subject, b.bucket) = (t.counter, t.subject, t.bucket);
        END IF;
    END IF;

    IF moves IS NOT NULL THEN
        INSERT INTO switch.risk_move
        SELECT m.request_id, m.counter, m.subject, m.bucket, m.count, m.amount_minor, m.returns,
               m.kept_until
        FROM unnest(moves) AS m WHERE NOT m.n = ANY (out);
        INSERT INTO switch.risk_bucket AS b
        SELECT m.counter, m.subject, m.bucket, sum(m.count), sum(m.amount_minor), max(m.kept_until)
        FROM unnest(moves) AS m WHERE NOT m.n = ANY (out)
        GROUP BY m.counter, m.subject, m.bucket
        ORDER BY m.counter, m.subject, m.bucket
        ON CONFLICT (counter, subject, bucket) DO UPDATE
        SET count = b.count + excluded.count, amount_minor = b.amount_minor + excluded.amount_minor;
    END IF;

    IF alerts IS NOT NULL THEN
        INSERT INTO switch.risk_alert
            (request_id, rule, version, action, scope, subject, day, measured, threshold,
             merchant, terminal, pan_masked, raised_at, business_date)
        SELECT a.request_id, a.rule, a.version, a.action, a.scope, a.subject, a.day, a.measured,
               a.threshold, a.merchant, a.terminal, a.pan_masked, a.raised_at, today
        FROM unnest(alerts) AS a WHERE NOT a.n = ANY (out)
        ORDER BY a.rule, a.subject
        ON CONFLICT DO NOTHING;
    END IF;

    RETURN (today, current, verdicts, counted)::switch.flush_result;
END
$$;

-- -- originals -------------------------------------------------------------------------------

-- What a judge sees of an original beside its own rows (switch.journal.Original), in one round trip.
CREATE TYPE original_reversal AS (row reversal, response_code text, late_codes text[]);
CREATE TYPE original_follow_up AS (
    request_id bigint, type text, amount_minor bigint, state text, reversed boolean,
    final boolean, captured_minor bigint
);
CREATE TYPE original_scene AS (
    request request, outcome outcome, attempts attempt[], reversals original_reversal[],
    follow_ups original_follow_up[], date_state text, batch_state text, owned boolean,
    waiting boolean, undelivered boolean, told text
);

-- The originals at these places, in this order; what is not there is left out. With `lock` nobody else
-- decides on them until the transaction ends, and the states of their dates stay as they are.
-- Each statement names the date as a value: a join on it would open every partition.
CREATE FUNCTION originals(ids bigint[], dates date[], lock boolean)
RETURNS SETOF original_scene LANGUAGE plpgsql AS $$
DECLARE
    scene      switch.original_scene;
    empty      switch.original_scene;
    followed   record;
    follow_up  switch.original_follow_up;
BEGIN
    IF lock THEN
        PERFORM pg_advisory_xact_lock(t.id), switch.hold_date(t.date)
        FROM (SELECT id, date FROM unnest(ids, dates) AS t (id, date) ORDER BY id OFFSET 0) AS t;
    END IF;
    FOR place IN 1 .. cardinality(ids) LOOP
        scene := empty;
        SELECT r, a.* INTO scene.request, scene.batch_state, scene.owned, scene.waiting,
               scene.undelivered, scene.told
        FROM switch.request AS r CROSS JOIN LATERAL (
            SELECT
            CASE
                WHEN EXISTS (SELECT FROM switch.batch_closed AS b
                             WHERE (b.merchant, b.terminal, b.batch)
                                 = (r.merchant, r.terminal, r.batch)) THEN 'closed'
                WHEN EXISTS (SELECT FROM switch.batch_settled AS b
                             WHERE (b.merchant, b.terminal, b.batch)
                                 = (r.merchant, r.terminal, r.batch)) THEN 'uploading'
                WHEN EXISTS (SELECT FROM switch.batch_frozen AS b
                             WHERE (b.merchant, b.terminal, b.batch)
                                 = (r.merchant, r.terminal, r.batch)) THEN 'frozen'
                ELSE 'open' END,
            EXISTS (SELECT FROM switch.owner AS w WHERE w.owner_id = r.owner_id
                    AND w.closed_at IS NULL AND w.taken_by IS NULL
                    AND w.lease_until > clock_timestamp()),
            EXISTS (SELECT FROM switch.queue_item AS q
                    WHERE q.request_id = r.request_id AND q.kind = 'repeat'),
            EXISTS (SELECT FROM switch.queue_open AS q
                    WHERE q.request_id = r.request_id AND q.kind = 'repeat'),
            (SELECT v.response_code FROM switch.reversal_request AS v
             WHERE (v.merchant, v.terminal, v.batch, v.stan, v.kind)
                 = (r.merchant, r.terminal, r.batch, r.stan, r.kind)
             ORDER BY v.received_at DESC, v.commit_id DESC LIMIT 1)
        ) AS a
        WHERE r.request_id = ids[place] AND r.request_date = dates[place];
        CONTINUE WHEN NOT FOUND;

        SELECT o INTO scene.outcome FROM switch.outcome AS o
        WHERE o.request_id = ids[place] AND o.request_date = dates[place];
        IF lock AND (scene.outcome).business_date <> dates[place] THEN
            -- captured on a later date: a freeze of it may have come before this lock, so read it again
            PERFORM switch.hold_date((scene.outcome).business_date);
        END IF;
        scene.attempts := ARRAY(
            SELECT a FROM switch.attempt AS a WHERE a.request_id = ids[place] ORDER BY a.attempt);
        scene.reversals := ARRAY(
            SELECT (v, e.response_code,
                    ARRAY(SELECT l.response_code FROM switch.late_answer AS l
                          WHERE l.request_id = v.original_request_id AND l.reason = 'late'
                          ORDER BY l.commit_id))::switch.original_reversal
            FROM switch.reversal AS v
            LEFT JOIN switch.queue_item AS i
              ON (i.request_id, i.kind, i.seq) = (v.original_request_id, 'reversal', v.seq)
            LEFT JOIN switch.queue_end AS e USING (item_id)
            WHERE v.original_request_id = ids[place]
            ORDER BY v.seq);
        FOR followed IN
            SELECT f.request_id, f.request_date FROM switch.follow_up AS f
            WHERE f.original_request_id = ids[place] ORDER BY f.request_id
        LOOP
            SELECT r.request_id, r.type, r.amount_minor, o.state,
                   EXISTS (SELECT FROM switch.reversal AS v
                           WHERE v.original_request_id = r.request_id),
                   NOT EXISTS (SELECT FROM switch.queue_open AS q
                               WHERE q.request_id = r.request_id AND q.kind = 'reversal'),
                   CASE WHEN EXISTS (SELECT FROM switch.reversal AS v
                                     WHERE v.original_request_id = r.request_id
                                       AND v.capture <> '')
                        THEN 0 ELSE coalesce(o.effect_minor, 0) END
            INTO follow_up
            FROM switch.request AS r
            LEFT JOIN switch.outcome AS o
              ON o.request_id = r.request_id AND o.request_date = followed.request_date
            WHERE r.request_id = followed.request_id AND r.request_date = followed.request_date;
            IF FOUND THEN
                scene.follow_ups := scene.follow_ups || follow_up;
            END IF;
        END LOOP;
        SELECT d.state INTO scene.date_state FROM switch.business_date AS d
        WHERE d.business_date = coalesce((scene.outcome).business_date, dates[place]);
        RETURN NEXT scene;
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION unkey, flush, originals FROM PUBLIC;
GRANT EXECUTE ON FUNCTION unkey, flush, originals TO tongbao_app;
