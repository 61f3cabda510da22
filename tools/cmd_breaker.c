/*
 * `foleni breaker`: what stands before calls to the provider, and an operator's
 * word about it. Workers read the rows within lines.sync_ms.
 *
 * One that was forced open is an open breaker besides, whose time is over when
 * the force is: so it comes back by a probe, a trial and a ramp.
 */
#include "common/config.h"
#include "common/must.h"
#include "common/pg.h"
#include "tools/cli.h"
#include "tools/operator.h"
#include "tools/table.h"
#include "tools/until.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UTC(column)                           \
    "to_char(" column " AT TIME ZONE 'UTC', " \
    "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

#define IS_FORCED \
    "(forced > 0 AND (forced_until IS NULL OR now() < forced_until))"

static const struct table breakers = {
    .name = "breakers",
    .none = "no worker has run yet",
    .sql =
        "SELECT b.shortcode::text, "
        "(ARRAY['push', 'query', 'token'])[operation + 1], "
        "CASE WHEN " IS_FORCED " THEN (ARRAY['forced open', 'forced closed'])"
        "[forced] ELSE (ARRAY['closed', 'open', 'half-open', 'trial', 'ramp'])"
        "[state + 1] END, "
        "CASE WHEN operation = 0 AND l.shortcode IS NOT NULL "
        "THEN CASE WHEN line_rate(l) = 0 THEN 'no limit' "
        "ELSE round(line_rate(l)::numeric, 1)::text END END, " UTC(
            "changed_at") ", "
                          "CASE WHEN state = 1 AND NOT " IS_FORCED " THEN " UTC(
                              "until") " END, "
                                       "CASE WHEN " IS_FORCED
                                       " THEN forced_by END, "
                                       "CASE WHEN " IS_FORCED " THEN " UTC(
                                           "forced_until") " END, "
                                                           "CASE "
                                                           "WHEN " IS_FORCED
                                                           " THEN forced_why "
                                                           "ELSE cause END "
                                                           "FROM breakers b "
                                                           "LEFT JOIN lines l "
                                                           "USING (shortcode) "
                                                           "ORDER BY 1, 2",
    .columns = {{"shortcode", 9},
                {"operation", 9},
                {"state", 13},
                {"rate", 9},
                {"since", 20},
                {"next_probe", 20},
                {"forced_by", 12},
                {"forced_until", 20},
                {"why", 0}},
};

static const char SQL_MAKE[] =
    "INSERT INTO breakers (operation, shortcode) "
    "VALUES ($1::int2, $2::int4) ON CONFLICT DO NOTHING";

#define SHOWN(row)                                                        \
    "jsonb_build_object('state', " row ".state, 'cause', " row ".cause, " \
    "'forced', " row ".forced, 'by', " row ".forced_by, 'until', " row    \
    ".forced_until)::text"

/* $3 0 auto, 1 open, 2 closed; $6 seconds, null = without an end. */
static const char SQL_FORCE[] =
    "WITH was AS (SELECT * FROM breakers WHERE operation = $1::int2 "
    "AND shortcode = $2::int4 FOR UPDATE) "
    "UPDATE breakers b SET version = b.version + 1, forced = $3::int2, "
    "forced_at = now(), forced_by = $4::text, forced_why = $5::text, "
    "forced_until = now() + $6::int8 * interval '1 s', "
    "state = CASE $3::int2 WHEN 0 THEN was.state WHEN 1 THEN 1 ELSE 0 END, "
    "changed_at = now(), permits = 0, fine = 0, prober = NULL, "
    "cause = CASE $3::int2 WHEN 1 THEN 'an operator opened it' "
    "ELSE was.cause END, "
    "open_us = CASE $3::int2 WHEN 1 THEN 0 ELSE was.open_us END, "
    "until = CASE WHEN $3::int2 = 1 "
    "THEN coalesce(now() + $6::int8 * interval '1 s', now()) "
    "WHEN was.state = 1 THEN now() ELSE was.until END "
    "FROM was WHERE b.operation = was.operation "
    "AND b.shortcode = was.shortcode RETURNING " SHOWN("was") ", " SHOWN("b");

/* --- what is asked for --- */

struct force {
    int to; /* 0 auto, 1 open, 2 closed */
    const char *action, *shortcode;
    char operation[2];
    char seconds[24]; /* "" = without an end */
};

static enum err_code read_operation(const char *name, struct force *f,
                                    struct err *err)
{
    static const char *const names[] = {"push", "query", "token"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!name || !strcmp(name, names[i])) {
            (void)snprintf(f->operation, sizeof(f->operation), "%zu", i);
            return ERR_NONE;
        }
    return err_set(err, ERR_USAGE,
                   "--operation is \"%.40s\", must be push, query or token",
                   name);
}

static enum err_code read_for(const char *text, struct force *f,
                              struct err *err)
{
    int64_t s;

    if (!text)
        return ERR_NONE;
    if (duration_read(text, "for", &s, err))
        return err->code;
    (void)snprintf(f->seconds, sizeof(f->seconds), "%lld", (long long)s);
    return ERR_NONE;
}

static enum err_code read_shortcode(const struct config *cfg, struct force *f,
                                    struct err *err)
{
    const char *text = f->shortcode;
    bool number = *text && strspn(text, "0123456789") == strlen(text) &&
                  strlen(text) <= 7;

    if (number && !strcmp(text, "0") && f->operation[0] == '0')
        return ERR_NONE;
    if (number && config_shortcode(cfg, strtol(text, NULL, 10)))
        return ERR_NONE;
    return err_set(err, ERR_USAGE,
                   "\"%.40s\" is no shortcode of the settings, nor 0 for "
                   "pushes of all",
                   text);
}

/* --- what is done --- */

static enum err_code change(struct pg_session *s, const struct operator* op,
                            const struct force *f, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    char to[2] = {(char)('0' + f->to), '\0'};
    const char *const params[] = {
        f->operation, f->shortcode, to,
        op->who,      op->why,      *f->seconds ? f->seconds : NULL};
    struct operator_action done = {.action = f->action,
                                   .subject = f->shortcode};

    if (pg_session_exec(s, "BEGIN", NULL, 0, NULL, err) ||
        pg_session_exec(s, SQL_MAKE, params, 2, NULL, err) ||
        pg_session_exec(s, SQL_FORCE, params, ARRAY_LEN(params), &rows, err))
        return err_wrap(err, "could not change the breaker");
    must(pg_text_rows_n(rows) == 1);
    done.before = pg_text_value(rows, 0, 0);
    done.after = pg_text_value(rows, 0, 1);
    if (operator_audit(s, op, &done, NULL, err))
        return err->code;
    if (pg_session_exec(s, "COMMIT", NULL, 0, NULL, err))
        return err_wrap(err, "could not see whether the breaker was changed; "
                             "look at the list");
    return ERR_NONE;
}

static enum err_code force(const struct cli *cli, const struct config *cfg,
                           struct force *f, struct err *err)
{
    CLEANUP(pg_session_close)
    struct pg_session *session = NULL;
    struct operator op;

    f->shortcode = cli->operands[0];
    if (operator_read(cli, &op, err) ||
        read_operation(cli->operation, f, err) ||
        read_for(cli->duration, f, err) || read_shortcode(cfg, f, err) ||
        operator_confirm(&op, err, "%s %s",
                         f->to == 0   ? "leave to itself the breaker of"
                         : f->to == 1 ? "stop calls of"
                                      : "keep closed the breaker of",
                         f->shortcode) ||
        pg_session_open(cfg->database_conninfo, cfg->database_password,
                        &session, err) ||
        change(session, &op, f, err))
        return err->code;
    if (cli_has(cli, CLI_JSON))
        printf("{\"shortcode\":%s,\"done\":\"%s\"}\n", f->shortcode, f->action);
    else
        printf("%s %s\n", f->action, f->shortcode);
    return ERR_NONE;
}

enum err_code breaker_list_run(const struct cli *cli, const struct config *cfg,
                               struct err *err)
{
    return table_show(cli, cfg, &breakers, err);
}

enum err_code breaker_open_run(const struct cli *cli, const struct config *cfg,
                               struct err *err)
{
    return force(cli, cfg, &(struct force){1, .action = "breaker.open"}, err);
}

enum err_code breaker_close_run(const struct cli *cli, const struct config *cfg,
                                struct err *err)
{
    return force(cli, cfg, &(struct force){2, .action = "breaker.close"}, err);
}

enum err_code breaker_auto_run(const struct cli *cli, const struct config *cfg,
                               struct err *err)
{
    return force(cli, cfg, &(struct force){0, .action = "breaker.auto"}, err);
}
