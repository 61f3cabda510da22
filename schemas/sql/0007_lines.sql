-- Flow control for the whole fleet: what one worker learns here, the others
-- read with their next look. consumer/lines.h says what for. Every worker and
-- the command line write these rows; a row is found by its key and never goes.

-- The pace of a shortcode.
CREATE TABLE lines (
    shortcode     integer     PRIMARY KEY,
    next_at       timestamptz NOT NULL DEFAULT now(), -- first time not given away
    allowed       double precision NOT NULL DEFAULT 0, -- of the settings, per s
    -- After a throttle answer: the rate was lowered and creeps back.
    throttles     integer     NOT NULL DEFAULT 0, -- so far: names the last one
    lowered_at    timestamptz,                    -- null = never
    lowered_to    double precision NOT NULL DEFAULT 0, -- pushes per second
    creep         double precision NOT NULL DEFAULT 0, -- ... more per second
    forget_at     timestamptz,                    -- the lowering is over then
    stopped_until timestamptz                     -- Retry-After
) WITH (fillfactor = 50);

-- Pushes per second that may go now; 0 = no limit. A clock that went back makes
-- it no faster.
CREATE FUNCTION line_rate(l lines) RETURNS double precision LANGUAGE sql STABLE
AS $$
    SELECT CASE
        WHEN l.lowered_at IS NULL OR now() >= l.forget_at THEN l.allowed
        ELSE least(nullif(l.allowed, 0), l.lowered_to + l.creep * greatest(
            extract(epoch FROM now() - l.lowered_at)::double precision, 0))
        END
$$;

-- Breakers; numbers of operations and states: consumer/breaker.h. Shortcode 0:
-- the way to the provider, whatever the shortcode.
CREATE TABLE breakers (
    operation    smallint    NOT NULL,
    shortcode    integer     NOT NULL,
    version      bigint      NOT NULL DEFAULT 1, -- +1 with each move: its fence
    state        smallint    NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 4),
    cause        text        NOT NULL DEFAULT '', -- of the last trip
    changed_at   timestamptz NOT NULL DEFAULT now(),
    until        timestamptz, -- open: when a probe may go; half-open: the
                              -- prober's lease; trial, ramp: their end
    open_us      bigint      NOT NULL DEFAULT 0, -- how long it was open last
    prober       bigint,                         -- workers.incarnation
    permits      integer     NOT NULL DEFAULT 0, -- of the trial, not taken yet
    fine         integer     NOT NULL DEFAULT 0, -- of the trial, ended well
    -- An operator's word, or ours after an answer that blames the settings.
    forced       smallint    NOT NULL DEFAULT 0  -- 0 not, 1 open, 2 closed
                 CHECK (forced BETWEEN 0 AND 2),
    forced_at    timestamptz,
    forced_by    text,
    forced_why   text,
    forced_until timestamptz, -- null = until somebody says otherwise
    PRIMARY KEY (operation, shortcode)
) WITH (fillfactor = 50);

-- Priority pools that an operator has paused.
CREATE TABLE pools (
    priority     smallint    PRIMARY KEY CHECK (priority BETWEEN 0 AND 2),
    paused       boolean     NOT NULL DEFAULT false,
    paused_at    timestamptz,
    paused_by    text,
    paused_why   text,
    paused_until timestamptz -- null = until somebody resumes it
) WITH (fillfactor = 50);
INSERT INTO pools (priority) VALUES (0), (1), (2);
