-- The flush where nothing is odd, which is nearly every one: new requests, and outcomes on their date.
--
-- It stores all of them, or it fails and nothing stands; then the writer asks `switch.flush`, which says of
-- each commit what came of it (design §8). So it needs no ON CONFLICT, which looks into each unique index
-- beforehand and inserts a row in two steps. Arguments, locks and their order are those of `switch.flush`.

CREATE FUNCTION flush_plainly(
    requests request_commit[], owners bigint[], outcomes outcome_commit[]
) RETURNS date LANGUAGE plpgsql AS $$
DECLARE
    today    date;
    current  bigint;
    taken    bigint[];
    done     bigint;
BEGIN
    IF pg_advisory_xact_lock_shared(8583, 1) IS NULL THEN END IF;  -- switch.enter(), as an expression
    -- another statement: its snapshot is of after the gate
    SELECT d.business_date, d.generation,
           ARRAY(SELECT o.owner_id FROM switch.owner AS o
                 WHERE o.owner_id = ANY (owners) AND o.taken_by IS NOT NULL)
    INTO STRICT today, current, taken FROM switch.business_day AS d;

    IF requests IS NOT NULL THEN
        INSERT INTO switch.request_key
        SELECT r.merchant, r.terminal, r.batch, r.stan, r.kind,
               r.request_id, today, r.content, r.type = 'tombstone'
        FROM unnest(requests) AS r
        WHERE (r.generation >= current OR r.type = 'tombstone')
          AND NOT EXISTS (
              SELECT FROM switch.batch_frozen AS f
              WHERE r.batch_open
                AND (f.merchant, f.terminal, f.batch) = (r.merchant, r.terminal, r.batch))
          AND NOT r.owner_id = ANY (taken);
        GET DIAGNOSTICS done = ROW_COUNT;
        IF done < cardinality(requests) THEN
            RAISE EXCEPTION 'stale, frozen or taken' USING ERRCODE = 'serialization_failure';
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
        WHERE CASE WHEN r.amount_minor >= 0 AND (r.attempt IS NULL) = (r.acquirer IS NULL)
              THEN true ELSE switch.refuse('request') END;
    END IF;

    IF outcomes IS NOT NULL THEN
        INSERT INTO switch.outcome
        SELECT o.request_id, coalesce(o.request_date, today), o.commit_id,
               coalesce(o.request_date, today),
               o.state, o.response_code, o.decided_at, o.rule, o.attempt,
               o.approved_amount_minor, o.effect_minor, o.auth_code, o.settlement_date,
               o.acquirer_rrn, o.acquirer_response_code, o.answer, false
        FROM unnest(outcomes) AS o
        WHERE CASE WHEN o.state IN ('approved', 'declined', 'refused', 'unknown', 'reversed')
                    AND coalesce(o.approved_amount_minor >= 0, true)
                    AND (o.effect_minor IS NULL OR o.state = 'approved')
              THEN true ELSE switch.refuse('outcome') END;
    END IF;

    RETURN today;
END
$$;

REVOKE ALL ON FUNCTION flush_plainly FROM PUBLIC;
GRANT EXECUTE ON FUNCTION flush_plainly TO tongbao_app;
