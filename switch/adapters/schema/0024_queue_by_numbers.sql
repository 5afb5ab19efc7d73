-- A message of store and forward by its numbers on the link: whose answer came, where it was no
-- answer to an attempt (`switch/unmatched_answers.py`).

CREATE INDEX queue_item_link_stan ON queue_item (link_stan);
