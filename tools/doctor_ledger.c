/*
 * Postgres, and what its tables say of workers, payments and persons' work.
 * Every look is bounded: indexes lead to what is overdue, and no more than
 * ROWS_MAX are counted.
 */
#include "common/clock.h"
#include "common/must.h"
#include "common/payment_row.h"
#include "tools/audit.h"
#include "tools/doctor.h"
#include "tools/migrations.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TESTED_VERSION 150000
#define SKEW_WARN_US US_PER_S
#define SKEW_FAIL_US (5 * US_PER_S) /* rule S5: workers push nothing */
#define LATE_FAIL_S 600
#define ROWS_MAX "1000"
#define OVERDUE "interval '1 min'"

/* --- the server --- */

static void check_postgres(struct doctor *d, struct doctor_line *ret)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;

    if (!d->pg) {
        doctor_say(ret, DOCTOR_FAIL,
                   "is it there (database.conninfo), and a primary?", "%s",
                   d->pg_err.text);
        return;
    }
    if (!doctor_ask(d, ret,
                    "SELECT current_setting('server_version'), "
                    "current_setting('server_version_num'), current_user",
                    NULL, 0, &rows))
        return;
    if (doctor_number(rows, 0, 1) < TESTED_VERSION)
        doctor_say(ret, DOCTOR_WARN, "use 15 or later",
                   "version %s is older than what Foleni is tested with",
                   doctor_text(rows, 0, 0));
    doctor_say(ret, DOCTOR_OK, "", "version %s, as %s", doctor_text(rows, 0, 0),
               doctor_text(rows, 0, 2));
}

static bool mark_applied(struct doctor *d, struct migrations *all,
                         struct doctor_line *ret, int *n)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    struct err err;

    if (!doctor_ask(d, ret,
                    "SELECT number, name, checksum, applied_at::text "
                    "FROM migrations ORDER BY number",
                    NULL, 0, &rows))
        return false;
    *n = (int)pg_text_rows_n(rows);
    for (int i = 0; i < *n; i++) {
        struct migration_record record = {
            (int)doctor_number(rows, (size_t)i, 0),
            doctor_text(rows, (size_t)i, 1), doctor_text(rows, (size_t)i, 2),
            doctor_text(rows, (size_t)i, 3)};

        if (!migrations_record(all, &record, &err))
            continue;
        doctor_say(ret, DOCTOR_FAIL, "are program and tables of one version?",
                   "%s", err.text);
        return false;
    }
    return true;
}

static void check_migrations(struct doctor *d, struct doctor_line *ret)
{
    CLEANUP(migrations_free)
    struct migrations *all = NULL;
    char directory[PATH_MAX];
    struct err err;
    int n = 0;

    migrations_find(d->migrations, directory);
    if (migrations_read(directory, &all, &err))
        doctor_say(ret, DOCTOR_WARN, "name the directory by --dir",
                   "not judged: %s", err.text);
    else if (mark_applied(d, all, ret, &n) && (size_t)n < all->n)
        doctor_say(ret, DOCTOR_FAIL, "foleni migrate",
                   "%zu migrations are not applied", all->n - (size_t)n);
    doctor_say(ret, DOCTOR_OK, "", "all %d are applied", n);
}

/* --- clocks --- */

static enum doctor_grade skew_grade(int64_t us)
{
    us = llabs(us);
    return us > SKEW_FAIL_US   ? DOCTOR_FAIL
           : us > SKEW_WARN_US ? DOCTOR_WARN
                               : DOCTOR_OK;
}

static void judge_host(struct doctor *d, struct doctor_line *ret)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    int64_t us;

    if (!doctor_ask(d, ret,
                    "SELECT host, (extract(epoch FROM host_at - heartbeat_at) "
                    "* 1000000)::bigint AS skew FROM workers WHERE settled_at "
                    "IS NULL AND host_at IS NOT NULL AND heartbeat_at > "
                    "clock_timestamp() - " OVERDUE
                    " ORDER BY abs(extract(epoch FROM host_at - "
                    "heartbeat_at)) DESC LIMIT 1",
                    NULL, 0, &rows) ||
        !pg_text_rows_n(rows))
        return;
    us = doctor_number(rows, 0, 1);
    if (skew_grade(us))
        doctor_say(ret, skew_grade(us), "let NTP keep all clocks",
                   "the worker's host %s is %.1f s off the database",
                   doctor_text(rows, 0, 0), (double)us / US_PER_S);
}

static void check_clock(struct doctor *d, struct doctor_line *ret)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    int64_t before = clock_wall_at(), us;

    if (!doctor_ask(d, ret,
                    "SELECT (extract(epoch FROM clock_timestamp()) * "
                    "1000000)::bigint",
                    NULL, 0, &rows))
        return;
    us = (before + clock_wall_at()) / 2 - doctor_number(rows, 0, 0);
    if (skew_grade(us))
        doctor_say(ret, skew_grade(us), "let NTP keep all clocks",
                   "this host is %.1f s off the database",
                   (double)us / US_PER_S);
    judge_host(d, ret);
    doctor_say(ret, DOCTOR_OK, "",
               "%+.3f s from here to the database, workers "
               "no more",
               (double)us / US_PER_S);
}

/* --- who works --- */

static void check_workers(struct doctor *d, struct doctor_line *ret)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    long long live, lost;

    if (!doctor_ask(d, ret,
                    "SELECT count(*) FILTER (WHERE heartbeat_at > "
                    "clock_timestamp() - interval '10 s'), "
                    "count(*) FILTER (WHERE heartbeat_at < clock_timestamp() "
                    "- " OVERDUE "), min(host) FILTER (WHERE heartbeat_at < "
                    "clock_timestamp() - " OVERDUE ") FROM workers "
                    "WHERE settled_at IS NULL",
                    NULL, 0, &rows))
        return;
    live = doctor_number(rows, 0, 0);
    lost = doctor_number(rows, 0, 1);
    if (!live)
        doctor_say(ret, DOCTOR_FAIL, "start foleni-worker",
                   "no worker has a heartbeat");
    if (lost)
        doctor_say(ret, DOCTOR_WARN,
                   "start a worker on that host, or see foleni resolve for "
                   "what stays unknown",
                   "%lld dead workers left something open, one on %s", lost,
                   doctor_text(rows, 0, 2));
    doctor_say(ret, DOCTOR_OK, "", "%lld live", live);
}

static void check_callback_keys(struct doctor *d, struct doctor_line *ret)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    char first[24], second[24];
    const char *const params[] = {first, second};

    snprintf(first, sizeof(first), "%" PRId64, d->cfg->callbacks_mac_key_id);
    snprintf(second, sizeof(second), "%" PRId64,
             d->cfg->callbacks_second_mac_key_id);
    if (!doctor_ask(d, ret,
                    PAYMENT_KEYS_MISSING_SQL " SELECT mac_key, n FROM g "
                                             "ORDER BY n DESC LIMIT 1",
                    params, 2, &rows))
        return;
    if (pg_text_rows_n(rows))
        doctor_say(ret, DOCTOR_FAIL, "give it back as callbacks.second_mac_key",
                   "%lld open attempts use key %lld of callback paths, which "
                   "is not in these settings",
                   doctor_number(rows, 0, 1), doctor_number(rows, 0, 0));
    doctor_say(ret, DOCTOR_OK, "", "none is missing");
}

/* --- what waits too long --- */

static const char stuck_sql[] =
    "SELECT count(*), coalesce(max(age), 0) FROM ("
    "(SELECT extract(epoch FROM now() - next_action_at)::bigint AS age "
    "FROM payments WHERE next_action_at IS NOT NULL "
    "AND (state <> 3 OR waits = 3) AND next_action_at < now() - " OVERDUE
    " ORDER BY next_action_at LIMIT " ROWS_MAX ") UNION ALL "
    "(SELECT extract(epoch FROM now() - deadline_at)::bigint "
    "FROM payments WHERE state = 3 AND (waits = 3) IS FALSE "
    "AND deadline_at < now() - " OVERDUE " ORDER BY deadline_at "
    "LIMIT " ROWS_MAX ")) AS o";

static const char untold_sql[] =
    "SELECT count(*), coalesce(max(age), 0) FROM ("
    "SELECT extract(epoch FROM now() - updated_at)::bigint AS age "
    "FROM payments WHERE next_action_at IS NOT NULL "
    "AND (state <> 3 OR waits = 3) AND next_action_at < now() - " OVERDUE
    " AND published_version < version ORDER BY next_action_at "
    "LIMIT " ROWS_MAX ") AS o";

static void judge_late(struct doctor *d, struct doctor_line *ret,
                       const char *sql, const char *what, const char *todo)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    long long n, age;

    if (!doctor_ask(d, ret, sql, NULL, 0, &rows))
        return;
    n = doctor_number(rows, 0, 0);
    age = doctor_number(rows, 0, 1);
    if (n)
        doctor_say(ret, age > LATE_FAIL_S ? DOCTOR_FAIL : DOCTOR_WARN, todo,
                   "%lld payments %s, the oldest for %lld s", n, what, age);
    doctor_say(ret, DOCTOR_OK, "", "none");
}

static void check_stuck(struct doctor *d, struct doctor_line *ret)
{
    judge_late(d, ret, stuck_sql, "are overdue",
               "do workers live, and does their log complain?");
}

static void check_untold(struct doctor *d, struct doctor_line *ret)
{
    judge_late(d, ret, untold_sql, "have an event that is not told",
               "does Kafka take records of payments.status?");
}

/* --- what waits for persons --- */

/* One count, of what a person should see to. */
static void judge_count(struct doctor *d, struct doctor_line *ret,
                        const char *sql, const char *what, const char *todo)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;

    if (!doctor_ask(d, ret, sql, NULL, 0, &rows))
        return;
    if (doctor_number(rows, 0, 0))
        doctor_say(ret, DOCTOR_WARN, todo, "%lld %s%s%s",
                   doctor_number(rows, 0, 0), what,
                   *doctor_text(rows, 0, 1) ? ": " : "",
                   doctor_text(rows, 0, 1));
    doctor_say(ret, DOCTOR_OK, "", "none");
}

static void check_unresolved(struct doctor *d, struct doctor_line *ret)
{
    judge_count(d, ret,
                "SELECT count(*), '' FROM (SELECT FROM payments "
                "WHERE state = 5 LIMIT " ROWS_MAX ") AS u",
                "payments are unresolved", "decide: foleni resolve");
}

static void check_alarms(struct doctor *d, struct doctor_line *ret)
{
    judge_count(d, ret,
                "SELECT sum(n), string_agg(kind || ' ' || n, ', ' "
                "ORDER BY n DESC) FROM (SELECT kind, count(*) AS n "
                "FROM (SELECT kind FROM alarms WHERE seen_at IS NULL "
                "LIMIT " ROWS_MAX ") AS a GROUP BY kind) AS k",
                "alarms are open", "foleni alarms list");
}

static void check_notices(struct doctor *d, struct doctor_line *ret)
{
    judge_count(d, ret,
                "SELECT count(*), '' FROM (SELECT disposition FROM notices "
                "WHERE next_look_at IS NOT NULL LIMIT " ROWS_MAX
                ") AS n WHERE disposition = 4",
                "notices of money fit several payments or contradict",
                "foleni notices list");
}

static void check_strays(struct doctor *d, struct doctor_line *ret)
{
    judge_count(d, ret,
                "SELECT count(*), max(why) FROM (SELECT at, why "
                "FROM stray_callbacks ORDER BY id DESC LIMIT " ROWS_MAX
                ") AS s WHERE at > now() - interval '1 day'",
                "callbacks of the last day could not be applied",
                "look into the table stray_callbacks");
}

static void check_stopped(struct doctor *d, struct doctor_line *ret)
{
    judge_count(
        d, ret,
        "SELECT count(*), string_agg(what, ', ') FROM ("
        "SELECT 'breaker of ' || shortcode || ' since ' || "
        "to_char(changed_at AT TIME ZONE 'UTC', 'HH24:MI:SS') AS what "
        "FROM breakers WHERE state <> 0 OR forced = 1 UNION ALL "
        "SELECT 'pool ' || (ARRAY['high', 'normal', 'low'])[priority + 1] || "
        "' paused' FROM pools WHERE paused AND (paused_until IS NULL OR "
        "paused_until > now())) AS s",
        "things stop pushes", "foleni breaker list, foleni pools");
}

/* --- the trail --- */

static void judge_parts(const struct audit_result *parts,
                        struct doctor_line *ret)
{
    const struct audit_result *anchors = &parts[AUDIT_ANCHORS];

    for (int i = 0; i < AUDIT_PARTS_N; i++)
        if (parts[i].broken)
            doctor_say(ret, DOCTOR_FAIL, "foleni doctor audit",
                       "broken at %.150s: %.150s", parts[i].where,
                       parts[i].what);
    if (anchors->after && anchors->age_s > LATE_FAIL_S)
        doctor_say(ret, DOCTOR_WARN,
                   "do workers live, is a transaction open for long?",
                   "%" PRId64 " rows are not anchored, the last anchor is "
                   "%" PRId64 " s old",
                   anchors->after, anchors->age_s);
    doctor_say(ret, DOCTOR_OK, "",
               "%" PRId64 " payments of the last minutes are unbroken",
               parts[AUDIT_PAYMENTS].n);
}

static void check_audit(struct doctor *d, struct doctor_line *ret)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    struct audit_result parts[AUDIT_PARTS_N];
    struct err err;

    if (!doctor_ask(d, ret, "SELECT (now() - interval '5 min')::text", NULL, 0,
                    &rows))
        return;
    if (audit_verify(d->pg,
                     &(struct audit_spec){.from = doctor_text(rows, 0, 0)},
                     parts, &err))
        doctor_say(ret, DOCTOR_WARN, "foleni doctor audit", "not judged: %s",
                   err.text);
    else
        judge_parts(parts, ret);
}

const struct doctor_check doctor_ledger[] = {
    {"postgres", NEEDS_NOTHING, check_postgres},
    {"migrations", NEEDS_POSTGRES, check_migrations},
    {"clock", NEEDS_POSTGRES, check_clock},
    {"workers", NEEDS_POSTGRES, check_workers},
    {"callback_keys", NEEDS_POSTGRES, check_callback_keys},
    {"stuck", NEEDS_POSTGRES, check_stuck},
    {"untold", NEEDS_POSTGRES, check_untold},
    {"unresolved", NEEDS_POSTGRES, check_unresolved},
    {"alarms", NEEDS_POSTGRES, check_alarms},
    {"notices", NEEDS_POSTGRES, check_notices},
    {"strays", NEEDS_POSTGRES, check_strays},
    {"stopped", NEEDS_POSTGRES, check_stopped},
    {"audit", NEEDS_POSTGRES, check_audit},
};
const size_t doctor_ledger_n = ARRAY_LEN(doctor_ledger);
