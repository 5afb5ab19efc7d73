-- What changes dates and marks: functions of the owner that the application may call.

-- Partitions for the requests of a date; nothing where they are there already.
CREATE FUNCTION open_date(opened date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
DECLARE
    parent  text;
    child   text;
BEGIN
    PERFORM pg_advisory_xact_lock(8585, opened - date '2000-01-01');
    FOREACH parent IN ARRAY ARRAY['request', 'outcome'] LOOP
        child := format('%s_%s', parent, to_char(opened, 'YYYYMMDD'));
        IF to_regclass('switch.' || child) IS NULL THEN
            -- made aside and attached: PARTITION OF would lock out the commits of other dates
            EXECUTE format('CREATE TABLE switch.%I (LIKE switch.%I INCLUDING ALL)', child, parent);
            EXECUTE format('ALTER TABLE switch.%I ATTACH PARTITION switch.%I '
                           'FOR VALUES FROM (%L) TO (%L)', parent, child, opened, opened + 1);
        END IF;
    END LOOP;
END
$$;

-- The one step to the next business date; every commit is on one side of it. Idempotent.
CREATE FUNCTION cut_over(new_date date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
DECLARE
    old_date  date;
BEGIN
    PERFORM switch.open_date(new_date + day) FROM generate_series(0, 2) AS day;
    PERFORM switch.enter_alone();
    SELECT d.business_date INTO STRICT old_date FROM switch.business_day AS d;
    IF new_date = old_date THEN
        RETURN;
    ELSIF new_date < old_date THEN
        RAISE EXCEPTION 'the business date is % already', old_date
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE switch.business_date SET state = 'cut', cut_at = clock_timestamp()
    WHERE business_date = old_date;
    INSERT INTO switch.business_date (business_date, state) VALUES (new_date, 'open');
    UPDATE switch.business_day SET business_date = new_date;
END
$$;

-- Requests of a date without a final word: in flight, or of owners that nobody took over yet.
-- Pending ones (a `repeat` type in the queue) will capture on a later date and do not count.
-- A request that was left to the queue stays so when its message is given up there: it has no
-- outcome and gets none by itself, so nothing waits for it.
CREATE FUNCTION undecided(asked date) RETURNS bigint LANGUAGE sql STABLE
SET enable_hashjoin = on SET enable_seqscan = on AS $$
    SELECT count(*)
    FROM switch.request AS r
    LEFT JOIN switch.outcome AS o USING (request_id, request_date)
    WHERE r.request_date = asked AND o.request_id IS NULL AND r.type <> 'tombstone'
      AND NOT EXISTS (SELECT FROM switch.queue_item AS q
                      WHERE q.request_id = r.request_id AND q.kind = 'repeat')
$$;

-- Freeze the captures of a date that was cut, if nothing of it is undecided; how many still are.
CREATE FUNCTION freeze(asked date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
DECLARE
    found_state  text;
    left_over    bigint;
BEGIN
    PERFORM switch.hold_date_alone(asked);
    SELECT d.state INTO found_state FROM switch.business_date AS d WHERE d.business_date = asked;
    IF found_state IN ('frozen', 'posted') THEN
        RETURN 0;
    ELSIF found_state IS DISTINCT FROM 'cut' THEN
        RAISE EXCEPTION 'business date % is %, not cut', asked, coalesce(found_state, 'unknown')
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    left_over := switch.undecided(asked);
    IF left_over = 0 THEN
        UPDATE switch.business_date SET state = 'frozen', frozen_at = clock_timestamp()
        WHERE business_date = asked;
    END IF;
    RETURN left_over;
END
$$;

CREATE FUNCTION mark_posted(asked date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
DECLARE
    found_state  text;
BEGIN
    PERFORM switch.hold_date_alone(asked);
    SELECT d.state INTO found_state FROM switch.business_date AS d WHERE d.business_date = asked;
    IF found_state = 'posted' THEN
        RETURN;
    ELSIF found_state IS DISTINCT FROM 'frozen' THEN
        RAISE EXCEPTION 'business date % is %, not frozen', asked, coalesce(found_state, 'unknown')
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE switch.business_date SET state = 'posted', posted_at = clock_timestamp()
    WHERE business_date = asked;
END
$$;

-- Reference data changed: decisions made on the former generation are stale from here on.
CREATE FUNCTION bump_generation() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
    UPDATE switch.business_day SET generation = generation + 1 RETURNING generation
$$;

-- The generation; items whose time has come since it was last asked raise it.
CREATE FUNCTION read_generation() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
DECLARE
    instant  timestamptz := statement_timestamp();
    day      switch.business_day;
BEGIN
    SELECT * INTO STRICT day FROM switch.business_day;
    IF EXISTS (SELECT FROM switch.reference_item AS i
               WHERE i.effective_from > i.created_at
                 AND i.effective_from > day.scheduled_until AND i.effective_from <= instant) THEN
        UPDATE switch.business_day
        SET generation = generation + 1, scheduled_until = instant
        WHERE scheduled_until = day.scheduled_until
        RETURNING generation INTO day.generation;
        IF NOT FOUND THEN
            SELECT d.generation INTO day.generation FROM switch.business_day AS d;
        END IF;
    END IF;
    RETURN day.generation;
END
$$;

INSERT INTO business_day (business_date) VALUES ((now() AT TIME ZONE 'Asia/Shanghai')::date);
INSERT INTO business_date (business_date, state) SELECT business_date, 'open' FROM business_day;
SELECT open_date(business_date + day) FROM business_day, generate_series(0, 2) AS day;

-- -- who may do what ----------------------------------------------------------------------------

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA switch FROM PUBLIC;

GRANT USAGE ON SCHEMA switch TO tongbao_app, tongbao_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA switch TO tongbao_app;
GRANT INSERT ON source, request_key, request, attempt, follow_up, outcome, capture, reversal, late_answer,
    reversal_request, case_fact, rerun, queue_item, queue_open, queue_sent, queue_end, number_block,
    owner, acquirer_lease, batch, batch_frozen, batch_settled, batch_upload, batch_closed, session,
    session_confirmed, reference_item, stored_key TO tongbao_app;
-- leases, counters and what is derived
GRANT UPDATE ON number_block, owner, acquirer_lease, queue_open TO tongbao_app;
GRANT DELETE ON queue_open TO tongbao_app;
GRANT USAGE ON writer_id, queue_position, session_id TO tongbao_app;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA switch TO tongbao_app;
