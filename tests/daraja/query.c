/*
 * POST /mpesa/stkpushquery/v1/query: what became of a CheckoutRequestID. It
 * tells what is, in one of the shapes that "still pending" has, or nothing.
 */
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "tests/daraja/sim_priv.h"
#include "tests/daraja/words.h"

#define NO_INFORMATION "500.001.1001"

static void reply(struct sim *sim, struct http_request *req, int64_t at_us)
{
    struct answer *a = sim_answer(sim, req);

    answer_fill(a, ACT_SEND, 200, WORDS_JSON, &sim->text);
    answer_at(a, at_us);
}

static void reply_pending(struct sim *sim, struct http_request *req,
                          int64_t at_us)
{
    int64_t shape = sim->profile.query_pending;
    char id[REQUEST_ID_SIZE];

    if (shape == PENDING_MIXED)
        shape = (int64_t)chance_below(&sim->chance, PENDING_MIXED);
    if (shape == PENDING_PROCESSING) {
        sim_refuse(sim, req, 500, NO_INFORMATION,
                   "The transaction is being processed", at_us);
        return;
    }
    buf_reset(&sim->text);
    if (shape == PENDING_4999) {
        words_pending(&sim->text);
    } else {
        sim_request_id(sim, id);
        words_error(&sim->text, id, NO_INFORMATION, "");
    }
    reply(sim, req, at_us);
}

static void reply_done(struct sim *sim, struct http_request *req,
                       const struct prompt *prompt, int64_t at_us)
{
    bool lies = chance_hit(&sim->chance, sim->profile.query_lie) &&
                strcmp(prompt->code, "0") == 0;

    buf_reset(&sim->text);
    words_query(&sim->text, prompt->p.merchant, prompt->p.checkout,
                lies ? "1032" : prompt->code);
    reply(sim, req, at_us);
}

/* The edge's page under 200, as it has been seen elsewhere. */
static void reply_edge(struct sim *sim, struct http_request *req, int64_t at_us)
{
    struct answer *a = sim_answer(sim, req);

    buf_reset(&sim->text);
    words_incapsula(&sim->text, chance_next(&sim->chance));
    answer_fill(a, ACT_SEND, 200, WORDS_HTML, &sim->text);
    answer_at(a, at_us);
}

static bool remembered(const struct sim *sim, const struct prompt *prompt)
{
    int64_t keep_us = sim->profile.query_keep_ms * US_PER_MS;

    return prompt->state == PROMPT_OPEN || keep_us == 0 ||
           clock_wall_at() - prompt->decided_at < keep_us;
}

static void look(struct sim *sim, struct http_request *req,
                 const struct inspection *in)
{
    const struct prompt *prompt = prompt_find(sim->prompts, in->checkout);
    int64_t at_us = loop_now_us(sim->loop) +
                    chance_spread(&sim->chance, &sim->profile.query);
    bool error = chance_hit(&sim->chance, sim->profile.query_error);
    bool unknown = chance_hit(&sim->chance, sim->profile.query_unknown);

    if (chance_hit(&sim->chance, sim->profile.query_edge))
        reply_edge(sim, req, at_us);
    else if (!prompt || prompt->p.order.shortcode != in->order.shortcode ||
             unknown || !remembered(sim, prompt))
        sim_refuse(sim, req, 500, NO_INFORMATION,
                   "The transaction does not Exist", at_us);
    else if (prompt->state == PROMPT_OPEN)
        reply_pending(sim, req, at_us);
    else if (error)
        sim_refuse(sim, req, 500, NO_INFORMATION, "", at_us);
    else
        reply_done(sim, req, prompt, at_us);
}

void sim_query(void *arg, struct http_request *req)
{
    struct sim *sim = arg;
    CLEANUP(json_free)
    struct json *doc = NULL;
    const struct access_app *app;
    struct inspection in = {.cfg = sim->cfg, .profile = &sim->profile};

    sim->queries++;
    if (outage_answer(sim, req))
        return;
    app = access_check(sim->access, http_header(req, "Authorization"),
                       loop_now_us(sim->loop));
    if (!app) {
        sim_refuse(sim, req, 404, "404.001.03", "Invalid Access Token", 0);
        return;
    }
    doc = sim_body(req);
    in.content_type = http_header(req, "Content-Type");
    in.consumer_key = access_key(app);
    if (inspect_query(&in, doc))
        look(sim, req, &in);
    else
        sim_refuse(sim, req, in.refusal.status, in.refusal.code,
                   in.refusal.message, 0);
}
