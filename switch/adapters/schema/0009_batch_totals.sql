-- What a terminal said its batch came to (0500, DE 48), for the books: both sides of DE 48 together,
-- RMB and foreign cards.

CREATE VIEW batch_v1 AS
    SELECT merchant, terminal, batch,
           said[1] + said[5] AS debit_minor,
           said[2] + said[6] AS debit_count,
           said[3] + said[7] AS credit_minor,
           said[4] + said[8] AS credit_count,
           result, settled_at
    FROM batch_settled;

-- a close looks at those of its last days, not at every batch that ever was
CREATE INDEX batch_settled_at ON batch_settled (settled_at);

GRANT SELECT ON batch_v1 TO tongbao_app, tongbao_reader;
