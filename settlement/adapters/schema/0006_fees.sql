-- Agents' shares, and the keys that evidence is signed with. Only added to, as all facts.

-- One record's shares, from the merchant's agent upwards, in arrays of one length: with what is the
-- house's own they are the margin of the record, to the minor unit.
CREATE TABLE agent_share (
    business_date   date      NOT NULL,
    key             text      PRIMARY KEY COLLATE "C",  -- of the clearing record
    merchant        text      NOT NULL COLLATE "C",
    currency        text      NOT NULL COLLATE "C",
    agents          text[]    NOT NULL,
    versions        integer[] NOT NULL,
    terms           text[]    NOT NULL,
    shares_minor    bigint[]  NOT NULL,
    discount_minor  bigint    NOT NULL,
    cost_minor      bigint    NOT NULL,
    own_minor       bigint    NOT NULL,
    CHECK (cardinality(agents) BETWEEN 1 AND 9
           AND cardinality(versions) = cardinality(agents)
           AND cardinality(terms) = cardinality(agents)
           AND cardinality(shares_minor) = cardinality(agents)),
    -- shares and own less the margin: the amounts sum to zero
    CHECK (sums_to_zero(shares_minor || ARRAY[own_minor, cost_minor, -discount_minor]))
);
CREATE INDEX agent_share_date ON agent_share (business_date);

-- Ed25519; the newest signs. `sealed` is the private key under the vault's data key.
CREATE TABLE evidence_key (
    version     integer     PRIMARY KEY CHECK (version > 0),
    public_key  text        NOT NULL UNIQUE COLLATE "C" CHECK (public_key ~ '^[0-9a-f]{64}$'),
    sealed      bytea       NOT NULL,
    made_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

GRANT SELECT, INSERT ON agent_share, evidence_key TO tongbao_app;
