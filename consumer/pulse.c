/*
 * One connection, two statements on timers: beat, and look for the dead. The
 * heartbeat that counts is a confirmed one, dated by when it was sent: what the
 * others see can only be younger.
 *
 * A server that was restarted, or a standby in another's place, has old
 * heartbeats of the living: nobody is looked for before everyone had the time
 * to come back.
 *
 * A dead worker's rows are handed out round after round until none is left that
 * needs anything; the driver then says pulse_settled().
 */
#include "consumer/pulse.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/payment_row.h"
#include "common/pg.h"
#include "consumer/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { Q_MEMORY, Q_BIRTH, Q_BEAT, Q_DEAD, Q_ORPHANS, Q_SETTLED, Q_RECORDERS };

/* Dead workers looked at in one round; the rest come in the next. */
#define DEAD_PER_ROUND 8
#define LOOKS_PER_DEATH 6 /* rounds within worker.heartbeat_dead_ms */

static const struct pg_statement statements[] = {
    /* Who comes first says when. Nothing is found by who comes second in the
       same moment: it asks again. */
    [Q_MEMORY] = {"pulse_memory",
                  "WITH n AS (SELECT " LEDGER_NAME
                  " AS name FROM pg_control_system()), "
                  "u AS (UPDATE memory m SET name = n.name, since = CASE "
                  "WHEN m.name = '' THEN NULL ELSE clock_timestamp() END "
                  "FROM n WHERE m.name <> n.name RETURNING m.name, m.since), "
                  "f AS (SELECT * FROM u UNION ALL "
                  "SELECT m.name, m.since FROM memory m JOIN n USING (name)) "
                  "SELECT name, coalesce((extract(epoch FROM clock_timestamp() "
                  "- since) * 1000000)::bigint, $1::bigint) FROM f"},
    [Q_BIRTH] = {"pulse_birth",
                 "INSERT INTO workers (host, boot, pid, recorder) "
                 "VALUES ($1, $2, $3, $4) RETURNING incarnation, "
                 "clock_timestamp()"},
    [Q_BEAT] = {"pulse_beat",
                "UPDATE workers SET heartbeat_at = clock_timestamp(), "
                "host_at = $2::timestamptz "
                "WHERE incarnation = $1 AND settled_at IS NULL "
                "RETURNING heartbeat_at"},
    /* Whom nobody here can settle, and who has nothing in the air that must be
       taken over, stands in nobody's way: a lost host may have had many. */
    [Q_DEAD] = {"pulse_dead",
                "WITH dead AS ("
                "SELECT incarnation, host, boot, recorder, heartbeat_at, "
                "heartbeat_at < clock_timestamp() "
                "    - $4::bigint * interval '1 microsecond' AS forgotten, "
                "host = $5 AND boot = $6 AS here FROM workers "
                "WHERE settled_at IS NULL AND incarnation <> $1 "
                "AND heartbeat_at < clock_timestamp() "
                "    - $2::bigint * interval '1 microsecond' "
                "AND pg_postmaster_start_time() < clock_timestamp() "
                "    - $2::bigint * interval '1 microsecond' "
                "AND clock_timestamp() BETWEEN $7::timestamptz - interval '5 s'"
                " AND $7::timestamptz + interval '5 s') "
                "SELECT n.count, d.incarnation, d.host, d.boot, d.recorder, "
                "d.forgotten, d.here "
                "FROM (SELECT count(*) FROM dead) n LEFT JOIN "
                "(SELECT * FROM dead w WHERE here OR forgotten "
                "OR EXISTS (SELECT FROM payments p "
                "WHERE p.owner = w.incarnation AND p.state = 1) "
                "ORDER BY heartbeat_at DESC LIMIT $3::int) d ON true"},
    [Q_ORPHANS] = {"pulse_orphans",
                   "SELECT " PAYMENT_COLUMNS " FROM payments p "
                   "WHERE p.owner = $1 AND p.state IN (1, 4, 5) "
                   "AND (p.state = 1 OR $2) "
                   "ORDER BY p.state, p.id LIMIT $3::int"},
    [Q_SETTLED] = {"pulse_settled", "UPDATE workers SET settled_at = now() "
                                    "WHERE incarnation = $1"},
    [Q_RECORDERS] = {"pulse_recorders",
                     "SELECT recorder FROM workers WHERE settled_at IS NULL "
                     "AND recorder <> '' LIMIT $1::int"},
};

struct look {
    struct pulse *pulse;
    struct dead_worker dead;
};

struct pulse {
    struct loop *loop;
    const struct config *cfg;
    struct pulse_spec spec;
    struct pg *pg;
    int64_t incarnation;
    char host[65], boot[40];
    int64_t sent_us;          /* when the beat in flight was sent, 0 = none */
    int64_t confirmed_us;     /* when the last confirmed one was sent       */
    unsigned term;            /* of trust, +1 with each silence */
    char ledger[LEDGER_SIZE]; /* whose memory it is */
    bool known;               /* ... on this connection */
    int64_t quiet_us;         /* when nothing of before goes out any more */
    bool registering, looking, leaving;
    int64_t look_from_us; /* others may still be on their way to this server */
    size_t looks;         /* orphan queries in flight */
    struct loop_timer beat, watch;
    void (*on_left)(void *arg);
    void *left_arg;
    struct payment *rows; /* of one orphan query */
};

static void read_host(struct pulse *p)
{
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

    if (*p->cfg->host_id)
        text_copy(p->host, sizeof(p->host), p->cfg->host_id);
    else if (gethostname(p->host, sizeof(p->host)))
        text_copy(p->host, sizeof(p->host), "unknown");
    p->host[sizeof(p->host) - 1] = '\0';
    if (!f)
        return;
    if (!fgets(p->boot, 37, f))
        p->boot[0] = '\0';
    fclose(f);
}

/* --- birth and beat --- */

static bool fresh(const struct pulse *p)
{
    return clock_now_us() - p->confirmed_us <
           p->cfg->worker_heartbeat_trust_ms * US_PER_MS;
}

/* The last beat is at its oldest just before the next is confirmed; was it too
   old then, a process that was frozen hears of it here. */
static void confirm(struct pulse *p)
{
    if (!fresh(p)) {
        p->term++;
        metric_add(M_SILENCES, p->confirmed_us != 0);
    }
    p->confirmed_us = p->sent_us;
    p->sent_us = 0;
}

static void born(void *arg, struct pg_result *const *results, size_t n,
                 const struct err *err)
{
    struct pulse *p = arg;

    (void)n;
    p->registering = false;
    if (err) {
        p->sent_us = 0;
        log_warn("pulse", "not_registered", KV_ERR(err));
        return;
    }
    p->incarnation = pg_get_int(results[0], 0, 0);
    p->spec.on_clock(p->spec.arg, p->sent_us, pg_get_time(results[0], 0, 1));
    confirm(p);
    log_info("pulse", "registered", KV_INT("incarnation", p->incarnation),
             KV("host", p->host));
    p->spec.on_born(p->spec.arg, p->incarnation);
}

static void send_birth(struct pulse *p)
{
    struct pg_params *q = pg_params(p->pg);

    p->registering = true;
    pg_text(q, p->host);
    pg_text(q, p->boot);
    pg_int4(q, (int32_t)getpid());
    pg_text(q, p->spec.recorder);
    pg_send(p->pg, Q_BIRTH, q);
    pg_sync(p->pg, born, p);
}

/* No row: somebody settled this incarnation, which thus was dead for long.
   It must not push another thing: the process ends and is started anew. */
static void beaten(void *arg, struct pg_result *const *results, size_t n,
                   const struct err *err)
{
    struct pulse *p = arg;

    (void)n;
    if (err) {
        p->sent_us = 0;
        return;
    }
    if (pg_rows(results[0]) == 1) {
        p->spec.on_clock(p->spec.arg, p->sent_us,
                         pg_get_time(results[0], 0, 0));
        confirm(p);
        return;
    }
    log_error("pulse", "declared_dead", KV_INT("incarnation", p->incarnation));
    p->spec.on_declared_dead(p->spec.arg);
}

static void send_beat(struct pulse *p)
{
    struct pg_params *q = pg_params(p->pg);

    pg_int8(q, p->incarnation);
    pg_time(q, clock_wall_at());
    pg_send(p->pg, Q_BEAT, q);
    pg_sync(p->pg, beaten, p);
}

/* Before the first beat on a connection: that one would confirm claims which
   this memory may have lost. */
static void remembered(void *arg, struct pg_result *const *results, size_t n,
                       const struct err *err)
{
    struct pulse *p = arg;
    int64_t trust_us = p->cfg->worker_heartbeat_trust_ms * US_PER_MS, ago_us;
    const char *name;

    (void)n;
    p->sent_us = 0;
    if (err)
        log_warn("pulse", "memory_unread", KV_ERR(err));
    if (err || !pg_rows(results[0]))
        return; /* the next beat asks again */
    timer_set(p->loop, &p->beat, clock_now_us());
    name = pg_get_text(results[0], 0, 0, NULL);
    ago_us = MAX(pg_get_int(results[0], 0, 1), 0);
    p->quiet_us = clock_now_us() + MAX(trust_us - ago_us, 0);
    p->known = true;
    if (strcmp(name, p->ledger) == 0)
        return;
    log_info("pulse", "ledger", KV("was", p->ledger), KV("is", name),
             KV_INT("found_ago_us", ago_us));
    text_copy(p->ledger, sizeof(p->ledger), name);
    p->term++;
}

static void ask_memory(struct pulse *p)
{
    struct pg_params *q = pg_params(p->pg);

    pg_int8(q, p->cfg->worker_heartbeat_trust_ms * US_PER_MS);
    pg_send(p->pg, Q_MEMORY, q);
    pg_sync(p->pg, remembered, p);
}

static void beat(void *arg)
{
    struct pulse *p = arg;
    int64_t now = clock_now_us();

    timer_set(p->loop, &p->beat, now + p->cfg->worker_heartbeat_ms * US_PER_MS);
    if (p->leaving || p->sent_us || p->registering || !pg_up(p->pg, NULL, 0))
        return;
    p->sent_us = now;
    if (!p->known)
        ask_memory(p);
    else if (p->incarnation)
        send_beat(p);
    else
        send_birth(p);
}

bool pulse_trusted(const struct pulse *p)
{
    return p->incarnation && !p->leaving && fresh(p);
}

unsigned pulse_term(const struct pulse *p)
{
    return p->term;
}

const char *pulse_ledger(const struct pulse *p)
{
    return p->ledger;
}

bool pulse_quiet(const struct pulse *p)
{
    return *p->ledger && clock_now_us() >= p->quiet_us;
}

int64_t pulse_incarnation(const struct pulse *p)
{
    return p->incarnation;
}

/* --- the dead --- */

static void orphans_found(void *arg, struct pg_result *const *results, size_t n,
                          const struct err *err)
{
    struct look *look = arg;
    struct pulse *p = look->pulse;
    size_t rows;

    (void)n;
    p->looks--;
    if (!err) {
        rows = pg_rows(results[0]);
        for (size_t i = 0; i < rows; i++)
            payment_row_read(results[0], i, 0, &p->rows[i]);
        p->spec.on_orphans(p->spec.arg, &look->dead, p->rows, rows);
    }
    free(look);
}

static void look_at(struct pulse *p, const struct pg_result *r, size_t row)
{
    struct look *look = NEW(struct look);
    struct pg_params *q = pg_params(p->pg);

    look->pulse = p;
    look->dead.incarnation = pg_get_int(r, row, 1);
    text_copy(look->dead.host, sizeof(look->dead.host),
              pg_get_text(r, row, 2, NULL));
    text_copy(look->dead.boot, sizeof(look->dead.boot),
              pg_get_text(r, row, 3, NULL));
    text_copy(look->dead.recorder, sizeof(look->dead.recorder),
              pg_get_text(r, row, 4, NULL));
    look->dead.forgotten = pg_get_bool(r, row, 5);
    look->dead.here = pg_get_bool(r, row, 6);
    p->looks++;
    pg_int8(q, look->dead.incarnation);
    pg_bool(q, look->dead.here);
    pg_int4(q, (int32_t)p->cfg->worker_batch_max);
    pg_send(p->pg, Q_ORPHANS, q);
    pg_sync(p->pg, orphans_found, look);
}

static void dead_found(void *arg, struct pg_result *const *results, size_t n,
                       const struct err *err)
{
    struct pulse *p = arg;

    (void)n;
    p->looking = false;
    if (err)
        return;
    /* a first row always: with how many there are, and nobody when none is for
       us */
    metric_set(M_WORKERS_DEAD, pg_get_int(results[0], 0, 0));
    for (size_t i = 0; i < pg_rows(results[0]); i++)
        if (!pg_is_null(results[0], i, 1))
            look_at(p, results[0], i);
}

void pulse_look(struct pulse *p)
{
    int64_t db_now_at = p->spec.db_now(p->spec.arg);
    struct pg_params *q;

    if (!db_now_at || p->looking || p->looks || p->leaving || !p->incarnation ||
        !pg_up(p->pg, NULL, 0) || clock_now_us() < p->look_from_us)
        return;
    p->looking = true;
    q = pg_params(p->pg);
    pg_int8(q, p->incarnation);
    pg_int8(q, p->cfg->worker_heartbeat_dead_ms * US_PER_MS);
    pg_int4(q, DEAD_PER_ROUND);
    pg_int8(q, p->cfg->payments_unresolved_after_ms * US_PER_MS);
    pg_text(q, p->host);
    pg_text(q, p->boot);
    pg_time(q, db_now_at);
    pg_send(p->pg, Q_DEAD, q);
    pg_sync(p->pg, dead_found, p);
}

static void watch(void *arg)
{
    struct pulse *p = arg;

    pulse_look(p);
    timer_set(p->loop, &p->watch,
              clock_now_us() + p->cfg->worker_heartbeat_dead_ms * US_PER_MS /
                                   LOOKS_PER_DEATH);
}

static void nothing(void *arg, struct pg_result *const *results, size_t n,
                    const struct err *err)
{
    (void)arg, (void)results, (void)n, (void)err; /* looked at again if lost */
}

static void send_settled(struct pulse *p, int64_t incarnation, pg_done_fn done)
{
    struct pg_params *q = pg_params(p->pg);

    pg_int8(q, incarnation);
    pg_send(p->pg, Q_SETTLED, q);
    pg_sync(p->pg, done, p);
}

void pulse_settled(struct pulse *p, int64_t incarnation)
{
    send_settled(p, incarnation, nothing);
}

/* --- whose recorders are looked for --- */

struct ask {
    void (*done)(void *arg, const char *const *paths, size_t n);
    void *arg;
};

static void recorders_read(void *arg, struct pg_result *const *results,
                           size_t n, const struct err *err)
{
    struct ask *ask = arg;
    size_t rows = err ? 0 : pg_rows(results[0]);
    const char **paths = NULL;

    (void)n;
    if (!err && rows <= PULSE_RECORDERS_MAX)
        paths = must_alloc(MAX(rows, 1), sizeof(*paths));
    for (size_t i = 0; paths && i < rows; i++)
        paths[i] = pg_get_text(results[0], i, 0, NULL);
    ask->done(ask->arg, paths, paths ? rows : 0);
    free(paths);
    free(ask);
}

void pulse_recorders(struct pulse *p,
                     void (*done)(void *arg, const char *const *paths,
                                  size_t n),
                     void *arg)
{
    struct ask *ask = NEW(struct ask);
    struct pg_params *q = pg_params(p->pg);

    *ask = (struct ask){done, arg};
    pg_int4(q, PULSE_RECORDERS_MAX + 1);
    pg_send(p->pg, Q_RECORDERS, q);
    pg_sync(p->pg, recorders_read, ask);
}

/* --- the end --- */

static void left(void *arg, struct pg_result *const *results, size_t n,
                 const struct err *err)
{
    struct pulse *p = arg;

    (void)results, (void)n;
    if (err)
        log_warn("pulse", "not_signed_off", KV_ERR(err));
    p->on_left(p->left_arg);
}

void pulse_leave(struct pulse *p, void (*done)(void *arg), void *arg)
{
    p->leaving = true;
    p->on_left = done;
    p->left_arg = arg;
    send_settled(p, p->incarnation, left);
}

static void on_state(void *arg, bool up)
{
    struct pulse *p = arg;

    p->looking = p->known = false;
    if (!up)
        return;
    p->look_from_us =
        clock_now_us() + p->cfg->worker_heartbeat_dead_ms * US_PER_MS;
    timer_set(p->loop, &p->beat, clock_now_us());
}

struct pulse *pulse_new(struct loop *loop, const struct config *cfg,
                        const struct pulse_spec *spec)
{
    struct pulse *p = NEW(struct pulse);
    struct pg_spec pg = {
        .conninfo = cfg->database_conninfo,
        .password = cfg->database_password,
        .application_name = "foleni-worker pulse",
        .statements = statements,
        .statements_n = ARRAY_LEN(statements),
        .units_max = 64,
        .on_state = on_state,
        .arg = p,
    };

    p->loop = loop;
    p->cfg = cfg;
    p->spec = *spec;
    p->rows = must_alloc((size_t)cfg->worker_batch_max, sizeof(*p->rows));
    read_host(p);
    timer_init(&p->beat, beat, p);
    timer_init(&p->watch, watch, p);
    p->pg = pg_new(loop, &pg);
    beat(p);
    watch(p);
    return p;
}

void pulse_free(struct pulse *p)
{
    if (!p)
        return;
    timer_cancel(p->loop, &p->beat);
    timer_cancel(p->loop, &p->watch);
    pg_free(p->pg);
    free(p->rows);
    free(p);
}
