-- What the switch itself found and a person must look at, for the books' casework, with the transaction
-- that it is about. `detail` is a JSON object, by kind.

CREATE VIEW case_v1 AS
    SELECT to_char(c.business_date, 'YYYYMMDD') || '-W' || c.commit_id || '-' || c.seq AS case_id,
           c.commit_id, c.seq, c.kind, c.business_date, c.opened_at, c.merchant, c.terminal,
           c.request_id, c.detail,
           -- that it happened with; a request may have gone to another since
           coalesce(nullif(c.detail::json ->> 'acquirer', ''), t.acquirer, '') AS acquirer,
           coalesce(t.currency, '') AS currency,
           t.amount_minor, t.settlement_date,
           coalesce(t.type, '') AS type,
           coalesce(t.state, '') AS state,
           t.batch, t.stan,
           coalesce(t.rrn, '') AS rrn,
           coalesce(t.link_stan, '') AS link_stan,
           coalesce(t.transmission_time, '') AS transmission_time,
           coalesce(t.pan_masked, '') AS pan_masked
    FROM case_fact AS c
    LEFT JOIN transaction_v1 AS t ON t.request_id = c.request_id;

GRANT SELECT ON case_v1 TO tongbao_app, tongbao_reader;
