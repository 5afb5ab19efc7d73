-- People: who operates, what they did (one chain), and what only two of them do together.
--
-- The log, proposals and approvals are written by functions of the owner, which the application may
-- call, from within the transaction of the act, and can not go around.

-- -- the audit log ------------------------------------------------------------------------------

-- Numbered without gaps, each row chained to the one before by its hash. `previous` is unique, so the
-- chain can not fork. What was before and after is text as it came (canonical JSON, empty for nothing):
-- the hash is over these bytes.
CREATE TABLE audit_record (
    seq       bigint PRIMARY KEY CHECK (seq > 0),
    at        timestamptz NOT NULL,
    actor     text   NOT NULL COLLATE "C" CHECK (actor <> ''),
    act       text   NOT NULL COLLATE "C" CHECK (act <> ''),
    object    text   NOT NULL COLLATE "C",
    result    text   NOT NULL COLLATE "C" CHECK (result IN ('done', 'refused')),
    before    text   NOT NULL COLLATE "C" CHECK (octet_length(before) <= 1048576),
    after     text   NOT NULL COLLATE "C" CHECK (octet_length(after) <= 1048576),
    previous  bytea  NOT NULL UNIQUE CHECK (octet_length(previous) = 32),
    hash      bytea  NOT NULL UNIQUE CHECK (octet_length(hash) = 32)
);

-- `length:bytes` of a text in UTF-8: no two lists of texts look alike one after the other.
CREATE FUNCTION audit_field(value text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT convert_to(octet_length(convert_to(value, 'UTF8')) || ':' || value, 'UTF8')
$$;

-- What `switch/people/audit.py` computes: SHA-256 over the hash before and every field.
CREATE FUNCTION audit_hash(
    previous bytea, seq bigint, at timestamptz, actor text, act text, object text, result text,
    before text, after text
) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT sha256(previous
        || switch.audit_field(seq::text)
        || switch.audit_field((extract(epoch FROM at) * 1000000)::bigint::text)
        || switch.audit_field(actor) || switch.audit_field(act)
        || switch.audit_field(object) || switch.audit_field(result)
        || switch.audit_field(before) || switch.audit_field(after))
$$;

-- Append a record; its number. To come last in the transaction whose act it records (and `approve_v1`
-- after it): the lock that orders the chain is held from here to the end, and whoever waits for nothing
-- after it can not be part of a deadlock. Every function below takes it first, and so is alone. READ
-- COMMITTED only: an older snapshot does not see the chain's end, and the unique number then refuses
-- the act.
CREATE FUNCTION audit_v1(
    actor text, act text, object text, before text, after text, result text DEFAULT 'done'
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
#variable_conflict use_column
DECLARE
    last    switch.audit_record;
    number  bigint;
    links   bytea;
    made    timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(8587, 1);
    SELECT * INTO last FROM switch.audit_record ORDER BY seq DESC LIMIT 1;
    number := coalesce(last.seq, 0) + 1;
    links := coalesce(last.hash, decode(repeat('00', 32), 'hex'));
    -- times go up with numbers also where the clock is set back
    made := greatest(clock_timestamp(), last.at);
    INSERT INTO switch.audit_record VALUES (
        number, made, audit_v1.actor, audit_v1.act, audit_v1.object, audit_v1.result,
        audit_v1.before, audit_v1.after, links,
        switch.audit_hash(links, number, made, audit_v1.actor, audit_v1.act, audit_v1.object,
                          audit_v1.result, audit_v1.before, audit_v1.after));
    RETURN number;
END
$$;

-- -- maker and checker --------------------------------------------------------------------------

CREATE SEQUENCE proposal_number;

-- Act and subject bear no character that JSON would escape, so that the hash is made here as
-- `settlement/four_eyes.py` makes it: SHA-256 over ["act","subject",payload]. The audit log has that
-- hash, not the payload: what was proposed can not be changed here without being seen there.
CREATE TABLE proposal (
    id       text PRIMARY KEY COLLATE "C",
    act      text NOT NULL COLLATE "C" CHECK (act ~ '^[a-z_.]+$'),
    subject  text NOT NULL COLLATE "C" CHECK (subject !~ '[[:cntrl:]"\\]'),
    payload  text NOT NULL COLLATE "C" CHECK (octet_length(payload) <= 1048576),
    sha256   text NOT NULL COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    maker    text NOT NULL COLLATE "C" CHECK (maker <> ''),
    made_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One a proposal: the act that it let through stands in the same commit.
CREATE TABLE approval (
    proposal_id  text PRIMARY KEY COLLATE "C" REFERENCES proposal,
    checker      text NOT NULL COLLATE "C" CHECK (checker <> ''),
    approved_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE withdrawal (
    proposal_id   text PRIMARY KEY COLLATE "C" REFERENCES proposal,
    operator      text NOT NULL COLLATE "C" CHECK (operator <> ''),
    withdrawn_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION proposal_sha256(act text, subject text, payload text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT encode(sha256(convert_to('["' || act || '","' || subject || '",' || payload || ']',
                                    'UTF8')), 'hex')
$$;

-- Propose an act; the proposal's id. One that the same maker has pending is not made twice.
-- `payload` is canonical JSON: keys sorted, no blanks.
CREATE FUNCTION propose_v1(act text, subject text, payload text, maker text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
#variable_conflict use_column
DECLARE
    hash   text := switch.proposal_sha256(propose_v1.act, propose_v1.subject, propose_v1.payload);
    found  text;
BEGIN
    PERFORM pg_advisory_xact_lock(8587, 1);
    SELECT p.id INTO found FROM switch.proposal AS p
    WHERE (p.act, p.subject, p.sha256, p.maker)
        = (propose_v1.act, propose_v1.subject, hash, propose_v1.maker)
      AND NOT EXISTS (SELECT FROM switch.approval AS a WHERE a.proposal_id = p.id)
      AND NOT EXISTS (SELECT FROM switch.withdrawal AS w WHERE w.proposal_id = p.id)
    ORDER BY p.made_at, p.id LIMIT 1;
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    found := 'P' || lpad(nextval('switch.proposal_number')::text, 6, '0');
    INSERT INTO switch.proposal (id, act, subject, payload, sha256, maker)
    VALUES (found, propose_v1.act, propose_v1.subject, propose_v1.payload, hash, propose_v1.maker);
    PERFORM switch.audit_v1(propose_v1.maker, 'propose:' || propose_v1.act, propose_v1.subject, '',
        '{"proposal":"' || found || '","sha256":"' || hash || '"}');
    RETURN found;
END
$$;

-- Let a proposal through, within the transaction of the act that it lets through, as its last
-- statement. SQLSTATE 4EYES and, as the detail, the reason, where it may not be.
CREATE FUNCTION approve_v1(proposal text, sha256 text, checker text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
#variable_conflict use_column
DECLARE
    of      switch.proposal;
    reason  text;
BEGIN
    PERFORM pg_advisory_xact_lock(8587, 1);
    SELECT * INTO of FROM switch.proposal AS p WHERE p.id = approve_v1.proposal;
    reason := CASE
        WHEN of.id IS NULL THEN 'unknown'
        WHEN EXISTS (SELECT FROM switch.approval AS a WHERE a.proposal_id = of.id) THEN 'replayed'
        WHEN EXISTS (SELECT FROM switch.withdrawal AS w WHERE w.proposal_id = of.id) THEN 'unknown'
        WHEN of.maker = approve_v1.checker THEN 'self_approval'
        WHEN of.sha256 <> approve_v1.sha256
          OR of.sha256 <> switch.proposal_sha256(of.act, of.subject, of.payload) THEN 'changed'
    END;
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION '% may not be approved by %', approve_v1.proposal, approve_v1.checker
            USING ERRCODE = '4EYES', DETAIL = reason;
    END IF;
    INSERT INTO switch.approval (proposal_id, checker) VALUES (of.id, approve_v1.checker);
    PERFORM switch.audit_v1(approve_v1.checker, 'approve:' || of.act, of.subject, '',
        '{"proposal":"' || of.id || '","sha256":"' || of.sha256 || '"}');
END
$$;

-- Take a proposal back, by whoever may: its maker, or who could have approved it. False: not pending.
CREATE FUNCTION withdraw_v1(proposal text, operator text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = switch, pg_temp AS $$
#variable_conflict use_column
DECLARE
    of  switch.proposal;
BEGIN
    PERFORM pg_advisory_xact_lock(8587, 1);
    SELECT * INTO of FROM switch.proposal AS p WHERE p.id = withdraw_v1.proposal;
    IF of.id IS NULL
       OR EXISTS (SELECT FROM switch.approval AS a WHERE a.proposal_id = of.id)
       OR EXISTS (SELECT FROM switch.withdrawal AS w WHERE w.proposal_id = of.id) THEN
        RETURN false;
    END IF;
    INSERT INTO switch.withdrawal (proposal_id, operator) VALUES (of.id, withdraw_v1.operator);
    PERFORM switch.audit_v1(withdraw_v1.operator, 'withdraw:' || of.act, of.subject,
        '{"proposal":"' || of.id || '","sha256":"' || of.sha256 || '"}', '');
    RETURN true;
END
$$;

-- -- operators ----------------------------------------------------------------------------------

-- An operator's versions: the last one counts.
CREATE TABLE operator (
    id       text    NOT NULL COLLATE "C" CHECK (id ~ '^[a-z][a-z0-9._-]{0,31}$'),
    version  integer NOT NULL CHECK (version > 0),
    name     text    NOT NULL,
    roles    text[]  NOT NULL,
    state    text    NOT NULL COLLATE "C" CHECK (state IN ('active', 'suspended')),
    made_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (id, version)
);

-- What an operator shows: the last one counts. An enrolment is a code for once, with an end.
CREATE TABLE credential (
    operator    text    NOT NULL COLLATE "C",
    version     integer NOT NULL CHECK (version > 0),
    kind        text    NOT NULL COLLATE "C" CHECK (kind IN ('enrolment', 'password', 'ssh_key')),
    secret      text    NOT NULL COLLATE "C",  -- $scrypt$… of a code or password
    totp        bytea,                         -- secret of the codes, sealed under the password
    public_key  text    NOT NULL COLLATE "C",  -- of an SSH key
    expires_at  timestamptz,
    made_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (operator, version),
    CHECK ((kind = 'ssh_key') = (public_key <> '') AND (kind = 'ssh_key') = (secret = '')),
    CHECK ((kind = 'password') = (totp IS NOT NULL)),
    CHECK ((kind = 'enrolment') = (expires_at IS NOT NULL))
);

-- Every try to be somebody: failures since the last other row count towards the lock-out.
CREATE TABLE login (
    operator   text   NOT NULL COLLATE "C",
    seq        bigint NOT NULL CHECK (seq > 0),
    result     text   NOT NULL COLLATE "C" CHECK (result IN ('passed', 'failed', 'unlocked')),
    totp_step  bigint,  -- the half minute of the code: none is taken twice
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (operator, seq),
    UNIQUE (operator, totp_step)
);

-- -- who may do what ----------------------------------------------------------------------------

REVOKE ALL ON FUNCTION audit_field, audit_hash, audit_v1, proposal_sha256, propose_v1, approve_v1,
    withdraw_v1 FROM PUBLIC;
GRANT SELECT ON audit_record, proposal, approval, withdrawal, operator, credential, login TO tongbao_app;
GRANT INSERT ON operator, credential, login TO tongbao_app;
GRANT EXECUTE ON FUNCTION audit_v1, propose_v1, approve_v1, withdraw_v1 TO tongbao_app;
