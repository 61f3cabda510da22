/*
 * `foleni pause` and `foleni resume`: whether a priority pool is pushed.
 * Workers read it with their look at the lines, within lines.sync_ms; a pause
 * that has an end ends by itself.
 */
#include "common/config.h"
#include "common/must.h"
#include "common/payment.h"
#include "tools/cli.h"
#include "tools/operator.h"
#include "tools/until.h"

#include <stdio.h>

/* What it was before is locked, so that the trail tells the truth. */
static const char SQL_WAS[] =
    "SELECT to_jsonb(p) FROM pools p WHERE priority = $1::smallint FOR UPDATE";
static const char SQL_PAUSE[] =
    "UPDATE pools p SET paused = true, paused_at = now(), paused_by = $2, "
    "paused_why = $3, paused_until = $4::timestamptz "
    "WHERE priority = $1::smallint RETURNING to_jsonb(p)";
static const char SQL_RESUME[] =
    "UPDATE pools p SET paused = false, paused_at = NULL, paused_by = NULL, "
    "paused_why = NULL, paused_until = NULL "
    "WHERE priority = $1::smallint RETURNING to_jsonb(p)";

struct change {
    enum priority pool;
    bool pause;
    const char *until; /* NULL = until somebody resumes it */
};

static enum err_code write_change(struct pg_session *s, const struct change *c,
                                  const struct operator* op, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *was = NULL;
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *is = NULL;
    char number[4];
    const char *params[] = {number, op->who, op->why, c->until};
    struct operator_action done = {
        .action = c->pause ? "pool.pause" : "pool.resume",
        .subject = priority_name(c->pool),
    };

    snprintf(number, sizeof(number), "%d", (int)c->pool);
    if (pg_session_exec(s, "BEGIN", NULL, 0, NULL, err) ||
        pg_session_exec(s, SQL_WAS, params, 1, &was, err) ||
        pg_session_exec(s, c->pause ? SQL_PAUSE : SQL_RESUME, params,
                        c->pause ? 4 : 1, &is, err))
        return err_wrap(err, "could not write it");
    if (!pg_text_rows_n(was) || !pg_text_rows_n(is))
        return err_set(err, ERR_NOT_FOUND, "the database knows no such pool");
    done.before = pg_text_value(was, 0, 0);
    done.after = pg_text_value(is, 0, 0);
    if (operator_audit(s, op, &done, NULL, err))
        return err->code;
    return pg_session_exec(s, "COMMIT", NULL, 0, NULL, err);
}

static enum err_code run(const struct cli *cli, const struct config *cfg,
                         bool pause, struct err *err)
{
    CLEANUP(pg_session_close)
    struct pg_session *s = NULL;
    char until[UNTIL_SIZE] = "";
    struct change c = {.pause = pause};
    struct operator op;

    if (!priority_parse(cli->operands[0], &c.pool))
        return err_set(err, ERR_USAGE,
                       "\"%.40s\" is no pool: high, normal or low",
                       cli->operands[0]);
    if (cli->until && until_read(cli->until, until, err))
        return err->code;
    c.until = *until ? until : NULL;
    if (operator_read(cli, &op, err) ||
        operator_confirm(&op, err, "%s pushes of the pool %s%s%s",
                         pause ? "stop" : "resume", priority_name(c.pool),
                         *until ? " until " : "", until) ||
        pg_session_open(cfg->database_conninfo, cfg->database_password, &s,
                        err) ||
        write_change(s, &c, &op, err))
        return err->code;
    if (cli_has(cli, CLI_JSON))
        printf("{\"pool\":\"%s\",\"paused\":%s}\n", priority_name(c.pool),
               pause ? "true" : "false");
    else
        printf("%s: %s; workers know it within %lld ms\n",
               priority_name(c.pool), pause ? "paused" : "goes on",
               (long long)cfg->lines_sync_ms);
    return ERR_NONE;
}

enum err_code pause_run(const struct cli *cli, const struct config *cfg,
                        struct err *err)
{
    return run(cli, cfg, true, err);
}

enum err_code resume_run(const struct cli *cli, const struct config *cfg,
                         struct err *err)
{
    return run(cli, cfg, false, err);
}
