-- What clients ask of the ledger besides their payments.
--
-- Cancels that were asked for and that no worker has seen to yet. The claim of
-- a payment that has one writes it as cancelled; a worker moves what is claimed
-- already. One of a payment that nobody knows stays until its deadline must
-- have passed (consumer/store_cancel.c). The client stands in the key: an id is
-- never another client's to cancel.
CREATE TABLE cancels (
    payment      uuid        NOT NULL,
    client       uuid        NOT NULL,
    at           timestamptz NOT NULL,
    text         text        NOT NULL  -- who: goes into payment and timeline
                 CHECK (octet_length(text) BETWEEN 1 AND 160),
    next_look_at timestamptz NOT NULL,
    PRIMARY KEY (payment, client)
) WITH (fillfactor = 50);
CREATE INDEX cancels_due ON cancels (next_look_at);
CREATE INDEX cancels_client ON cancels (client);

-- Asks for one, and for one that was asked for already once more. False: the
-- client has `most` that wait for payments which nobody knows. The API, which
-- only reads otherwise, may do this.
CREATE FUNCTION ask_cancel(payment uuid, client uuid, text text, most bigint)
RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    WITH put AS (
        INSERT INTO cancels (payment, client, at, text, next_look_at)
        SELECT $1, $2, clock_timestamp(), $3, now()
        WHERE (SELECT count(*) FROM (SELECT FROM cancels o WHERE o.client = $2
                                     LIMIT $4) AS few) < $4
           OR EXISTS (SELECT FROM payments p WHERE p.id = $1 AND p.client = $2)
        ON CONFLICT ON CONSTRAINT cancels_pkey DO UPDATE
            SET at = excluded.at, next_look_at = excluded.next_look_at
        RETURNING 1)
    SELECT EXISTS (SELECT FROM put)
$$;
REVOKE ALL ON FUNCTION ask_cancel FROM PUBLIC;

-- Lists of a client's payments, the newest first: by time, by reference, and
-- those whose state a payment that goes straight through is never in. (By phone
-- and by id there are indexes; what is being pushed has payments_phone.)
CREATE INDEX payments_client ON payments (client, created_at, id);
CREATE INDEX payments_reference
    ON payments (reference, client, created_at, id);
CREATE INDEX payments_apart ON payments (client, state, created_at, id)
    WHERE state IN (3, 4, 5, 8, 9, 10, 11);

-- What an event told besides, so that it can be told again word for word. (The
-- chain covers code, text and receipt, which say the same.)
ALTER TABLE timeline
    ADD COLUMN class   smallint NOT NULL DEFAULT 0,
    ADD COLUMN paid_at timestamptz;
