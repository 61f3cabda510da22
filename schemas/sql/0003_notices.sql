-- What was learnt of payments outside of their callbacks: C2B confirmations,
-- Pull records and persons' decisions. Each waits here until a worker has
-- applied it, or stays to be shown. consumer/notice.h says what becomes of
-- which.
CREATE TABLE notices (
    id           bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL DEFAULT now(),
    source       smallint    NOT NULL, -- evidence: 2 person, 4 pull, 5 c2b
    disposition  smallint    NOT NULL DEFAULT 0, -- enum notice_disposition
    looks        integer     NOT NULL DEFAULT 0,
    next_look_at timestamptz,          -- null = nothing left to do
    settled_at   timestamptz,
    payment      uuid,                 -- a person's, and what it was applied to
    attempt      integer,
    receipt      text,
    paid_at      timestamptz,
    -- c2b, pull: what singles out an attempt
    shortcode    integer,
    phone        text, -- digits, digits and *, or SHA-256 in hex; '' = no use
    amount       integer,
    reference    text, -- null = not looked at: a till's
    body         bytea,
    -- person
    version      integer,  -- of the payment as the person saw it
    decision     smallint, -- enum resolution of consumer/flow.h
    forced       boolean,  -- though its worker is not proven dead
    replay       bigint,   -- replays.id, of decision 3
    give_ms      bigint,   -- ... and its new deadline, from then on
    who          text,
    why          text,
    outcome      text      -- why it was refused
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- One record repeated is one notice; one receipt with other facts is another.
-- (Persons may say a thing twice.)
CREATE UNIQUE INDEX notices_receipt ON notices (source, receipt, shortcode,
    phone, amount, coalesce(reference, ''), coalesce(paid_at, '-infinity'))
    WHERE source IN (4, 5);
-- The scan, and what `foleni` shows.
CREATE INDEX notices_due ON notices (next_look_at)
    WHERE next_look_at IS NOT NULL;

-- What a notice may single out, prompts that are under way apart: in the usual
-- life of a payment no row ever is in here.
CREATE INDEX payments_doubtful ON payments (shortcode, amount, pushed_at)
    WHERE state IN (4, 5)
       OR (state IN (6, 7) AND evidence IN (2, 3) AND receipt IS NULL);
-- Who has a receipt: of each payment that is paid two entries, that of its
-- result and that of the told event.
CREATE INDEX payments_receipt ON payments (receipt) WHERE receipt IS NOT NULL;

-- What a person has to look at, written with the step that found it.
CREATE TABLE alarms (
    id       bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at       timestamptz NOT NULL DEFAULT now(),
    kind     text        NOT NULL, -- as in the metric foleni_alarms_total
    payment  uuid        NOT NULL, -- all zeros = of no payment
    attempt  integer     NOT NULL,
    receipt  text        NOT NULL DEFAULT '', -- the one that came second
    text     text        NOT NULL DEFAULT '',
    seen_at  timestamptz,          -- null = open
    seen_by  text,
    UNIQUE (payment, kind, attempt, receipt)
);
CREATE INDEX alarms_open ON alarms (id) WHERE seen_at IS NULL;
