-- Which version of a file stands is found once a file, not once a row.
CREATE OR REPLACE VIEW standing_row AS
    SELECT r.*, r.acquirer || '/' || r.file || '/' || r.version || ':' || r.line AS id
    FROM clearing_row AS r
    JOIN (SELECT f.acquirer, f.name, max(f.version) AS version FROM incoming_file AS f
          GROUP BY f.acquirer, f.name) AS last
      ON last.acquirer = r.acquirer AND last.name = r.file AND last.version = r.version;
