/*
 * The API's side of rule S16. An attempt's row names the key of its callback
 * path; a process that was started, or left behind, without that key can tell
 * such a callback from a forged one by the ledger alone. What the ledger says
 * is signed by a key that is missing here, and all that it cannot be asked
 * about, is kept for the workers to judge: Daraja calls once. Meanwhile this
 * process is not ready.
 */
#include "producer/producer_priv.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_US (10 * US_PER_S) /* while one is missing, or nobody answered */
#define DOUBTS_MAX 500           /* beyond: 503; each holds a body */
#define SOURCE_SIZE 64

/* --- is a key missing --- */

static void looked(void *arg, int64_t key, int64_t attempts,
                   const struct err *err)
{
    struct producer *p = arg;
    int64_t was = p->keys.attempts;

    p->keys.asking = false;
    if (err || attempts)
        timer_set(p->app->loop, &p->keys.again, clock_now_us() + AGAIN_US);
    if (err)
        return;
    p->keys.key = key;
    p->keys.attempts = attempts;
    metric_set(M_KEYS_MISSING, attempts);
    if (attempts && !was)
        log_error("callbacks", "key_missing", KV_INT("key", key),
                  KV_INT("attempts", attempts));
    else if (!attempts && was)
        log_info("callbacks", "key_not_missed", KV_INT("attempts", was));
}

static void ask(void *arg)
{
    struct producer *p = arg;

    if (p->keys.asking)
        return;
    p->keys.asking = true;
    look_keys(p->look, p->cfg->callbacks_mac_key_id,
              p->cfg->callbacks_second_mac_key_id, looked, p);
}

void producer_keys_changed(struct producer *p)
{
    timer_set(p->app->loop, &p->keys.again, clock_now_us());
}

void producer_keys_init(struct producer *p)
{
    timer_init(&p->keys.again, ask, p);
    producer_keys_changed(p);
}

void producer_keys_done(struct producer *p)
{
    timer_cancel(p->app->loop, &p->keys.again);
}

struct health producer_keys_health(const struct producer *p)
{
    struct health row = {.name = "callback_keys",
                         .needed = true,
                         .ok = !p->keys.attempts,
                         .latency_us = -1};

    if (p->keys.attempts)
        snprintf(row.note, sizeof(row.note),
                 "%lld open attempts use key %lld of callback paths, which is "
                 "not in the settings",
                 (long long)p->keys.attempts, (long long)p->keys.key);
    return row;
}

/* --- a callback that no key of ours has signed --- */

struct doubt {
    struct producer *producer;
    struct http_request *req; /* NULL = its connection is gone */
    struct producer_callback cb;
    char mac[CALLBACK_MAC_SIZE], source[SOURCE_SIZE];
    char body[];
};

static void gone(void *arg)
{
    struct doubt *d = arg;

    d->req = NULL;
}

/* Whether the row's attempt is open, and was signed by a key that is not here.
   Of payments that are over a key may be dropped, some time later. */
static bool is_missed(const struct doubt *d, const struct payment *p)
{
    return p->mac_key && !payment_state_final(p->state) &&
           !config_mac_key(d->producer->cfg, p->mac_key);
}

static void judged(void *arg, const struct payment *row, const struct err *err)
{
    struct doubt *d = arg;
    struct producer *p = d->producer;

    if (!err && row && is_missed(d, row)) {
        log_error("callbacks", "key_missing",
                  KV_ID("payment", &d->cb.path.payment),
                  KV_INT("key", row->mac_key));
        producer_keys_changed(p);
    }
    if (err || (row && is_missed(d, row)))
        producer_keep_callback(p, d->req, &d->cb, M_CALLBACKS_UNPROVEN);
    else if (d->req)
        callbacks_forged(d->req);
    else
        metric_add(M_CALLBACKS_FORGED, 1);
    p->doubts--;
    p->parked--;
    metric_set(M_PARKED, (int64_t)p->parked);
    free(d);
}

void producer_doubt(struct producer *p, struct http_request *req,
                    const struct producer_callback *cb)
{
    struct doubt *d;

    if (p->doubts == DOUBTS_MAX) {
        metric_add(M_CALLBACKS_REFUSED, 1);
        callbacks_refused(req);
        return;
    }
    d = must_alloc(1, sizeof(*d) + cb->len);
    *d = (struct doubt){.producer = p, .req = req, .cb = *cb};
    text_copy(d->mac, sizeof(d->mac), cb->path.mac);
    text_copy(d->source, sizeof(d->source), cb->source);
    memcpy(d->body, cb->body, cb->len);
    d->cb.path.mac = d->mac;
    d->cb.source = d->source;
    d->cb.body = d->body;
    p->doubts++;
    p->parked++;
    metric_set(M_PARKED, (int64_t)p->parked);
    http_on_close(req, gone, d);
    look_payment(p->look, &d->cb.path.payment, judged, d);
}
