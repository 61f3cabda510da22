/*
 * common/call.h without a network: every call is answered in the next turn of
 * the loop, pushes as accepted. A worker that is linked with it in place of
 * common/call.c is the engine alone (`make bench ONLY=k`); no other program has
 * it. Pushes are noted in the file FOLENI_BENCH_JOURNAL as the simulator notes
 * them, so that the same judge reads it.
 */
#include "common/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/must.h"

#define BODY_MAX 256
#define PUSHES_FIRST 1000000000000 /* the simulator's numbers are smaller */

struct call {
    struct list node;
    call_before_fn before;
    call_done_fn done;
    void *arg;
    char payment[37], attempt[12]; /* of a push, else "" */
    int64_t began_us;
    int status;
    char body[BODY_MAX];
};

struct calls {
    size_t slots_max, open;
    struct list free, started;
    struct call *slab;
    FILE *journal;
    unsigned long long pushes;
};

/* The path of the callback: .../callbacks/{payment}/{attempt}/{mac} */
static void read_payment(struct call *c, const char *body)
{
    static const char mark[] = "/callbacks/";
    const char *at = strstr(body, mark), *end;

    must(at);
    at += sizeof(mark) - 1;
    end = strchr(at, '/');
    must(end && end - at == sizeof(c->payment) - 1);
    memcpy(c->payment, at, sizeof(c->payment) - 1);
    at = end + 1;
    end = strchr(at, '/');
    must(end && (size_t)(end - at) < sizeof(c->attempt));
    memcpy(c->attempt, at, (size_t)(end - at));
    c->attempt[end - at] = '\0';
}

static void write_answer(struct calls *calls, struct call *c, const char *url,
                         const char *body)
{
    c->status = 200;
    *c->payment = '\0';
    if (strstr(url, "/oauth/")) {
        snprintf(c->body, sizeof(c->body),
                 "{\"access_token\":\"in-process\",\"expires_in\":\"3599\"}");
    } else if (strstr(url, "/stkpush/")) {
        read_payment(c, body);
        snprintf(c->body, sizeof(c->body),
                 "{\"MerchantRequestID\":\"bench-%llu\","
                 "\"CheckoutRequestID\":\"ws_CO_bench%llu\","
                 "\"ResponseCode\":\"0\",\"ResponseDescription\":\"Success\","
                 "\"CustomerMessage\":\"Success\"}",
                 calls->pushes, calls->pushes);
        calls->pushes++;
    } else {
        c->status = 500;
        snprintf(c->body, sizeof(c->body),
                 "{\"requestId\":\"1\",\"errorCode\":\"500.001.1001\","
                 "\"errorMessage\":\"The transaction is being processed\"}");
    }
}

static void note_push(struct calls *calls, const struct call *c)
{
    char at[CLOCK_TEXT_SIZE];
    const char *path = getenv("FOLENI_BENCH_JOURNAL");

    if (!calls->journal)
        calls->journal = fopen(path ? path : "/dev/null", "ae");
    must(calls->journal);
    clock_format(clock_wall_at(), 6, at);
    fprintf(calls->journal,
            "{\"t\":\"push\",\"at\":\"%s\",\"n\":%llu,\"msisdn\":0,"
            "\"amount\":0,\"payment\":\"%s\",\"attempt\":%s,"
            "\"answer\":\"ok\"}\n",
            at, calls->pushes, c->payment, c->attempt);
}

static void answer(struct calls *calls, struct call *c)
{
    struct call_result r = {.end = CALL_ANSWERED,
                            .status = c->status,
                            .content_type = "application/json",
                            .body = c->body,
                            .len = strlen(c->body),
                            .retry_after_s = -1};

    if (c->before && !c->before(c->arg)) {
        r = (struct call_result){.end = CALL_NOT_SENT,
                                 .content_type = "",
                                 .body = "",
                                 .retry_after_s = -1};
        err_set(&r.err, ERR_UNAVAILABLE, "refused before the first byte");
    } else if (*c->payment) {
        note_push(calls, c);
    }
    r.took_us = clock_now_us() - c->began_us;
    calls->open--;
    c->done(c->arg, &r);
    list_append(&calls->free, &c->node);
}

/* What `done` starts is answered in the next turn. */
static bool answer_all(void *arg)
{
    struct calls *calls = arg;
    size_t n = calls->open;

    if (!n)
        return false;
    while (n--)
        answer(calls,
               container_of(list_shift(&calls->started), struct call, node));
    if (calls->journal)
        fflush(calls->journal);
    return calls->open > 0;
}

struct calls *calls_new(struct loop *loop, const struct calls_spec *spec)
{
    struct calls *calls = NEW(struct calls);

    calls->pushes = PUSHES_FIRST;
    calls->slots_max = spec->slots_max;
    list_init(&calls->free);
    list_init(&calls->started);
    calls->slab = must_alloc(spec->slots_max, sizeof(*calls->slab));
    for (size_t i = 0; i < spec->slots_max; i++)
        list_append(&calls->free, &calls->slab[i].node);
    loop_add_room(loop, answer_all, calls);
    return calls;
}

void calls_free(struct calls *calls)
{
    if (!calls)
        return;
    if (calls->journal)
        fclose(calls->journal);
    free(calls->slab);
    free(calls);
}

enum err_code call_start(struct calls *calls, const struct call_request *req,
                         struct err *err)
{
    struct list *n = list_shift(&calls->free);
    struct call *c;

    if (!n)
        return err_set(err, ERR_LIMIT, "no slot is free");
    c = container_of(n, struct call, node);
    c->before = req->before;
    c->done = req->done;
    c->arg = req->arg;
    c->began_us = clock_now_us();
    write_answer(calls, c, req->url, req->body);
    list_append(&calls->started, &c->node);
    calls->open++;
    return ERR_NONE;
}

size_t calls_open(const struct calls *calls)
{
    return calls->open;
}
