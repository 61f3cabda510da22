/*
 * The whole API away: refused connections, 500, an edge's 503, or silence. The
 * control routes stay, except that a refused connection refuses them too, so
 * an outage always ends by itself when it was given a time.
 */
#include <string.h>

#include "common/clock.h"
#include "common/http_abuse.h"
#include "common/log.h"
#include "tests/daraja/sim_priv.h"
#include "tests/daraja/words.h"

static enum answer_kind answer_of(enum down_kind kind)
{
    if (kind == DOWN_500)
        return ANSWER_500_BEFORE;
    return kind == DOWN_503 ? ANSWER_503_BEFORE : ANSWER_STALL_BEFORE;
}

bool outage_answer(struct sim *sim, struct http_request *req)
{
    struct answer *a;

    if (sim->down == DOWN_NOT)
        return false;
    a = sim_answer(sim, req);
    if (sim->down == DOWN_REFUSE)
        answer_fill(a, ACT_RST, 0, WORDS_JSON, NULL);
    else
        sim_fill(sim, a, answer_row(answer_of(sim->down)), NULL);
    answer_at(a, 0);
    return true;
}

static void refuse(struct http_server *server, bool refuse_it)
{
    struct err err;

    if (server && http_server_refuse(server, refuse_it, &err))
        log_error("sim", "listen_failed", KV_ERR(&err));
}

static void up(void *arg)
{
    outage_set(arg, DOWN_NOT, 0);
}

void outage_set(struct sim *sim, enum down_kind kind, int64_t for_us)
{
    if ((kind == DOWN_REFUSE) != (sim->down == DOWN_REFUSE)) {
        refuse(sim->plain, kind == DOWN_REFUSE);
        refuse(sim->tls, kind == DOWN_REFUSE);
    }
    sim->down = kind;
    timer_cancel(sim->loop, &sim->up);
    timer_init(&sim->up, up, sim);
    if (kind != DOWN_NOT && for_us > 0)
        timer_set(sim->loop, &sim->up, loop_now_us(sim->loop) + for_us);
}
