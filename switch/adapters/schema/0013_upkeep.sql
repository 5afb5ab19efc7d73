-- What was done to the store itself: backups, a restore, what was purged and how far. The evidence of a
-- purge: of each table and business date, how many rows went, and for a dropped partition a digest of them.

CREATE TABLE upkeep (
    upkeep_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind           text   NOT NULL COLLATE "C" CHECK (kind IN ('backup', 'restore', 'purge', 'purged')),
    object         text   NOT NULL COLLATE "C",
    business_date  date,
    rows           bigint NOT NULL CHECK (rows >= 0),
    detail         text   NOT NULL COLLATE "C",
    node           text   NOT NULL COLLATE "C",
    at             timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- one row a table and date, however often a purge was broken off
CREATE UNIQUE INDEX upkeep_purged ON upkeep (object, business_date) WHERE kind = 'purged';
CREATE INDEX upkeep_kind ON upkeep (kind, at);

GRANT SELECT ON upkeep TO tongbao_app, tongbao_reader;
GRANT INSERT ON upkeep TO tongbao_app;
