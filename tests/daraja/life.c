/*
 * The life of an accepted push: the customer decides, money moves or not, the
 * result is called back once, twice, late, or never.
 *
 * Each step is journalled when it happens; what depends on it (the callback)
 * waits in sim.due for the turn's commit.
 */
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/must.h"
#include "common/payment.h"
#include "tests/daraja/sim_priv.h"
#include "tests/daraja/words.h"

/* When all slots for callbacks are taken, one is tried again after this. */
#define BUSY_US (10 * US_PER_MS)
/* After a restart, what was open is ended this soon. */
#define RESUME_US (200 * US_PER_MS)

#define GARBAGE "{\"Body\":{\"stkCallback\":{\"MerchantRequestID\":"

static void decide(void *arg);
static void call_due(void *arg);

static void arm(struct prompt *prompt, void (*fn)(void *arg), int64_t after_us)
{
    struct sim *sim = prompt->sim;

    timer_init(&prompt->timer, fn, prompt);
    timer_set(sim->loop, &prompt->timer, loop_now_us(sim->loop) + after_us);
}

void life_begin(struct sim *sim, struct prompt *prompt, int64_t after_us)
{
    prompt->sim = sim;
    arm(prompt, decide, after_us);
}

static void release_answer(struct prompt *prompt)
{
    struct sim *sim = prompt->sim;

    answer_release(&prompt->held,
                   loop_now_us(sim->loop) + prompt->p.plan.answer_us);
}

static void finish(struct prompt *prompt)
{
    struct sim *sim = prompt->sim;

    release_answer(prompt);
    prompt_finish(sim->prompts, prompt);
}

/* One receipt for two debits is what the profile can ask for. */
static void pick_receipt(struct sim *sim, struct prompt *prompt)
{
    bool clash = chance_hit(&sim->chance, sim->profile.receipt_clash);

    if (clash && sim->last_receipt[0])
        memcpy(prompt->receipt, sim->last_receipt, sizeof(prompt->receipt));
    else
        ident_receipt(prompt->decided_at, prompt->p.n, prompt->receipt);
    memcpy(sim->last_receipt, prompt->receipt, sizeof(sim->last_receipt));
}

static void move_money(struct sim *sim, struct prompt *prompt)
{
    const struct order *o = &prompt->p.order;
    struct paid_row row = {.at = prompt->decided_at,
                           .shortcode = o->shortcode,
                           .msisdn = o->msisdn,
                           .amount = o->amount};

    pick_receipt(sim, prompt);
    ledger_debit(&sim->ledger, &prompt->p, prompt->decided_at, prompt->receipt);
    memcpy(row.reference, o->reference, sizeof(row.reference));
    memcpy(row.receipt, prompt->receipt, sizeof(row.receipt));
    paid_add(&sim->paid, &row);
    c2b_tell(sim, &row, prompt->p.plan.c2b, prompt->p.plan.c2b_us);
}

static void decide_code(struct prompt *prompt, const char *code)
{
    struct sim *sim = prompt->sim;

    prompt->state = PROMPT_DECIDED;
    prompt->decided_at = clock_wall_at();
    text_copy(prompt->code, sizeof(prompt->code), code);
    if (strcmp(code, "0") == 0)
        move_money(sim, prompt);
    else
        ledger_end(&sim->ledger, &prompt->p, prompt->decided_at, code);
    prompt->need = journal_size(sim->journal);
}

/* The result is told, or the profile says that nothing is. */
static void tell(struct prompt *prompt, int64_t after_us)
{
    struct sim *sim = prompt->sim;

    if (!sim->profile.callbacks) {
        finish(prompt);
        return;
    }
    prompt->tries = 0;
    arm(prompt, call_due, after_us);
}

static void decide(void *arg)
{
    struct prompt *prompt = arg;
    struct sim *sim = prompt->sim;

    handset_unlock(handset_get(sim->handsets, prompt->p.order.msisdn,
                               loop_now_us(sim->loop)));
    decide_code(prompt, prompt->p.plan.code);
    tell(prompt, prompt->p.plan.callback_us);
}

/* Told as not answered, and paid all the same. */
static void pay_late(void *arg)
{
    struct prompt *prompt = arg;

    prompt->p.plan.fate = FATE_PAY; /* only once */
    decide_code(prompt, "0");
    tell(prompt, prompt->p.plan.callback_us);
}

static void after_last_callback(struct prompt *prompt)
{
    struct sim *sim = prompt->sim;

    if (prompt->p.plan.fate != FATE_LATE_PAY) {
        finish(prompt);
        return;
    }
    release_answer(prompt);
    prompt->state = PROMPT_DECIDED;
    arm(prompt, pay_late, chance_spread(&sim->chance, &sim->profile.late));
}

static void note(struct prompt *prompt, int status, bool lost,
                 const char *error)
{
    struct sim *sim = prompt->sim;
    struct ledger_callback c = {
        prompt->p.n,   &prompt->p.order, prompt->p.checkout,
        prompt->tries, status,           lost,
        error};

    ledger_callback(&sim->ledger, &c, clock_wall_at());
}

static void call_done(void *arg, int status, const char *error)
{
    struct prompt *prompt = arg;
    struct sim *sim = prompt->sim;

    if (prompt->forgotten) {
        prompt_drop(sim->prompts, prompt);
        return;
    }
    note(prompt, status, false, error);
    prompt->state = PROMPT_DECIDED;
    if (prompt->p.plan.callback == CALLBACK_TWICE && prompt->tries < 2)
        call_due(prompt);
    else
        after_last_callback(prompt);
}

/* One delivery, never repeated: a receiver that fails has lost it. */
static void call_due(void *arg)
{
    struct prompt *prompt = arg;
    struct sim *sim = prompt->sim;

    if (prompt->p.plan.callback == CALLBACK_LOST) {
        note(prompt, 0, true, "");
        after_last_callback(prompt);
        return;
    }
    list_remove(&prompt->due);
    list_append(&sim->due, &prompt->due);
    sim->due_need = MAX(sim->due_need, prompt->need);
}

static void write_body(struct sim *sim, const struct prompt *prompt)
{
    const struct plan *plan = &prompt->p.plan;
    struct callback_words w = {
        .merchant_id = prompt->p.merchant,
        .checkout_id = prompt->p.checkout,
        .code = prompt->code,
        .text_code = plan->text_code,
        .balance_item = plan->balance_item,
        .amount = prompt->p.order.amount,
        .msisdn = prompt->p.order.msisdn,
        .paid_at = prompt->decided_at,
        .receipt = prompt->receipt,
    };

    buf_reset(&sim->text);
    if (plan->callback == CALLBACK_GARBAGE)
        buf_adds(&sim->text, GARBAGE);
    else
        words_callback(&sim->text, &w);
}

static enum err_code start_call(struct sim *sim, struct prompt *prompt,
                                struct err *err)
{
    struct courier_letter letter = {
        .url = prompt->p.order.url,
        .shortcode = prompt->p.order.shortcode,
        .done = call_done,
        .arg = prompt,
    };

    write_body(sim, prompt);
    letter.body = sim->text.data;
    letter.len = sim->text.len;
    return courier_send(sim->courier, &letter, err);
}

static void send_one(struct sim *sim, struct prompt *prompt)
{
    struct err err;

    prompt->tries++;
    if (start_call(sim, prompt, &err) == ERR_NONE) {
        prompt->state = PROMPT_CALLING;
    } else if (err.code == ERR_LIMIT) {
        prompt->tries--;
        arm(prompt, call_due, BUSY_US);
    } else {
        note(prompt, 0, false, err.text);
        after_last_callback(prompt);
    }
}

void life_flush(struct sim *sim)
{
    struct list now;
    struct list *node;

    list_init(&now);
    list_splice(&now, &sim->due);
    sim->due_need = 0;
    while ((node = list_shift(&now)))
        send_one(sim, container_of(node, struct prompt, due));
}

void life_resume(struct sim *sim, struct prompt *prompt)
{
    prompt->sim = sim;
    prompt->need = journal_size(sim->journal);
    if (prompt->state == PROMPT_OPEN) {
        handset_lock(handset_get(sim->handsets, prompt->p.order.msisdn,
                                 loop_now_us(sim->loop)));
        arm(prompt, decide, RESUME_US);
    } else if (prompt->tries > 0) {
        after_last_callback(prompt);
    } else {
        arm(prompt, call_due, RESUME_US);
    }
}

/* A callback that is on its way still names its prompt. */
static void forget(struct sim *sim, struct prompt *prompt)
{
    timer_cancel(sim->loop, &prompt->timer);
    release_answer(prompt);
    if (prompt->state == PROMPT_CALLING)
        prompt->forgotten = true;
    else
        prompt_drop(sim->prompts, prompt);
}

void life_reset(struct sim *sim)
{
    struct prompt *prompt, *next;

    while ((prompt = prompts_first_done(sim->prompts)))
        prompt_drop(sim->prompts, prompt);
    for (prompt = prompts_first_open(sim->prompts); prompt; prompt = next) {
        next = prompts_next_open(sim->prompts, prompt);
        forget(sim, prompt);
    }
}

void life_stop(struct sim *sim)
{
    struct prompt *prompt = prompts_first_open(sim->prompts);

    for (; prompt; prompt = prompts_next_open(sim->prompts, prompt))
        timer_cancel(sim->loop, &prompt->timer);
}
