/*
 * `foleni recover`: compares what Kafka's groups have committed with what
 * `intake` in Postgres says, partition by partition. Where Postgres has
 * forgotten claims (a standby promoted without the last commits, a backup that
 * was restored) the records between are entered as `unknown`: they may have
 * been pushed. Where the log begins behind `intake`, requests were deleted
 * unclaimed; that has to be accepted (--skip-deleted).
 *
 * One transaction per partition, with its row in the audit trail; a run that
 * dies is run again. Workers go on with a partition by themselves, within
 * seconds. Nothing here makes a push possible that was not, so living workers
 * do not stand in its way.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/json.h"
#include "common/kafka.h"
#include "common/must.h"
#include "common/recovered.h"
#include "common/wire.h"
#include "tools/cli.h"
#include "tools/operator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_PER_STATEMENT 500
#define JSON_BYTES_MAX ((size_t)8 << 20)
#define FACTS_BYTES_MAX 1024
#define SUBJECT_SIZE (KAFKA_TOPIC_SIZE + 16)

static const char SQL_INTAKE[] =
    "SELECT next_offset FROM intake WHERE topic = $1 AND partition = $2::int";
/* Waits for a claim that is under way; a place that has no row yet is locked by
   its name. */
static const char SQL_LOCK[] =
    "SELECT pg_advisory_xact_lock(hashtextextended($1 || ':' || $2, 5)), "
    "(SELECT next_offset FROM intake WHERE topic = $1 AND partition = $2::int "
    "FOR UPDATE)";
static const char SQL_MOVE[] =
    "INSERT INTO intake AS i (topic, partition, next_offset) "
    "VALUES ($1, $2::int, $3::int8) ON CONFLICT (topic, partition) DO UPDATE "
    "SET next_offset = excluded.next_offset "
    "WHERE i.next_offset < excluded.next_offset";
static const char SQL_UNTAKEN[] =
    "SELECT count(*) FROM payments p JOIN workers w ON w.incarnation = p.owner "
    "WHERE p.state = 1 AND w.settled_at IS NULL "
    "AND w.heartbeat_at < clock_timestamp() - $1::int8 * interval '1 ms'";

/** One partition that needs something. */
struct gap {
    char topic[KAFKA_TOPIC_SIZE];
    enum topic kind;
    struct kafka_place at;
    int64_t intake;  /* 0 = no row */
    int64_t from;    /* first record that is entered          */
    int64_t to;      /* where intake has to be                */
    int64_t deleted; /* offsets before `from` that are gone   */
    size_t entered, known, bad;
    bool done;
};

struct run {
    const struct cli *cli;
    const struct config *cfg;
    struct pg_session *session;
    struct operator who;
    struct gap *gaps;
    size_t gaps_n;
    struct buf json; /* rows of one statement */
};

/* --- what is there --- */

static enum err_code read_number(struct run *run, const char *sql,
                                 const char *const *params, size_t n,
                                 size_t col, int64_t *ret, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *value;

    if (pg_session_exec(run->session, sql, params, n, &rows, err))
        return err->code;
    value = pg_text_rows_n(rows) ? pg_text_value(rows, 0, col) : NULL;
    *ret = value ? strtoll(value, NULL, 10) : 0;
    return ERR_NONE;
}

static void add_gap(struct run *run, const struct gap *gap)
{
    struct gap *more = must_alloc(run->gaps_n + 1, sizeof(*more));

    if (run->gaps_n)
        memcpy(more, run->gaps, run->gaps_n * sizeof(*more));
    more[run->gaps_n++] = *gap;
    free(run->gaps);
    run->gaps = more;
}

static enum err_code look_at(struct run *run, enum topic kind,
                             const char *topic, const struct kafka_place *at,
                             struct err *err)
{
    struct gap gap = {.kind = kind, .at = *at};
    char partition[16];
    const char *const params[] = {topic, partition};

    snprintf(gap.topic, sizeof(gap.topic), "%s", topic);
    snprintf(partition, sizeof(partition), "%d", (int)at->partition);
    if (read_number(run, SQL_INTAKE, params, 2, 0, &gap.intake, err))
        return err->code;
    gap.from = MAX(gap.intake, at->first);
    gap.to = MAX(at->committed, gap.from);
    gap.deleted = gap.from - gap.intake;
    if (gap.to > gap.intake)
        add_gap(run, &gap);
    return ERR_NONE;
}

static enum err_code look_at_pool(struct run *run, enum priority pool,
                                  struct err *err)
{
    enum topic kind = (enum topic)(TOPIC_HIGH + (int)pool);
    char topic[KAFKA_TOPIC_SIZE], group[KAFKA_TOPIC_SIZE];
    struct kafka_place *places;
    enum err_code code = ERR_NONE;
    size_t n;

    kafka_topic(run->cfg, kind, topic);
    snprintf(group, sizeof(group), "%.200sfoleni.%s", run->cfg->kafka_prefix,
             priority_name(pool));
    if (kafka_places(run->cfg, group, topic, &places, &n, err))
        return err->code;
    for (size_t i = 0; !code && i < n; i++)
        code = look_at(run, kind, topic, &places[i], err);
    free(places);
    return code;
}

static enum err_code look(struct run *run, struct err *err)
{
    for (int i = 0; i < PRIORITIES_N; i++)
        if (look_at_pool(run, (enum priority)i, err))
            return err->code;
    return ERR_NONE;
}

/* --- what is shown --- */

static void put_facts(struct json_out *j, const struct gap *g)
{
    json_put_text(j, "topic", g->topic);
    json_put_int(j, "partition", g->at.partition);
    json_put_int(j, "intake", g->intake);
    json_put_int(j, "committed", g->at.committed);
    json_put_text(j, "committed_under", g->at.metadata);
    json_put_int(j, "log_begins", g->at.first);
    json_put_int(j, "records", g->to - g->from);
    json_put_int(j, "deleted", g->deleted);
}

static void put_outcome(struct json_out *j, const struct gap *g)
{
    json_put_int(j, "intake", g->to);
    json_put_int(j, "entered", (int64_t)g->entered);
    json_put_int(j, "known", (int64_t)g->known);
    json_put_int(j, "unreadable", (int64_t)g->bad);
}

static void show_json(const struct run *run)
{
    struct buf text;
    struct json_out j = {&text, false};

    buf_init(&text, JSON_BYTES_MAX);
    json_open(&j, NULL, '{');
    json_open(&j, "partitions", '[');
    for (size_t i = 0; i < run->gaps_n; i++) {
        const struct gap *g = &run->gaps[i];

        json_open(&j, NULL, '{');
        put_facts(&j, g);
        if (g->done) {
            json_open(&j, "done", '{');
            put_outcome(&j, g);
            json_close(&j, '}');
        }
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
    puts(text.data);
    buf_done(&text);
}

static void show_plan(const struct run *run)
{
    for (size_t i = 0; i < run->gaps_n; i++) {
        const struct gap *g = &run->gaps[i];

        printf("%s [%d]: Postgres knows up to %lld, Kafka's group up to %lld, "
               "the log begins at %lld: %lld records may have been pushed, "
               "%lld are deleted\n",
               g->topic, (int)g->at.partition, (long long)g->intake,
               (long long)g->at.committed, (long long)g->at.first,
               (long long)(g->to - g->from), (long long)g->deleted);
    }
}

static void show_outcome(const struct gap *g)
{
    printf("%s [%d]: %zu payments entered as unknown, %zu were known, %zu "
           "records could not be read; goes on at %lld\n",
           g->topic, (int)g->at.partition, g->entered, g->known, g->bad,
           (long long)g->to);
    fflush(stdout);
}

/* --- what is done --- */

static enum err_code enter_rows(struct run *run, struct gap *g,
                                struct json_out *j, size_t n, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *params[1];

    if (!n)
        return ERR_NONE;
    json_close(j, ']');
    must(!run->json.failed);
    params[0] = run->json.data;
    if (pg_session_exec(run->session, recovered_enter_sql, params, 1, &rows,
                        err))
        return err->code;
    g->entered += pg_text_rows_n(rows);
    g->known += n - pg_text_rows_n(rows);
    return ERR_NONE;
}

static void begin_rows(struct run *run, struct json_out *j)
{
    buf_reset(&run->json);
    *j = (struct json_out){&run->json, false};
    json_open(j, NULL, '[');
}

/* False: no payment can be made of it; its dead letter was written before its
   claim, or will be by nobody: it is kept in the log. */
static bool put_record(struct run *run, const struct gap *g,
                       const struct kafka_record *record, struct json_out *j)
{
    struct request req;
    struct fault fault;

    if (wire_read_request(run->cfg, record, g->kind, clock_wall_at(), &req,
                          &fault)) {
        fprintf(stderr, "foleni: record %lld of %s [%d] is no payment: %s\n",
                (long long)record->offset, g->topic, (int)record->partition,
                fault.text);
        return false;
    }
    struct recovered row = {
        .req = &req,
        .topic = (int)g->kind,
        .partition = record->partition,
        .offset = record->offset,
        .deadline_at = payment_deadline(&req, record->timestamp_at,
                                        run->cfg->payments_ttl_ms * US_PER_MS),
        .attempt = 1,
    };
    recovered_put(j, &row);
    return true;
}

static enum err_code enter_range(struct run *run, struct gap *g,
                                 struct err *err)
{
    CLEANUP(kafka_range_close)
    struct kafka_range *range = NULL;
    const struct kafka_record *record;
    struct json_out j;
    size_t n = 0;

    if (kafka_range_open(run->cfg, g->topic, g->at.partition, g->from, g->to,
                         &range, err))
        return err->code;
    begin_rows(run, &j);
    while (!kafka_range_next(range, &record, err) && record) {
        if (put_record(run, g, record, &j))
            n++;
        else
            g->bad++;
        if (n < ROWS_PER_STATEMENT)
            continue;
        if (enter_rows(run, g, &j, n, err))
            return err->code;
        begin_rows(run, &j);
        n = 0;
    }
    return err->code ? err->code : enter_rows(run, g, &j, n, err);
}

static enum err_code move(struct run *run, const struct gap *g, struct err *err)
{
    char partition[16], to[24];
    const char *const params[] = {g->topic, partition, to};

    snprintf(partition, sizeof(partition), "%d", (int)g->at.partition);
    snprintf(to, sizeof(to), "%lld", (long long)g->to);
    return pg_session_exec(run->session, SQL_MOVE, params, 3, NULL, err);
}

static enum err_code audit(struct run *run, const struct gap *g,
                           struct err *err)
{
    struct buf before, after;
    struct json_out j = {&before, false}, k = {&after, false};
    char subject[SUBJECT_SIZE];
    struct operator_action done = {"recover", subject, NULL, NULL};
    enum err_code code;

    snprintf(subject, sizeof(subject), "%s/%d", g->topic, (int)g->at.partition);
    buf_init(&before, FACTS_BYTES_MAX);
    buf_init(&after, FACTS_BYTES_MAX);
    json_open(&j, NULL, '{');
    put_facts(&j, g);
    json_close(&j, '}');
    json_open(&k, NULL, '{');
    put_outcome(&k, g);
    json_close(&k, '}');
    done.before = before.data;
    done.after = after.data;
    code = operator_audit(run->session, &run->who, &done, NULL, err);
    buf_done(&before);
    buf_done(&after);
    return code;
}

/* Whether nobody moved it since it was looked at. */
static enum err_code lock(struct run *run, const struct gap *g, struct err *err)
{
    char partition[16];
    const char *const params[] = {g->topic, partition};
    int64_t now;

    snprintf(partition, sizeof(partition), "%d", (int)g->at.partition);
    if (read_number(run, SQL_LOCK, params, 2, 1, &now, err))
        return err->code;
    if (now != g->intake)
        return err_set(err, ERR_CONFLICT,
                       "%s [%d] is not where it was any more; run it again",
                       g->topic, (int)g->at.partition);
    return ERR_NONE;
}

static enum err_code recover_gap(struct run *run, struct gap *g,
                                 struct err *err)
{
    *err = (struct err){0};
    if (pg_session_exec(run->session, "BEGIN", NULL, 0, NULL, err) ||
        lock(run, g, err) || enter_range(run, g, err) || move(run, g, err) ||
        audit(run, g, err))
        return err_wrap(err, "nothing of %s [%d] was changed", g->topic,
                        (int)g->at.partition);
    if (pg_session_exec(run->session, "COMMIT", NULL, 0, NULL, err))
        return err_wrap(err,
                        "could not see whether %s [%d] was recovered; run it "
                        "again",
                        g->topic, (int)g->at.partition);
    g->done = true;
    if (!cli_has(run->cli, CLI_JSON))
        show_outcome(g);
    return ERR_NONE;
}

/* --- may it be done --- */

static int64_t sum_deleted(const struct run *run)
{
    int64_t sum = 0;

    for (size_t i = 0; i < run->gaps_n; i++)
        sum += run->gaps[i].deleted;
    return sum;
}

static int64_t sum_records(const struct run *run)
{
    int64_t sum = 0;

    for (size_t i = 0; i < run->gaps_n; i++)
        sum += run->gaps[i].to - run->gaps[i].from;
    return sum;
}

/* What a dead worker has in the air is settled first, by takeover (S11). */
static enum err_code check_owners(struct run *run, struct err *err)
{
    char dead_ms[24];
    const char *const params[] = {dead_ms};
    int64_t n;

    snprintf(dead_ms, sizeof(dead_ms), "%lld",
             (long long)run->cfg->worker_heartbeat_dead_ms);
    if (read_number(run, SQL_UNTAKEN, params, 1, 0, &n, err))
        return err->code;
    if (n && !cli_has(run->cli, CLI_FORCE))
        return err_set(err, ERR_CONFLICT,
                       "%lld payments of dead workers are not taken over yet: "
                       "start a worker, or --force",
                       (long long)n);
    return ERR_NONE;
}

static enum err_code check_deleted(const struct run *run, struct err *err)
{
    if (!sum_deleted(run) || cli_has(run->cli, CLI_SKIP_DELETED))
        return ERR_NONE;
    return err_set(err, ERR_CONFLICT,
                   "%lld requests are gone from the log and were never "
                   "claimed; what was promised to their clients is lost. "
                   "--skip-deleted accepts that",
                   (long long)sum_deleted(run));
}

static enum err_code recover(struct run *run, struct err *err)
{
    enum err_code code = ERR_NONE;

    if (check_deleted(run, err) || check_owners(run, err))
        return err->code;
    if (operator_confirm(&run->who, err,
                         "enter %lld records as unknown and give up %lld "
                         "deleted ones, in %zu partitions",
                         (long long)sum_records(run),
                         (long long)sum_deleted(run), run->gaps_n))
        return err->code;
    buf_init(&run->json, JSON_BYTES_MAX);
    for (size_t i = 0; !code && i < run->gaps_n; i++)
        code = recover_gap(run, &run->gaps[i], err);
    buf_done(&run->json);
    return code;
}

static enum err_code run_it(struct run *run, struct err *err)
{
    bool dry = cli_has(run->cli, CLI_DRY_RUN);
    bool json = cli_has(run->cli, CLI_JSON);
    enum err_code code = look(run, err);

    if (code)
        return code;
    if (!json && !run->gaps_n)
        puts("nothing to recover: Postgres knows of all that Kafka's groups "
             "have committed");
    if (!json)
        show_plan(run);
    if (run->gaps_n && !dry)
        code = recover(run, err);
    if (json && !code)
        show_json(run);
    return code;
}

enum err_code recover_run(const struct cli *cli, const struct config *cfg,
                          struct err *err)
{
    struct run run = {.cli = cli, .cfg = cfg};
    enum err_code code;

    if (!cli_has(cli, CLI_DRY_RUN) && operator_read(cli, &run.who, err))
        return err->code;
    if (pg_session_open(cfg->database_conninfo, cfg->database_password,
                        &run.session, err))
        return err->code;
    code = run_it(&run, err);
    pg_session_close(run.session);
    free(run.gaps);
    return code;
}
