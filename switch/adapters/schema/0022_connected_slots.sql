-- Whether its owner has a connection on a slot of a link, as it says itself; NULL: it has not said.
-- Where the bank connects, nodes see here that one of them waits in vain (`switch/spread.py`).

ALTER TABLE link_slot ADD COLUMN connected boolean;

GRANT UPDATE ON link_slot TO tongbao_app;
