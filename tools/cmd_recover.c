/*
 * `foleni recover`: compares what Kafka's groups have committed with what
 * `intake` in Postgres says, partition by partition. Where Postgres has
 * forgotten claims (a standby promoted without the last commits, a backup that
 * was restored) the records between are entered as `unknown`: they may have
 * been pushed. Offsets that hold no record (any more), in front of the log or
 * amid it, were requests for all that anybody knows: each is named, and that
 * they are given up has to be accepted (--skip-deleted). recover_look.c finds
 * both.
 *
 * One transaction per partition, with its row in the audit trail; a run that
 * dies is run again. Workers go on with a partition by themselves, within
 * seconds. Nothing here makes a push possible that was not, so living workers
 * do not stand in its way.
 */
#include "common/clock.h"
#include "common/must.h"
#include "common/recovered.h"
#include "common/wire.h"
#include "tools/recover.h"

#include <stdio.h>
#include <stdlib.h>

#define ROWS_PER_STATEMENT 500
#define JSON_BYTES_MAX ((size_t)8 << 20)
#define FACTS_BYTES_MAX 8192 /* of GAPS_MAX places, too */
#define SUBJECT_SIZE (KAFKA_TOPIC_SIZE + 16)

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

/* --- what is shown --- */

static void put_outcome(struct json_out *j, const struct place *g)
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
    for (size_t i = 0; i < run->places_n; i++) {
        const struct place *g = &run->places[i];

        json_open(&j, NULL, '{');
        recover_put_facts(&j, g);
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

static void show_gaps(const struct place *g)
{
    char text[OFFSETS_SIZE];

    for (size_t i = 0; i < g->gaps_n; i++)
        printf("%s [%d]: no record, whatever it was, at %s\n", g->topic,
               (int)g->at.partition, recover_offsets(&g->gaps[i], text));
    if (g->more)
        printf("%s [%d]: has more such gaps behind %lld; run it again then\n",
               g->topic, (int)g->at.partition, (long long)g->to);
}

static void show_plan(const struct run *run)
{
    for (size_t i = 0; i < run->places_n; i++) {
        const struct place *g = &run->places[i];

        printf("%s [%d]: Postgres knows up to %lld, Kafka's group up to %lld, "
               "the log begins at %lld: %lld records may have been pushed\n",
               g->topic, (int)g->at.partition, (long long)g->intake,
               (long long)g->at.committed, (long long)g->at.first,
               (long long)g->records);
        show_gaps(g);
    }
}

static void show_outcome(const struct place *g)
{
    printf("%s [%d]: %zu payments entered as unknown, %zu were known, %zu "
           "records could not be read; goes on at %lld\n",
           g->topic, (int)g->at.partition, g->entered, g->known, g->bad,
           (long long)g->to);
    fflush(stdout);
}

/* --- what is done --- */

static enum err_code enter_rows(struct run *run, struct place *g,
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
static bool put_record(struct run *run, const struct place *g,
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

static enum err_code enter_range(struct run *run, struct place *g,
                                 struct err *err)
{
    CLEANUP(kafka_range_close)
    struct kafka_range *range = NULL;
    const struct kafka_record *record;
    struct json_out j;
    size_t n = 0;

    if (kafka_range_open(run->cfg, g->topic, g->at.partition, g->from, g->till,
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

static enum err_code move(struct run *run, const struct place *g,
                          struct err *err)
{
    char partition[16], to[24];
    const char *const params[] = {g->topic, partition, to};

    snprintf(partition, sizeof(partition), "%d", (int)g->at.partition);
    snprintf(to, sizeof(to), "%lld", (long long)g->to);
    return pg_session_exec(run->session, SQL_MOVE, params, 3, NULL, err);
}

static enum err_code audit(struct run *run, const struct place *g,
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
    recover_put_facts(&j, g);
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
static enum err_code lock(struct run *run, const struct place *g,
                          struct err *err)
{
    char partition[16];
    const char *const params[] = {g->topic, partition};
    int64_t now;

    snprintf(partition, sizeof(partition), "%d", (int)g->at.partition);
    if (recover_number(run, SQL_LOCK, params, 2, 1, &now, err))
        return err->code;
    if (now != g->intake)
        return err_set(err, ERR_CONFLICT,
                       "%s [%d] is not where it was any more; run it again",
                       g->topic, (int)g->at.partition);
    return ERR_NONE;
}

static enum err_code recover_place(struct run *run, struct place *g,
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

static int64_t sum_gone(const struct run *run)
{
    int64_t sum = 0;

    for (size_t i = 0; i < run->places_n; i++)
        sum += run->places[i].gone;
    return sum;
}

static int64_t sum_records(const struct run *run)
{
    int64_t sum = 0;

    for (size_t i = 0; i < run->places_n; i++)
        sum += run->places[i].records;
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
    if (recover_number(run, SQL_UNTAKEN, params, 1, 0, &n, err))
        return err->code;
    if (n && !cli_has(run->cli, CLI_FORCE))
        return err_set(err, ERR_CONFLICT,
                       "%lld payments of dead workers are not taken over yet: "
                       "start a worker, or --force",
                       (long long)n);
    return ERR_NONE;
}

/* Each of them is named, so that nobody accepts more than he has read. */
static enum err_code check_gone(const struct run *run, struct err *err)
{
    char text[OFFSETS_SIZE], named[sizeof(err->text) / 2] = "";
    size_t used = 0;

    if (!sum_gone(run) || cli_has(run->cli, CLI_SKIP_DELETED))
        return ERR_NONE;
    for (size_t i = 0; i < run->places_n; i++) {
        const struct place *g = &run->places[i];

        for (size_t k = 0; k < g->gaps_n && used < sizeof(named); k++)
            used += (size_t)snprintf(named + used, sizeof(named) - used,
                                     "%s%s [%d] %s", used ? ", " : "", g->topic,
                                     (int)g->at.partition,
                                     recover_offsets(&g->gaps[k], text));
    }
    return err_set(err, ERR_CONFLICT,
                   "no record in the log at %s%s; whoever was promised what "
                   "stood there has lost it. --skip-deleted accepts that",
                   named, used < sizeof(named) ? "" : "...");
}

static enum err_code recover(struct run *run, struct err *err)
{
    enum err_code code = ERR_NONE;

    if (check_gone(run, err) || check_owners(run, err))
        return err->code;
    if (operator_confirm(&run->who, err,
                         "enter %lld records as unknown and give up %lld "
                         "offsets without one, in %zu partitions",
                         (long long)sum_records(run), (long long)sum_gone(run),
                         run->places_n))
        return err->code;
    buf_init(&run->json, JSON_BYTES_MAX);
    for (size_t i = 0; !code && i < run->places_n; i++)
        code = recover_place(run, &run->places[i], err);
    buf_done(&run->json);
    return code;
}

static enum err_code run_it(struct run *run, struct err *err)
{
    bool dry = cli_has(run->cli, CLI_DRY_RUN);
    bool json = cli_has(run->cli, CLI_JSON);
    enum err_code code = recover_look(run, err);

    if (code)
        return code;
    if (!json && !run->places_n)
        puts("nothing to recover: Postgres knows of all that Kafka's groups "
             "have committed");
    if (!json)
        show_plan(run);
    if (run->places_n && !dry)
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
    free(run.places);
    return code;
}
