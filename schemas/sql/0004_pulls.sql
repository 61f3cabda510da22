-- Pull Transactions: who asks for which shortcode, and what was asked.
-- consumer/pull.h says what for.
CREATE TABLE pulls (
    shortcode    integer     PRIMARY KEY,
    registered_at timestamptz,          -- by `foleni pull register`
    lease        bigint      NOT NULL DEFAULT 0, -- +1 with each pass: its fence
    leased_until timestamptz NOT NULL DEFAULT now(),
    began_at     timestamptz,           -- the pass under way, or the last one
    ended_at     timestamptz,           -- null = never
    failures     integer     NOT NULL DEFAULT 0, -- passes in a row
    last_error   text                   -- of the last one, null = complete
) WITH (fillfactor = 50);

-- Passes that were complete: every record of that time is in `notices` or had
-- been told better.
CREATE TABLE pull_passes (
    shortcode    integer     NOT NULL,
    began_at     timestamptz NOT NULL,
    covered_from timestamptz NOT NULL,
    covered_to   timestamptz NOT NULL,
    records      integer     NOT NULL,
    PRIMARY KEY (shortcode, began_at)
);

-- Whether a record may be of an attempt that nothing else was heard of.
CREATE INDEX notices_money ON notices (shortcode, amount)
    WHERE source IN (4, 5);
