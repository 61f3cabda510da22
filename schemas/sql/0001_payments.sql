-- The ledger: one row per payment, from its claim on.
--
-- Columns up to created_at never change, but for deadline_at, which a replay of
-- a dead payment moves. The rest is written by one statement
-- only (consumer/store.c), always on the version that was seen.
-- Numbers of states, waits, classes and evidence: common/payment.def.
-- Each CHECK is read anew by every statement (10 us), so there are few.
CREATE TABLE payments (
    id              uuid        PRIMARY KEY, -- UUIDv5 of client and key
    client          uuid        NOT NULL,
    fingerprint     bytea       NOT NULL,
    msisdn          bigint      NOT NULL
                    CHECK (msisdn / 100000000 IN (2541, 2547)), -- 12 digits
    amount          integer     NOT NULL CHECK (amount BETWEEN 1 AND 250000),
    shortcode       integer     NOT NULL,
    priority        smallint    NOT NULL, -- 0 high, 1 normal, 2 low
    ask_again       smallint    NOT NULL, -- 0 to 2
    reference       text        NOT NULL,
    description     text        NOT NULL,
    metadata        text,
    requested_at    timestamptz NOT NULL,
    expires_at      timestamptz,
    deadline_at     timestamptz NOT NULL,
    source_topic    smallint    NOT NULL, -- 0 high, 1 normal, 2 low
    source_partition integer    NOT NULL,
    source_offset   bigint      NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),

    updated_at      timestamptz NOT NULL DEFAULT now(),
    state           smallint    NOT NULL CHECK (state BETWEEN 1 AND 11),
    waits           smallint    NOT NULL DEFAULT 0,
    version         integer     NOT NULL, -- from 1
    published_version integer   NOT NULL DEFAULT 0,
    attempt         integer     NOT NULL,
    spent           integer     NOT NULL,
    owner           bigint,               -- workers.incarnation
    holds_phone     boolean     NOT NULL,
    pushed_at       timestamptz,          -- its last push may have left then
    next_action_at  timestamptz,          -- null = nothing left to do
    auth_version    bigint      NOT NULL DEFAULT 0, -- a refused token's
    queries         smallint    NOT NULL DEFAULT 0,
    query_code      text,
    query_code_at   timestamptz,
    checkout_id     text,
    merchant_id     text,
    class           smallint    NOT NULL DEFAULT 0,
    evidence        smallint    NOT NULL DEFAULT 0,
    code            text,
    text            text,
    receipt         text,
    paid_at         timestamptz,
    paid_attempt    integer     NOT NULL DEFAULT 0, -- which was said to be paid
    replays         smallint    NOT NULL DEFAULT 0, -- back from the dead, times
    replay          bigint                          -- replays.id of the last one
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02,
        autovacuum_analyze_scale_factor = 0.05);

-- The two-minute rule, and search by phone. (Stands before payments_phone: of
-- two plans that cost the same the planner takes the younger index.)
CREATE INDEX payments_msisdn ON payments (msisdn, pushed_at);
-- The phone lock (one open push per MSISDN) is this index.
CREATE UNIQUE INDEX payments_phone ON payments (msisdn) WHERE holds_phone;
-- The due-scan: everything but pushes by its time; what waits for a push (its
-- retry's time, its phone, its shortcode) by its deadline, and by whose turn it
-- is. The last two hold no payment that goes straight through. (waits <> 3 is
-- written in two ways so that the planner takes neither for the other, nor for
-- payments_waiters: while the tables are small it would, and keep that plan.)
CREATE INDEX payments_due ON payments (next_action_at)
    WHERE next_action_at IS NOT NULL AND (state <> 3 OR waits = 3);
CREATE INDEX payments_late ON payments (deadline_at)
    WHERE state = 3 AND (waits = 3) IS FALSE;
CREATE INDEX payments_ready
    ON payments (priority, shortcode, client, next_action_at)
    WHERE state = 3 AND (waits <> 3) IS TRUE;
-- Who waits for a phone: the next one by priority and age.
CREATE INDEX payments_waiters ON payments (msisdn, priority, created_at)
    WHERE state = 3 AND waits = 2;
-- What a worker may have in the air: takeover.
CREATE INDEX payments_owner ON payments (owner)
    WHERE state IN (1, 4, 5) AND owner IS NOT NULL;
-- No index on checkout_id or receipt: nothing looks for them yet, and each
-- costs some 10 us per payment, since none of its updates is a HOT one.

-- Payments with waits = 4, counted by the statements that make and end them:
-- lines.parked_max bounds them.
CREATE TABLE parked (
    shortcode integer PRIMARY KEY,
    n         bigint  NOT NULL
) WITH (fillfactor = 50);

-- One row per change of a payment, appended with the change itself.
CREATE TABLE timeline (
    payment  uuid        NOT NULL,
    version  integer     NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    state    smallint    NOT NULL,
    waits    smallint    NOT NULL,
    attempt  integer     NOT NULL,
    cause    smallint    NOT NULL, -- event of consumer/flow.def
    code     text,
    text     text,
    worker   bigint,
    PRIMARY KEY (payment, version)
);

-- Every life of a worker process. Dead = heartbeat_at too old. Its number is
-- milliseconds and chance, and no sequence: a server that has forgotten a living
-- worker must not give its number to another one.
CREATE TABLE workers (
    incarnation  bigint      PRIMARY KEY DEFAULT (
        ((extract(epoch FROM clock_timestamp()) * 1000)::bigint << 12)
        + floor(random() * 4096)::bigint),
    host         text        NOT NULL,
    boot         text        NOT NULL, -- /proc/sys/kernel/random/boot_id
    pid          integer     NOT NULL,
    recorder     text        NOT NULL, -- file on that host, '' = none
    started_at   timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    host_at      timestamptz,          -- what its host's clock said then
    settled_at   timestamptz           -- left nothing open
);
CREATE INDEX workers_unsettled ON workers (incarnation)
    WHERE settled_at IS NULL;

-- One row: which server's memory this is, as the workers first found it. After
-- another one has taken its place what was claimed before may still go out for
-- a while; `since` says when that began to end, NULL = there was none before.
CREATE TABLE memory (
    name  text        NOT NULL, -- system/timeline/start, '' = not looked yet
    since timestamptz
);
INSERT INTO memory (name) VALUES ('');

-- How far each partition was claimed; Kafka's committed offset follows it.
CREATE TABLE intake (
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL CHECK (next_offset >= 0),
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

-- Callbacks with a right MAC that could not be read or belong to nothing.
CREATE TABLE stray_callbacks (
    id       bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    payment  uuid        NOT NULL,
    attempt  integer     NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    why      text        NOT NULL,
    body     bytea       NOT NULL
);

-- The time for what is decided by it. A caller that knows what the clock should
-- say has it refused when it has stepped (rule S5), and all that was sent with
-- it; null = does not know.
CREATE FUNCTION steady_now(expected timestamptz) RETURNS timestamptz
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF abs(extract(epoch FROM now() - expected)) > 5 THEN
        RAISE EXCEPTION 'the clock says %, expected was %', now(), expected
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN now();
END $$;
