/*
 * GET /oauth/v1/generate: tokens, and the ways in which none is given.
 */
#include <string.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "tests/daraja/sim_priv.h"
#include "tests/daraja/words.h"

static void reply(struct sim *sim, struct http_request *req,
                  enum answer_act act, int status, const char *content_type)
{
    struct answer *a = sim_answer(sim, req);

    answer_fill(a, act, status, content_type, &sim->text);
    answer_at(a, loop_now_us(sim->loop) +
                     chance_spread(&sim->chance, &sim->profile.token));
}

static void give_token(struct sim *sim, struct http_request *req,
                       struct access_app *app)
{
    const struct profile *p = &sim->profile;
    char token[TOKEN_SIZE];

    ident_token(chance_next(&sim->chance), chance_next(&sim->chance), token);
    access_mint(app, token, loop_now_us(sim->loop) + p->token_ttl_s * US_PER_S,
                p->token_single);
    words_token(&sim->text, token, p->token_ttl_s, p->token_text);
    metric_add(M_SIM_TOKENS, 1);
    reply(sim, req, ACT_SEND, 200, WORDS_JSON);
}

/* A wrong key or secret gets 400 and not one byte more. */
static void answer_login(struct sim *sim, struct http_request *req,
                         const char *authorization)
{
    struct access_app *app = access_login(sim->access, authorization);
    bool fail = chance_hit(&sim->chance, sim->profile.token_fail);
    bool stall = chance_hit(&sim->chance, sim->profile.token_stall);

    buf_reset(&sim->text);
    if (stall) {
        reply(sim, req, ACT_STALL, 0, WORDS_JSON);
    } else if (fail) {
        words_incapsula(&sim->text, chance_next(&sim->chance));
        reply(sim, req, ACT_SEND, 503, WORDS_HTML);
    } else if (!app) {
        reply(sim, req, ACT_SEND, 400, WORDS_JSON);
    } else {
        give_token(sim, req, app);
    }
}

void sim_token(void *arg, struct http_request *req)
{
    struct sim *sim = arg;
    const char *grant = http_query(req, "grant_type");
    const char *authorization = http_header(req, "Authorization");

    sim->tokens++;
    if (outage_answer(sim, req))
        return;
    if (!authorization || strncmp(authorization, "Basic ", 6) != 0)
        sim_refuse(sim, req, 400, "400.008.01", "Invalid Authentication passed",
                   0);
    else if (!grant || strcmp(grant, "client_credentials") != 0)
        sim_refuse(sim, req, 400, "400.008.02", "Invalid grant type passed", 0);
    else
        answer_login(sim, req, authorization);
}

void sim_wrong_method(void *arg, struct http_request *req)
{
    sim_refuse(arg, req, 405, "405.001", "GET Method Not Allowed", 0);
}
