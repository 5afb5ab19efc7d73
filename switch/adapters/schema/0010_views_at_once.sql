-- The day's end reads a date's transactions and captures whole. What the views join is found by its date,
-- so that it is read once for all rows and not as much as the store has; what few rows need is looked for
-- only where a row needs it.

CREATE OR REPLACE VIEW transaction_v1 AS
    SELECT r.request_id,
           r.request_date AS business_date,
           o.settlement_date,
           r.type,
           CASE
               WHEN o.state IS NULL THEN
                   CASE WHEN EXISTS (SELECT FROM queue_item AS q
                                     WHERE q.request_id = r.request_id AND q.kind = 'repeat'
                                       AND q.seq = 0)
                        THEN 'pending' ELSE 'in_flight' END
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
    LEFT JOIN reversal AS v
      ON v.original_request_id = r.request_id AND v.original_date = r.request_date AND v.seq = 1
    -- the attempt that was answered, else the last one
    LEFT JOIN attempt AS a
      ON a.request_id = r.request_id AND a.request_date = r.request_date
     AND a.attempt = coalesce(o.attempt, (SELECT max(each.attempt) FROM attempt AS each
                                          WHERE each.request_id = r.request_id))
    WHERE r.type <> 'tombstone';

CREATE OR REPLACE VIEW capture_v1 AS
    SELECT r.request_id * 16 AS capture_id,
           r.request_id,
           r.request_date AS business_date,
           o.settlement_date,
           r.merchant, r.terminal, r.batch, r.stan, r.type,
           coalesce(a.acquirer, r.acquirer, '') AS acquirer,
           o.effect_minor, r.currency, r.original_request_id,
           r.request_date  -- the business date of its request
    FROM request AS r
    JOIN outcome AS o ON o.request_id = r.request_id AND o.request_date = r.request_date
    LEFT JOIN attempt AS a
      ON a.request_id = r.request_id AND a.request_date = r.request_date AND a.attempt = o.attempt
    WHERE o.effect_minor IS NOT NULL AND o.business_date = o.request_date
      AND NOT EXISTS (SELECT FROM reversal AS v
                      WHERE v.original_request_id = r.request_id
                        AND v.original_date = r.request_date AND v.capture = 'cancel')
    UNION ALL
    SELECT c.request_id * 16 + c.seq,
           c.request_id,
           c.business_date,
           o.settlement_date,
           r.merchant, r.terminal, r.batch, r.stan, r.type,
           coalesce(a.acquirer, r.acquirer, ''),
           c.effect_minor, r.currency, r.original_request_id,
           c.request_date
    FROM capture AS c
    JOIN request AS r ON r.request_id = c.request_id AND r.request_date = c.request_date
    JOIN outcome AS o ON o.request_id = c.request_id AND o.request_date = c.request_date
    LEFT JOIN attempt AS a
      ON a.request_id = r.request_id AND a.request_date = r.request_date AND a.attempt = o.attempt
    WHERE c.seq <> 0
       OR NOT EXISTS (SELECT FROM reversal AS v
                      WHERE v.original_request_id = r.request_id
                        AND v.original_date = r.request_date AND v.capture = 'cancel');
