/*
 * Pull between its room and the others: tokens are the gate's, records go to
 * the notices, and silence goes to the flow.
 */
#include "consumer/consumer_priv.h"

#include "common/must.h"

#include <stdlib.h>

static const char *token(void *arg, const struct shortcode *sc,
                         int64_t *ret_version)
{
    const struct consumer *c = arg;

    return gate_token(c->gate, sc, ret_version);
}

static void token_refused(void *arg, const struct shortcode *sc,
                          int64_t version)
{
    const struct consumer *c = arg;

    gate_token_refused(c->gate, sc, version);
}

static void on_records(void *arg, const struct pull_record *rs, size_t n,
                       pull_stored_fn done, void *done_arg)
{
    const struct consumer *c = arg;
    struct notice_record *records = must_alloc(n, sizeof(*records));

    for (size_t i = 0; i < n; i++)
        records[i] = (struct notice_record){
            .source = EVIDENCE_PULL,
            .receipt = rs[i].receipt,
            .shortcode = rs[i].shortcode,
            .phone = rs[i].phone,
            .amount = rs[i].amount,
            .reference = rs[i].reference,
            .paid_at = rs[i].paid_at,
            .body = rs[i].body,
            .body_len = rs[i].body_len,
        };
    notice_put(c->notice, records, n, done, done_arg);
    free(records);
}

/* The flow asks again whether the attempt is in anybody's hands (rule S11). */
static void on_silence(void *arg, const struct uuid *payment, int attempt)
{
    struct consumer *c = arg;
    struct task *t = task_new(c, NULL, payment, FLOW_NO_MONEY);

    t->event.attempt = attempt;
    task_event(t);
}

static bool wanted(void *arg)
{
    const struct consumer *c = arg;

    return !c->stopping && !consumer_crowded(c) && notice_up(c->notice);
}

void pulls_init(struct consumer *c)
{
    struct pull_spec spec = {
        .token = token,
        .token_refused = token_refused,
        .on_records = on_records,
        .on_silence = on_silence,
        .wanted = wanted,
        .arg = c,
    };

    c->pull = pull_new(c->app->loop, c->cfg, &spec);
}
