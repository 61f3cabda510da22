-- Dead letters: who replays which, and what became of each. The letters stand
-- in Kafka (payments.dead); a task freezes which of them it means, so that it
-- can be stopped at any moment, killed and taken up again.

-- Whether the client of a payment has asked for the same anew since (S22).
CREATE FUNCTION ordered_again(p payments) RETURNS boolean
    LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM payments n WHERE n.msisdn = p.msisdn
        AND n.client = p.client AND n.amount = p.amount
        AND n.reference = p.reference AND n.shortcode = p.shortcode
        AND n.created_at > p.created_at AND n.id <> p.id)
$$;

CREATE TABLE replays (
    id         bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at         timestamptz NOT NULL DEFAULT now(),
    who        text        NOT NULL,
    why        text        NOT NULL,
    filter     jsonb       NOT NULL, -- as it was asked for
    ends       jsonb       NOT NULL, -- offset of each partition, exclusive
    rate       integer     NOT NULL CHECK (rate BETWEEN 1 AND 10000), -- per s
    probe      integer     NOT NULL CHECK (probe >= 0),
    give_ms    bigint      NOT NULL CHECK (give_ms > 0),
    letters    bigint      NOT NULL,
    runner     text        NOT NULL, -- host and process that drove it last
    stopped    text,                 -- why it stands still, null = it runs
    ended_at   timestamptz
);

-- One row per letter that the task means, in the order in which they go.
CREATE TABLE replay_items (
    replay      bigint   NOT NULL REFERENCES replays,
    n           bigint   NOT NULL,
    partition   integer  NOT NULL,
    "offset"    bigint   NOT NULL,
    payment     uuid     NOT NULL,  -- zeros = its record cannot be read
    record      boolean  NOT NULL,  -- goes back to its topic: no payment was
                                    -- made of it
    version     integer,            -- of the payment when it was counted
    shortcode   integer  NOT NULL,  -- 0 = not known
    disposition smallint NOT NULL,  -- enum letter_disposition of tools/letter.h
    notice      bigint,             -- what asks the workers for it
    settled_at  timestamptz,
    PRIMARY KEY (replay, n)
) WITH (fillfactor = 70);
CREATE INDEX replay_items_open ON replay_items (replay, n)
    WHERE disposition IN (0, 1);

-- What a person threw away, whole.
CREATE TABLE discards (
    partition integer     NOT NULL,
    "offset"  bigint      NOT NULL,
    at        timestamptz NOT NULL DEFAULT now(),
    action    bigint      NOT NULL, -- operator_actions.id: who and why
    payment   uuid,
    key       bytea,
    headers   jsonb       NOT NULL, -- [[name, value in base64], ...]
    body      bytea,
    PRIMARY KEY (partition, "offset")
);
