/*
 * A loop of its own for each call, turned until it has ended.
 */
#include "tools/fetch.h"

#include "common/clock.h"

#define TIMEOUT_MS 30000
#define WAIT_US US_PER_S

struct exchange {
    struct buf *answer;
    bool done;
    enum call_end end;
    int status;
    struct err err;
};

static void on_done(void *arg, const struct call_result *r)
{
    struct exchange *x = arg;

    x->done = true;
    x->end = r->end;
    x->status = r->status;
    x->err = r->err;
    buf_reset(x->answer);
    buf_add(x->answer, r->body, r->len);
}

static enum err_code judge(const struct exchange *x, const char *what,
                           struct err *err)
{
    if (x->end != CALL_ANSWERED)
        return err_set(err, x->err.code ? x->err.code : ERR_UNAVAILABLE,
                       "%s: %s", what, x->err.text);
    if (x->status != 200)
        return err_set(err, ERR_INPUT, "%s: HTTP %d: %.200s", what, x->status,
                       x->answer->data);
    return ERR_NONE;
}

enum err_code fetch(const struct config *cfg, struct call_request *req,
                    const char *what, struct buf *answer, struct err *err)
{
    struct calls_spec spec = {
        .slots_max = 1,
        .connect_timeout_ms = cfg->gate_connect_timeout_ms,
        .total_timeout_ms = TIMEOUT_MS,
        .answer_bytes_max = answer->max,
        .ca_file = cfg->gate_ca_file,
    };
    struct exchange x = {.answer = answer};
    struct loop *loop = loop_new();
    struct calls *calls = calls_new(loop, &spec);

    req->done = on_done;
    req->arg = &x;
    if (call_start(calls, req, err) == ERR_NONE) {
        while (!x.done)
            loop_once(loop, WAIT_US);
        (void)judge(&x, what, err);
    }
    calls_free(calls);
    loop_free(loop);
    return err->code;
}
