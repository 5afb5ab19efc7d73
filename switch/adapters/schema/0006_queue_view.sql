-- What waits to be delivered to acquirers, for operators, the day's end and tests.

CREATE VIEW queue_v1 AS
    SELECT o.item_id, o.acquirer, o.kind, o.request_id, o.root_request_id, i.link_stan,
           i.transmission_time, i.created_at, o.not_before,
           (SELECT count(*) FROM queue_sent AS s WHERE s.item_id = o.item_id) AS tries
    FROM queue_open AS o JOIN queue_item AS i USING (item_id);

GRANT SELECT ON queue_v1 TO tongbao_app, tongbao_reader;
