/*
 * POST /mpesa/stkpush/v1/processrequest.
 *
 * Every push whose body was read is journalled with what is done about it,
 * before anything is answered. Checks in the provider's likely order: token,
 * rate, fields, merchant and password, then the handset's lock.
 */
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/http_abuse.h"
#include "common/json.h"
#include "common/payment.h"
#include "tests/daraja/sim_priv.h"
#include "tests/daraja/words.h"

#define PEER_SIZE 80

/* The one handset that a sandbox knows. */
#define TEST_NUMBER INT64_C(254708374149)

/* A rule of the provider's that answers by itself within this. */
#define RULE_US (1 * US_PER_S)

struct push {
    struct sim *sim;
    struct http_request *req;
    struct inspection in;
    char peer[PEER_SIZE];
};

static uint64_t note(struct push *p, const char *answer, const char *code)
{
    return ledger_push(&p->sim->ledger, &p->in.order, clock_wall_at(), answer,
                       code, p->peer);
}

static void refuse(struct push *p, int status, const char *code,
                   const char *message)
{
    (void)note(p, "refused", code);
    sim_refuse(p->sim, p->req, status, code, message, 0);
}

static void refuse_token(struct push *p)
{
    if (p->sim->profile.token_refusal == 0)
        refuse(p, 404, "404.001.03", "Invalid Access Token");
    else
        refuse(p, 401, "401.002.01",
               "Error Occurred - Invalid Access Token - Invalid token");
}

/* Answered like a script's row, only that nobody wrote it. */
static void refuse_by_row(struct push *p, enum answer_kind kind, int64_t at_us)
{
    const struct answer_row *row = answer_row(kind);
    struct answer *a;

    (void)note(p, row->name, row->code);
    a = sim_answer(p->sim, p->req);
    sim_fill(p->sim, a, row, NULL);
    answer_at(a, at_us);
}

/* The same phone in the same millisecond: the id takes the next free one. */
static void pick_ids(struct sim *sim, struct ledger_prompt *lp)
{
    int64_t at = lp->accepted_at;

    do {
        ident_checkout(at, lp->order.msisdn, lp->checkout);
        at += US_PER_MS;
    } while (prompt_find(sim->prompts, lp->checkout));
    sim_request_id(sim, lp->merchant);
}

static void rule(struct plan *plan, const char *code)
{
    plan->fate = FATE_CODE;
    text_copy(plan->code, sizeof(plan->code), code);
    plan->decide_us = MIN(plan->decide_us, RULE_US);
}

static void pins(struct push *p, struct handset *h, struct plan *plan)
{
    if (handset_pin(h, plan->fate == FATE_WRONG_PIN, p->sim->profile.pin_tries))
        rule(plan, "8006");
}

static void apply_rules(struct push *p, struct handset *h, struct plan *plan)
{
    const struct order *o = &p->in.order;

    if (handset_ask(h, o->shortcode, o->amount, loop_now_us(p->sim->loop),
                    p->sim->profile.same_amount_ms * US_PER_MS))
        rule(plan, "17");
    if (p->sim->profile.test_numbers_only && o->msisdn != TEST_NUMBER)
        rule(plan, "E3008");
    if (plan->fate == FATE_WRONG_PIN || plan->fate == FATE_PAY)
        pins(p, h, plan);
    if (!inspect_product(&p->in))
        rule(plan, "2028");
}

/* Returns NULL when too many prompts are open. */
static struct prompt *accept(struct push *p, struct handset *h,
                             struct plan *plan, uint64_t n)
{
    struct sim *sim = p->sim;
    struct ledger_prompt lp = {.n = n, .order = p->in.order};
    struct prompt *prompt;

    apply_rules(p, h, plan);
    lp.plan = *plan;
    lp.accepted_at = clock_wall_at();
    pick_ids(sim, &lp);
    prompt = prompt_add(sim->prompts, &lp);
    if (!prompt)
        return NULL;
    ledger_accept(&sim->ledger, &lp);
    handset_lock(h);
    return prompt;
}

/* An early callback comes first: its answer waits for it, but not for ever. */
static void start(struct push *p, struct prompt *prompt, struct answer *a)
{
    const struct plan *plan = &prompt->p.plan;
    int64_t now_us = loop_now_us(p->sim->loop);

    if (plan->callback == CALLBACK_EARLY) {
        answer_hold(a, &prompt->held);
        answer_at(a, now_us + plan->answer_us + 5 * US_PER_S);
        life_begin(p->sim, prompt, 0);
        return;
    }
    answer_at(a, now_us + plan->answer_us);
    life_begin(p->sim, prompt, plan->answer_us + plan->decide_us);
}

static void execute(struct push *p, struct handset *h, struct plan *plan)
{
    const struct answer_row *row = answer_row(plan->answer);
    uint64_t n = note(p, row->name, row->code);
    struct prompt *prompt = row->accepts ? accept(p, h, plan, n) : NULL;
    struct answer *a = sim_answer(p->sim, p->req);

    if (row->accepts && !prompt)
        row = answer_row(ANSWER_BUSY);
    sim_fill(p->sim, a, row, prompt ? &prompt->p : NULL);
    if (prompt)
        start(p, prompt, a);
    else
        answer_at(a, loop_now_us(p->sim->loop) + plan->answer_us);
}

/*
 * The plan depends on the seed, the order and how often it was pushed, not on
 * what other payments do in between.
 */
static void plan_push(struct push *p, struct handset *h, struct plan *plan,
                      struct chance *chance)
{
    struct step step;
    bool scripted = handset_step(h, &step);

    plan_draw(plan, &p->sim->profile, chance, scripted ? &step : NULL);
}

static void seed_push(struct push *p, struct chance *chance)
{
    uint64_t key = order_key(&p->in.order);
    uint32_t nth = tally_get(&p->sim->ledger.orders, key, TALLY_PUSHES);

    chance_seed(chance, chance_mix(chance_mix(p->sim->seed, key), nth));
}

static void to_handset(struct push *p)
{
    struct sim *sim = p->sim;
    int64_t now_us = loop_now_us(sim->loop);
    struct handset *h = handset_get(sim->handsets, p->in.order.msisdn, now_us);
    struct chance chance;
    struct plan plan;
    bool leaks;

    seed_push(p, &chance);
    leaks = chance_hit(&chance, sim->profile.lock_leak);
    if (sim->profile.lock && handset_locked(h) && !leaks) {
        refuse_by_row(p, ANSWER_LOCK,
                      now_us + chance_spread(&chance, &sim->profile.answer));
        return;
    }
    plan_push(p, h, &plan, &chance);
    execute(p, h, &plan);
}

static void check(struct push *p, struct access_app *app, bool sound)
{
    const struct profile *profile = &p->sim->profile;
    const struct refusal *why = &p->in.refusal;

    if (!app)
        refuse_token(p);
    else if (!access_admit(app, profile->rate_per_s, loop_now_us(p->sim->loop)))
        refuse_by_row(p, profile->rate_refusal ? ANSWER_429 : ANSWER_SPIKE, 0);
    else if (!sound)
        refuse(p, why->status, why->code, why->message);
    else
        to_handset(p);
}

void sim_push(void *arg, struct http_request *req)
{
    struct sim *sim = arg;
    CLEANUP(json_free)
    struct json *doc = sim_body(req);
    struct push p = {.sim = sim, .req = req};
    struct access_app *app = access_check(
        sim->access, http_header(req, "Authorization"), loop_now_us(sim->loop));
    bool sound;

    p.in.cfg = sim->cfg;
    p.in.profile = &sim->profile;
    p.in.content_type = http_header(req, "Content-Type");
    p.in.consumer_key = app ? access_key(app) : "";
    snprintf(p.peer, sizeof(p.peer), "%s:%d", http_peer(req),
             http_peer_port(req));
    sound = inspect_push(&p.in, doc);
    if (journal_full(sim->journal)) {
        http_abort(req, true); /* the disk refuses: nothing may be answered */
        return;
    }
    if (sim->down != DOWN_NOT) {
        (void)note(&p, "down", "");
        (void)outage_answer(sim, req);
        return;
    }
    check(&p, app, sound);
}
