/*
 * `foleni resolve`: a person decides about a payment that nothing else tells
 * of (rule S11). The decision is a notice; a worker applies it to the version
 * of the payment that was shown here, and to no other. Notice and audit row are
 * one transaction. Whoever dies then, it is applied or refused all the same.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/json.h"
#include "common/must.h"
#include "common/payment.h"
#include "common/pg.h"
#include "tools/cli.h"
#include "tools/resolve.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_US (60 * US_PER_S)
#define POLL_US (100 * US_PER_MS)
#define PROGRESS_US (5 * US_PER_S)
#define JSON_BYTES_MAX ((size_t)64 << 10)

/* notices.disposition */
enum { OPEN = 0, APPLIED = 1, REFUSED = 5 };

#define UTC(column)                           \
    "to_char(" column " AT TIME ZONE 'UTC', " \
    "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

/* $2 a heartbeat older than this is death, in ms. */
static const char SQL_PAYMENT[] =
    "SELECT p.state, p.version, p.attempt, p.spent, p.msisdn, p.amount, "
    "p.shortcode, p.reference, p.evidence, coalesce(p.code, ''), "
    "coalesce(p.text, ''), coalesce(p.receipt, ''), "
    "coalesce(" UTC("p.pushed_at") ", 'never'), " UTC(
        "p.deadline_at") ", "
                         "p.deadline_at <= now(), coalesce(p.owner, 0), "
                         "coalesce(w.host, ''), "
                         "coalesce(w.boot, ''), coalesce(w.recorder, ''), "
                         "p.owner IS NULL OR w.incarnation IS NULL OR "
                         "w.settled_at IS NOT NULL "
                         "OR (w.heartbeat_at < clock_timestamp() - $2::int8 * "
                         "interval '1 ms' "
                         "AND pg_postmaster_start_time() < "
                         "clock_timestamp() - $2::int8 * interval '1 ms'), "
                         "w.settled_at IS NOT NULL "
                         "FROM payments p LEFT JOIN workers w ON w.incarnation "
                         "= p.owner "
                         "WHERE p.id = $1::uuid";

static const char SQL_TIMELINE[] = "SELECT version, " UTC(
    "at") ", state, attempt, coalesce(code, ''), "
          "coalesce(text, '') FROM timeline WHERE payment = $1::uuid "
          "ORDER BY version DESC LIMIT 20";
static const char SQL_PUT[] =
    "INSERT INTO notices (source, next_look_at, payment, attempt, version, "
    "decision, receipt, paid_at, forced, who, why) "
    "SELECT 2, now(), p.id, p.attempt, p.version, $3::smallint, $4, "
    "$5::timestamptz, $6::boolean, $7, $8 FROM payments p "
    "WHERE p.id = $1::uuid AND p.version = $2::int AND NOT EXISTS "
    "(SELECT FROM notices n WHERE n.next_look_at IS NOT NULL "
    "AND n.source = 2 AND n.payment = p.id) RETURNING id";
static const char SQL_OUTCOME[] =
    "SELECT n.disposition, coalesce(n.outcome, ''), p.state "
    "FROM notices n JOIN payments p ON p.id = n.payment "
    "WHERE n.id = $1::int8";

/* --- the command line --- */

static enum err_code read_decision(struct run *run, struct err *err)
{
    static const struct {
        cli_options option;
        enum decision decision;
    } rows[] = {{CLI_PAID, PAID}, {CLI_NOT_PAID, NOT_PAID}, {CLI_AGAIN, AGAIN}};
    int n = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (cli_has(run->cli, rows[i].option)) {
            run->decision = rows[i].decision;
            n++;
        }
    if (n != 1)
        return err_set(err, ERR_USAGE,
                       "`resolve` needs one of --paid RECEIPT, --not-paid and "
                       "--again");
    return ERR_NONE;
}

static enum err_code check_receipt(const char *receipt, struct err *err)
{
    size_t len = strlen(receipt);

    for (const char *c = receipt; *c; c++)
        if (!isascii(*c) || !isalnum((unsigned char)*c))
            len = 0;
    if (len == 0 || len > RECEIPT_MAX)
        return err_set(err, ERR_USAGE,
                       "\"%.40s\" is no receipt: 1 to %d letters and digits",
                       receipt, RECEIPT_MAX);
    return ERR_NONE;
}

static enum err_code read_money(const struct run *run, struct err *err)
{
    const struct cli *cli = run->cli;
    int64_t at;

    if (run->decision == PAID && check_receipt(cli->paid, err))
        return err->code;
    if (!cli->paid_at)
        return ERR_NONE;
    if (run->decision != PAID)
        return err_set(err, ERR_USAGE, "--paid-at goes with --paid");
    if (clock_parse(cli->paid_at, strlen(cli->paid_at), &at, err))
        return err_set(err, ERR_USAGE,
                       "--paid-at \"%.40s\" is no time such as "
                       "2026-11-21T07:46:00Z",
                       cli->paid_at);
    if (at > clock_wall_at())
        return err_set(err, ERR_USAGE, "--paid-at lies in the future");
    return ERR_NONE;
}

static enum err_code read_line(struct run *run, struct err *err)
{
    struct uuid id;

    run->id = run->cli->operands[0];
    if (uuid_parse(run->id, strlen(run->id), &id, err))
        return err_set(err, ERR_USAGE, "\"%.60s\" is no payment's id", run->id);
    if (read_decision(run, err) || read_money(run, err))
        return err->code;
    return operator_read(run->cli, &run->op, err);
}

/* --- what is there --- */

static enum err_code read_payment(struct run *run, struct err *err)
{
    char dead_ms[NUMBER_SIZE];
    const char *const params[] = {run->id, dead_ms};

    snprintf(dead_ms, sizeof(dead_ms), "%" PRId64,
             run->cfg->worker_heartbeat_dead_ms);
    if (pg_session_exec(run->session, SQL_PAYMENT, params, ARRAY_LEN(params),
                        &run->payment, err))
        return err_wrap(err, "could not read the payment");
    if (!pg_text_rows_n(run->payment))
        return err_set(err, ERR_NOT_FOUND,
                       "there is no payment %s in this ledger", run->id);
    return ERR_NONE;
}

static enum err_code show_timeline(const struct run *run, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *const params[] = {run->id};

    if (pg_session_exec(run->session, SQL_TIMELINE, params, ARRAY_LEN(params),
                        &rows, err))
        return err_wrap(err, "could not read the timeline");
    for (size_t i = pg_text_rows_n(rows); i > 0; i--)
        fprintf(stderr, "  %3s  %s  %-10s attempt %s  %s  %s\n",
                pg_text_value(rows, i - 1, 0), pg_text_value(rows, i - 1, 1),
                state_of(pg_text_value(rows, i - 1, 2)),
                pg_text_value(rows, i - 1, 3), pg_text_value(rows, i - 1, 4),
                pg_text_value(rows, i - 1, 5));
    return ERR_NONE;
}

static enum err_code show(const struct run *run, struct err *err)
{
    char phone[16];
    long evidence = strtol(column(run, P_EVIDENCE), NULL, 10);

    msisdn_mask(strtoll(column(run, P_MSISDN), NULL, 10), phone);
    fprintf(stderr,
            "Payment %s is %s: KES %s by %s to %s for %s\n"
            "  attempt %s (%s spent), pushed %s, deadline %s\n"
            "  code %s, %s; evidence %s; receipt %s\n",
            run->id, state_of(column(run, P_STATE)), column(run, P_AMOUNT),
            phone, column(run, P_SHORTCODE), column(run, P_REFERENCE),
            column(run, P_ATTEMPT), column(run, P_SPENT), column(run, P_PUSHED),
            column(run, P_DEADLINE),
            *column(run, P_CODE) ? column(run, P_CODE) : "none",
            *column(run, P_TEXT) ? column(run, P_TEXT) : "no words",
            evidence ? evidence_name((enum evidence)evidence) : "none",
            *column(run, P_RECEIPT) ? column(run, P_RECEIPT) : "none");
    return show_timeline(run, err);
}

/* --- writing it --- */

static enum err_code confirm(const struct run *run, struct err *err)
{
    const char *without = forced(run) ? ", by force" : "";

    switch (run->decision) {
    case PAID:
        return operator_confirm(&run->op, err, "call it paid by receipt %s%s",
                                run->cli->paid, without);
    case NOT_PAID:
        return operator_confirm(&run->op, err, "call it not paid, and over%s",
                                without);
    case AGAIN: break;
    }
    return operator_confirm(&run->op, err, "have its customer prompted again%s",
                            without);
}

static const char *decision_name(const struct run *run)
{
    static const char *const names[] = {"paid", "not_paid", "again"};

    return names[run->decision];
}

static void write_before(const struct run *run, struct buf *out)
{
    struct json_out j = {out, false};

    json_open(&j, NULL, '{');
    json_put_text(&j, "status", state_of(column(run, P_STATE)));
    json_put_int(&j, "version", strtoll(column(run, P_VERSION), NULL, 10));
    json_put_int(&j, "attempt", strtoll(column(run, P_ATTEMPT), NULL, 10));
    json_close(&j, '}');
}

static void write_after(const struct run *run, struct buf *out)
{
    struct json_out j = {out, false};

    json_open(&j, NULL, '{');
    json_put_text(&j, "decision", decision_name(run));
    if (run->decision == PAID)
        json_put_text(&j, "receipt", run->cli->paid);
    json_put_bool(&j, "forced", forced(run));
    json_put_int(&j, "notice", strtoll(run->notice, NULL, 10));
    json_close(&j, '}');
}

static enum err_code put_notice(struct run *run, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    char decision[NUMBER_SIZE];
    const char *const params[] = {
        run->id,           column(run, P_VERSION),
        decision,          run->decision == PAID ? run->cli->paid : NULL,
        run->cli->paid_at, forced(run) ? "true" : "false",
        run->op.who,       run->op.why,
    };

    snprintf(decision, sizeof(decision), "%d", (int)run->decision);
    if (pg_session_exec(run->session, SQL_PUT, params, ARRAY_LEN(params), &rows,
                        err))
        return err_wrap(err, "could not write the decision");
    if (!pg_text_rows_n(rows))
        return err_set(err, ERR_CONFLICT,
                       "the payment has changed meanwhile, or another decision "
                       "about it waits; nothing was done: look again");
    snprintf(run->notice, sizeof(run->notice), "%s", pg_text_value(rows, 0, 0));
    return ERR_NONE;
}

static enum err_code put_audit(struct run *run, struct err *err)
{
    char action[32];
    struct buf before, after;
    struct operator_action done = {.action = action, .subject = run->id};
    enum err_code code;

    snprintf(action, sizeof(action), "resolve.%s", decision_name(run));
    buf_init(&before, JSON_BYTES_MAX);
    buf_init(&after, JSON_BYTES_MAX);
    write_before(run, &before);
    write_after(run, &after);
    done.before = before.data;
    done.after = after.data;
    code = operator_audit(run->session, &run->op, &done, &run->audit, err);
    buf_done(&before);
    buf_done(&after);
    return code;
}

static enum err_code plain(const struct run *run, const char *sql,
                           struct err *err)
{
    return pg_session_exec(run->session, sql, NULL, 0, NULL, err);
}

static enum err_code write_decision(struct run *run, struct err *err)
{
    if (plain(run, "BEGIN", err) || put_notice(run, err) || put_audit(run, err))
        return err->code;
    if (plain(run, "COMMIT", err))
        return err_wrap(err, "could not see whether the decision was written; "
                             "look at the payment before you say it again");
    return ERR_NONE;
}

/* --- waiting --- */

/* @p ret is the disposition. */
static enum err_code read_outcome(struct run *run, long *ret, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *const params[] = {run->notice};

    if (pg_session_exec(run->session, SQL_OUTCOME, params, ARRAY_LEN(params),
                        &rows, err))
        return err_wrap(err,
                        "the decision is written, but could not follow it");
    if (!pg_text_rows_n(rows))
        return err_set(err, ERR_NOT_FOUND, "the decision is gone");
    *ret = strtol(pg_text_value(rows, 0, 0), NULL, 10);
    run->state = (int)strtol(pg_text_value(rows, 0, 2), NULL, 10);
    if (*ret == REFUSED)
        return err_set(err, ERR_DENIED, "it was refused: %s",
                       pg_text_value(rows, 0, 1));
    return ERR_NONE;
}

static void pause_us(int64_t us)
{
    struct timespec t = {us / US_PER_S, us % US_PER_S * 1000};

    (void)nanosleep(&t, NULL);
}

static enum err_code wait_applied(struct run *run, struct err *err)
{
    int64_t began_us = clock_now_us(), told_us = began_us, now;
    long disposition;

    for (;;) {
        if (read_outcome(run, &disposition, err))
            return err->code;
        if (disposition == APPLIED)
            return ERR_NONE;
        now = clock_now_us();
        if (now - began_us > WAIT_US)
            return err_set(err, ERR_TIMEOUT,
                           "no worker has applied it in %d s. It is written "
                           "(notice %s) and will be applied when one does; "
                           "does foleni-worker run?",
                           (int)(WAIT_US / US_PER_S), run->notice);
        if (now - told_us > PROGRESS_US) {
            fputs("foleni: waits for a worker\n", stderr);
            told_us = now;
        }
        pause_us(POLL_US);
    }
}

static void tell(const struct run *run)
{
    const char *status = payment_state_name((enum payment_state)run->state);
    struct buf text;
    struct json_out j = {&text, false};

    if (!cli_has(run->cli, CLI_JSON)) {
        printf("applied: payment %s is %s\n", run->id, status);
        return;
    }
    buf_init(&text, JSON_BYTES_MAX);
    json_open(&j, NULL, '{');
    json_put_text(&j, "payment", run->id);
    json_put_text(&j, "decision", decision_name(run));
    json_put_text(&j, "status", status);
    json_put_int(&j, "notice", strtoll(run->notice, NULL, 10));
    json_put_int(&j, "operator_action", run->audit);
    json_close(&j, '}');
    puts(text.data);
    buf_done(&text);
}

static enum err_code resolve(struct run *run, struct err *err)
{
    if (read_payment(run, err) || show(run, err) || resolve_check(run, err) ||
        confirm(run, err) || write_decision(run, err) || wait_applied(run, err))
        return err->code;
    tell(run);
    return ERR_NONE;
}

enum err_code resolve_run(const struct cli *cli, const struct config *cfg,
                          struct err *err)
{
    CLEANUP(pg_session_close)
    struct pg_session *session = NULL;
    struct run run = {.cli = cli, .cfg = cfg};
    enum err_code code;

    if (read_line(&run, err) ||
        pg_session_open(cfg->database_conninfo, cfg->database_password,
                        &session, err))
        return err->code;
    run.session = session;
    code = resolve(&run, err);
    pg_text_rows_free(run.payment);
    return code;
}
