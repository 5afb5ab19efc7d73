-- Derived: the batches that are settled and not closed. Who looks for uploads that never ended looks
-- through these few, not through every batch that ever was. Triggers keep it, so that nodes of a former
-- release, which do not know it, keep it too.

CREATE TABLE upload_open (
    merchant    text    NOT NULL COLLATE "C",
    terminal    text    NOT NULL COLLATE "C",
    batch       integer NOT NULL,
    settled_at  timestamptz NOT NULL,
    PRIMARY KEY (merchant, terminal, batch)
);
CREATE INDEX upload_open_settled ON upload_open (settled_at, merchant, terminal);
GRANT SELECT ON upload_open TO tongbao_app;

CREATE FUNCTION upload_opened() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
BEGIN
    INSERT INTO upload_open VALUES (NEW.merchant, NEW.terminal, NEW.batch, NEW.settled_at);
    RETURN NULL;
END
$$;

CREATE FUNCTION upload_ended() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
BEGIN
    DELETE FROM upload_open AS u
    WHERE (u.merchant, u.terminal, u.batch) = (NEW.merchant, NEW.terminal, NEW.batch);
    RETURN NULL;
END
$$;

-- in this order: a batch is settled before it is closed
CREATE TRIGGER upload_opened AFTER INSERT ON batch_settled
    FOR EACH ROW EXECUTE FUNCTION upload_opened();
CREATE TRIGGER upload_ended AFTER INSERT ON batch_closed
    FOR EACH ROW EXECUTE FUNCTION upload_ended();

INSERT INTO upload_open
SELECT s.merchant, s.terminal, s.batch, s.settled_at FROM batch_settled AS s
WHERE NOT EXISTS (SELECT FROM batch_closed AS c
                  WHERE (c.merchant, c.terminal, c.batch) = (s.merchant, s.terminal, s.batch));

REVOKE ALL ON FUNCTION upload_opened(), upload_ended() FROM PUBLIC;
