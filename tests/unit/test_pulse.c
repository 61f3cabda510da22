/*
 * The pulse against a real server: birth, beats, trust, the deaths of others,
 * and the own end.
 */
#include "consumer/pulse.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "tests/unit/ledger.h"

#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define PATIENCE_US (60 * US_PER_S)
#define FOUND_MAX 600

struct world {
    struct loop *loop;
    struct config cfg;
    struct pg_session *other;
    struct pulse *pulse;
    int born, declared_dead, left;
    int64_t incarnation;
    int64_t db_offset_us, step_us;
    bool in_doubt;
    /* what on_orphans was told */
    struct {
        struct dead_worker dead;
        size_t n;
        int first; /* last digits of the first payment */
        int states;
    } found[FOUND_MAX];
    int found_n;
};

#define WAIT(w, cond)                                   \
    do {                                                \
        int64_t end_us_ = clock_now_us() + PATIENCE_US; \
        while (!(cond) && clock_now_us() < end_us_)     \
            loop_once((w)->loop, 10 * US_PER_MS);       \
        assert_true(cond);                              \
    } while (0)

static void on_born(void *arg, int64_t incarnation)
{
    struct world *w = arg;

    w->born++;
    w->incarnation = incarnation;
}

static void on_orphans(void *arg, const struct dead_worker *dead,
                       const struct payment *rows, size_t n)
{
    struct world *w = arg;

    if (w->found_n == FOUND_MAX)
        w->found_n = 0;
    w->found[w->found_n].dead = *dead;
    w->found[w->found_n].n = n;
    w->found[w->found_n].first = n ? rows[0].req.id.b[15] : -1;
    w->found[w->found_n].states = 0;
    for (size_t i = 0; i < n; i++)
        w->found[w->found_n].states |= 1 << rows[i].state;
    w->found_n++;
}

static void on_declared_dead(void *arg)
{
    struct world *w = arg;

    w->declared_dead++;
}

static void on_left(void *arg)
{
    struct world *w = arg;

    w->left++;
}

static void on_clock(void *arg, int64_t sent_us, int64_t db_at)
{
    struct world *w = arg;

    assert_true(sent_us <= clock_now_us());
    w->db_offset_us = db_at - clock_now_us();
}

static int64_t db_now(void *arg)
{
    struct world *w = arg;

    return w->in_doubt ? 0 : clock_now_us() + w->db_offset_us + w->step_us;
}

static int make_database(void **state)
{
    (void)state;
    return ledger_make("foleni_pulse");
}

static int set_up(void **state)
{
    struct world *w = NEW(struct world);
    struct pulse_spec spec = {
        .recorder = "/var/lib/foleni/recorder/worker-abc.rec",
        .on_born = on_born,
        .on_orphans = on_orphans,
        .on_declared_dead = on_declared_dead,
        .on_clock = on_clock,
        .db_now = db_now,
        .arg = w,
    };

    w->other = ledger_session(ledger_conninfo);
    ledger_run(w->other, "TRUNCATE payments, workers");
    w->loop = loop_new();
    w->cfg = (struct config){
        .host_id = "here",
        .database_conninfo = ledger_conninfo,
        .database_password = "",
        .worker_batch_max = 50,
        .worker_heartbeat_ms = 20,
        .worker_heartbeat_trust_ms = 200,
        .worker_heartbeat_dead_ms = 300,
        .payments_unresolved_after_ms = 600000,
    };
    w->pulse = pulse_new(w->loop, &w->cfg, &spec);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    pulse_free(w->pulse);
    pg_session_close(w->other);
    loop_free(w->loop);
    free(w);
    return 0;
}

/* --- its own life --- */

static void test_birth(void **state)
{
    struct world *w = *state;
    char sql[300];

    assert_int_equal(pulse_incarnation(w->pulse), 0);
    assert_false(pulse_trusted(w->pulse));
    WAIT(w, w->born == 1);
    assert_true(w->incarnation > 0);
    assert_int_equal(pulse_incarnation(w->pulse), w->incarnation);
    assert_true(pulse_trusted(w->pulse));
    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM workers WHERE incarnation = %lld AND "
             "host = 'here' AND pid = %d AND length(boot) = 36 AND "
             "recorder = '/var/lib/foleni/recorder/worker-abc.rec' AND "
             "settled_at IS NULL",
             (long long)w->incarnation, (int)getpid());
    assert_int_equal(ledger_ask(w->other, sql), 1);
}

static int64_t beat_at(struct world *w)
{
    return ledger_ask(w->other,
                      "SELECT (extract(epoch FROM heartbeat_at) * 1000000)"
                      "::bigint FROM workers");
}

static void test_beats(void **state)
{
    struct world *w = *state;
    int64_t first_at;

    WAIT(w, w->born == 1);
    first_at = beat_at(w);
    WAIT(w, beat_at(w) > first_at + 100 * US_PER_MS);
    assert_int_equal(w->born, 1);
    assert_int_equal(ledger_ask(w->other, "SELECT count(*) FROM workers"), 1);
}

/* A beat that nobody confirms is none, however it was sent. */
static void test_trust_needs_an_answer(void **state)
{
    struct world *w = *state;

    WAIT(w, w->born == 1);
    ledger_run(w->other, "BEGIN; LOCK TABLE workers IN EXCLUSIVE MODE");
    WAIT(w, !pulse_trusted(w->pulse));
    ledger_run(w->other, "COMMIT");
    WAIT(w, pulse_trusted(w->pulse));
    assert_int_equal(w->declared_dead, 0);
    assert_int_equal(w->born, 1);
}

/* It is dated by when it was sent: what the others see is no younger. */
static void test_a_late_answer_is_old(void **state)
{
    struct world *w = *state;
    int64_t at;

    WAIT(w, w->born == 1);
    at = beat_at(w);
    ledger_run(w->other, "BEGIN; LOCK TABLE workers IN EXCLUSIVE MODE");
    WAIT(w, !pulse_trusted(w->pulse)); /* one is on its way, and waits */
    w->cfg.worker_heartbeat_ms = 60000;
    for (int i = 0; i < 10; i++)
        loop_once(w->loop, 10 * US_PER_MS);
    ledger_run(w->other, "COMMIT");
    WAIT(w, beat_at(w) > at);
    for (int i = 0; i < 10; i++)
        loop_once(w->loop, 10 * US_PER_MS);
    assert_false(pulse_trusted(w->pulse));
}

/* Beats go on as if nothing had been; the term of before is over all the
   same. */
static void test_a_silence_ends_the_term(void **state)
{
    struct world *w = *state;
    int64_t silences = metric_get(M_SILENCES), end_us;
    unsigned term;

    w->cfg.worker_heartbeat_trust_ms = 2000;
    WAIT(w, w->born == 1);
    term = pulse_term(w->pulse);
    end_us = clock_now_us() + 300 * US_PER_MS;
    WAIT(w, clock_now_us() >= end_us);
    assert_int_equal(pulse_term(w->pulse), term); /* beats, no silence */
    end_us = clock_now_us() + 2100 * US_PER_MS;
    while (clock_now_us() < end_us) {
        /* as frozen */
    }
    assert_false(pulse_trusted(w->pulse));
    WAIT(w, pulse_trusted(w->pulse));
    assert_int_not_equal(pulse_term(w->pulse), term);
    assert_true(metric_get(M_SILENCES) > silences);
    assert_int_equal(w->born, 1);
}

static void test_a_connection_that_dies(void **state)
{
    struct world *w = *state;
    int64_t reconnects = metric_get(M_PG_RECONNECTS), at;

    WAIT(w, w->born == 1);
    ledger_run(w->other, "SELECT pg_terminate_backend(pid) FROM "
                         "pg_stat_activity WHERE application_name = "
                         "'foleni-worker pulse'");
    WAIT(w, metric_get(M_PG_RECONNECTS) > reconnects);
    at = beat_at(w);
    WAIT(w, pulse_trusted(w->pulse) && beat_at(w) > at);
    assert_int_equal(w->born, 1); /* it is the same one still */
    assert_int_equal(pulse_incarnation(w->pulse), w->incarnation);
}

static void reconnect(struct world *w)
{
    int64_t reconnects = metric_get(M_PG_RECONNECTS), at;

    ledger_run(w->other, "SELECT pg_terminate_backend(pid) FROM "
                         "pg_stat_activity WHERE application_name = "
                         "'foleni-worker pulse'");
    WAIT(w, metric_get(M_PG_RECONNECTS) > reconnects);
    at = beat_at(w);
    WAIT(w, beat_at(w) > at);
}

/* Another memory has taken the place of the one before: there is time for
   everybody to give up what was claimed of that. */
static void test_another_memory(void **state)
{
    struct world *w = *state;

    WAIT(w, w->born == 1 && pulse_quiet(w->pulse));
    assert_true(strlen(pulse_ledger(w->pulse)) > 5);
    w->cfg.worker_heartbeat_trust_ms = 600000;
    reconnect(w); /* the same one: nothing is to be waited for */
    assert_true(pulse_quiet(w->pulse));
    ledger_run(w->other, "UPDATE memory SET name = '1/2/3'");
    reconnect(w);
    WAIT(w, !pulse_quiet(w->pulse));
    assert_int_equal(
        ledger_ask(w->other, "SELECT count(*) FROM memory WHERE since IS NOT "
                             "NULL AND since < clock_timestamp() AND "
                             "name <> '1/2/3'"),
        1);
    w->cfg.worker_heartbeat_trust_ms = 200;
    reconnect(w); /* known by now, and for long enough soon */
    WAIT(w, pulse_quiet(w->pulse));
    ledger_run(w->other, "UPDATE memory SET since = NULL");
}

/* A server that has forgotten this worker must not call another one so. */
static void test_numbers_are_not_given_again(void **state)
{
    struct world *w = *state;
    char sql[200];
    int64_t mine;

    WAIT(w, w->born == 1);
    mine = w->incarnation;
    ledger_run(w->other, "TRUNCATE workers");
    snprintf(sql, sizeof(sql),
             "SELECT setval(s, %lld, false) FROM pg_get_serial_sequence("
             "'workers', 'incarnation') s WHERE s IS NOT NULL",
             (long long)mine);
    ledger_run(w->other, sql); /* were it a sequence, it would have forgotten */
    assert_int_not_equal(
        ledger_ask(w->other, "INSERT INTO workers (host, boot, pid, recorder) "
                             "VALUES ('h', 'b', 1, '') RETURNING incarnation"),
        mine);
    WAIT(w, w->declared_dead == 1);
}

static void test_declared_dead(void **state)
{
    struct world *w = *state;

    WAIT(w, w->born == 1);
    ledger_run(w->other, "UPDATE workers SET settled_at = now()");
    WAIT(w, w->declared_dead == 1);
    WAIT(w, !pulse_trusted(w->pulse));
    assert_int_equal(w->declared_dead, 1);
}

static void test_leaves(void **state)
{
    struct world *w = *state;

    WAIT(w, w->born == 1);
    pulse_leave(w->pulse, on_left, w);
    assert_false(pulse_trusted(w->pulse));
    WAIT(w, w->left == 1);
    assert_int_equal(ledger_ask(w->other, "SELECT count(*) FROM workers WHERE "
                                          "settled_at IS NOT NULL"),
                     1);
    for (int i = 0; i < 20; i++)
        loop_once(w->loop, 10 * US_PER_MS);
    assert_int_equal(w->declared_dead, 0);
    assert_int_equal(w->left, 1);
}

/* --- others --- */

/* A worker whose last heartbeat is @p age_ms old. @p host "here" has this
   machine's boot id. */
static int64_t a_worker(struct world *w, const char *host, int64_t age_ms)
{
    char sql[500];

    snprintf(sql, sizeof(sql),
             "INSERT INTO workers (host, boot, pid, recorder, heartbeat_at) "
             "VALUES ('%s', (SELECT boot FROM workers ORDER BY incarnation "
             "LIMIT 1), 1, '/r/%s.rec', clock_timestamp() - %lld * interval "
             "'1 ms') RETURNING incarnation",
             host, host, (long long)age_ms);
    return ledger_ask(w->other, sql);
}

/* Index of the last finding about @p incarnation since @p from, or -1. */
static int found(const struct world *w, int64_t incarnation, int from)
{
    for (int i = w->found_n - 1; i >= from; i--)
        if (w->found[i].dead.incarnation == incarnation)
            return i;
    return -1;
}

static void test_the_dead_of_this_host(void **state)
{
    struct world *w = *state;
    int64_t dead;
    int i;

    WAIT(w, w->born == 1);
    dead = a_worker(w, "here", 400);
    ledger_payment(w->other, 1, PAYMENT_SENDING, dead);
    ledger_payment(w->other, 2, PAYMENT_UNKNOWN, dead);
    ledger_payment(w->other, 3, PAYMENT_PROMPTED, 0);
    ledger_payment(w->other, 4, PAYMENT_SENDING, w->incarnation);
    ledger_payment(w->other, 5, PAYMENT_UNRESOLVED, dead);
    WAIT(w, (i = found(w, dead, 0)) >= 0 && w->found[i].n == 3);
    assert_true(w->found[i].dead.here);
    assert_false(w->found[i].dead.forgotten);
    assert_string_equal(w->found[i].dead.host, "here");
    assert_string_equal(w->found[i].dead.recorder, "/r/here.rec");
    assert_int_equal(w->found[i].states, 1 << PAYMENT_SENDING |
                                             1 << PAYMENT_UNKNOWN |
                                             1 << PAYMENT_UNRESOLVED);
    assert_int_equal(w->found[i].first, 1); /* sending comes first */
    assert_int_equal(metric_get(M_WORKERS_DEAD), 1);
    assert_int_equal(found(w, w->incarnation, 0), -1);
}

/* Only its sending payments: its recorder is for its own host to read. */
static void test_the_dead_of_another_host(void **state)
{
    struct world *w = *state;
    int64_t dead;
    int i;

    WAIT(w, w->born == 1);
    dead = a_worker(w, "there", 400);
    ledger_payment(w->other, 1, PAYMENT_SENDING, dead);
    ledger_payment(w->other, 2, PAYMENT_UNKNOWN, dead);
    WAIT(w, (i = found(w, dead, 0)) >= 0 && w->found[i].n == 1);
    assert_false(w->found[i].dead.here);
    assert_int_equal(w->found[i].states, 1 << PAYMENT_SENDING);
}

/* The bound is worker.heartbeat_dead_ms and nothing else. */
static void test_the_living_are_left_alone(void **state)
{
    struct world *w = *state;
    int64_t living, dead;

    WAIT(w, w->born == 1);
    w->cfg.worker_heartbeat_dead_ms = 5000; /* longer than a machine stalls */
    living = a_worker(w, "here", 0);
    dead = a_worker(w, "here", 6000);
    ledger_payment(w->other, 1, PAYMENT_SENDING, living);
    WAIT(w, found(w, dead, 0) >= 0);
    assert_int_equal(found(w, living, 0), -1);
}

/* A step of the clock makes everyone's heartbeat old: nobody is dead by it. */
static void test_nobody_dies_by_a_step(void **state)
{
    struct world *w = *state;
    int64_t dead;

    WAIT(w, w->born == 1);
    w->step_us = 3600 * US_PER_S; /* what is believed is far from its clock */
    dead = a_worker(w, "here", 400);
    ledger_payment(w->other, 1, PAYMENT_SENDING, dead);
    for (int i = 0; i < 60; i++)
        loop_once(w->loop, 10 * US_PER_MS);
    w->step_us = 0;
    w->in_doubt = true;
    for (int i = 0; i < 60; i++)
        loop_once(w->loop, 10 * US_PER_MS);
    assert_int_equal(found(w, dead, 0), -1);
    w->in_doubt = false;
    WAIT(w, found(w, dead, 0) >= 0);
}

static void test_settled(void **state)
{
    struct world *w = *state;
    int64_t dead;
    int i;

    WAIT(w, w->born == 1);
    dead = a_worker(w, "here", 400);
    WAIT(w, (i = found(w, dead, 0)) >= 0);
    assert_int_equal(w->found[i].n, 0); /* nothing is left of it */
    pulse_settled(w->pulse, dead);
    WAIT(w, ledger_ask(w->other, "SELECT count(*) FROM workers WHERE "
                                 "settled_at IS NOT NULL") == 1);
    i = w->found_n;
    for (int k = 0; k < 30; k++)
        loop_once(w->loop, 10 * US_PER_MS);
    assert_int_equal(found(w, dead, i), -1);
}

static void test_forgotten(void **state)
{
    struct world *w = *state;
    int64_t dead;
    int i;

    WAIT(w, w->born == 1);
    dead = a_worker(w, "there", 600100);
    WAIT(w, (i = found(w, dead, 0)) >= 0);
    assert_true(w->found[i].dead.forgotten);
    assert_false(w->found[i].dead.here);
}

static void test_at_most_a_batch(void **state)
{
    struct world *w = *state;
    int64_t dead;
    int i;

    WAIT(w, w->born == 1);
    dead = a_worker(w, "here", 400);
    for (int n = 1; n <= 60; n++)
        ledger_payment(w->other, n, PAYMENT_SENDING, dead);
    WAIT(w, (i = found(w, dead, 0)) >= 0 && w->found[i].n == 50);
}

/* Those who cannot be settled here, because their host is away, stand in the
   way of nobody: a whole rack may be gone. */
static void test_many_lost_hosts(void **state)
{
    struct world *w = *state;
    int64_t dead;
    int i;

    WAIT(w, w->born == 1);
    dead = a_worker(w, "there", 5000);
    ledger_payment(w->other, 1, PAYMENT_SENDING, dead);
    for (int n = 0; n < 20; n++)
        ledger_payment(w->other, 100 + n, PAYMENT_UNKNOWN,
                       a_worker(w, "rack", 400));
    WAIT(w, (i = found(w, dead, 0)) >= 0 && w->found[i].n == 1);
    WAIT(w, metric_get(M_WORKERS_DEAD) == 21);
}

/* --- whose recorders are looked for --- */

struct paths {
    int told, n;
    bool known, mine, theirs, settled;
};

static void on_recorders(void *arg, const char *const *paths, size_t n)
{
    struct paths *p = arg;

    p->told++;
    p->known = paths != NULL;
    p->n = (int)n;
    for (size_t i = 0; i < n; i++) {
        p->mine |= strcmp(paths[i], "/var/lib/foleni/recorder/"
                                    "worker-abc.rec") == 0;
        p->theirs |= strcmp(paths[i], "/elsewhere/worker-def.rec") == 0;
        p->settled |= strcmp(paths[i], "/elsewhere/worker-ghi.rec") == 0;
    }
}

/* Of the living and of the dead of any host, but not of who is settled; too
   many are as good as no answer. */
static void test_recorders_looked_for(void **state)
{
    struct world *w = *state;
    struct paths p = {0};

    WAIT(w, w->born == 1);
    ledger_run(w->other,
               "INSERT INTO workers (incarnation, host, boot, pid, recorder, "
               "settled_at) VALUES (1, 'there', 'b', 1, "
               "'/elsewhere/worker-def.rec', NULL), "
               "(2, 'there', 'b', 2, '/elsewhere/worker-ghi.rec', now()), "
               "(3, 'there', 'b', 3, '', NULL)");
    pulse_recorders(w->pulse, on_recorders, &p);
    WAIT(w, p.told == 1);
    assert_true(p.known && p.mine && p.theirs && !p.settled);
    assert_int_equal(p.n, 2);
    ledger_run(w->other,
               "INSERT INTO workers (incarnation, host, boot, pid, recorder) "
               "SELECT 3 + n, 'there', 'b', 4, 'worker-' || n "
               "FROM generate_series(1, 4095) n");
    pulse_recorders(w->pulse, on_recorders, &p);
    WAIT(w, p.told == 2);
    assert_false(p.known);
    assert_int_equal(p.n, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_birth),
        TEST(test_beats),
        TEST(test_trust_needs_an_answer),
        TEST(test_a_late_answer_is_old),
        TEST(test_a_silence_ends_the_term),
        TEST(test_a_connection_that_dies),
        TEST(test_another_memory),
        TEST(test_numbers_are_not_given_again),
        TEST(test_declared_dead),
        TEST(test_leaves),
        TEST(test_the_dead_of_this_host),
        TEST(test_the_dead_of_another_host),
        TEST(test_the_living_are_left_alone),
        TEST(test_nobody_dies_by_a_step),
        TEST(test_settled),
        TEST(test_forgotten),
        TEST(test_at_most_a_batch),
        TEST(test_many_lost_hosts),
        TEST(test_recorders_looked_for),
    };

    log_open("test_pulse", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, make_database, NULL);
}
