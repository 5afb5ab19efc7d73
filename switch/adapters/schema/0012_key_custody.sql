-- Keys move from one LMK to the next while they are used; keys wait until they are in force, and end.
--
-- A key's version is a fact and stays; what changes is the form it is stored in (`block`, `lmk_id`), and,
-- once each, the times at which it came into force and ended. Nodes read such a change as they read a
-- new key: by `change`, under the table's lock.

ALTER TABLE stored_key ADD COLUMN active_at timestamptz;  -- NULL: it waits
UPDATE stored_key SET active_at = created_at;
ALTER TABLE stored_key ALTER COLUMN active_at SET DEFAULT clock_timestamp();
ALTER TABLE stored_key ADD COLUMN retired_at timestamptz;
ALTER TABLE stored_key ADD CHECK (retired_at IS NULL OR active_at IS NOT NULL);

-- NULL: of before this release, under the only LMK the store had. Empty: superseded, its blocks erased.
ALTER TABLE session ADD COLUMN lmk_id text COLLATE "C";

-- Which LMKs the workers of a node can open keys under, the present one first. Rotation waits for them.
CREATE TABLE lmk_holder (
    node     text    NOT NULL COLLATE "C",
    worker   integer NOT NULL,
    lmk_ids  text[]  NOT NULL COLLATE "C",
    held_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (node, worker)
);

-- The same keys in another form, where they are still in the form they were read in; how many were.
-- Nothing that was decided with the former form is stale by this, so the generation stays: raised at every
-- batch, it would send requests back to their beginning until they give up. Nodes read what has changed
-- when the generation next grows, at the latest when the former LMK is taken from them.
CREATE FUNCTION rewrap_keys(owners text[], usages text[], versions integer[], formers text[],
                            blocks text[], lmk text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
DECLARE
    changed  bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(8586, 2);
    UPDATE switch.stored_key AS k
    SET block = n.block, lmk_id = lmk, change = nextval('switch.reference_change')
    FROM unnest(owners, usages, versions, formers, blocks) AS n (owner, usage, version, former, block)
    WHERE k.owner = n.owner AND k.usage = n.usage AND k.version = n.version AND k.block = n.former;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;

CREATE FUNCTION rewrap_sessions(ids bigint[], formers text[], piks text[], maks text[], tdks text[],
                                lmk text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
DECLARE
    changed  bigint;
BEGIN
    UPDATE switch.session AS s
    SET pik = n.pik, mak = n.mak, tdk = n.tdk, lmk_id = lmk
    FROM unnest(ids, formers, piks, maks, tdks) AS n (session_id, former, pik, mak, tdk)
    WHERE s.session_id = n.session_id AND s.pik = n.former;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;

-- Of these, the key sets with at least `kept` newer ones of their terminal: nobody looks that far back.
CREATE FUNCTION erase_sessions(ids bigint[], kept integer) RETURNS SETOF bigint
LANGUAGE sql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
    UPDATE switch.session AS s SET pik = '', mak = '', tdk = NULL, lmk_id = ''
    WHERE s.session_id = ANY (ids) AND kept > 1 AND EXISTS (
        SELECT FROM switch.session AS n
        WHERE n.merchant = s.merchant AND n.terminal = s.terminal AND n.session_id > s.session_id
        ORDER BY n.session_id OFFSET kept - 1 LIMIT 1)
    RETURNING s.session_id
$$;

-- A key that waits comes into force; false where it does not wait.
CREATE FUNCTION activate_key(asked_owner text, asked_usage text, asked_version integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(8586, 2);
    UPDATE switch.stored_key AS k
    SET active_at = clock_timestamp(), change = nextval('switch.reference_change')
    WHERE k.owner = asked_owner AND k.usage = asked_usage AND k.version = asked_version
      AND k.active_at IS NULL AND k.retired_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM switch.bump_generation();
    RETURN true;
END
$$;

-- A key ends; false where it had. What never was in force is in force for no time at all.
CREATE FUNCTION retire_key(asked_owner text, asked_usage text, asked_version integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(8586, 2);
    UPDATE switch.stored_key AS k
    SET active_at = coalesce(k.active_at, clock_timestamp()), retired_at = clock_timestamp(),
        change = nextval('switch.reference_change')
    WHERE k.owner = asked_owner AND k.usage = asked_usage AND k.version = asked_version
      AND k.retired_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM switch.bump_generation();
    RETURN true;
END
$$;

REVOKE ALL ON FUNCTION rewrap_keys, rewrap_sessions, erase_sessions, activate_key, retire_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rewrap_keys, rewrap_sessions, erase_sessions, activate_key, retire_key
    TO tongbao_app;
GRANT SELECT, INSERT, UPDATE ON lmk_holder TO tongbao_app;
GRANT SELECT ON lmk_holder TO tongbao_reader;
