/*
 * `foleni dead discard`: letters that nobody needs any more. They are kept
 * whole in Postgres, with who threw them away and why; a payment stays as it
 * is. One transaction: all of them, or none.
 */
#include "common/buf.h"
#include "common/config.h"
#include "common/json.h"
#include "common/must.h"
#include "common/sign.h"
#include "tools/cli.h"
#include "tools/letters.h"
#include "tools/operator.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LETTER_BYTES_MAX ((size_t)16 << 20)
#define FACTS_BYTES_MAX ((size_t)64 << 10)

static const char SQL_KEEP[] =
    "INSERT INTO discards (partition, \"offset\", action, payment, key, "
    "headers, body) VALUES ($1::int4, $2::int8, $3::int8, $4::uuid, "
    "decode($5, 'base64'), $6::jsonb, decode($7, 'base64')) "
    "ON CONFLICT DO NOTHING";

struct run {
    const struct cli *cli;
    const struct config *cfg;
    struct pg_session *session;
    struct operator who;
    struct letter_filter filter;
    size_t meant, kept;
    char action[24];
    struct buf key, headers, body;
    struct err err;
};

static bool count(void *arg, const struct letter_view *l,
                  const struct kafka_record *record)
{
    struct run *run = arg;

    (void)record;
    run->meant += letter_matches(&run->filter, l);
    return true;
}

/* NULL where there is nothing. */
static const char *base64(struct buf *out, const void *data, size_t len)
{
    buf_reset(out);
    if (!data)
        return NULL;
    buf_adds(out, "");
    sign_base64(out, data, len);
    must(!out->failed);
    return out->data ? out->data : "";
}

static void write_headers(struct run *run, const struct kafka_record *r)
{
    struct json_out j = {&run->headers, false};

    buf_reset(&run->headers);
    json_open(&j, NULL, '[');
    for (size_t i = 0; i < r->headers_n; i++) {
        json_open(&j, NULL, '[');
        json_put_text(&j, NULL, r->headers[i].name);
        json_put_text(
            &j, NULL,
            base64(&run->key, r->headers[i].value, r->headers[i].len));
        json_close(&j, ']');
    }
    json_close(&j, ']');
    must(!run->headers.failed);
}

static bool keep(void *arg, const struct letter_view *l,
                 const struct kafka_record *record)
{
    struct run *run = arg;
    char partition[16], offset[24], payment[UUID_TEXT_SIZE];

    if (!letter_matches(&run->filter, l))
        return true;
    snprintf(partition, sizeof(partition), "%" PRId32, l->place.partition);
    snprintf(offset, sizeof(offset), "%" PRId64, l->place.offset);
    uuid_format(&l->payment, payment);
    write_headers(run, record);
    const char *const params[] = {
        partition,
        offset,
        run->action,
        l->has_payment ? payment : NULL,
        base64(&run->key, record->key, record->key_len),
        run->headers.data,
        base64(&run->body, record->value, record->value_len),
    };
    if (pg_session_exec(run->session, SQL_KEEP, params, ARRAY_LEN(params), NULL,
                        &run->err))
        return false;
    run->kept++;
    return true;
}

static enum err_code audit(struct run *run, struct err *err)
{
    struct buf before, after;
    struct json_out j = {&before, false}, k = {&after, false};
    struct operator_action done = {.action = "dead.discard",
                                   .subject = "payments.dead"};
    enum err_code code;
    int64_t id;

    buf_init(&before, FACTS_BYTES_MAX);
    buf_init(&after, FACTS_BYTES_MAX);
    json_open(&j, NULL, '{');
    letter_filter_write(&run->filter, &j);
    json_close(&j, '}');
    json_open(&k, NULL, '{');
    json_put_int(&k, "letters", (int64_t)run->meant);
    json_close(&k, '}');
    done.before = before.data;
    done.after = after.data;
    code = operator_audit(run->session, &run->who, &done, &id, err);
    snprintf(run->action, sizeof(run->action), "%" PRId64, id);
    buf_done(&before);
    buf_done(&after);
    return code;
}

static enum err_code plain(struct run *run, const char *sql, struct err *err)
{
    return pg_session_exec(run->session, sql, NULL, 0, NULL, err);
}

static enum err_code discard(struct run *run, const struct letters_ends *ends,
                             struct err *err)
{
    if (plain(run, "BEGIN", err) || audit(run, err) ||
        letters_walk(run->cfg, ends, true, keep, run, err))
        return err_wrap(err, "nothing was thrown away");
    if (run->err.code) {
        *err = run->err;
        return err_wrap(err, "nothing was thrown away");
    }
    if (plain(run, "COMMIT", err))
        return err_wrap(err, "could not see whether the letters were thrown "
                             "away; look at `dead list`");
    return ERR_NONE;
}

static void tell(const struct run *run)
{
    if (cli_has(run->cli, CLI_JSON))
        printf("{\"discarded\":%zu}\n", run->kept);
    else
        printf("%zu letters are thrown away; Postgres keeps them in the table "
               "discards\n",
               run->kept);
}

static enum err_code run_it(struct run *run, const struct letters_ends *ends,
                            struct err *err)
{
    if (letters_walk(run->cfg, ends, letter_filter_needs_body(&run->filter),
                     count, run, err))
        return err->code;
    if (run->meant) {
        if (operator_confirm(&run->who, err,
                             "throw away %zu dead letters (kept in Postgres)",
                             run->meant) ||
            discard(run, ends, err))
            return err->code;
    }
    tell(run);
    return ERR_NONE;
}

enum err_code dead_discard_run(const struct cli *cli, const struct config *cfg,
                               struct err *err)
{
    CLEANUP(pg_session_close)
    struct pg_session *session = NULL;
    struct run run = {.cli = cli, .cfg = cfg};
    struct letters_ends ends;
    enum err_code code;

    if (operator_read(cli, &run.who, err) ||
        letter_filter_read(cli, cfg, &run.filter, err) ||
        pg_session_open(cfg->database_conninfo, cfg->database_password,
                        &session, err) ||
        letters_ends_read(cfg, &ends, err))
        return err->code;
    run.session = session;
    buf_init(&run.key, LETTER_BYTES_MAX);
    buf_init(&run.headers, LETTER_BYTES_MAX);
    buf_init(&run.body, LETTER_BYTES_MAX);
    code = run_it(&run, &ends, err);
    buf_done(&run.key);
    buf_done(&run.headers);
    buf_done(&run.body);
    letters_ends_free(&ends);
    return code;
}
