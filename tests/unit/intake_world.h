/*
 * An intake on a Kafka in memory, with three pools and good requests for them.
 */
#ifndef FOLENI_TESTS_UNIT_INTAKE_WORLD_H
#define FOLENI_TESTS_UNIT_INTAKE_WORLD_H

#include "common/clock.h"
#include "common/loop.h"
#include "consumer/intake.h"
#include "tests/unit/fake_consumer.h"

#define CLIENT "00000000-0000-4000-8000-000000000001"
#define NOW_AT (INT64_C(1790000000) * US_PER_S)
#define HIGH fakes[0]
#define NORMAL fakes[1]
#define LOW fakes[2]
#define CALLBACKS fakes[3]

struct world {
    struct loop *loop;
    struct config cfg;
    struct client client;
    struct shortcode shortcode;
    struct intake *intake;
    /* the last question for positions */
    int asked;
    size_t group, positions_n;
    unsigned generation;
    struct kafka_position positions[FAKE_PARTS];
    int next_key;
    int forgotten;   /* batches that had to be abandoned */
    size_t go, park; /* requests that are admitted so, SIZE_MAX = all */
    unsigned paused; /* pools */
};

UNUSED static void on_assign(void *arg, size_t group, unsigned generation,
                             const struct kafka_position *positions, size_t n)
{
    struct world *w = arg;

    w->asked++;
    w->group = group;
    w->generation = generation;
    w->positions_n = n;
    memcpy(w->positions, positions, n * sizeof(*positions));
}

UNUSED static void on_forgotten(void *arg)
{
    struct world *w = arg;

    w->forgotten++;
    intake_abandon(w->intake);
}

/* So many may go, so many more be parked; the others are held. */
UNUSED static enum intake_admission on_admit(void *arg, struct claim_row *row,
                                             bool places)
{
    struct world *w = arg;

    must(row->deadline_at > NOW_AT);
    if (places && w->go) {
        w->go--;
        return INTAKE_GO;
    }
    if (!w->park)
        return INTAKE_HOLD;
    w->park--;
    return INTAKE_PARK;
}

UNUSED static bool on_paused(void *arg, enum priority pool)
{
    const struct world *w = arg;

    return w->paused >> pool & 1u;
}

UNUSED static int open_with(void **state, const char *pools, int64_t batch_max)
{
    struct world *w = NEW(struct world);
    struct intake_spec spec = {on_assign, on_forgotten, on_admit, on_paused, w};
    struct err err;

    fakes_n = 0;
    w->go = SIZE_MAX;
    w->loop = loop_new();
    w->client = (struct client){.id = CLIENT, .signing_secret = ""};
    must(!uuid_parse(CLIENT, 36, &w->client.uuid, &err));
    w->shortcode.shortcode = 174379;
    w->cfg = (struct config){
        .kafka_prefix = "t.",
        .kafka_unsigned_requests = true,
        .worker_pools = pools,
        .worker_batch_max = batch_max,
        .payments_ttl_ms = 900000,
        .payments_clock_skew_ms = 30000,
        .clients = &w->client,
        .clients_n = 1,
        .shortcodes = &w->shortcode,
        .shortcodes_n = 1,
    };
    must(!intake_new(w->loop, &w->cfg, &spec, &w->intake, &err));
    *state = w;
    return 0;
}

UNUSED static int set_up(void **state)
{
    return open_with(state, "high,normal,low", 100);
}

UNUSED static int set_up_low(void **state)
{
    return open_with(state, "low", 100);
}

UNUSED static int tear_down(void **state)
{
    struct world *w = *state;

    intake_free(w->intake);
    loop_free(w->loop);
    free(w);
    return 0;
}

/* --- the world's doing --- */

/* Answers the last question: every partition from @p offset on. */
UNUSED static void answer(struct world *w, int64_t offset)
{
    for (size_t i = 0; i < w->positions_n; i++)
        w->positions[i].offset = offset;
    intake_start(w->intake, w->group, w->generation, "1/1", w->positions,
                 w->positions_n);
}

UNUSED static void start(struct world *w, struct kafka_consumer *c,
                         size_t parts, int64_t offset)
{
    fake_assign(c, parts);
    answer(w, offset);
}

UNUSED static enum priority priority_of(const struct kafka_consumer *c)
{
    return c == HIGH     ? PRIORITY_HIGH
           : c == NORMAL ? PRIORITY_NORMAL
                         : PRIORITY_LOW;
}

UNUSED static struct kafka_taken *add_named(struct world *w,
                                            struct kafka_consumer *c,
                                            int32_t partition, int64_t offset,
                                            const char *name, int amount)
{
    struct kafka_taken *t;
    char value[400];

    snprintf(value, sizeof(value),
             "{\"version\":1,\"idempotency_key\":\"%s\",\"msisdn\":"
             "\"254708374149\",\"amount\":%d,\"reference\":\"INV1\","
             "\"priority\":\"%s\"}",
             name, amount,
             fakes_n == 2 ? "low" : priority_name(priority_of(c)));
    (void)w;
    t = fake_add(c, partition, offset, "254708374149", value);
    snprintf(t->time, sizeof(t->time), "%lld",
             (long long)(NOW_AT / US_PER_MS) - 5000);
    t->record.timestamp_at = NOW_AT - 4 * US_PER_S;
    fake_header(t, HDR_CLIENT, CLIENT);
    fake_header(t, HDR_TIME, t->time);
    return t;
}

/* Good requests at offsets @p from .. @p from + @p n - 1. */
UNUSED static void add(struct world *w, struct kafka_consumer *c,
                       int32_t partition, int64_t from, int n)
{
    char name[24];

    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "k%d", w->next_key++);
        add_named(w, c, partition, from + i, name, 100);
    }
}

UNUSED static struct intake_batch *take(struct world *w, size_t credit)
{
    return intake_take(w->intake, credit, NOW_AT);
}

UNUSED static void done(struct world *w)
{
    intake_claimed(w->intake);
    intake_done(w->intake);
}

/* One batch, finished at once; its rows of each pool are counted. */
UNUSED static size_t take_all(struct world *w, size_t credit,
                              size_t ret_of[PRIORITIES_N])
{
    struct intake_batch *b = take(w, credit);
    size_t n;

    if (!b)
        return 0;
    n = b->rows_n;
    for (size_t i = 0; i < n; i++)
        ret_of[b->rows[i].topic - TOPIC_HIGH]++;
    done(w);
    return n;
}

/* Until the commit timer has rung. */
UNUSED static void tick(struct world *w)
{
    int64_t end_us = clock_now_us() + 250 * US_PER_MS;

    while (clock_now_us() < end_us)
        loop_once(w->loop, 10 * US_PER_MS);
}

UNUSED static const struct kafka_position *
position(const struct intake_batch *b, enum topic topic, int32_t partition)
{
    char suffix[20];

    snprintf(suffix, sizeof(suffix), ".%s",
             priority_name((enum priority)(topic - TOPIC_HIGH)));
    for (size_t i = 0; i < b->positions_n; i++)
        if (b->positions[i].partition == partition &&
            strstr(b->positions[i].topic, suffix))
            return &b->positions[i];
    return NULL;
}

#endif
