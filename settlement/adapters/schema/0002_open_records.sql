-- What is still open is asked for by settlement date, over all business dates.
CREATE INDEX clearing_record_settles ON clearing_record (settlement_date);
