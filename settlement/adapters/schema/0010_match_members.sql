-- The day's end reads the members of a date's matches, and so does its evidence.
CREATE INDEX match_member_date ON match_member USING brin (business_date);
