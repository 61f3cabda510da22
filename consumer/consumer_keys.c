/*
 * The driver's side of rule S16: an attempt whose callback path was signed by
 * a key that this fleet has no more would never hear its callback. A reload
 * refuses that; whoever is started anew with other settings is told here: it
 * is not ready, and an alarm stands in the ledger until a person has seen it.
 * Callbacks that such a key has signed are kept as they came, since they cannot
 * be told from forged ones; the queries settle their payments.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "consumer/consumer_priv.h"

#include <stdio.h>

#define AGAIN_US (10 * US_PER_S) /* while one is missing, or nobody answered */

static void looked(void *arg, int64_t key, int64_t attempts,
                   const struct err *err)
{
    struct consumer *c = arg;
    int64_t was = c->keys.attempts ? c->keys.key : 0;

    c->keys.asking = false;
    c->keys.next_us = clock_now_us() + AGAIN_US;
    if (err)
        return;
    c->keys.looked = true;
    c->keys.key = key;
    c->keys.attempts = attempts;
    metric_set(M_KEYS_MISSING, attempts);
    if (attempts && !was)
        log_error("worker", "key_missing", KV_INT("key", key),
                  KV_INT("attempts", attempts));
    else if (!attempts && was)
        log_info("worker", "key_not_missed", KV_INT("key", was));
}

void keys_tick(struct consumer *c)
{
    if (c->keys.asking || (c->keys.looked && !c->keys.attempts) ||
        clock_now_us() < c->keys.next_us || !store_up(c->store, NULL, 0))
        return;
    c->keys.asking = true;
    store_keys_missing(c->store, looked, c);
}

void keys_changed(struct consumer *c)
{
    c->keys.looked = false;
    c->keys.next_us = 0;
}

void keys_doubt(struct consumer *c, const struct kafka_record *record,
                const struct callback_address *at)
{
    struct task *t = task_new(c, NULL, &at->payment, FLOW_CALLBACK);

    t->unproven = t->from_topic = true;
    t->record = record;
    t->event.attempt = at->attempt;
    c->callbacks_open++;
    task_event(t);
}

void keys_judge(struct task *t, const struct payment *row)
{
    struct consumer *c = t->consumer;

    if (row && row->mac_key && !payment_state_final(row->state) &&
        !config_mac_key(c->cfg, row->mac_key)) {
        log_error("worker", "callback_not_judged",
                  KV_ID("payment", &row->req.id), KV_INT("key", row->mac_key));
        keys_changed(c);
        task_keep_stray(t, "its key is not in the settings");
        return;
    }
    metric_add(M_CALLBACK_BAD_MAC, 1);
    log_warn("worker", "callback_refused", KV_ID("payment", &t->seen.req.id),
             KV("why", "no key of ours has made its MAC"));
    task_end(t);
}

struct health keys_health(const struct consumer *c)
{
    struct health row = {.name = "callback_keys",
                         .needed = true,
                         .ok = !c->keys.attempts,
                         .latency_us = -1};

    if (c->keys.attempts)
        snprintf(row.note, sizeof(row.note),
                 "%lld open attempts use key %lld of callback paths, which is "
                 "not in the settings",
                 (long long)c->keys.attempts, (long long)c->keys.key);
    return row;
}
