/*
 * The task: made, and taken up again. Whoever drives one holds a lock of its
 * session, which Postgres takes back when the process or its host is gone.
 */
#include "tools/replay.h"

#include "common/buf.h"
#include "common/json.h"
#include "common/must.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ITEMS_PER_STATEMENT 5000
#define ITEMS_BYTES_MAX ((size_t)ITEMS_PER_STATEMENT * 64)
#define FACTS_BYTES_MAX ((size_t)64 << 10)

static const char SQL_CREATE[] =
    "INSERT INTO replays (who, why, filter, ends, rate, probe, give_ms, "
    "letters, runner) VALUES ($1, $2, $3::jsonb, $4::jsonb, $5::int, $6::int, "
    "$7::int8, $8::int8, $9) RETURNING id";
/* $2 n of the first; arrays of places, payments, versions, dispositions. */
static const char SQL_ITEMS[] =
    "INSERT INTO replay_items (replay, n, partition, \"offset\", payment, "
    "record, version, shortcode, disposition) "
    "SELECT $1::int8, $2::int8 + r.n - 1, r.partition, r.at, r.payment, "
    "r.record, nullif(r.version, 0), r.shortcode, r.disposition "
    "FROM unnest($3::int4[], $4::int8[], $5::uuid[], $6::bool[], $7::int4[], "
    "$8::int4[], $9::int2[]) WITH ORDINALITY AS r(partition, at, payment, "
    "record, version, shortcode, disposition, n)";
static const char SQL_TAKE_UP[] =
    "UPDATE replays SET runner = $2, stopped = NULL WHERE id = $1::int8 "
    "AND ended_at IS NULL RETURNING rate, probe, give_ms, letters";
static const char SQL_ENDED[] =
    "SELECT ended_at IS NOT NULL FROM replays WHERE id = $1::int8";
static const char SQL_LOCK[] =
    "SELECT pg_try_advisory_lock(hashtextextended('foleni dead replay', 5)), "
    "(SELECT format('%s of %s, by %s', id, who, runner) FROM replays "
    "WHERE ended_at IS NULL AND stopped IS NULL ORDER BY id DESC LIMIT 1)";

static void runner_name(char *out, size_t size)
{
    char host[128] = "";

    (void)gethostname(host, sizeof(host) - 1);
    snprintf(out, size, "%s:%ld", host, (long)getpid());
}

/* --- making it --- */

/* The arrays of a statement's rows, as texts. */
enum {
    A_PARTITION,
    A_OFFSET,
    A_PAYMENT,
    A_RECORD,
    A_VERSION,
    A_SHORTCODE,
    A_WHAT,
    ARRAYS
};

static void add_item(struct buf *arrays, const struct letter_item *item,
                     bool first)
{
    const char *comma = first ? "{" : ",";
    char id[UUID_TEXT_SIZE];

    uuid_format(&item->payment, id);
    buf_addf(&arrays[A_PARTITION], "%s%" PRId32, comma, item->place.partition);
    buf_addf(&arrays[A_OFFSET], "%s%" PRId64, comma, item->place.offset);
    buf_addf(&arrays[A_PAYMENT], "%s%s", comma, id);
    buf_addf(&arrays[A_RECORD], "%s%c", comma, item->has_payment ? 'f' : 't');
    buf_addf(&arrays[A_VERSION], "%s%" PRId32, comma, item->version);
    buf_addf(&arrays[A_SHORTCODE], "%s%" PRId32, comma, item->shortcode);
    buf_addf(&arrays[A_WHAT], "%s%d", comma, (int)item->disposition);
}

static enum err_code put_items(struct replay *r, struct buf *arrays,
                               const struct letter_item *items, size_t first,
                               size_t n, struct err *err)
{
    char at[24];
    const char *params[2 + ARRAYS] = {r->id, at};

    snprintf(at, sizeof(at), "%zu", first);
    for (int a = 0; a < ARRAYS; a++)
        buf_reset(&arrays[a]);
    for (size_t i = 0; i < n; i++)
        add_item(arrays, &items[i], i == 0);
    for (int a = 0; a < ARRAYS; a++) {
        buf_adds(&arrays[a], "}");
        must(!arrays[a].failed);
        params[2 + a] = arrays[a].data;
    }
    return pg_session_exec(r->session, SQL_ITEMS, params, ARRAY_LEN(params),
                           NULL, err);
}

static enum err_code
put_all_items(struct replay *r, const struct letters *letters, struct err *err)
{
    struct buf arrays[ARRAYS];
    enum err_code code = ERR_NONE;

    for (int a = 0; a < ARRAYS; a++)
        buf_init(&arrays[a], ITEMS_BYTES_MAX);
    for (size_t i = 0; !code && i < letters->n; i += ITEMS_PER_STATEMENT)
        code = put_items(r, arrays, letters->items + i, i,
                         MIN(letters->n - i, (size_t)ITEMS_PER_STATEMENT), err);
    for (int a = 0; a < ARRAYS; a++)
        buf_done(&arrays[a]);
    return code;
}

static void write_ends(const struct letters_ends *ends, struct buf *out)
{
    struct json_out j = {out, false};
    char name[16];

    json_open(&j, NULL, '{');
    for (size_t i = 0; i < ends->n; i++) {
        snprintf(name, sizeof(name), "%d", (int)ends->places[i].partition);
        json_put_int(&j, name, ends->places[i].next);
    }
    json_close(&j, '}');
}

static enum err_code put_task(struct replay *r,
                              const struct letter_filter *filter,
                              const struct letters_ends *ends, size_t letters,
                              struct buf *json, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    char rate[24], probe[24], n[24], runner[160];
    struct json_out j = {json, false};
    struct buf places;
    enum err_code code;

    json_open(&j, NULL, '{');
    letter_filter_write(filter, &j);
    json_close(&j, '}');
    buf_init(&places, FACTS_BYTES_MAX);
    write_ends(ends, &places);
    snprintf(rate, sizeof(rate), "%" PRId64, r->rate);
    snprintf(probe, sizeof(probe), "%" PRId64, r->probe);
    snprintf(n, sizeof(n), "%zu", letters);
    runner_name(runner, sizeof(runner));
    const char *const params[] = {r->who.who,  r->who.why, json->data,
                                  places.data, rate,       probe,
                                  r->give_ms,  n,          runner};
    code = pg_session_exec(r->session, SQL_CREATE, params, ARRAY_LEN(params),
                           &rows, err);
    buf_done(&places);
    if (!code)
        text_copy(r->id, sizeof(r->id), pg_text_value(rows, 0, 0));
    return code;
}

static enum err_code put_audit(struct replay *r, const char *filter,
                               const struct letters *letters, struct err *err)
{
    struct operator_action done = {
        .action = "dead.replay", .subject = r->id, .before = filter};
    struct buf after;
    struct json_out j = {&after, false};
    size_t counts[LETTERS_N];
    enum err_code code;

    letters_count(letters, counts);
    buf_init(&after, FACTS_BYTES_MAX);
    json_open(&j, NULL, '{');
    json_put_int(&j, "rate", r->rate);
    json_put_int(&j, "deadline_ms", strtoll(r->give_ms, NULL, 10));
    for (int d = 0; d < LETTERS_N; d++)
        if (counts[d])
            json_put_int(&j, letter_name((enum letter_disposition)d),
                         (int64_t)counts[d]);
    json_close(&j, '}');
    done.after = after.data;
    code = operator_audit(r->session, &r->who, &done, NULL, err);
    buf_done(&after);
    return code;
}

static enum err_code plain(struct replay *r, const char *sql, struct err *err)
{
    return pg_session_exec(r->session, sql, NULL, 0, NULL, err);
}

enum err_code replay_create(struct replay *r,
                            const struct letter_filter *filter,
                            const struct letters_ends *ends,
                            const struct letters *letters, struct err *err)
{
    struct buf json;
    enum err_code code;

    buf_init(&json, FACTS_BYTES_MAX);
    code = plain(r, "BEGIN", err) ||
                   put_task(r, filter, ends, letters->n, &json, err) ||
                   put_all_items(r, letters, err) ||
                   put_audit(r, json.data, letters, err)
               ? err->code
               : ERR_NONE;
    buf_done(&json);
    if (code)
        return err_wrap(err, "could not write the replay; nothing was done");
    if (plain(r, "COMMIT", err))
        return err_wrap(err, "could not see whether the replay was written; "
                             "nothing was brought back: run it again");
    r->letters = (int64_t)letters->n;
    return ERR_NONE;
}

/* --- taking it up --- */

enum err_code replay_alone(struct replay *r, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *other;

    if (pg_session_exec(r->session, SQL_LOCK, NULL, 0, &rows, err))
        return err_wrap(err, "could not look whether a replay runs");
    if (*pg_text_value(rows, 0, 0) == 't')
        return ERR_NONE;
    other = pg_text_value(rows, 0, 1);
    return err_set(err, ERR_CONFLICT,
                   "a replay runs right now (%s): wait for its end, or stop "
                   "that process first",
                   other ? other : "just begun");
}

static enum err_code say_why_not(struct replay *r, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *const params[] = {r->id};

    if (pg_session_exec(r->session, SQL_ENDED, params, 1, &rows, err))
        return err_wrap(err, "could not look at replay %s", r->id);
    if (!pg_text_rows_n(rows))
        return err_set(err, ERR_NOT_FOUND, "there is no replay %s", r->id);
    return err_set(err, ERR_CONFLICT, "replay %s is at its end", r->id);
}

enum err_code replay_take_up(struct replay *r, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    char runner[160];
    const char *const params[] = {r->id, runner};

    runner_name(runner, sizeof(runner));
    if (pg_session_exec(r->session, SQL_TAKE_UP, params, 2, &rows, err))
        return err_wrap(err, "could not take up replay %s", r->id);
    if (!pg_text_rows_n(rows))
        return say_why_not(r, err);
    r->rate = strtoll(pg_text_value(rows, 0, 0), NULL, 10);
    r->probe = strtoll(pg_text_value(rows, 0, 1), NULL, 10);
    text_copy(r->give_ms, sizeof(r->give_ms), pg_text_value(rows, 0, 2));
    r->letters = strtoll(pg_text_value(rows, 0, 3), NULL, 10);
    return ERR_NONE;
}
