-- The audit trail: one row per change of a payment, one per action of a
-- person, one per minute that anchors both. Rows are only ever added; no role
-- that programs log in with may change or delete one (see `foleni migrate`).
--
-- Hashes are SHA-256 over the binary form of a row's columns, each with its
-- type and length, so that no two rows have one form (common/trail.h).

-- The id of the key that signs the callback path of the attempt.
ALTER TABLE payments ADD COLUMN mac_key smallint NOT NULL DEFAULT 0;
-- A key that an open attempt uses is not dropped: open ones without a time to
-- be looked at again are these.
CREATE INDEX payments_unresolved ON payments (mac_key) WHERE state = 5;

-- Chained within the payment, so that no row serialises the payments: each
-- version's hash covers the row and the hash of the version before; that of
-- version 1 covers what never changes in the payment. The last one stands in
-- the payment, where the next step finds it. Empty: from before the trail.
ALTER TABLE payments ADD COLUMN hash bytea NOT NULL DEFAULT '';
ALTER TABLE timeline
    ADD COLUMN evidence smallint NOT NULL DEFAULT 0,
    ADD COLUMN receipt  text,
    ADD COLUMN tx       bigint   NOT NULL DEFAULT 0, -- which transaction
    ADD COLUMN hash     bytea    NOT NULL DEFAULT '';
CREATE INDEX timeline_tx ON timeline (tx);

-- What persons did, chained globally.
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
    tx        bigint      NOT NULL,
    prev_hash bytea       NOT NULL, -- empty for the first one
    hash      bytea       NOT NULL
);
CREATE INDEX operator_actions_tx ON operator_actions (tx);

-- One per minute: how many rows were appended by transactions from_tx up to
-- but not including to_tx, and the hash of their hashes. An anchor is made when
-- every transaction below to_tx has ended, so nothing can be added to its range
-- any more, and whatever is removed from it shows. By transaction, not by time:
-- a time says nothing about which transactions may still commit.
CREATE TABLE anchors (
    number        bigint      PRIMARY KEY CHECK (number > 0),
    at            timestamptz NOT NULL,
    from_tx       bigint      NOT NULL,
    to_tx         bigint      NOT NULL CHECK (to_tx >= from_tx),
    timeline_n    bigint      NOT NULL,
    timeline_hash bytea       NOT NULL,
    actions_n     bigint      NOT NULL,
    actions_hash  bytea       NOT NULL,
    hash          bytea       NOT NULL -- covers the hash of the one before
);

-- From here on names mean this schema, whatever the caller's path is.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp',
                  true);

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
    a.tx := pg_current_xact_id()::text::bigint;
    a.hash := operator_action_hash(a);
    INSERT INTO operator_actions SELECT a.*;
    RETURN a.id;
END $$;
REVOKE ALL ON FUNCTION audit_operator FROM PUBLIC;
