/*
 * `foleni pools` and `foleni lag`: what waits in Kafka for the workers, how
 * fast it goes, and how many workers it would take. Asks Kafka's groups and
 * Postgres, no worker, so it tells the truth of a fleet that hangs. Changes
 * nothing.
 *
 * A record waits as long as `intake` has not passed it. Rates are what two
 * looks apart have shown.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/json.h"
#include "common/kafka.h"
#include "common/must.h"
#include "common/payment.h"
#include "common/pg.h"
#include "tools/cli.h"
#include "tools/until.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_S 2
#define WITHIN_S 600
#define JSON_BYTES_MAX ((size_t)1 << 20)

struct part {
    int32_t partition;
    int64_t claimed, next; /* where intake stands, and where the log ends */
    int64_t waits_s;       /* its oldest record, 0 = none waits           */
};

struct pool {
    const char *name;
    char topic[KAFKA_TOPIC_SIZE];
    struct part *parts;
    size_t parts_n;
    int members;
    int64_t lag, waits_s;
    double claims_s, arrivals_s; /* per second */
    int64_t sending;
    bool paused;
    char paused_why[128];
    int64_t needed; /* workers, -1 = cannot be told */
};

/* --- reading --- */

static enum err_code read_intake(struct pg_session *s, struct pool *p,
                                 struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *params[] = {p->topic};

    if (pg_session_exec(s,
                        "SELECT partition, next_offset FROM intake "
                        "WHERE topic = $1",
                        params, 1, &rows, err))
        return err->code;
    for (size_t i = 0; i < pg_text_rows_n(rows); i++) {
        size_t n = strtoul(pg_text_value(rows, i, 0), NULL, 10);

        if (n < p->parts_n)
            p->parts[n].claimed = strtoll(pg_text_value(rows, i, 1), NULL, 10);
    }
    return ERR_NONE;
}

static enum err_code read_parts(const struct config *cfg, struct pg_session *s,
                                enum priority pool, struct pool *p,
                                struct err *err)
{
    char group[KAFKA_TOPIC_SIZE];
    struct kafka_place *places;

    p->name = priority_name(pool);
    kafka_topic(cfg, (enum topic)(TOPIC_HIGH + (int)pool), p->topic);
    snprintf(group, sizeof(group), "%.200sfoleni.%s", cfg->kafka_prefix,
             p->name);
    if (kafka_places(cfg, group, p->topic, &places, &p->parts_n, err) ||
        kafka_members(cfg, group, &p->members, err))
        return err->code;
    p->parts = must_alloc(MAX(p->parts_n, 1), sizeof(*p->parts));
    for (size_t i = 0; i < p->parts_n; i++)
        p->parts[i] = (struct part){places[i].partition, places[i].first,
                                    places[i].next, 0};
    free(places);
    return read_intake(s, p, err);
}

/* How long the first record behind intake has been in the log. */
static enum err_code read_age(const struct config *cfg, struct pool *p,
                              struct part *at, struct err *err)
{
    CLEANUP(kafka_range_close)
    struct kafka_range *range = NULL;
    const struct kafka_record *record = NULL;

    if (at->claimed >= at->next)
        return ERR_NONE;
    if (kafka_range_open(cfg, p->topic, at->partition, at->claimed, at->next,
                         &range, err) ||
        kafka_range_next(range, &record, err))
        return err->code == ERR_NOT_FOUND ? ERR_NONE : err->code;
    if (record && record->timestamp_at > 0)
        at->waits_s =
            MAX((clock_wall_at() - record->timestamp_at) / US_PER_S, 0);
    return ERR_NONE;
}

static enum err_code read_pools(const struct config *cfg, struct pg_session *s,
                                struct pool *pools, struct err *err)
{
    for (int i = 0; i < PRIORITIES_N; i++) {
        struct pool *p = &pools[i];

        if (read_parts(cfg, s, (enum priority)i, p, err))
            return err->code;
        for (size_t k = 0; k < p->parts_n; k++) {
            if (read_age(cfg, p, &p->parts[k], err))
                return err->code;
            p->lag += MAX(p->parts[k].next - p->parts[k].claimed, 0);
            p->waits_s = MAX(p->waits_s, p->parts[k].waits_s);
        }
    }
    return ERR_NONE;
}

static void free_pools(struct pool *pools)
{
    for (int i = 0; i < PRIORITIES_N; i++)
        free(pools[i].parts);
}

/* --- rates --- */

static void sums(const struct pool *p, double *claimed, double *next)
{
    *claimed = *next = 0;
    for (size_t i = 0; i < p->parts_n; i++) {
        *claimed += (double)p->parts[i].claimed;
        *next += (double)p->parts[i].next;
    }
}

/* At the rate of now, -1 = not known. Where it is more than there are
   partitions, these have to become more first. */
static int64_t workers_needed(const struct pool *p, int64_t within_s)
{
    double wanted = (double)p->lag / (double)within_s + p->arrivals_s;
    double each = p->members ? p->claims_s / p->members : 0;

    if (!p->lag)
        return p->members;
    return each > 0 ? (int64_t)(wanted / each) + 1 : -1;
}

static enum err_code measure(const struct config *cfg, struct pg_session *s,
                             struct pool *pools, struct err *err)
{
    double claimed[PRIORITIES_N], next[PRIORITIES_N];
    int64_t began_us = clock_now_us();

    for (int i = 0; i < PRIORITIES_N; i++)
        sums(&pools[i], &claimed[i], &next[i]);
    sleep(LOOK_S);
    for (int i = 0; i < PRIORITIES_N; i++) {
        struct pool later = {0};
        double c, n, s_apart;

        if (read_parts(cfg, s, (enum priority)i, &later, err)) {
            free(later.parts);
            return err->code;
        }
        sums(&later, &c, &n);
        free(later.parts);
        s_apart = (double)(clock_now_us() - began_us) / (double)US_PER_S;
        pools[i].claims_s = MAX(c - claimed[i], 0) / s_apart;
        pools[i].arrivals_s = MAX(n - next[i], 0) / s_apart;
    }
    return ERR_NONE;
}

/* --- the ledger --- */

static const char SQL_LEDGER[] =
    "SELECT p.priority, (SELECT count(*) FROM payments WHERE state = 1 "
    "AND owner IS NOT NULL AND priority = p.priority), "
    "p.paused AND coalesce(p.paused_until > now(), true), p.paused_why "
    "FROM pools p";

static enum err_code read_ledger(struct pg_session *s, struct pool *pools,
                                 struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;

    if (pg_session_exec(s, SQL_LEDGER, NULL, 0, &rows, err))
        return err_wrap(err, "could not read the pools");
    for (size_t i = 0; i < pg_text_rows_n(rows); i++) {
        size_t at = strtoul(pg_text_value(rows, i, 0), NULL, 10);
        const char *why = pg_text_value(rows, i, 3);

        if (at >= PRIORITIES_N)
            continue;
        pools[at].sending = strtoll(pg_text_value(rows, i, 1), NULL, 10);
        pools[at].paused = *pg_text_value(rows, i, 2) == 't';
        text_copy(pools[at].paused_why, sizeof(pools[at].paused_why),
                  why ? why : "");
    }
    return ERR_NONE;
}

/* --- printing --- */

static void put_pool(struct json_out *j, const struct pool *p)
{
    json_open(j, NULL, '{');
    json_put_text(j, "pool", p->name);
    json_put_int(j, "members", p->members);
    json_put_int(j, "partitions", (int64_t)p->parts_n);
    json_put_int(j, "lag_records", p->lag);
    json_put_int(j, "lag_s", p->waits_s);
    json_put_int(j, "claimed_per_s", (int64_t)p->claims_s);
    json_put_int(j, "arriving_per_s", (int64_t)p->arrivals_s);
    json_put_int(j, "sending", p->sending);
    if (p->needed < 0)
        json_put_null(j, "workers_needed");
    else
        json_put_int(j, "workers_needed", p->needed);
    json_put_bool(j, "paused", p->paused);
    json_close(j, '}');
}

static void print_pools_json(const struct pool *pools, int64_t within_s)
{
    struct buf text;
    struct json_out j = {&text, false};

    buf_init(&text, JSON_BYTES_MAX);
    json_open(&j, NULL, '{');
    json_put_int(&j, "within_s", within_s);
    json_open(&j, "pools", '[');
    for (int i = 0; i < PRIORITIES_N; i++)
        put_pool(&j, &pools[i]);
    json_close(&j, ']');
    json_close(&j, '}');
    puts(text.data);
    buf_done(&text);
}

static void print_pools(const struct pool *pools)
{
    printf("%-7s %7s %10s %9s %7s %9s %10s %8s %7s\n", "pool", "members",
           "partitions", "lag", "lag s", "claimed/s", "arriving/s", "sending",
           "needed");
    for (int i = 0; i < PRIORITIES_N; i++) {
        const struct pool *p = &pools[i];
        char needed[24] = "?";

        if (p->needed >= 0)
            snprintf(needed, sizeof(needed), "%" PRId64, p->needed);
        printf("%-7s %7d %10zu %9" PRId64 " %7" PRId64 " %9.0f %10.0f %8" PRId64
               " %7s%s%s\n",
               p->name, p->members, p->parts_n, p->lag, p->waits_s, p->claims_s,
               p->arrivals_s, p->sending, needed, p->paused ? "  paused: " : "",
               p->paused ? p->paused_why : "");
    }
}

static void print_lag_json(const struct pool *pools)
{
    struct buf text;
    struct json_out j = {&text, false};

    buf_init(&text, JSON_BYTES_MAX);
    json_open(&j, NULL, '{');
    json_open(&j, "lag", '[');
    for (int i = 0; i < PRIORITIES_N; i++)
        for (size_t k = 0; k < pools[i].parts_n; k++) {
            const struct part *at = &pools[i].parts[k];

            json_open(&j, NULL, '{');
            json_put_text(&j, "topic", pools[i].topic);
            json_put_int(&j, "partition", at->partition);
            json_put_int(&j, "claimed", at->claimed);
            json_put_int(&j, "end", at->next);
            json_put_int(&j, "lag_records", MAX(at->next - at->claimed, 0));
            json_put_int(&j, "lag_s", at->waits_s);
            json_close(&j, '}');
        }
    json_close(&j, ']');
    json_close(&j, '}');
    puts(text.data);
    buf_done(&text);
}

static void print_lag(const struct pool *pools)
{
    printf("%-32s %9s %12s %12s %9s %7s\n", "topic", "partition", "claimed",
           "end", "lag", "lag s");
    for (int i = 0; i < PRIORITIES_N; i++)
        for (size_t k = 0; k < pools[i].parts_n; k++) {
            const struct part *at = &pools[i].parts[k];

            printf("%-32s %9d %12" PRId64 " %12" PRId64 " %9" PRId64
                   " %7" PRId64 "\n",
                   pools[i].topic, (int)at->partition, at->claimed, at->next,
                   MAX(at->next - at->claimed, 0), at->waits_s);
        }
}

/* --- the commands --- */

static enum err_code show_pools(const struct cli *cli, const struct config *cfg,
                                struct pg_session *s, struct pool *pools,
                                struct err *err)
{
    int64_t within_s = WITHIN_S;

    if (cli->within && duration_read(cli->within, "within", &within_s, err))
        return err->code;
    if (read_pools(cfg, s, pools, err) || measure(cfg, s, pools, err) ||
        read_ledger(s, pools, err))
        return err->code;
    for (int i = 0; i < PRIORITIES_N; i++)
        pools[i].needed = workers_needed(&pools[i], within_s);
    if (cli_has(cli, CLI_JSON))
        print_pools_json(pools, within_s);
    else
        print_pools(pools);
    return ERR_NONE;
}

static enum err_code show_lag(const struct cli *cli, const struct config *cfg,
                              struct pg_session *s, struct pool *pools,
                              struct err *err)
{
    if (read_pools(cfg, s, pools, err))
        return err->code;
    if (cli_has(cli, CLI_JSON))
        print_lag_json(pools);
    else
        print_lag(pools);
    return ERR_NONE;
}

typedef enum err_code (*show_fn)(const struct cli *cli,
                                 const struct config *cfg, struct pg_session *s,
                                 struct pool *pools, struct err *err);

static enum err_code run(const struct cli *cli, const struct config *cfg,
                         show_fn show, struct err *err)
{
    CLEANUP(pg_session_close)
    struct pg_session *s = NULL;
    struct pool pools[PRIORITIES_N] = {0};
    enum err_code code;

    if (pg_session_open(cfg->database_conninfo, cfg->database_password, &s,
                        err))
        return err->code;
    code = show(cli, cfg, s, pools, err);
    free_pools(pools);
    return code;
}

enum err_code pools_run(const struct cli *cli, const struct config *cfg,
                        struct err *err)
{
    return run(cli, cfg, show_pools, err);
}

enum err_code lag_run(const struct cli *cli, const struct config *cfg,
                      struct err *err)
{
    return run(cli, cfg, show_lag, err);
}
