-- The flush again, with less before its first row, which is most of what a small one costs
-- (`python -m benchmarks.store`). What 0020 says of it holds.
--
-- PostgreSQL reads the text of a CHECK constraint, and of a trigger's condition, once for every statement
-- that inserts: an eighth of a flush. So what `request` and `outcome` must be stands in the flush itself, which
-- is the one way into them. And the trigger that gives back asks for the shortest thing that will do.

ALTER TABLE request
    DROP CONSTRAINT request_amount_minor_check,
    DROP CONSTRAINT request_check;
ALTER TABLE outcome
    DROP CONSTRAINT outcome_state_check,
    DROP CONSTRAINT outcome_approved_amount_minor_check,
    DROP CONSTRAINT outcome_check,
    DROP CONSTRAINT outcome_check1;

-- what a row of this table must be, it is not
CREATE FUNCTION refuse(named text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a row of % is not what it must be', named
        USING ERRCODE = 'check_violation', CONSTRAINT = named;
END
$$;

-- refusals of ours have moved nothing, so nothing comes back of them
DROP TRIGGER risk_give_back ON outcome;
CREATE TRIGGER risk_give_back AFTER INSERT ON outcome FOR EACH ROW
    WHEN (NEW.state <> 'approved') EXECUTE FUNCTION risk_give_back('outcome');

-- in another order: who does not know what `besides` means now can not call it
DROP FUNCTION flush(
    request_commit[], outcome_commit[], bigint[], boolean, attempt_commit[], reversal_commit[],
    queue_commit[], late_answer_commit[], reversal_request_commit[], case_commit[], end_commit[],
    sent_commit[], boolean, counter_asked[], judged_commit[], guard_commit[], move_commit[],
    alert_commit[]
);

CREATE FUNCTION flush(
    requests request_commit[],
    owners bigint[],                          -- of the requests
    outcomes outcome_commit[],
    besides boolean,                          -- anything but new requests and outcomes on their date
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
    taken     bigint[];  -- owners that others have taken over
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
           ARRAY(SELECT o.owner_id FROM switch.owner AS o
                 WHERE o.owner_id = ANY (owners) AND o.taken_by IS NOT NULL)
    INTO STRICT today, current, taken FROM switch.business_day AS d;

    IF besides THEN
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
          AND NOT r.owner_id = ANY (taken)
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
                       r.owner_id = ANY (taken) AS taken
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
        WHERE NOT r.n = ANY (out)
          AND CASE WHEN r.amount_minor >= 0 AND (r.attempt IS NULL) = (r.acquirer IS NULL)
              THEN true ELSE switch.refuse('request') END;
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
          AND CASE WHEN o.state IN ('approved', 'declined', 'refused', 'unknown', 'reversed')
                    AND coalesce(o.approved_amount_minor >= 0, true)
                    AND (o.effect_minor IS NULL OR o.state = 'approved')
              THEN true ELSE switch.refuse('outcome') END
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

    IF NOT besides THEN
        RETURN (today, current, verdicts, counted)::switch.flush_result;
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

REVOKE ALL ON FUNCTION refuse, flush FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refuse, flush TO tongbao_app;
