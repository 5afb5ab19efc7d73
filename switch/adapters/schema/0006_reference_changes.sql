-- What changed since a node last read the reference data: it reads that, not the whole estate again.
--
-- Both tables number their rows in the order in which these become visible: every writer of a table
-- holds that table's advisory lock (8586) from before its first row to the end of its transaction. Who
-- has seen a number has seen all below it.

CREATE SEQUENCE reference_change;
GRANT USAGE ON reference_change TO tongbao_app;

ALTER TABLE reference_item ADD COLUMN change bigint NOT NULL DEFAULT nextval('switch.reference_change');
CREATE INDEX reference_item_change ON reference_item (change);

ALTER TABLE stored_key ADD COLUMN change bigint NOT NULL DEFAULT nextval('switch.reference_change');
CREATE INDEX stored_key_change ON stored_key (change);
