-- Addresses that have shown a verified MAC for a batch (rules §10): what an unsigned settlement or
-- upload may come from. And the way back from a late answer to the attempt it belongs to.

CREATE TABLE source (
    merchant   text    NOT NULL COLLATE "C",
    terminal   text    NOT NULL COLLATE "C",
    batch      integer NOT NULL,
    address    text    NOT NULL COLLATE "C",
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (merchant, terminal, batch, address)
);

CREATE INDEX request_link_stan ON request (link_stan) WHERE link_stan IS NOT NULL;
CREATE INDEX attempt_link_stan ON attempt (link_stan);

GRANT SELECT, INSERT ON source TO tongbao_app;
