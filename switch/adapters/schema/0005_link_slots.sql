-- The connections that a bank grants a link, as numbered slots: each belongs to one owner for as long
-- as that owner's lease, which is switch.owner's. A slot without a row is free.

CREATE TABLE link_slot (
    acquirer  text    NOT NULL COLLATE "C",
    slot      integer NOT NULL CHECK (slot > 0),
    owner_id  bigint  NOT NULL,
    PRIMARY KEY (acquirer, slot)
);

CREATE FUNCTION lives(asked owner) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT asked.closed_at IS NULL AND asked.taken_by IS NULL
       AND asked.lease_until > clock_timestamp()
$$;

-- Give back what is not in `keep`, and what the dead have left; then take free slots up to the share.
-- Shares are even among living nodes, and in a node among its living workers; what does not divide
-- goes to those who hold most, so that nothing moves without need (`switch.slots.shares`).
CREATE FUNCTION hold_slots(asked text, asker bigint, granted integer, keep integer[],
                           OUT share integer, OUT held integer[])
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(8588, hashtext(asked));
    DELETE FROM switch.link_slot AS s
    WHERE s.acquirer = asked
      AND (s.owner_id = asker AND s.slot <> ALL (keep)
           OR NOT EXISTS (SELECT FROM switch.owner AS o
                          WHERE o.owner_id = s.owner_id AND switch.lives(o)));
    WITH worker AS (
        SELECT o.node, o.worker, count(s.slot) AS held, bool_or(o.owner_id = asker) AS asks
        FROM switch.owner AS o
        LEFT JOIN switch.link_slot AS s ON s.acquirer = asked AND s.owner_id = o.owner_id
        WHERE o.closed_at IS NULL AND switch.lives(o)
        GROUP BY o.node, o.worker
    ), node AS (
        SELECT w.node, row_number() OVER (ORDER BY sum(w.held) DESC, w.node) - 1 AS rank,
               count(*) OVER () AS nodes
        FROM worker AS w GROUP BY w.node
    ), ranked AS (
        SELECT w.asks, granted / n.nodes + (n.rank < granted % n.nodes)::int AS of_node,
               row_number() OVER (PARTITION BY w.node ORDER BY w.held DESC, w.worker) - 1 AS rank,
               count(*) OVER (PARTITION BY w.node) AS workers
        FROM worker AS w JOIN node AS n USING (node)
    )
    SELECT r.of_node / r.workers + (r.rank < r.of_node % r.workers)::int INTO share
    FROM ranked AS r WHERE r.asks;
    share := coalesce(share, 0);  -- the asker's own lease has ended
    INSERT INTO switch.link_slot (acquirer, slot, owner_id)
    SELECT asked, free.slot, asker
    FROM generate_series(1, granted) AS free (slot)
    WHERE NOT EXISTS (SELECT FROM switch.link_slot AS s
                      WHERE s.acquirer = asked AND s.slot = free.slot)
    ORDER BY free.slot
    LIMIT (SELECT greatest(0, least(share - count(*) FILTER (WHERE s.owner_id = asker),
                                    granted - count(*)))
           FROM switch.link_slot AS s WHERE s.acquirer = asked);
    SELECT coalesce(array_agg(s.slot ORDER BY s.slot), '{}') INTO held
    FROM switch.link_slot AS s WHERE s.acquirer = asked AND s.owner_id = asker;
END
$$;

REVOKE ALL ON FUNCTION lives, hold_slots FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lives, hold_slots TO tongbao_app;
GRANT SELECT, INSERT, DELETE ON link_slot TO tongbao_app;
