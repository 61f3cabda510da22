-- The audit trail: what persons did. Rows are only ever added.
--
-- Chained globally: each row's hash covers the row and the hash before it, so
-- that a row that was changed, removed or put in between shows.

-- The id of the key that signs the callback path of the attempt.
ALTER TABLE payments ADD COLUMN mac_key smallint NOT NULL DEFAULT 0;

CREATE TABLE operator_actions (
    id        bigint      PRIMARY KEY CHECK (id > 0), -- from 1, without a gap
    at        timestamptz NOT NULL,
    action    text        NOT NULL CHECK (action ~ '^[a-z][a-z0-9_.]{0,63}$'),
    subject   text        NOT NULL CHECK (length(subject) BETWEEN 1 AND 256),
    who       text        NOT NULL CHECK (length(who) BETWEEN 1 AND 128),
    role      text        NOT NULL, -- of the session, whoever it says it is
    why       text        NOT NULL CHECK (length(why) BETWEEN 1 AND 1024),
    before    jsonb       CHECK (octet_length(before::text) <= 65536),
    after     jsonb       CHECK (octet_length(after::text) <= 65536),
    prev_hash bytea       NOT NULL, -- empty for the first one
    hash      bytea       NOT NULL
);

-- From here on names mean this schema, whatever the caller's path is.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp',
                  true);

-- Hash of a row: SHA-256 over the binary form of its columns in order, each
-- with its type and length, so that no two rows have one form.
CREATE FUNCTION operator_action_hash(a operator_actions) RETURNS bytea
LANGUAGE sql STABLE SET search_path FROM CURRENT SET client_encoding = 'UTF8'
AS $$
    SELECT sha256(record_send(ROW(a.id, a.at, a.action, a.subject, a.who,
        a.role, a.why, a.before::text, a.after::text, a.prev_hash)))
$$;

-- Appends what a person did, in the caller's transaction; a rollback leaves
-- nothing of it. Returns the row's id. Who and why are trimmed and must say
-- something. Others wait with theirs until the caller's transaction has ended,
-- so it comes late in it.
CREATE FUNCTION audit_operator(action text, subject text, who text, why text,
                               before jsonb, after jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT AS $$
DECLARE
    a operator_actions;
BEGIN
    PERFORM pg_advisory_xact_lock(112628745989738);
    SELECT o.id, o.hash INTO a.id, a.prev_hash FROM operator_actions o
        ORDER BY o.id DESC LIMIT 1;
    a.id := coalesce(a.id, 0) + 1;
    a.prev_hash := coalesce(a.prev_hash, '');
    a.at := clock_timestamp();
    a.action := action;
    a.subject := subject;
    a.who := btrim(who, E' \t\r\n');
    a.role := session_user;
    a.why := btrim(why, E' \t\r\n');
    a.before := before;
    a.after := after;
    a.hash := operator_action_hash(a);
    INSERT INTO operator_actions SELECT a.*;
    RETURN a.id;
END $$;
