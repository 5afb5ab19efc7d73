-- The route that a decision rested on, prefix@version: the day's end takes the card's type from it.

CREATE OR REPLACE VIEW transaction_v1 AS
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
