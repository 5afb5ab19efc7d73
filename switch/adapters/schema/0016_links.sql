-- What happens on bank links and belongs to no request: answers that count for none, and changes of keys.
--
-- An answer is kept once: (owner_id, seq) is its process and its number there, so that a write whose
-- acknowledgement was lost may be made again. A change of a link's key is a request for one and facts
-- about it, numbered without a gap: who writes the next one knows all that came before, so two processes
-- never act on the same change at once. Its state is a reading of the last fact.

CREATE TABLE unmatched_answer (
    answer_id          bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id           bigint  NOT NULL,
    seq                bigint  NOT NULL,
    received_at        timestamptz NOT NULL,
    acquirer           text    NOT NULL COLLATE "C",
    slot               integer NOT NULL,          -- of the link's connections; 0: of another worker
    reason             text    NOT NULL COLLATE "C"
        CHECK (reason IN ('mac', 'unmatched', 'mismatch', 'late', 'twice', 'undecodable')),
    detail             text    NOT NULL,
    mti                text    NOT NULL COLLATE "C",
    stan               text    NOT NULL COLLATE "C",
    transmission_time  text    NOT NULL COLLATE "C",
    rrn                text    NOT NULL COLLATE "C",
    response_code      text    NOT NULL COLLATE "C",
    elements           text    NOT NULL,          -- JSON, masked
    request_id         bigint,                    -- the request that it looks most like
    attempt            smallint,
    nearest            text    COLLATE "C" CHECK (nearest IN ('pending', 'expired', 'stored')),
    differences        text    NOT NULL,          -- JSON
    dropped            bigint  NOT NULL,          -- answers before it that were not kept
    UNIQUE (owner_id, seq),
    CHECK ((request_id IS NULL) = (nearest IS NULL))
);
CREATE INDEX unmatched_answer_request ON unmatched_answer (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX unmatched_answer_received ON unmatched_answer (received_at);

CREATE TABLE key_exchange (
    exchange_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    acquirer     text   NOT NULL COLLATE "C",
    usage        text   NOT NULL COLLATE "C" CHECK (usage IN ('ZPK', 'ZAK')),
    asked_by     text   NOT NULL COLLATE "C",
    asked_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX key_exchange_acquirer ON key_exchange (acquirer, exchange_id);

CREATE TABLE key_exchange_fact (
    exchange_id    bigint  NOT NULL REFERENCES key_exchange,
    seq            integer NOT NULL CHECK (seq BETWEEN 1 AND 1000),
    fact           text    NOT NULL COLLATE "C"
        CHECK (fact IN ('made', 'sent', 'accepted', 'refused', 'given_up')),
    version        integer NOT NULL,              -- of the key
    response_code  text    NOT NULL COLLATE "C",  -- DE 39 of the 0810, or why it was given up
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (exchange_id, seq)
);

CREATE VIEW unmatched_answer_v1 AS
    SELECT answer_id, received_at, acquirer, slot, reason, detail, mti, stan, transmission_time, rrn,
           response_code, elements, request_id, attempt, nearest, differences, dropped
    FROM unmatched_answer;

CREATE VIEW key_exchange_v1 AS
    SELECT x.exchange_id, x.acquirer, x.usage, x.asked_by, x.asked_at,
           coalesce(f.fact, 'asked') AS state, f.version, f.response_code, f.at AS changed_at,
           (SELECT count(*) FROM key_exchange_fact AS s
            WHERE s.exchange_id = x.exchange_id AND s.fact = 'sent') AS sends
    FROM key_exchange AS x
    LEFT JOIN LATERAL (SELECT * FROM key_exchange_fact AS t WHERE t.exchange_id = x.exchange_id
                       ORDER BY t.seq DESC LIMIT 1) AS f ON true;

GRANT SELECT, INSERT ON unmatched_answer, key_exchange, key_exchange_fact TO tongbao_app;
GRANT SELECT ON unmatched_answer_v1, key_exchange_v1 TO tongbao_app, tongbao_reader;
