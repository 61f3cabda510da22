/*
 * The driver's side of the watch over the database's clock (rule S5): beats
 * feed it, the log's append times too; a doubt is an alarm, and a person's
 * `foleni clock accept` ends it. What was written under the other time is then
 * pulled near.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "consumer/consumer_priv.h"

#include <stdio.h>

#define ASK_EVERY_US (2 * US_PER_S)

static void say_doubt(struct consumer *c, const char *why)
{
    c->accepted = -1; /* a word of before says nothing of this step */
    metric_add(M_CLOCK_STEPS, 1);
    metric_set(M_CLOCK_DOUBTED, 1);
    log_error("worker", "clock_doubted", KV("why", why),
              KV_INT("off_ms", c->clock.step_us / US_PER_MS));
}

static void say_believed(struct consumer *c, const char *why)
{
    c->far = true;
    metric_set(M_CLOCK_DOUBTED, 0);
    log_warn("worker", "clock_believed", KV("why", why));
}

void clock_answered(void *arg, int64_t sent_us, int64_t db_at)
{
    struct consumer *c = arg;

    if (!clockwatch_answer(&c->clock, sent_us, clock_now_us(), db_at))
        return;
    if (c->clock.doubted)
        say_doubt(c, "the database's clock stepped");
    else
        say_believed(c, "it is back where it went on from");
}

int64_t clock_believed(void *arg)
{
    const struct consumer *c = arg;

    return c->clock.doubted ? 0 : clockwatch_db_at(&c->clock, clock_now_us());
}

int64_t clock_expected(void *arg)
{
    const struct consumer *c = arg;

    return clockwatch_db_at(&c->clock, clock_now_us());
}

static bool of_the_future(struct consumer *c, const struct kafka_record *record)
{
    return record->append_time && c->clock.believed &&
           clockwatch_appended(&c->clock, record->timestamp_at,
                               consumer_db_now(c));
}

bool clock_batch_doubted(struct consumer *c, const struct intake_batch *b)
{
    bool doubted = false;

    for (size_t i = 0; i < b->rows_n && !doubted; i++)
        doubted = of_the_future(c, b->records[i]);
    for (size_t i = 0; i < b->bad_n && !doubted; i++)
        doubted = of_the_future(c, b->bad[i].record);
    if (doubted)
        say_doubt(c, "records of the database's future are in the log");
    return doubted;
}

static void word_came(void *arg, int64_t id)
{
    struct consumer *c = arg;

    c->asking = false;
    if (id < 0 || !c->clock.doubted)
        return;
    if (c->accepted >= 0 && id > c->accepted) {
        clockwatch_accept(&c->clock);
        say_believed(c, "a person accepted it");
    }
    c->accepted = id;
}

static void pulled_near(void *arg, const struct err *err)
{
    struct consumer *c = arg;

    c->far |= err != NULL;
    if (err)
        log_warn("worker", "rows_left_far", KV_ERR(err));
}

static void pull_near(struct consumer *c)
{
    if (!c->far || c->clock.doubted || !c->clock.believed ||
        !store_up(c->store, NULL, 0))
        return;
    c->far = false;
    store_pull_near(c->store, pulled_near, c);
}

void clock_tick(struct consumer *c)
{
    int64_t now = clock_now_us();

    pull_near(c);
    if (!c->clock.doubted || c->asking || now < c->asked_us + ASK_EVERY_US ||
        !store_up(c->store, NULL, 0))
        return;
    c->asking = true;
    c->asked_us = now;
    store_clock_word(c->store, word_came, c);
}

struct health clock_health(const struct consumer *c)
{
    struct health row = {
        .name = "clock", .ok = !c->clock.doubted, .latency_us = -1};

    if (c->clock.doubted)
        snprintf(row.note, sizeof(row.note),
                 "the database's clock is off by %lld ms; nothing is pushed or "
                 "expired",
                 (long long)(c->clock.step_us / US_PER_MS));
    return row;
}
