-- A row's id says of which version of its file it is: matches and breaks rest on that version.
CREATE OR REPLACE VIEW standing_row AS
    SELECT r.*, r.acquirer || '/' || r.file || '/' || r.version || ':' || r.line AS id
    FROM clearing_row AS r
    WHERE r.version = (SELECT max(f.version) FROM incoming_file AS f
                       WHERE (f.acquirer, f.name) = (r.acquirer, r.file));

-- ids so far, of rows as they stood: a file's last version
CREATE FUNCTION with_version(id text) RETURNS text LANGUAGE sql AS $$
    SELECT f.acquirer || '/' || f.name || '/' || max(f.version) || ':' || split_part(id, ':', -1)
    FROM settlement.incoming_file AS f
    WHERE id LIKE replace(f.acquirer || '/' || f.name, '_', '\_') || ':%'
    GROUP BY f.acquirer, f.name
$$;
UPDATE match SET row = with_version(row) WHERE row IS NOT NULL;
UPDATE break_case SET row = with_version(row) WHERE row <> '';
UPDATE network_cost SET row = with_version(row);
DROP FUNCTION with_version;

-- other content under the name of a file that is in already, until a second person approves it
CREATE TABLE held_file (
    acquirer  text  NOT NULL COLLATE "C",
    name      text  NOT NULL COLLATE "C",
    sha256    bytea NOT NULL CHECK (octet_length(sha256) = 32),
    break_id  text  NOT NULL COLLATE "C" REFERENCES break_case,
    sealed    bytea NOT NULL,
    held_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (acquirer, name, sha256)
);
GRANT SELECT, INSERT ON held_file TO tongbao_app;
GRANT SELECT ON held_file TO tongbao_reader;
