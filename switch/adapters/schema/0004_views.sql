-- What others read: the day's end, `tongbao journal`, scripts. Columns are added, never renamed.
-- The business date of a transaction is that of its request, that of a capture is its own.

CREATE VIEW reference_v1 AS
    SELECT kind, key, version, effective_from, content FROM reference_item;

CREATE VIEW transaction_v1 AS
    SELECT r.request_id,
           r.request_date AS business_date,
           o.settlement_date,
           r.type,
           CASE
               WHEN o.state IS NULL AND q.item_id IS NOT NULL THEN 'pending'
               WHEN o.state IS NULL THEN 'in_flight'
               WHEN o.state = 'approved' AND v.seq IS NOT NULL THEN 'reversed'
               ELSE o.state
           END AS state,
           r.merchant, r.terminal, r.batch, r.stan, r.mti, r.processing_code,
           r.amount_minor, o.approved_amount_minor, r.currency,
           coalesce(a.acquirer, r.acquirer) AS acquirer,
           coalesce(a.link_stan, r.link_stan) AS link_stan,
           coalesce(a.transmission_time, r.transmission_time) AS transmission_time,
           coalesce(a.de32, r.de32) AS de32,
           coalesce(a.de33, r.de33) AS de33,
           r.rrn, o.acquirer_rrn, o.auth_code, o.response_code,
           coalesce(a.route_rule, r.route_rule) AS route_rule,
           r.original_request_id,
           coalesce(r.pan_token, ''::bytea) AS pan_token,
           r.pan_masked, r.mcc, r.entry_mode, r.condition_code, r.received_at,
           -- the route that the decision rested on, prefix@version
           coalesce(nullif(r.decision, '')::json ->> 'route', '') AS route
    FROM request AS r
    LEFT JOIN outcome AS o ON o.request_id = r.request_id AND o.request_date = r.request_date
    LEFT JOIN reversal AS v ON v.original_request_id = r.request_id AND v.seq = 1
    LEFT JOIN queue_item AS q
      ON q.request_id = r.request_id AND q.kind = 'repeat' AND q.seq = 0
    -- the attempt that was answered, else the last one
    LEFT JOIN LATERAL (
        SELECT later.* FROM attempt AS later
        WHERE later.request_id = r.request_id
          AND (o.attempt IS NULL OR later.attempt = o.attempt)
        ORDER BY later.attempt DESC LIMIT 1
    ) AS a ON true
    WHERE r.type <> 'tombstone';

-- A capture on the date of its request stands in the outcome; others have a row of their own. The
-- number is the request's and, in the last four bits, that of the reversal whose opposite it is.
CREATE VIEW capture_v1 AS
    SELECT r.request_id * 16 AS capture_id,
           r.request_id,
           r.request_date AS business_date,
           o.settlement_date,
           r.merchant, r.terminal, r.batch, r.stan, r.type,
           coalesce(a.acquirer, r.acquirer, '') AS acquirer,
           o.effect_minor, r.currency, r.original_request_id
    FROM request AS r
    JOIN outcome AS o ON o.request_id = r.request_id AND o.request_date = r.request_date
    LEFT JOIN reversal AS v ON v.original_request_id = r.request_id AND v.capture = 'cancel'
    LEFT JOIN attempt AS a ON a.request_id = r.request_id AND a.attempt = o.attempt
    WHERE o.effect_minor IS NOT NULL AND o.business_date = o.request_date AND v.seq IS NULL
    UNION ALL
    SELECT c.request_id * 16 + c.seq,
           c.request_id,
           c.business_date,
           o.settlement_date,
           r.merchant, r.terminal, r.batch, r.stan, r.type,
           coalesce(a.acquirer, r.acquirer, ''),
           c.effect_minor, r.currency, r.original_request_id
    FROM capture AS c
    JOIN request AS r ON r.request_id = c.request_id AND r.request_date = c.request_date
    JOIN outcome AS o ON o.request_id = c.request_id AND o.request_date = c.request_date
    LEFT JOIN reversal AS v
      ON v.original_request_id = c.request_id AND v.capture = 'cancel' AND c.seq = 0
    LEFT JOIN attempt AS a ON a.request_id = c.request_id AND a.attempt = o.attempt
    WHERE v.seq IS NULL;

-- One row a transaction with everything that later facts say of it, for `journal list` and `show`.
CREATE VIEW journal_v1 AS
    SELECT t.request_id, t.business_date, t.settlement_date, t.type, t.state,
           t.merchant, t.terminal, t.batch, t.stan, t.rrn, t.mti, t.processing_code,
           t.amount_minor, t.approved_amount_minor, t.currency, t.acquirer,
           t.acquirer_rrn, t.auth_code, t.response_code, t.pan_masked, t.mcc, t.entry_mode,
           t.condition_code, t.received_at,
           o.decided_at, o.rule, o.acquirer_response_code, o.effect_minor,
           r.local_time, r.decision, r.session_id,
           (SELECT coalesce(jsonb_agg(jsonb_build_object(
                       'attempt', each.attempt, 'acquirer', each.acquirer,
                       'link_stan', each.link_stan, 'transmission_time', each.transmission_time,
                       'de32', each.de32, 'de33', each.de33,
                       'acquirer_rrn', CASE WHEN each.attempt = o.attempt
                                            THEN o.acquirer_rrn ELSE '' END,
                       'route_rule', each.route_rule) ORDER BY each.attempt), '[]')
            FROM (SELECT r.attempt, r.acquirer, r.link_stan, r.transmission_time, r.de32, r.de33,
                         r.route_rule WHERE r.attempt IS NOT NULL
                  UNION ALL
                  SELECT a.attempt, a.acquirer, a.link_stan, a.transmission_time, a.de32, a.de33,
                         a.route_rule FROM attempt AS a WHERE a.request_id = r.request_id) AS each
           ) AS attempts,
           (SELECT jsonb_agg(jsonb_build_object(
                       'seq', v.seq, 'origin', v.origin, 'reason', v.reason,
                       'queued_at', v.queued_at, 'capture', v.capture,
                       'state', CASE WHEN i.item_id IS NULL THEN 'not_needed'
                                     WHEN e.item_id IS NULL THEN 'queued' ELSE 'answered' END,
                       'response_code', e.response_code, 'link_stan', i.link_stan,
                       'transmission_time', i.transmission_time,
                       'tries', (SELECT count(*) FROM queue_sent AS s WHERE s.item_id = i.item_id))
                       ORDER BY v.seq)
            FROM reversal AS v
            LEFT JOIN queue_item AS i
              ON i.request_id = v.original_request_id AND i.kind = 'reversal' AND i.seq = v.seq
            LEFT JOIN queue_end AS e ON e.item_id = i.item_id
            WHERE v.original_request_id = r.request_id) AS reversals,
           (SELECT jsonb_build_object('request_id', n.request_id, 'business_date', n.request_date,
                       'merchant', n.merchant, 'terminal', n.terminal, 'batch', n.batch,
                       'stan', n.stan, 'rrn', n.rrn)
            FROM request AS n WHERE n.request_id = r.original_request_id) AS original
    FROM transaction_v1 AS t
    JOIN request AS r ON r.request_id = t.request_id AND r.request_date = t.business_date
    LEFT JOIN outcome AS o ON o.request_id = t.request_id AND o.request_date = t.business_date;

-- What waits to be delivered to acquirers, for operators, the day's end and tests.

CREATE VIEW queue_v1 AS
    SELECT o.item_id, o.acquirer, o.kind, o.request_id, o.root_request_id, i.link_stan,
           i.transmission_time, i.created_at, o.not_before,
           (SELECT count(*) FROM queue_sent AS s WHERE s.item_id = o.item_id) AS tries
    FROM queue_open AS o JOIN queue_item AS i USING (item_id);

GRANT SELECT ON reference_v1, transaction_v1, capture_v1, journal_v1, queue_v1
    TO tongbao_app, tongbao_reader;
GRANT SELECT ON business_date, business_day TO tongbao_reader;
