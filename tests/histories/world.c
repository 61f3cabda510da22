/*
 * The world itself: how it begins, how an event meets the row, and how it ends
 * when all faults do. Its moves are in moves_*.c.
 */
#include "tests/histories/rules.h"
#include "tests/histories/world_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DEADLINE_US (900 * US_PER_S)
#define WISH_US (1800 * US_PER_S) /* of a client with expires_at */
#define HEAL_ROUNDS 40

static struct flow_out out; /* of the last decision */

/* --- dice --- */

uint32_t die(uint32_t *dice, uint32_t n)
{
    uint32_t side = (uint32_t)(((uint64_t)*dice * n) >> 32);

    *dice = *dice * 2654435761u + 0x9e3779b9u;
    *dice ^= *dice >> 15;
    return side;
}

bool once_in(uint32_t *dice, uint32_t n)
{
    return die(dice, n) == 0;
}

int any_attempt(const struct world *w, uint32_t *dice)
{
    if (!w->made)
        return 0;
    if (!once_in(dice, 4)) /* mostly the last one: most can happen to it */
        return w->row.attempt ? w->row.attempt : w->made;
    return 1 + (int)die(dice, (uint32_t)w->made);
}

/* --- telling the flow --- */

struct flow_event *world_event(struct world *w, enum flow_event_kind kind,
                               int attempt, uint32_t dice)
{
    static struct flow_event e;

    memset(&e, 0, sizeof(e));
    e.kind = kind;
    e.attempt = attempt;
    e.dice = dice;
    e.owner = w->row.owner;
    e.verdict.retry_after_s = -1;
    return &e;
}

static void print_step(const struct world *w, const struct flow_event *e,
                       const struct payment *was)
{
    const struct payment *is = &out.next;
    bool says = e->kind == FLOW_CALLBACK || e->kind == FLOW_QUERY;

    printf("%9.1f s  %s", (double)(w->now_at - T0) / US_PER_S,
           flow_event_name(e->kind));
    if (e->attempt)
        printf(", attempt %d", e->attempt);
    if (e->kind == FLOW_ANSWER)
        printf(", %s", verdict_name(e->verdict.kind));
    if (says)
        printf(", code %s%s", *e->verdict.code ? e->verdict.code : "none",
               e->verdict.kind == VERDICT_PENDING ? " (pending)" : "");
    if (e->kind == FLOW_RESOLVED)
        printf(", decision %d%s", (int)e->decision, e->force ? ", forced" : "");
    printf(": %s v%d", payment_state_name(was->state), was->version);
    if (out.refused)
        printf(", refused: %s", out.refused);
    else if (!out.changed)
        printf(", nothing new");
    else
        printf(" -> %s%s%s v%d, attempt %d, spent %d",
               payment_state_name(is->state), is->waits ? "/" : "",
               payment_wait_name(is->waits), is->version, is->attempt,
               is->spent);
    if (out.actions[FLOW_DO_PUSH])
        printf(", PUSH");
    if (out.actions[FLOW_DO_ALARM_DOUBLE])
        printf(", alarm: double");
    printf("\n");
}

static void begin_attempt(struct world *w, uint32_t dice)
{
    struct attempt *a = &w->attempts[w->row.attempt];

    *a = (struct attempt){
        .life = (int)w->row.owner,
        .committed_at = w->now_at,
        .phase = once_in(&dice, 16) ? PHASE_UNSURE : PHASE_COMMITTED,
    };
    w->made = MAX(w->made, w->row.attempt);
    w->tally->pushes++;
}

static void decide(struct world *w, const struct payment *seen,
                   const struct flow_event *e)
{
    struct payment *row = &w->row;
    int published = row->published_version;
    struct attempt *a;

    flow_step(seen, e, &rules_policy, w->now_at, &out);
    w->tally->steps++;
    w->tally->causes[e->kind]++;
    if (w->talk)
        print_step(w, e, seen);
    rules_step(w, seen, e, &out);
    if (!out.changed)
        return;
    if (seen != row && out.next.holds_phone && w->other == OTHER_HOLDS) {
        decide(w, row, e); /* the index on phones refuses it */
        return;
    }
    rules_truth(w, seen, e, &out);
    w->tally->states[seen->state][out.next.state] +=
        out.next.version != seen->version;
    *row = out.next;
    row->published_version = published;
    w->unresolved |= row->state == PAYMENT_UNRESOLVED;
    if (out.actions[FLOW_DO_PUSH])
        begin_attempt(w, e->dice);
    rule(w, !row->holds_phone || w->other != OTHER_HOLDS,
         "I1: one holder of a phone");
    if (out.actions[FLOW_DO_QUERY]) {
        a = &w->attempts[row->attempt];
        a->asking = true;
        a->asked_after = a->end_told;
    }
}

static bool momentary(const struct flow_event *e)
{
    return e->kind == FLOW_DUE || e->kind == FLOW_PHONE_BUSY;
}

void tell(struct world *w, struct flow_event *e, bool on_view)
{
    bool fits = w->has_view && w->view.version == w->row.version;

    if (on_view && w->has_view && !fits && momentary(e))
        return;
    decide(w, on_view && fits ? &w->view : &w->row, e);
    if (!momentary(e) && !(on_view && fits))
        rules_once(w, e);
}

void tell_sometimes_stale(struct world *w, struct flow_event *e)
{
    tell(w, e, (e->dice & 7) == 0);
}

/* --- the face --- */

static const struct {
    bool (*play)(struct world *w, uint32_t dice);
    const char *words;
} moves[MOVES_N] = {
#define MOVE(id, play, weight, words) [id] = {play, words},
#include "tests/histories/moves.def"
#undef MOVE
};

const unsigned move_weights[MOVES_N] = {
#define MOVE(id, play, weight, words) [id] = weight,
#include "tests/histories/moves.def"
#undef MOVE
};

const char *move_words(enum move_kind kind)
{
    return moves[kind].words;
}

/* What nobody is told of until the recorders were compared. */
static bool is_held(const struct world *w, enum move_kind kind)
{
    return w->held && kind >= MOVE_CALLBACK && kind <= MOVE_CANCEL;
}

bool world_move(struct world *w, const struct move *m)
{
    bool played = !is_held(w, m->kind) && moves[m->kind].play(w, m->dice);

    w->tally->moves[m->kind] += played;
    return played;
}

static enum claim_verdict any_claim(uint32_t *dice)
{
    switch (die(dice, 16)) {
    case 0: return CLAIM_LATE;
    case 1:
    case 2: return CLAIM_WAIT;
    case 3: return CLAIM_PARK;
    case 4: return once_in(dice, 4) ? CLAIM_CANCELLED : CLAIM_GO;
    default: return CLAIM_GO;
    }
}

/* What a loss of memory leaves: an attempt that may have left. */
static void entered(struct world *w)
{
    w->row.state = PAYMENT_UNKNOWN;
    w->row.owner = 0;
    w->attempts[1].phase = PHASE_ENDED;
    w->attempts[1].came = true;
}

void world_begin(struct world *w, uint32_t dice)
{
    struct tally *tally = w->tally;
    bool talk = w->talk;
    struct request req = {.msisdn = INT64_C(254712345678),
                          .amount = AMOUNT,
                          .shortcode = 174379,
                          .ask_again = (int)die(&dice, 3),
                          .requested_at = T0};

    if (once_in(&dice, 4))
        req.expires_at = T0 + WISH_US;
    rules_policy.attempts_max = 1 + (int)die(&dice, 3);
    memset(w, 0, sizeof(*w));
    w->tally = tally;
    w->talk = talk;
    w->now_at = w->latest_at = T0;
    w->lives_n = WORKERS_N;
    for (int i = 0; i < WORKERS_N; i++) {
        w->workers[i] = i + 1;
        w->lives[i + 1].alive = true;
    }
    flow_claim(&req, T0 + DEADLINE_US, 1, any_claim(&dice), &rules_policy, T0,
               &w->row);
    if (w->row.state != PAYMENT_SENDING)
        return;
    begin_attempt(w, dice);
    if (once_in(&dice, 16))
        entered(w);
}

/* --- the end of all faults --- */

static void end_pushes(struct world *w, uint32_t dice)
{
    struct move m = {.dice = dice};
    static const enum move_kind kinds[] = {
        MOVE_ARRIVE, MOVE_NOT_SENT, MOVE_ANSWER,   MOVE_LOSE,
        MOVE_STORE,  MOVE_ORPHAN,   MOVE_RECORDER,
    };

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        m.kind = kinds[i];
        (void)world_move(w, &m);
    }
}

/* Dice that pick the last attempt and nothing strange. */
#define CALM_DICE 0x7fffffffu

void world_heal(struct world *w)
{
    struct attempt *last;

    w->now_at = MAX(w->now_at, w->latest_at); /* the clock is right again */
    w->other = OTHER_OVER;
    (void)move_compare(w, CALM_DICE);
    for (int i = 0; i < HEAL_ROUNDS && !w->fault; i++) {
        last = &w->attempts[w->row.attempt];
        if (w->row.state >= PAYMENT_UNRESOLVED)
            break;
        end_pushes(w, CALM_DICE);
        if (last->accepted && !last->ended) {
            last->ended = true;
            last->code = CANCELLED;
        }
        (void)answer_query(w, w->row.attempt, CALM_DICE);
        w->now_at = MAX(w->now_at, w->row.next_action_at);
        if (w->row.state == PAYMENT_WAITING)
            w->now_at = MAX(w->now_at, w->row.deadline_at);
        (void)move_due(w, CALM_DICE);
    }
    w->tally->settled++;
    rules_end(w);
}
