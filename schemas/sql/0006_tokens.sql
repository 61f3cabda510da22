-- Access tokens: one row per consumer key for the whole fleet of workers.
-- consumer/token.h says how they are shared. The token is sealed; losing a row
-- costs one request for another token.
CREATE TABLE tokens (
    consumer     bytea       PRIMARY KEY, -- SHA-256 of base URL and consumer key
    lease        bigint      NOT NULL DEFAULT 0, -- grows with each; its fence,
                                          -- and the version of what it fetches
    leased_until timestamptz NOT NULL DEFAULT now(), -- no other lease before
    failures     integer     NOT NULL DEFAULT 0, -- fetches in a row
    churn        integer     NOT NULL DEFAULT 0, -- young tokens refused in a row
    last_error   text,
    version      bigint      NOT NULL DEFAULT 0, -- 0 = no token yet
    sealed       bytea,                   -- AES-256-GCM
    fetched_at   timestamptz,
    refresh_at   timestamptz,             -- when another is fetched
    expires_at   timestamptz
) WITH (fillfactor = 50);
