/*
 * `foleni alarms` and `foleni notices`: what waits for a person in the ledger.
 * Alarms stay until somebody has said that they were seen to; that somebody
 * stands in the audit trail. Notices go by themselves.
 */
#include "common/config.h"
#include "common/must.h"
#include "common/pg.h"
#include "tools/cli.h"
#include "tools/operator.h"
#include "tools/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UTC(column)                           \
    "to_char(" column " AT TIME ZONE 'UTC', " \
    "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

static const char SQL_SEEN[] =
    "UPDATE alarms SET seen_at = now(), seen_by = $2 "
    "WHERE id = $1::int8 AND seen_at IS NULL "
    "RETURNING payment::text, jsonb_build_object('alarm', id, 'kind', kind, "
    "'attempt', attempt, 'receipt', receipt, 'at', at)::text";

static const struct table alarms = {
    .name = "alarms",
    .none = "no alarm is open",
    .sql = "SELECT id::text, " UTC(
        "at") ", kind, payment::text, attempt::text,"
              " receipt, text FROM alarms WHERE seen_at IS NULL "
              "ORDER BY id LIMIT 1000",
    .columns = {{"alarm", 8},
                {"at", 20},
                {"kind", 22},
                {"payment", 36},
                {"attempt", 7},
                {"receipt", 12},
                {"text", 0}},
};

static const struct table notices = {
    .name = "notices",
    .none = "no notice waits",
    .sql = "SELECT id::text, " UTC(
        "at") ", "
              "CASE source WHEN 2 THEN 'person' WHEN 4 THEN 'pull' ELSE 'c2b' "
              "END, "
              "CASE disposition WHEN 3 THEN 'unmatched' WHEN 4 THEN "
              "'ambiguous' "
              "ELSE 'open' END, receipt, amount::text, shortcode::text, phone, "
              "reference FROM notices WHERE next_look_at IS NOT NULL "
              "AND disposition IN (0, 3, 4) ORDER BY id DESC LIMIT 1000",
    .columns = {{"notice", 8},
                {"at", 20},
                {"source", 6},
                {"disposition", 11},
                {"receipt", 12},
                {"amount", 7},
                {"shortcode", 9},
                {"phone", 12},
                {"reference", 0}},
};

/* --- lists --- */

enum err_code alarms_list_run(const struct cli *cli, const struct config *cfg,
                              struct err *err)
{
    return table_show(cli, cfg, &alarms, err);
}

enum err_code notices_list_run(const struct cli *cli, const struct config *cfg,
                               struct err *err)
{
    return table_show(cli, cfg, &notices, err);
}

/* --- seen --- */

static enum err_code mark(struct pg_session *s, const struct operator* op,
                          const char *alarm, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *const params[] = {alarm, op->who};
    struct operator_action done = {.action = "alarms.seen"};

    if (pg_session_exec(s, "BEGIN", NULL, 0, NULL, err) ||
        pg_session_exec(s, SQL_SEEN, params, ARRAY_LEN(params), &rows, err))
        return err_wrap(err, "could not mark the alarm");
    if (!pg_text_rows_n(rows))
        return err_set(err, ERR_NOT_FOUND,
                       "no alarm %.20s is open; see `foleni alarms list`",
                       alarm);
    done.subject = pg_text_value(rows, 0, 0);
    done.before = pg_text_value(rows, 0, 1);
    if (operator_audit(s, op, &done, NULL, err))
        return err->code;
    if (pg_session_exec(s, "COMMIT", NULL, 0, NULL, err))
        return err_wrap(err, "could not see whether the alarm was marked; look "
                             "at the list");
    return ERR_NONE;
}

enum err_code alarms_seen_run(const struct cli *cli, const struct config *cfg,
                              struct err *err)
{
    CLEANUP(pg_session_close)
    struct pg_session *session = NULL;
    const char *alarm = cli->operands[0];
    struct operator op;

    if (strspn(alarm, "0123456789") != strlen(alarm) || !*alarm ||
        strlen(alarm) > 18)
        return err_set(err, ERR_USAGE, "\"%.40s\" is no alarm's number", alarm);
    if (operator_read(cli, &op, err) ||
        operator_confirm(&op, err, "call alarm %s seen to", alarm) ||
        pg_session_open(cfg->database_conninfo, cfg->database_password,
                        &session, err) ||
        mark(session, &op, alarm, err))
        return err->code;
    if (cli_has(cli, CLI_JSON))
        printf("{\"alarm\":%s,\"seen\":true}\n", alarm);
    else
        printf("alarm %s is seen to\n", alarm);
    return ERR_NONE;
}
