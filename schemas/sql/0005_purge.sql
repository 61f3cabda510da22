-- Payments that are over leave the ledger with their trail, and the trail says
-- so: whatever is missing from an anchor is either named here or was stolen.
--
-- One row per anchor and purge: how many rows of the timeline went, and what is
-- left of those that the anchor covers. Chained globally; the operator's action
-- `purge` names the last row of its purge with its hash, so that the chain is
-- anchored itself.
CREATE TABLE purges (
    number        bigint      PRIMARY KEY CHECK (number > 0), -- without a gap
    at            timestamptz NOT NULL,
    anchor        bigint      NOT NULL,
    removed_n     bigint      NOT NULL CHECK (removed_n > 0),
    timeline_n    bigint      NOT NULL, -- left, as in anchors
    timeline_hash bytea       NOT NULL,
    prev_hash     bytea       NOT NULL, -- empty for the first one
    hash          bytea       NOT NULL
);
CREATE INDEX purges_anchor ON purges (anchor, number);
-- Which anchor covers a transaction: the first that ends behind it.
CREATE INDEX anchors_to_tx ON anchors (to_tx, number);

CREATE FUNCTION purge_hash(p purges) RETURNS bytea
LANGUAGE sql STABLE SET search_path FROM CURRENT SET client_encoding = 'UTF8'
AS $$
    SELECT sha256(record_send(ROW(p.number, p.at, p.anchor, p.removed_n,
        p.timeline_n, p.timeline_hash, p.prev_hash)))
$$;

-- What is there of the timeline between two transactions, as an anchor counts
-- it (common/trail.h).
CREATE FUNCTION timeline_digest(from_tx bigint, to_tx bigint,
                                OUT n bigint, OUT hash bytea)
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT count(*), sha256(coalesce(string_agg(s.hash, ''), ''))
    FROM (SELECT d.hash FROM timeline d WHERE d.tx >= from_tx AND d.tx < to_tx
          ORDER BY d.tx, d.payment, d.version) AS s
$$;

-- What should be there of an anchor's rows: as anchored, or as the last purge
-- has left it.
CREATE FUNCTION anchor_left(a anchors, OUT n bigint, OUT hash bytea)
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT coalesce(u.timeline_n, a.timeline_n),
           coalesce(u.timeline_hash, a.timeline_hash)
    FROM (SELECT 1) AS one LEFT JOIN LATERAL
        (SELECT p.timeline_n, p.timeline_hash FROM purges p
         WHERE p.anchor = a.number ORDER BY p.number DESC LIMIT 1) AS u ON true
$$;

-- The first anchor behind `after` of whose rows some are left and that may hold
-- a payment which was over before `before`. Null: there is none.
CREATE FUNCTION purge_next(after bigint, before timestamptz) RETURNS bigint
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT a.number FROM anchors a
    WHERE a.to_tx > (SELECT t.tx FROM timeline t WHERE t.tx >= coalesce(
              (SELECT l.to_tx FROM anchors l WHERE l.number = after), 1)
              ORDER BY t.tx LIMIT 1)
      AND NOT EXISTS (SELECT FROM anchors l
                      WHERE l.number = a.number - 1 AND l.at >= before)
    ORDER BY a.to_tx, a.number LIMIT 1
$$;

-- The payments whose trail begins in an anchor and that have not changed since
-- `before`. What keeps a payment, if anything does: it is open or unresolved,
-- its last event was not told, a person has to see to it, its trail is not
-- anchored to the end.
CREATE FUNCTION purge_look(which bigint, before timestamptz)
RETURNS TABLE (payment uuid, kept_by text)
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT p.id, CASE
        WHEN p.state < 6 OR p.holds_phone OR p.next_action_at IS NOT NULL
            THEN 'open'
        WHEN p.published_version < p.version THEN 'untold'
        WHEN EXISTS (SELECT FROM alarms m
                     WHERE m.payment = p.id AND m.seen_at IS NULL)
          OR EXISTS (SELECT FROM notices n WHERE n.payment = p.id
                     AND n.next_look_at IS NOT NULL) THEN 'disputed'
        WHEN EXISTS (SELECT FROM timeline t WHERE t.payment = p.id
                     AND t.tx >= (SELECT max(l.to_tx) FROM anchors l))
            THEN 'not_anchored' END
    FROM anchors a JOIN timeline t ON t.tx >= a.from_tx AND t.tx < a.to_tx
    JOIN payments p ON p.id = t.payment
    WHERE a.number = which AND p.updated_at < before
      AND NOT EXISTS (SELECT FROM timeline o WHERE o.payment = t.payment
                      AND o.version < t.version)
$$;

-- Removes at most `most` of them, with their trail, in the caller's
-- transaction, once the anchors that cover them are found to be sound: else
-- what somebody stole would pass as purged. Appends to `purges` and, when
-- anything was removed, the operator's action. One at a time.
CREATE FUNCTION purge_payments(which bigint, before timestamptz, most integer,
                               who text, why text,
                               OUT payments_n bigint, OUT rows_n bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    gone uuid[];
    a anchors;
    touched anchors[];
    was bigint[] := '{}';
    u purges;
    l record;
    d record;
BEGIN
    PERFORM pg_advisory_xact_lock(112628745989740);
    IF before > now() - interval '3 days' THEN
        RAISE 'nothing younger than three days is purged'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT coalesce(array_agg(q.id), '{}') INTO gone FROM (
        SELECT p.id FROM purge_look(which, before) k
        JOIN payments p ON p.id = k.payment
        WHERE k.kept_by IS NULL AND p.updated_at < before
          AND p.published_version >= p.version
        LIMIT most FOR UPDATE OF p) AS q;
    payments_n := cardinality(gone);
    rows_n := 0;
    IF payments_n = 0 THEN
        RETURN;
    END IF;
    SELECT array_agg(n ORDER BY (n).number) INTO touched FROM (
        SELECT DISTINCT f AS n FROM (SELECT DISTINCT t.tx FROM timeline t
            WHERE t.payment = ANY (gone)) AS x
        CROSS JOIN LATERAL (SELECT f FROM anchors f WHERE f.to_tx > x.tx
            ORDER BY f.to_tx, f.number LIMIT 1) AS c WHERE x.tx > 0) AS s;
    FOREACH a IN ARRAY coalesce(touched, '{}') LOOP
        SELECT * INTO l FROM anchor_left(a);
        SELECT * INTO d FROM timeline_digest(a.from_tx, a.to_tx);
        IF l.n <> d.n OR l.hash <> d.hash THEN
            RAISE 'the audit trail is broken at anchor %: nothing is purged, '
                  'see foleni doctor audit', a.number
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        was := was || d.n;
    END LOOP;
    DELETE FROM timeline t WHERE t.payment = ANY (gone);
    GET DIAGNOSTICS rows_n = ROW_COUNT;
    DELETE FROM alarms m WHERE m.payment = ANY (gone);
    DELETE FROM stray_callbacks c WHERE c.payment = ANY (gone);
    DELETE FROM payments p WHERE p.id = ANY (gone);
    SELECT p.number, p.hash INTO u.number, u.hash FROM purges p
        ORDER BY p.number DESC LIMIT 1;
    FOR i IN 1 .. coalesce(cardinality(touched), 0) LOOP
        a := touched[i];
        SELECT * INTO d FROM timeline_digest(a.from_tx, a.to_tx);
        u.number := coalesce(u.number, 0) + 1;
        u.at := clock_timestamp();
        u.anchor := a.number;
        u.removed_n := was[i] - d.n;
        u.timeline_n := d.n;
        u.timeline_hash := d.hash;
        u.prev_hash := coalesce(u.hash, '');
        u.hash := purge_hash(u);
        INSERT INTO purges SELECT u.*;
    END LOOP;
    PERFORM audit_operator('purge', format('anchor %s', which), who, why,
        jsonb_build_object('before', before, 'payments', payments_n,
                           'rows', rows_n),
        jsonb_build_object('purge', u.number, 'hash', encode(u.hash, 'hex')));
END $$;
REVOKE ALL ON FUNCTION purge_payments FROM PUBLIC;
