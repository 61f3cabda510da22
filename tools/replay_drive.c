/*
 * Driving a replay: a tick releases as many letters as the rate has earned
 * since the last one, collects what the workers have done, and looks whether
 * it may go on. The first few are a probe: the rest follow when those fare
 * well.
 */
#include "common/clock.h"
#include "common/must.h"
#include "tools/replay.h"
#include "tools/replay_record.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TICK_US (50 * US_PER_MS)
#define LOOK_US (500 * US_PER_MS)
#define BATCH_MAX 500
#define PROBE_WAIT_US (300 * US_PER_S)
#define PLAIN_PROGRESS_US (5 * US_PER_S) /* where there is no terminal */
#define BAR_CHARS 24

/* $2 most. A payment whose row is gone is told so. */
static const char SQL_RELEASE[] =
    "WITH d AS (SELECT i.n, i.payment, i.version FROM replay_items i "
    "WHERE i.replay = $1::int8 AND i.disposition = 0 AND NOT i.record "
    "ORDER BY i.n LIMIT $2::int8 FOR UPDATE), "
    "w AS (INSERT INTO notices (source, next_look_at, payment, attempt, "
    "version, decision, forced, replay, give_ms, who, why) "
    "SELECT 2, now(), d.payment, p.attempt, d.version, 3, false, r.id, "
    "r.give_ms, r.who, r.why FROM d JOIN payments p ON p.id = d.payment "
    "JOIN replays r ON r.id = $1::int8 RETURNING id, payment) "
    "UPDATE replay_items i SET notice = w.id, "
    "disposition = CASE WHEN w.id IS NULL THEN 7 ELSE 1 END "
    "FROM d LEFT JOIN w ON w.payment = d.payment "
    "WHERE i.replay = $1::int8 AND i.n = d.n RETURNING i.n";

/* Dispositions of notices: 1 applied, 5 refused. */
static const char SQL_COLLECT[] =
    "WITH u AS (UPDATE replay_items i SET settled_at = now(), "
    "disposition = CASE n.disposition WHEN 1 THEN 2 ELSE 16 END "
    "FROM notices n WHERE i.replay = $1::int8 AND i.disposition = 1 "
    "AND n.id = i.notice AND n.disposition IN (1, 5) RETURNING 1) "
    "SELECT count(*) FROM u";
static const char SQL_COUNTS[] =
    "SELECT disposition, count(*) FROM replay_items WHERE replay = $1::int8 "
    "GROUP BY 1";

/* Breakers of pushes: 1 open, forced 1 open. Shortcode 0 is every one's. */
static const char SQL_HINDERED[] =
    "SELECT b.shortcode, coalesce(b.forced_why, b.cause) FROM breakers b "
    "WHERE b.operation = 0 AND (b.state = 1 OR (b.forced = 1 "
    "AND (b.forced_until IS NULL OR b.forced_until > now()))) "
    "AND (b.shortcode = 0 OR b.shortcode IN (SELECT i.shortcode "
    "FROM replay_items i WHERE i.replay = $1::int8 "
    "AND i.disposition IN (0, 1))) ORDER BY b.shortcode LIMIT 1";

/* 1 sending, 3 waiting; 4 unknown, 5 unresolved, 11 dead. $2 most. */
static const char SQL_PROBED[] =
    "SELECT count(*) FILTER (WHERE f.disposition IN (0, 1) OR p.id IS NULL "
    "OR p.state IN (1, 3)), "
    "count(*) FILTER (WHERE p.state IN (4, 5, 11) AND f.disposition = 2) "
    "FROM (SELECT i.payment, i.disposition FROM replay_items i "
    "WHERE i.replay = $1::int8 AND i.disposition IN (0, 1, 2) "
    "ORDER BY i.n LIMIT $2::int8) AS f "
    "LEFT JOIN payments p ON p.id = f.payment";
static const char SQL_END[] =
    "UPDATE replays SET stopped = nullif($2, ''), "
    "ended_at = CASE WHEN $2 = '' THEN now() END WHERE id = $1::int8";

static volatile sig_atomic_t told_to_stop;

static void on_signal(int sig)
{
    (void)sig;
    told_to_stop = 1;
}

/* --- steps --- */

static int64_t value(const struct pg_text_rows *rows, size_t row, size_t col)
{
    return strtoll(pg_text_value(rows, row, col), NULL, 10);
}

static enum err_code ask(struct replay *r, const char *sql, const char *second,
                         struct pg_text_rows **ret, struct err *err)
{
    const char *const params[] = {r->id, second};

    return pg_session_exec(r->session, sql, params, second ? 2 : 1, ret, err);
}

enum err_code replay_release(struct replay *r, int64_t n, int64_t *ret,
                             struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    char most[24];

    snprintf(most, sizeof(most), "%" PRId64, n);
    if (ask(r, SQL_RELEASE, most, &rows, err))
        return err_wrap(err, "could not hand letters to the workers");
    *ret = (int64_t)pg_text_rows_n(rows);
    return ERR_NONE;
}

static enum err_code read_counts(struct replay *r, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;

    if (ask(r, SQL_COUNTS, NULL, &rows, err))
        return err_wrap(err, "could not count the letters");
    memset(r->counts, 0, sizeof(r->counts));
    for (size_t i = 0; i < pg_text_rows_n(rows); i++)
        if (value(rows, i, 0) < LETTERS_N)
            r->counts[value(rows, i, 0)] = (size_t)value(rows, i, 1);
    return ERR_NONE;
}

enum err_code replay_collect(struct replay *r, struct err *err)
{
    if (ask(r, SQL_COLLECT, NULL, NULL, err))
        return err_wrap(err, "could not look what the workers have done");
    return read_counts(r, err);
}

enum err_code replay_hindered(struct replay *r, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;

    if (ask(r, SQL_HINDERED, NULL, &rows, err))
        return err_wrap(err, "could not look at the breakers");
    if (pg_text_rows_n(rows))
        snprintf(r->stopped, sizeof(r->stopped),
                 "the breaker of %s%s is open: %s",
                 value(rows, 0, 0) ? "shortcode " : "the provider",
                 value(rows, 0, 0) ? pg_text_value(rows, 0, 0) : "",
                 pg_text_value(rows, 0, 1));
    return ERR_NONE;
}

enum err_code replay_probed(struct replay *r, int64_t *ret_open,
                            int64_t *ret_bad, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    char n[24];

    snprintf(n, sizeof(n), "%" PRId64, r->probe);
    if (ask(r, SQL_PROBED, n, &rows, err))
        return err_wrap(err, "could not look how the probe fares");
    *ret_open = value(rows, 0, 0);
    *ret_bad = value(rows, 0, 1);
    return ERR_NONE;
}

/* --- progress --- */

struct drive {
    struct replay *r;
    struct replay_records *records;
    int64_t began_us, look_us, told_us;
    int64_t earned_from_us; /* since then the rate has earned letters      */
    int64_t released;       /* ... and so many were released               */
    int64_t handed;         /* by this process, in all                     */
    bool probing;
};

static int64_t left(const struct replay *r)
{
    return (int64_t)(r->counts[LETTER_READY] + r->counts[LETTER_ASKED]);
}

static void tell(struct drive *d, bool last)
{
    const struct replay *r = d->r;
    bool terminal = isatty(STDERR_FILENO);
    int64_t now = clock_now_us(), done = r->letters - left(r);
    int bar = r->letters ? (int)(done * BAR_CHARS / r->letters) : BAR_CHARS;

    if (!last && now < d->told_us + (terminal ? LOOK_US : PLAIN_PROGRESS_US))
        return;
    d->told_us = now;
    fprintf(stderr,
            "%sfoleni: replay %s [%.*s%.*s] %" PRId64 " of %" PRId64
            ", %zu replayed, %zu refused%s, %" PRId64 " s to go%s",
            terminal ? "\r" : "", r->id, bar, "########################",
            BAR_CHARS - bar, "........................", done, r->letters,
            r->counts[LETTER_DONE], r->counts[LETTER_REFUSED],
            d->probing ? ", probing" : "",
            (int64_t)r->counts[LETTER_READY] / MAX(r->rate, 1),
            terminal && !last ? "  " : "\n");
}

/* --- the loop --- */

static void pause_tick(void)
{
    struct timespec t = {0, TICK_US * 1000};

    (void)nanosleep(&t, NULL);
}

/* Letters that may go now: what the rate has earned, a second of it at most. */
static int64_t earned(struct drive *d)
{
    const struct replay *r = d->r;
    int64_t now = clock_now_us();
    int64_t due = (now - d->earned_from_us) * r->rate / US_PER_S - d->released;

    if (due > r->rate) { /* it was held up: that is not made good for */
        d->earned_from_us = now;
        d->released = 0;
        due = 0;
    }
    if (d->probing)
        due = MIN(due, r->probe - d->handed);
    return MIN(due, BATCH_MAX);
}

static enum err_code release(struct drive *d, struct err *err)
{
    int64_t n = earned(d), went = 0, records = 0;

    if (n <= 0 || !d->r->counts[LETTER_READY])
        return ERR_NONE;
    if (replay_release(d->r, n, &went, err) ||
        (went < n &&
         replay_records_release(d->records, n - went, &records, err)))
        return err->code;
    d->released += went + records;
    d->handed += went + records;
    return ERR_NONE;
}

/* The rest may follow when nothing of the probe is under way any more. */
static enum err_code judge_probe(struct drive *d, struct err *err)
{
    struct replay *r = d->r;
    int64_t open, bad;

    if (!d->probing)
        return ERR_NONE;
    if (replay_probed(r, &open, &bad, err))
        return err->code;
    if (bad * 2 > r->probe && r->counts[LETTER_READY]) {
        snprintf(r->stopped, sizeof(r->stopped),
                 "%" PRId64 " of the first %" PRId64
                 " ended dead or unknown again",
                 bad, r->probe);
    } else if (!open) {
        d->probing = false;
        d->earned_from_us = clock_now_us();
        d->released = 0;
    } else if (clock_now_us() > d->began_us + PROBE_WAIT_US) {
        snprintf(r->stopped, sizeof(r->stopped),
                 "%" PRId64 " of the first %" PRId64
                 " letters are still on their way after %d minutes",
                 open, r->probe, (int)(PROBE_WAIT_US / US_PER_S / 60));
    }
    return ERR_NONE;
}

static enum err_code look(struct drive *d, struct err *err)
{
    if (clock_now_us() < d->look_us)
        return ERR_NONE;
    d->look_us = clock_now_us() + LOOK_US;
    if (replay_collect(d->r, err) || replay_hindered(d->r, err) ||
        judge_probe(d, err))
        return err->code;
    if (told_to_stop)
        text_copy(d->r->stopped, sizeof(d->r->stopped), "told to stop");
    tell(d, false);
    return ERR_NONE;
}

static enum err_code run(struct drive *d, struct err *err)
{
    for (;;) {
        if (look(d, err))
            return err->code;
        if (*d->r->stopped || !left(d->r))
            return ERR_NONE;
        if (release(d, err))
            return err->code;
        pause_tick();
    }
}

static enum err_code end(struct drive *d, struct err *err)
{
    const char *const params[] = {d->r->id, d->r->stopped};

    tell(d, true);
    return pg_session_exec(d->r->session, SQL_END, params, 2, NULL, err);
}

enum err_code replay_drive(struct replay *r, struct err *err)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct drive d = {
        .r = r,
        .began_us = clock_now_us(),
        .earned_from_us = clock_now_us(),
        .probing = r->probe > 0,
    };
    enum err_code code;

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    if (replay_records_new(r, &d.records, err))
        return err->code;
    code = run(&d, err) || end(&d, err) ? err->code : ERR_NONE;
    replay_records_free(d.records);
    return code;
}
