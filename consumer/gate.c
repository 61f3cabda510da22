/*
 * Pushes and queries. Each comes from a slab of `struct gate_call`, waits in a
 * list for its token and a free slot, goes out through common/call, and ends
 * exactly once through its done callback, always from the loop.
 *
 * The line between "proven not sent" and "unknown" is before_push(): it runs
 * just before the first byte and either refuses (not sent) or marks the flight
 * recorder and lets go. What happens after it is unknown until an answer says
 * otherwise.
 */
#include "consumer/gate.h"

#include "common/clock.h"
#include "common/heap.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/sign.h"
#include "common/windows.h"
#include "consumer/gate_priv.h"
#include "consumer/recorder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX 8192
#define QUERY_TIMEOUT_MS 20000
/* Queries that may be open or wait for a token: this part of the slots. They
   take none from the pushes. */
#define QUERY_SHARE 4
#define QUERIES_MIN 16
#define OVERTAKEN_MAX \
    8 /* times that a waiting push is overtaken by higher ones */
#define SPARE_CALLS 8 /* for tokens */
#define QUERY_LEASE_US (20 * US_PER_S)
/* Of a prober's lease: its end has to be told as well. */
#define PROBE_SHARE_PERCENT 80
#define PROBE_ID "ws_CO_00000000000000000000000000000" /* of no prompt */
/* An answer that a query of an open or an unknown prompt gets too. */
#define QUERY_PENDING_CODE "500.001.1001"

struct gate_call {
    struct list node;       /* in free, waiting or ended */
    struct heap_node paced; /* or in here, until its line lets it begin */
    struct gate *gate;
    struct uuid payment;
    int attempt;
    struct recorder_source source;
    char mac[CALLBACK_MAC_SIZE]; /* of the callback's path */
    enum priority priority;
    int overtaken; /* by higher ones, while it waits */
    int64_t msisdn, amount;
    const struct shortcode *to;
    char reference[REFERENCE_MAX + 1], description[DESCRIPTION_MAX + 1];
    char checkout_id[CHECKOUT_ID_MAX + 1]; /* of a query */
    bool query, stopped;
    int64_t timeout_ms; /* of a query */
    int64_t lease_end_us, began_us;
    struct gate_right right; /* of a push */
    int64_t token_version;   /* that it carried                         */
    int64_t refused_version; /* the token must be newer                 */
    const char *refused;     /* why before_push() said no, or NULL      */
    struct gate_result result;
    gate_done_fn done;
    void *arg;
};

struct gate {
    struct loop *loop;
    const struct config *cfg;
    struct gate_spec spec;
    struct calls *calls;
    struct tokens *tokens;
    struct gate_call *slab;
    struct list free, waiting, ended;
    struct heap paced;           /* pushes that wait for their time */
    struct loop_timer next_push; /* when the first of them may go   */
    size_t slots;                /* pushes that may be out at once           */
    size_t queries_max;
    size_t pushes;  /* given to call_start(), not ended      */
    size_t queries; /* taken from the slab, also those that wait */
    size_t open;    /* everything taken from the slab        */
    struct buf body, url;
    struct loop_timer leases; /* looks for leases that ran out  */
};

/* --- the two requests --- */

static void add_password(struct buf *b, const struct shortcode *sc,
                         const char *stamp)
{
    char plain[SECRET_MAX + 64];
    int n = snprintf(plain, sizeof(plain), "%lld%s%s", (long long)sc->shortcode,
                     sc->passkey, stamp);

    must(n > 0 && (size_t)n < sizeof(plain));
    sign_base64(b, plain, (size_t)n);
    sign_wipe(plain, sizeof(plain));
}

static void write_head(struct gate *g, const struct gate_call *c)
{
    char stamp[15];

    clock_format_eat(clock_wall_at(), stamp);
    buf_reset(&g->body);
    buf_addf(&g->body, "{\"BusinessShortCode\":\"%lld\",\"Password\":\"",
             (long long)c->to->shortcode);
    add_password(&g->body, c->to, stamp);
    buf_addf(&g->body, "\",\"Timestamp\":\"%s\"", stamp);
}

/* The request of M-Pesa Express; every text is of a harmless alphabet. */
static void write_push(struct gate *g, const struct gate_call *c)
{
    char id[UUID_TEXT_SIZE];

    uuid_format(&c->payment, id);
    write_head(g, c);
    buf_addf(&g->body,
             ",\"TransactionType\":\"%s\",\"Amount\":\"%lld\","
             "\"PartyA\":\"%lld\",\"PartyB\":\"%lld\",\"PhoneNumber\":\"%lld\"",
             c->to->transaction_type, (long long)c->amount,
             (long long)c->msisdn, (long long)c->to->party_b,
             (long long)c->msisdn);
    buf_addf(&g->body,
             ",\"CallBackURL\":\"%s/callbacks/%s/%d/%s\","
             "\"AccountReference\":\"%s\",\"TransactionDesc\":\"%s\"}",
             g->cfg->callbacks_base_url, id, c->attempt, c->mac, c->reference,
             c->description);
}

static void write_query(struct gate *g, const struct gate_call *c)
{
    write_head(g, c);
    buf_addf(&g->body, ",\"CheckoutRequestID\":\"%s\"}", c->checkout_id);
}

/* --- a call's way --- */

static void end_call(struct gate_call *c)
{
    list_remove(&c->node);
    list_append(&c->gate->ended, &c->node);
}

static void end_unsent(struct gate_call *c, const char *why, bool unreachable)
{
    c->result = (struct gate_result){
        .end = GATE_NOT_SENT,
        .outcome = OUTCOME_NONE,
        .unreachable = unreachable,
        .slot = -1,
        .took_us = clock_now_us() - c->began_us,
    };
    err_set(&c->result.why, ERR_UNAVAILABLE, "%s", why);
    end_call(c);
}

/* Rule S7. Runs on the connection, just before the first byte. */
static bool before_push(void *arg)
{
    struct gate_call *c = arg;
    struct gate *g = c->gate;

    if (c->stopped) {
        c->refused = "the payment is paid already";
        return false;
    }
    if (clock_now_us() >= c->lease_end_us) {
        c->refused = "claim's lease was over";
        return false;
    }
    if (!g->spec.allowed(g->spec.arg, c->right.term)) {
        c->refused = "this worker no longer trusts its claim";
        return false;
    }
    if (g->spec.lines.may_send &&
        !g->spec.lines.may_send(g->spec.lines.arg, c->to->shortcode,
                                c->right.send_us, &c->refused))
        return false;
    WINDOW(push_unmarked);
    if (!g->spec.recorder)
        return true;
    c->result.slot =
        recorder_begin(g->spec.recorder, &c->payment, c->attempt, &c->source);
    WINDOW(push_marked);
    if (c->result.slot >= 0)
        return true;
    c->refused = "flight recorder is full";
    return false;
}

static void note_answer(struct gate_call *c)
{
    const struct verdict *v = &c->result.verdict;

    if (c->result.slot >= 0)
        recorder_answer(c->gate->spec.recorder, c->result.slot,
                        verdict_name(v->kind), v->checkout_id, v->merchant_id,
                        v->code);
    if (v->kind == VERDICT_AUTH) {
        metric_add(M_TOKEN_REFUSED, 1);
        token_is_refused(tokens_of(c->gate->tokens, c->to), c->token_version);
    }
}

static void read_answer(struct gate_call *c, const struct call_result *r)
{
    struct verdict_answer answer = {
        .status = r->status,
        .content_type = r->content_type,
        .body = r->body,
        .len = r->len,
        .retry_after_s = r->retry_after_s,
    };
    struct verdict *v = &c->result.verdict;

    if (!c->query) {
        verdict_push(&answer, v);
        return;
    }
    verdict_query(&answer, v);
    if (*v->checkout_id && strcmp(v->checkout_id, c->checkout_id) != 0)
        v->kind = VERDICT_PENDING; /* it speaks of another push */
}

/* How the provider did, not how the payment did. */
static enum outcome outcome_of(const struct gate_call *c,
                               const struct call_result *r)
{
    const struct verdict *v = &c->result.verdict;

    if (r->end == CALL_NOT_SENT)
        return r->unreachable ? OUTCOME_UNREACHABLE : OUTCOME_NONE;
    if (r->end == CALL_LOST)
        return OUTCOME_FAULT;
    if (v->kind == VERDICT_THROTTLED)
        return OUTCOME_THROTTLED;
    if (!c->query)
        return v->kind == VERDICT_AMBIGUOUS ? OUTCOME_FAULT : OUTCOME_FINE;
    return r->status >= 500 && strcmp(v->code, QUERY_PENDING_CODE) != 0
               ? OUTCOME_FAULT
               : OUTCOME_FINE;
}

static void tell_line(struct gate_call *c, const struct call_result *r)
{
    const struct gate_lines *l = &c->gate->spec.lines;

    c->result.outcome = outcome_of(c, r);
    if (l->ended)
        l->ended(l->arg, c->query ? OPERATION_QUERY : OPERATION_PUSH,
                 c->to->shortcode, c->result.outcome, r->took_us,
                 r->end == CALL_ANSWERED ? r->retry_after_s : -1);
}

static void count_end(const struct gate_call *c)
{
    static const enum metric by_end[] = {
        [GATE_NOT_SENT] = M_PUSH_NOT_SENT,
        [GATE_ANSWER] = M_PUSH_ANSWERED,
        [GATE_LOST] = M_PUSH_LOST,
    };

    if (c->query) {
        metric_add(M_QUERIES, 1);
        return;
    }
    metric_add(by_end[c->result.end], 1);
    metric_observe_us(M_PUSH_SECONDS, c->result.took_us);
}

static void call_done(void *arg, const struct call_result *r)
{
    static const enum gate_end ends[] = {
        [CALL_NOT_SENT] = GATE_NOT_SENT,
        [CALL_ANSWERED] = GATE_ANSWER,
        [CALL_LOST] = GATE_LOST,
    };
    struct gate_call *c = arg;

    if (!c->query)
        c->gate->pushes--;
    c->result.end = ends[r->end];
    c->result.took_us = r->took_us;
    c->result.unreachable = r->unreachable;
    c->result.token_version = c->token_version;
    if (r->end == CALL_ANSWERED) {
        read_answer(c, r);
        WINDOW(answer_unnoted);
        note_answer(c);
        WINDOW(answer_uncommitted);
    } else {
        c->result.why = r->err;
        if (c->refused)
            err_set(&c->result.why, ERR_UNAVAILABLE, "%s", c->refused);
    }
    tell_line(c, r);
    /* a mark of a call that was not sent cannot be: before_push() said no */
    must(c->result.end != GATE_NOT_SENT || c->result.slot < 0);
    end_call(c);
}

static void start(struct gate_call *c, struct token *t)
{
    struct gate *g = c->gate;
    char authorization[TOKEN_MAX + 32];
    const char *headers[] = {authorization, "Content-Type: application/json"};
    struct call_request req = {
        .headers = headers,
        .headers_n = ARRAY_LEN(headers),
        .once = !c->query,
        .before = c->query ? NULL : before_push,
        .total_timeout_ms = c->timeout_ms,
        .done = call_done,
        .arg = c,
    };
    struct err err;

    snprintf(authorization, sizeof(authorization), "Authorization: Bearer %s",
             token_value(t, &c->token_version));
    if (c->query)
        write_query(g, c);
    else
        write_push(g, c);
    buf_reset(&g->url);
    buf_addf(&g->url, "%s/mpesa/%s", c->to->base_url,
             c->query ? "stkpushquery/v1/query" : "stkpush/v1/processrequest");
    must(!g->body.failed && !g->url.failed);
    req.url = g->url.data;
    req.body = g->body.data;
    req.body_len = g->body.len;
    list_remove(&c->node);
    if (call_start(g->calls, &req, &err)) {
        end_unsent(c, err.text, false);
        return;
    }
    if (!c->query)
        g->pushes++;
    if (g->spec.lines.began)
        g->spec.lines.began(g->spec.lines.arg,
                            c->query ? OPERATION_QUERY : OPERATION_PUSH,
                            c->to->shortcode);
}

/* Rule S13: not again with the version that refused it, or an older one. */
static bool has_token(const struct gate_call *c, const struct token *t)
{
    int64_t version;

    return token_value(t, &version) && version > c->refused_version;
}

/* Queries had theirs when they were taken: gate_can_query(). */
static bool has_slot(const struct gate *g, const struct gate_call *c)
{
    return c->query || g->pushes < g->slots;
}

/* Starts what can be started and ends what may no longer be sent. */
static void serve_waiting(struct gate *g)
{
    struct list *at = g->waiting.next;
    int64_t now = clock_now_us();

    while (at != &g->waiting) {
        struct gate_call *c = container_of(at, struct gate_call, node);
        struct token *t = tokens_of(g->tokens, c->to);

        at = at->next;
        if (c->stopped)
            end_unsent(c, "the payment is paid already", false);
        else if (now >= c->lease_end_us)
            end_unsent(
                c, token_good(t) ? "claim's lease was over" : "no access token",
                !token_good(t));
        else if (has_token(c, t) && has_slot(g, c))
            start(c, t);
    }
}

/* Where it stands among those that wait: before calls of lower priorities,
   each of which is overtaken so often and no more. So high has the next slot,
   and low keeps one of nine. */
static struct list *place(struct gate *g, const struct gate_call *c)
{
    struct list *at = &g->waiting;

    while (at->prev != &g->waiting) {
        struct gate_call *before =
            container_of(at->prev, struct gate_call, node);

        if (before->priority <= c->priority ||
            before->overtaken == OVERTAKEN_MAX)
            break;
        before->overtaken++;
        at = at->prev;
    }
    return at;
}

/* A payment that carries the news of a refused token brings it along: whoever
   pushes it next needs a newer one (S13). */
static void wait_for_token(struct gate_call *c)
{
    struct gate *g = c->gate;

    if (c->refused_version)
        token_is_refused(tokens_of(g->tokens, c->to), c->refused_version);
    list_append(place(g, c), &c->node); /* that is: in front of it */
}

/* Pushes whose time has come join those that wait for a slot. A line that has
   one just let go wants a gap, so each is asked for again. */
static void release_paced(struct gate *g)
{
    const struct gate_lines *l = &g->spec.lines;
    int64_t now = clock_now_us();
    struct heap_node *first;

    while ((first = heap_min(&g->paced)) && first->key <= now) {
        struct gate_call *c = container_of(first, struct gate_call, paced);
        int64_t at = c->stopped ? now
                                : l->begin_us(l->arg, c->to->shortcode,
                                              c->right.send_us);

        heap_remove(&g->paced, first);
        if (at == INT64_MAX)
            end_unsent(c, "its time to go out has passed", false);
        else if (at > now)
            heap_add(&g->paced, first, MIN(at, MAX(c->lease_end_us, now + 1)));
        else
            wait_for_token(c);
    }
    if (first)
        timer_set(g->loop, &g->next_push, first->key);
}

static bool gate_room(void *arg)
{
    struct gate *g = arg;
    struct list *n;

    release_paced(g);
    if (!list_empty(&g->waiting))
        serve_waiting(g);
    while ((n = list_shift(&g->ended))) {
        struct gate_call *c = container_of(n, struct gate_call, node);

        count_end(c);
        c->done(c->arg, &c->result);
        g->open--;
        g->queries -= c->query;
        list_append(&g->free, &c->node);
    }
    metric_set(M_PUSHES_OPEN, (int64_t)g->pushes);
    return !list_empty(&g->ended);
}

/* Leases end without an event; once a second is soon enough to say so. */
static void look_at_leases(void *arg)
{
    struct gate *g = arg;

    tokens_count(g->tokens);
    timer_set(g->loop, &g->leases, clock_now_us() + US_PER_S);
}

static void on_time(void *arg)
{
    (void)arg; /* the room looks at the paced ones in this very turn */
}

static void on_token(void *arg)
{
    (void)arg; /* the room looks at the waiting calls in this very turn */
}

struct gate *gate_new(struct loop *loop, const struct config *cfg,
                      const struct gate_spec *spec)
{
    struct gate *g = NEW(struct gate);
    struct calls_spec calls;
    size_t n;

    g->loop = loop;
    g->cfg = cfg;
    g->spec = *spec;
    g->slots = (size_t)cfg->worker_slots;
    g->queries_max = MAX(g->slots / QUERY_SHARE, QUERIES_MIN);
    calls = (struct calls_spec){
        .slots_max = g->slots + g->queries_max + SPARE_CALLS,
        .connect_timeout_ms = cfg->gate_connect_timeout_ms,
        .total_timeout_ms = cfg->gate_total_timeout_ms,
        .idle_connection_s = cfg->gate_idle_connection_s,
        .answer_bytes_max = (size_t)cfg->gate_answer_bytes_max,
        .ca_file = cfg->gate_ca_file,
    };
    g->calls = calls_new(loop, &calls);
    list_init(&g->free);
    list_init(&g->waiting);
    list_init(&g->ended);
    n = gate_capacity(cfg);
    g->slab = must_alloc(n, sizeof(*g->slab));
    for (size_t i = 0; i < n; i++) {
        g->slab[i].gate = g;
        list_append(&g->free, &g->slab[i].node);
    }
    buf_init(&g->body, BODY_MAX);
    buf_init(&g->url, GATE_URL_MAX);
    g->tokens = tokens_new(loop, cfg, g->calls, on_token, g);
    timer_init(&g->next_push, on_time, g);
    timer_init(&g->leases, look_at_leases, g);
    look_at_leases(g);
    loop_add_room(loop, gate_room, g);
    return g;
}

void gate_free(struct gate *g)
{
    if (!g)
        return;
    timer_cancel(g->loop, &g->leases);
    timer_cancel(g->loop, &g->next_push);
    heap_done(&g->paced);
    calls_free(g->calls);
    tokens_free(g->tokens);
    buf_done(&g->body);
    buf_done(&g->url);
    free(g->slab);
    free(g);
}

size_t gate_capacity(const struct config *cfg)
{
    size_t slots = (size_t)cfg->worker_slots;

    return slots + (size_t)cfg->worker_ahead + (size_t)cfg->worker_batch_max +
           MAX(slots / QUERY_SHARE, QUERIES_MIN);
}

size_t gate_pushes(const struct gate *g)
{
    return g->open - g->queries;
}

size_t gate_open(const struct gate *g)
{
    return g->open;
}

/* With the key that the ledger names: whoever drops a key asks there first. */
static bool sign_path(struct gate_call *c, int mac_key)
{
    const char *key = config_mac_key(c->gate->cfg, mac_key);

    if (key)
        sign_callback(key, &c->payment, c->attempt, c->mac);
    return key;
}

static struct gate_call *take(struct gate *g, const struct payment *p,
                              bool query, const struct gate_right *right,
                              gate_done_fn done, void *arg)
{
    struct list *n = list_shift(&g->free);
    struct gate_call *c;

    must(n); /* callers keep to gate_capacity() and gate_can_query() */
    c = container_of(n, struct gate_call, node);
    c->query = query;
    c->payment = p->req.id;
    c->attempt = p->attempt;
    c->source = (struct recorder_source){p->source_topic, p->source_partition,
                                         p->source_offset};
    c->priority = query ? PRIORITY_HIGH : p->req.priority;
    c->overtaken = 0;
    c->msisdn = p->req.msisdn;
    c->amount = p->req.amount;
    c->to = config_shortcode(g->cfg, p->req.shortcode);
    text_copy(c->reference, sizeof(c->reference), p->req.reference);
    text_copy(c->description, sizeof(c->description), p->req.description);
    text_copy(c->checkout_id, sizeof(c->checkout_id), p->checkout_id);
    c->began_us = clock_now_us();
    c->right = *right;
    c->lease_end_us = c->began_us + right->lease_us;
    c->stopped = false;
    c->timeout_ms = query ? QUERY_TIMEOUT_MS : 0;
    c->refused = NULL;
    c->token_version = 0;
    c->refused_version = query ? 0 : p->auth_version;
    c->result = (struct gate_result){.slot = -1};
    c->done = done;
    c->arg = arg;
    g->open++;
    g->queries += query;
    if (!c->to)
        end_unsent(c, "shortcode is not in the configuration", true);
    else if (!query && !sign_path(c, p->mac_key))
        end_unsent(c, "key of its callback is not in the configuration", true);
    else if (right->send_us && g->spec.lines.begin_us)
        heap_add(&g->paced, &c->paced, right->send_us);
    else
        wait_for_token(c);
    return c;
}

void gate_push(struct gate *g, const struct payment *p,
               const struct gate_right *right, gate_done_fn done, void *arg)
{
    must(p->state == PAYMENT_SENDING && p->attempt > 0);
    take(g, p, false, right, done, arg);
}

/* What has begun ends with the credentials that it began with. */
void gate_renewed(struct gate *g)
{
    size_t n = gate_capacity(g->cfg);

    tokens_renewed(g->tokens);
    for (size_t i = 0; i < n; i++) {
        struct gate_call *c = &g->slab[i];

        if (c->to && !c->token_version)
            c->to = config_shortcode(g->cfg, c->to->shortcode);
    }
}

/* Calls that are free or have begun are not changed by it. */
void gate_stop(struct gate *g, const struct uuid *payment, int attempt)
{
    size_t n = gate_capacity(g->cfg);

    for (size_t i = 0; i < n; i++) {
        struct gate_call *c = &g->slab[i];

        if (!c->query && c->attempt == attempt &&
            uuid_equal(&c->payment, payment))
            c->stopped = true;
    }
}

const char *gate_token(struct gate *g, const struct shortcode *sc,
                       int64_t *ret_version)
{
    return token_value(tokens_of(g->tokens, sc), ret_version);
}

void gate_token_refused(struct gate *g, const struct shortcode *sc,
                        int64_t version)
{
    metric_add(M_TOKEN_REFUSED, 1);
    token_is_refused(tokens_of(g->tokens, sc), version);
}

bool gate_can_query(const struct gate *g)
{
    return g->queries < g->queries_max && !list_empty(&g->free);
}

void gate_query(struct gate *g, const struct payment *p, gate_done_fn done,
                void *arg)
{
    must(*p->checkout_id && gate_can_query(g));
    take(g, p, true, &(struct gate_right){.lease_us = QUERY_LEASE_US}, done,
         arg);
}

void gate_probe(struct gate *g, int64_t shortcode, gate_done_fn done, void *arg)
{
    int64_t time_ms = g->cfg->breaker_probe_ms * PROBE_SHARE_PERCENT / 100;
    struct payment p = {.req.shortcode = shortcode, .checkout_id = PROBE_ID};
    struct gate_right right = {.lease_us = time_ms * US_PER_MS};

    must(gate_can_query(g));
    take(g, &p, true, &right, done, arg)->timeout_ms = time_ms;
}

size_t gate_health(const struct gate *g, struct health *rows, size_t max)
{
    return tokens_health(g->tokens, rows, max);
}
