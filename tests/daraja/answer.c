/*
 * A slab of answers with a timer each. A client that goes away first takes its
 * answer with it. A stalled one is held until then, or for STALL_US_MAX.
 */
#include "tests/daraja/answer.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/http_abuse.h"
#include "common/list.h"
#include "common/must.h"

#define STALL_US_MAX (600 * US_PER_S)

struct answer {
    struct list node; /* in answers: free, waiting, or ready */
    struct answers *as;
    struct loop_timer timer;
    struct http_request *req;
    struct answer **holder; /* or NULL */
    uint64_t need;          /* bytes of the journal */
    enum answer_act act;
    int status;
    const char *content_type;
    size_t len;
    char body[ANSWER_BODY_MAX];
    char *large; /* a longer body, or NULL */
};

struct answers {
    struct loop *loop;
    struct list free, waiting, ready;
    uint64_t need; /* the largest one of `ready` */
    size_t open_n;
};

struct answers *answers_new(struct loop *loop)
{
    struct answers *as = NEW(struct answers);

    as->loop = loop;
    list_init(&as->free);
    list_init(&as->waiting);
    list_init(&as->ready);
    return as;
}

static void free_list(struct answers *as, struct list *head)
{
    struct list *node;

    while ((node = list_shift(head))) {
        struct answer *a = container_of(node, struct answer, node);

        timer_cancel(as->loop, &a->timer);
        free(a->large);
        free(a);
    }
}

void answers_free(struct answers *as)
{
    if (!as)
        return;
    free_list(as, &as->free);
    free_list(as, &as->waiting);
    free_list(as, &as->ready);
    free(as);
}

static void put_back(struct answer *a)
{
    timer_cancel(a->as->loop, &a->timer);
    list_remove(&a->node);
    list_append(&a->as->free, &a->node);
    a->as->open_n--;
    free(a->large);
    a->large = NULL;
    if (a->holder)
        *a->holder = NULL;
    a->holder = NULL;
    a->req = NULL;
}

static void on_gone(void *arg)
{
    put_back(arg);
}

static void on_due(void *arg)
{
    struct answer *a = arg;

    list_remove(&a->node);
    list_append(&a->as->ready, &a->node);
    a->as->need = MAX(a->as->need, a->need);
}

struct answer *answer_new(struct answers *as, struct http_request *req,
                          uint64_t need)
{
    struct list *node = list_shift(&as->free);
    struct answer *a =
        node ? container_of(node, struct answer, node) : NEW(struct answer);

    list_init(&a->node);
    list_append(&as->waiting, &a->node);
    timer_init(&a->timer, on_due, a);
    a->as = as;
    a->req = req;
    a->need = need;
    as->open_n++;
    http_on_close(req, on_gone, a);
    return a;
}

void answer_fill(struct answer *a, enum answer_act act, int status,
                 const char *content_type, const struct buf *body)
{
    a->act = act;
    a->status = status;
    a->content_type = content_type;
    a->len = 0;
    free(a->large);
    a->large = NULL;
    if (!body)
        return;
    if (body->len > sizeof(a->body))
        a->large = must_alloc(body->len, 1);
    memcpy(a->large ? a->large : a->body, body->data, body->len);
    a->len = body->len;
}

void answer_at(struct answer *a, int64_t at_us)
{
    timer_cancel(a->as->loop, &a->timer);
    if (at_us <= loop_now_us(a->as->loop))
        on_due(a);
    else
        timer_set(a->as->loop, &a->timer, at_us);
}

void answer_hold(struct answer *a, struct answer **holder)
{
    a->holder = holder;
    *holder = a;
}

void answer_release(struct answer **holder, int64_t at_us)
{
    struct answer *a = *holder;

    if (!a)
        return;
    a->holder = NULL;
    *holder = NULL;
    answer_at(a, at_us);
}

static const char *text_of(const struct answer *a)
{
    return a->large ? a->large : a->body;
}

static void send_whole(struct answer *a)
{
    if (a->act == ACT_CLOSE)
        http_add_header(a->req, "Connection", "close");
    http_add_header(a->req, "Cache-Control", "no-store");
    http_reply(a->req, a->status, a->content_type, text_of(a), a->len);
}

/* Held on to; when the time is over the connection is closed. */
static void stall(struct answer *a)
{
    list_remove(&a->node);
    list_append(&a->as->waiting, &a->node);
    a->act = ACT_FIN;
    timer_set(a->as->loop, &a->timer, loop_now_us(a->as->loop) + STALL_US_MAX);
}

static void perform(struct answer *a)
{
    switch (a->act) {
    case ACT_SEND:
    case ACT_CLOSE: send_whole(a); break;
    case ACT_CUT:
        http_reply_cut(a->req, a->status, a->content_type, text_of(a), a->len,
                       a->len / 2);
        break;
    case ACT_RST: http_abort(a->req, true); break;
    case ACT_FIN: http_abort(a->req, false); break;
    case ACT_STALL: stall(a); return;
    }
    put_back(a);
}

uint64_t answers_need(const struct answers *as)
{
    return as->need;
}

void answers_flush(struct answers *as)
{
    struct list now;
    struct list *node;

    list_init(&now);
    list_splice(&now, &as->ready);
    as->need = 0;
    while ((node = list_shift(&now))) {
        list_append(&as->waiting, node);
        perform(container_of(node, struct answer, node));
    }
}

size_t answers_open(const struct answers *as)
{
    return as->open_n;
}
