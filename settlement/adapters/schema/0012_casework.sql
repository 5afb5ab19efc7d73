-- Casework to the end. A file whose rows rest in disputes gives no place to a second version of it.
-- the entry, source/key, that moved the money of a case which ended by it
ALTER TABLE case_event ADD COLUMN entry text NOT NULL DEFAULT '' COLLATE "C";
CREATE INDEX placed_row_file ON placed_row (acquirer, file);
CREATE INDEX dispute_event_date ON dispute_event (business_date);
