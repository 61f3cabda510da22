/*
 * The intake as a member of real groups, on a mock cluster: what the
 * API publishes is claimed from where Postgres says, and offsets follow.
 */
#include "consumer/intake.h"

#include "common/log.h"
#include "common/metrics.h"
#include "producer/publish.h"
#include "tests/unit/test_kafka_mock.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define CLIENT "00000000-0000-4000-8000-000000000001"
#define PER_POOL 40

struct world {
    struct mock *m;
    struct client client;
    struct shortcode shortcode;
    struct publish *publish;
    struct intake *intake;
    bool forgets; /* Postgres lost its table `intake` */
    int asked, durable;
    int64_t postgres[PRIORITIES_N + 1][MOCK_PARTS];  /* its table `intake` */
    int64_t committed[PRIORITIES_N + 1][MOCK_PARTS]; /* as told on assignment */
};

static int set_up(void **state)
{
    struct world *w = NEW(struct world);
    struct err err;

    w->m = mock_new();
    w->client = (struct client){.id = CLIENT, .signing_secret = "s3cret"};
    must(!uuid_parse(CLIENT, 36, &w->client.uuid, &err));
    w->shortcode.shortcode = 174379;
    w->m->cfg.clients = &w->client;
    w->m->cfg.clients_n = 1;
    w->m->cfg.shortcodes = &w->shortcode;
    w->m->cfg.shortcodes_n = 1;
    w->m->cfg.payments_clock_skew_ms = 30000;
    w->m->cfg.payments_ttl_ms = 900000;
    w->m->cfg.worker_pools = "high,normal,low";
    w->m->cfg.worker_batch_max = 50;
    for (int g = 0; g <= PRIORITIES_N; g++)
        for (int p = 0; p < MOCK_PARTS; p++)
            w->postgres[g][p] = KAFKA_BEGINNING;
    must(!publish_new(w->m->loop, &w->m->cfg, &w->publish, &err));
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    intake_free(w->intake);
    publish_free(w->publish);
    mock_free(w->m);
    free(w);
    return 0;
}

/* --- the rooms around it --- */

static void on_durable(void *arg, const struct err *err)
{
    struct world *w = arg;

    assert_null(err);
    w->durable++;
}

static void publish(struct world *w, int from, int n)
{
    int before = w->durable;
    struct fault fault;
    struct err err;

    for (int i = from; i < from + n; i++) {
        char body[200], key[24];
        struct request req;

        snprintf(key, sizeof(key), "k%d", i);
        snprintf(body, sizeof(body),
                 "{\"msisdn\":\"2547%08d\",\"amount\":1,\"reference\":\"A\","
                 "\"priority\":\"%s\"}",
                 i, priority_name((enum priority)(i % PRIORITIES_N)));
        must(!wire_read_body(&w->m->cfg, &w->client, key, body, strlen(body),
                             clock_wall_at(), &req, &fault));
        must(!publish_request(w->publish, &w->client, &req, key, on_durable, w,
                              &err));
    }
    MOCK_WAIT(w->m, w->durable == before + n);
}

static void on_assign(void *arg, size_t group, unsigned generation,
                      const struct kafka_position *positions, size_t n)
{
    struct world *w = arg;
    struct kafka_position at[MOCK_PARTS];

    w->asked++;
    for (size_t i = 0; i < n; i++) {
        at[i] = positions[i];
        w->committed[group][at[i].partition] = at[i].committed;
        at[i].offset =
            w->forgets ? KAFKA_BEGINNING : w->postgres[group][at[i].partition];
    }
    intake_start(w->intake, group, generation, "1/1", at, n);
}

static void on_forgotten(void *arg)
{
    struct world *w = arg;

    intake_abandon(w->intake);
}

static void open_intake(struct world *w)
{
    struct intake_spec spec = {
        .on_assign = on_assign, .on_forgotten = on_forgotten, .arg = w};
    struct err err;

    w->asked = 0;
    must(!intake_new(w->m->loop, &w->m->cfg, &spec, &w->intake, &err));
    MOCK_WAIT(w->m, w->asked == PRIORITIES_N + 1);
}

static void close_intake(struct world *w)
{
    intake_stop(w->intake);
    MOCK_WAIT(w->m, intake_quiet(w->intake));
    intake_free(TAKE(w->intake));
}

/* One claim: rows without a gap, and the table `intake` with them. */
static int claim(struct world *w)
{
    struct intake_batch *b = intake_take(w->intake, 30, clock_wall_at());
    int n;

    if (!b)
        return 0;
    assert_int_equal(b->bad_n, 0);
    for (size_t i = 0; i < b->rows_n; i++) {
        int64_t *at =
            &w->postgres[b->rows[i].topic - TOPIC_HIGH][b->rows[i].partition];

        assert_int_equal(b->rows[i].offset, MAX(*at, 0));
        *at = b->rows[i].offset + 1;
    }
    for (size_t i = 0; i < b->positions_n; i++)
        assert_true(b->positions[i].offset > 0);
    n = (int)b->rows_n;
    intake_claimed(w->intake);
    intake_done(w->intake);
    return n;
}

static void claim_all(struct world *w, int wanted)
{
    int n = 0;

    MOCK_WAIT(w->m, (n += claim(w)) >= wanted);
    assert_int_equal(n, wanted);
}

/* --- the tests --- */

static void test_claims_and_commits(void **state)
{
    struct world *w = *state;
    int64_t sum = 0;

    publish(w, 0, PRIORITIES_N * PER_POOL);
    open_intake(w);
    claim_all(w, PRIORITIES_N * PER_POOL);
    close_intake(w);
    publish(w, PRIORITIES_N * PER_POOL, PRIORITIES_N * PER_POOL);
    open_intake(w); /* goes on where Postgres says */
    for (int g = 0; g < PRIORITIES_N; g++)
        for (int p = 0; p < MOCK_PARTS; p++) {
            int64_t known = MAX(w->postgres[g][p], 0);

            assert_int_equal(MAX(w->committed[g][p], 0), known);
            sum += known;
        }
    assert_int_equal(sum, PRIORITIES_N * PER_POOL);
    claim_all(w, PRIORITIES_N * PER_POOL);
    close_intake(w);
}

/* Rule S2: Kafka's groups know of claims that Postgres does not. */
static void test_postgres_has_forgotten(void **state)
{
    struct world *w = *state;
    int64_t stopped = metric_get(M_INTAKE_STOPPED);
    struct health row;

    publish(w, 0, PRIORITIES_N * PER_POOL);
    open_intake(w);
    claim_all(w, PRIORITIES_N * PER_POOL);
    close_intake(w);
    w->forgets = true;
    open_intake(w);
    assert_true(metric_get(M_INTAKE_STOPPED) > stopped);
    assert_int_equal(intake_health(w->intake, &row, 1), 1);
    assert_false(row.ok);
    for (int i = 0; i < 30; i++) {
        loop_once(w->m->loop, 20 * US_PER_MS);
        assert_null(intake_take(w->intake, 30, clock_wall_at()));
    }
    intake_stop(w->intake);
    intake_free(TAKE(w->intake));
    w->forgets = false; /* the lost commits are back: nothing was overwritten */
    open_intake(w);
    publish(w, PRIORITIES_N * PER_POOL, 30);
    claim_all(w, 30);
    close_intake(w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_claims_and_commits),
        TEST(test_postgres_has_forgotten),
    };

    log_open("test_intake_kafka", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
