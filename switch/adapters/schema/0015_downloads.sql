-- What terminals have downloaded: facts, only added. The newest of a topic says where the terminal is
-- (begun, mixed by a change of the data under way, ended), the newest that ended what it has.

CREATE TABLE download (
    download_id  bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    merchant     text    NOT NULL COLLATE "C",
    terminal     text    NOT NULL COLLATE "C",
    topic        text    NOT NULL COLLATE "C",
    act          text    NOT NULL COLLATE "C" CHECK (act IN ('begun', 'mixed', 'ended')),
    version      text    NOT NULL COLLATE "C",
    source       text    NOT NULL COLLATE "C",  -- set@version
    stan         integer NOT NULL,
    address      text    NOT NULL COLLATE "C",
    shown        boolean NOT NULL,  -- the address had sent a verified MAC, or none is asked
    detail       text    NOT NULL,  -- of a status upload, as JSON
    at           timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX download_newest ON download (merchant, terminal, topic, download_id DESC);

GRANT SELECT, INSERT ON download TO tongbao_app;
