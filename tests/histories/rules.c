/*
 * The rules, one function per matter. Names begin with the invariant that they
 * are a part of.
 */
#include "tests/histories/rules.h"

#include "common/clock.h"

#include <string.h>

struct flow_policy rules_policy = {
    .attempts_max = 3,
    .replays_max = 2,
    .backoff_min_us = 2 * US_PER_S,
    .backoff_max_us = 60 * US_PER_S,
    .busy_phone_min_us = 60 * US_PER_S,
    .busy_phone_max_us = 180 * US_PER_S,
    .phone_hold_us = 120 * US_PER_S,
    .query_first_us = 20 * US_PER_S,
    .query_max_us = 60 * US_PER_S,
    .query_agree_gap_us = 60 * US_PER_S,
    .query_agree_age_us = 180 * US_PER_S,
    .prompt_timeout_us = 90 * US_PER_S,
    .unresolved_after_us = 400 * US_PER_S,
    .push_timeout_us = 85 * US_PER_S,
    .same_amount_gap_us = 120 * US_PER_S,
    .announce_again_us = 10 * US_PER_S,
};

#define AHEAD 1000 /* versions that may have been told and forgotten */

/* What one step shows, for the rules about it. */
struct look {
    struct world *w;
    const struct payment *was, *is;
    const struct flow_event *e;
    const bool *did;
    const char *refused;
    bool changed, moved; /* moved: a new version */
    bool money;          /* the event says paid  */
    bool enters;         /* ... is of an attempt that the row has forgotten */
};

static void holds(const struct look *l, bool what, const char *name)
{
    rule(l->w, what, name);
}

static bool is_final(enum payment_state s)
{
    return s >= PAYMENT_SUCCEEDED;
}

static bool is_open(enum payment_state s)
{
    return s == PAYMENT_UNKNOWN || s == PAYMENT_UNRESOLVED;
}

static bool in_the_air(enum payment_state s)
{
    return s == PAYMENT_SENDING || s == PAYMENT_PROMPTED || is_open(s);
}

static bool same(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* --- I4: states and versions --- */

/* The picture of states once more, by hand. */
static bool legal(enum payment_state from, enum payment_state to)
{
    switch (from) {
    case PAYMENT_SENDING:
        return to != PAYMENT_SENDING && to != PAYMENT_UNRESOLVED &&
               to != PAYMENT_REJECTED && to != PAYMENT_CANCELLED;
    case PAYMENT_PROMPTED:
        return to == PAYMENT_UNKNOWN || to == PAYMENT_WAITING ||
               to == PAYMENT_SUCCEEDED || to == PAYMENT_FAILED ||
               to == PAYMENT_DEAD;
    case PAYMENT_WAITING:
        return to == PAYMENT_SENDING || to == PAYMENT_WAITING ||
               to == PAYMENT_PROMPTED || to == PAYMENT_UNKNOWN ||
               to == PAYMENT_SUCCEEDED || to == PAYMENT_FAILED ||
               to == PAYMENT_REJECTED || to == PAYMENT_CANCELLED;
    case PAYMENT_UNKNOWN:
    case PAYMENT_UNRESOLVED:
        return to != PAYMENT_SENDING && to != PAYMENT_REJECTED &&
               to != PAYMENT_CANCELLED &&
               !(from == PAYMENT_UNRESOLVED && to == PAYMENT_UNKNOWN);
    case PAYMENT_SUCCEEDED:
        return to == PAYMENT_SUCCEEDED || to == PAYMENT_UNKNOWN;
    case PAYMENT_FAILED:
    case PAYMENT_REJECTED:
    case PAYMENT_CANCELLED:
    case PAYMENT_SUPERSEDED: return to == PAYMENT_SUCCEEDED;
    case PAYMENT_DEAD:
        return to == PAYMENT_SUCCEEDED || to == PAYMENT_WAITING ||
               to == PAYMENT_UNKNOWN;
    case PAYMENT_QUEUED: break;
    }
    return false;
}

static bool came_back(const struct look *l)
{
    return l->e->kind == FLOW_REPLAYED && l->moved;
}

static void states(const struct look *l)
{
    const struct payment *was = l->was, *is = l->is;

    holds(l,
          is->version - was->version == (int)l->moved * (l->enters ? AHEAD : 1),
          "I4: a version rises by one, beyond what was forgotten by more");
    holds(l, !l->moved || legal(was->state, is->state),
          "I4: there is no such arrow");
    holds(l,
          was->state != PAYMENT_SUCCEEDED || is->state == was->state ||
              l->e->kind == FLOW_RECEIPT_TAKEN,
          "I4: paid is absorbing");
    holds(l,
          l->moved ||
              (is->state == was->state && is->waits == was->waits &&
               is->attempt == was->attempt && is->spent == was->spent &&
               is->class == was->class && is->evidence == was->evidence &&
               same(is->code, was->code) && same(is->text, was->text) &&
               same(is->receipt, was->receipt) && is->paid_at == was->paid_at),
          "I3: what is told moves with its version");
    holds(l,
          !l->moved || is->state == PAYMENT_SENDING || l->did[FLOW_DO_ANNOUNCE],
          "I3: a change is announced");
    holds(l, is->deadline_at == was->deadline_at || came_back(l),
          "I4: the deadline stays, but for a replay");
}

/* --- I2: nothing is forgotten --- */

static void looked_at(const struct look *l)
{
    const struct payment *is = l->is;
    int64_t next_at = is->next_action_at;
    int64_t window_at = is->pushed_at + rules_policy.unresolved_after_us;

    if (!l->changed || (!l->moved && next_at == l->was->next_action_at))
        return;
    holds(l, next_at > 0 || (is->state >= PAYMENT_UNRESOLVED && !l->moved),
          "I2: somebody looks at it again");
    holds(l, is->state != PAYMENT_WAITING || next_at <= is->deadline_at,
          "I2: a waiting payment is looked at by its deadline");
    holds(l,
          is->state != PAYMENT_UNKNOWN ||
              next_at <= MAX(window_at, l->w->now_at + 1),
          "I2: an unknown payment is looked at by its window's end");
    holds(l,
          is->state != PAYMENT_PROMPTED ||
              next_at <= is->pushed_at + rules_policy.prompt_timeout_us,
          "I2: a prompt is looked at by its time-out");
    holds(l,
          is->state != PAYMENT_DEAD || !l->moved || l->did[FLOW_DO_DEAD_LETTER],
          "I2: a dead payment has its letter");
    holds(l,
          is->state != PAYMENT_UNRESOLVED ||
              l->was->state == PAYMENT_UNRESOLVED ||
              l->did[FLOW_DO_ALARM_UNRESOLVED],
          "I2: unresolved raises the alarm");
}

/* --- I1: one open push per phone --- */

static void phone(const struct look *l)
{
    const struct payment *was = l->was, *is = l->is;
    bool over = l->w->now_at >= is->pushed_at + rules_policy.push_timeout_us +
                                    rules_policy.phone_hold_us;

    holds(l, is->state != PAYMENT_SENDING || is->holds_phone,
          "I1: a push holds its phone");
    holds(l,
          !is->holds_phone || was->holds_phone || l->did[FLOW_DO_PUSH] ||
              (l->e->kind == FLOW_RECOVERED && !l->e->phone_taken),
          "I1: a phone that was let go is not taken back");
    holds(l,
          !is->holds_phone ||
              (is->state != PAYMENT_WAITING && is->state < PAYMENT_UNRESOLVED),
          "I2: who needs no phone holds none");
    holds(l,
          l->did[FLOW_DO_WAKE_PHONE] == (was->holds_phone && !is->holds_phone),
          "I2: a phone that is let go wakes its waiter");
    if (!was->holds_phone || !l->changed)
        return;
    holds(l,
          is->holds_phone || over ||
              (is->state != PAYMENT_PROMPTED && is->state != PAYMENT_UNKNOWN),
          "I1: an open push keeps its phone for its time");
    holds(l,
          !is->holds_phone || !over || l->e->kind != FLOW_DUE ||
              was->state != PAYMENT_UNKNOWN,
          "I2: a phone is not held for ever");
}

/* --- I1: a push --- */

static void push(const struct look *l)
{
    const struct payment *was = l->was, *is = l->is;
    const struct attempt *last = &l->w->attempts[was->attempt];
    int64_t now_at = l->w->now_at;
    bool begins = is->state == PAYMENT_SENDING && l->moved;

    holds(l, l->did[FLOW_DO_PUSH] == begins, "I1: a push is an attempt");
    holds(l,
          is->attempt == was->attempt + (int)begins ||
              (l->enters && is->attempt == l->e->attempt),
          "I1: attempts are numbered one by one");
    if (!begins)
        return;
    holds(l, is->attempt > l->w->made || !l->w->attempts[is->attempt].came,
          "I1: no attempt's number is given twice");
    holds(l, l->e->kind == FLOW_DUE && was->waits != WAIT_PROOF,
          "I1: only who waits for it is pushed");
    holds(l, now_at < was->deadline_at,
          "I1: nothing is pushed past its deadline");
    holds(l,
          !was->pushed_at || l->w->jumped ||
              now_at >= was->pushed_at + rules_policy.same_amount_gap_us,
          "I1: equal amounts stay two minutes apart");
    holds(l,
          !last->proven || last->excused || l->w->jumped ||
              now_at >= last->end_told_at + rules_policy.busy_phone_min_us,
          "I1: a customer is not asked again at once");
    holds(l, !*is->checkout_id && !is->queries,
          "I1: an attempt has nothing of the one before");
}

static void spending(const struct look *l)
{
    const struct payment *was = l->was, *is = l->is;
    int spent = is->spent - was->spent;
    bool unsent = l->e->kind == FLOW_NOT_SENT || l->e->kind == FLOW_ANSWER ||
                  l->e->kind == FLOW_NEVER_BEGAN || l->e->kind == FLOW_DUE;

    holds(l,
          spent == 0 || (spent == 1 && !unsent) || came_back(l) ||
              (l->enters && spent > 0 && is->spent < is->attempt),
          "I2: what did not reach the customer burns no attempt");
    holds(l,
          is->state != PAYMENT_DEAD || !l->moved ||
              is->spent >= rules_policy.attempts_max,
          "I2: dead has spent its attempts");
}

/* --- evidence --- */

static void attempts(const struct look *l)
{
    const struct flow_event *e = l->e;
    bool about_one = e->kind == FLOW_NOT_SENT || e->kind == FLOW_ANSWER ||
                     e->kind == FLOW_LOST || e->kind == FLOW_NEVER_BEGAN ||
                     e->kind == FLOW_NO_TRACE || e->kind == FLOW_CALLBACK ||
                     e->kind == FLOW_QUERY;

    holds(l,
          !about_one || l->money || e->attempt == l->was->attempt ||
              l->enters || !l->changed,
          "I1: what is said of one attempt is not about another");
    holds(l,
          !*l->is->checkout_id || l->is->checkout_id[1] == 'A' + l->is->attempt,
          "I3: the CheckoutRequestID is that of the attempt");
    holds(l, !l->did[FLOW_DO_QUERY] || *l->is->checkout_id,
          "I3: a query asks about an id");
    holds(
        l,
        e->kind != FLOW_ORPHAN || !l->changed ||
            (l->is->state == PAYMENT_UNKNOWN && l->is->owner == l->was->owner),
        "I1: takeover makes it unknown, and nothing else");
}

/* A query alone fails a payment only when it agrees with an earlier one. */
static void queries(const struct look *l)
{
    const struct payment *was = l->was;
    int64_t now_at = l->w->now_at;

    if (l->e->kind != FLOW_QUERY || !l->moved || l->is->state != PAYMENT_FAILED)
        return;
    holds(l,
          same(was->query_code, l->e->verdict.code) &&
              now_at - was->query_code_at >= rules_policy.query_agree_gap_us &&
              now_at - was->pushed_at >= rules_policy.query_agree_age_us,
          "I3: one query fails nothing");
}

static unsigned receipt_bit(const char *receipt)
{
    if (!*receipt)
        return 0;
    return same(receipt, "FOREIGN0ZZ") ? 1u : 1u << (receipt[8] - 'A');
}

static enum evidence rank(const struct flow_event *e)
{
    if (e->kind == FLOW_CALLBACK)
        return EVIDENCE_CALLBACK;
    return e->kind == FLOW_QUERY ? EVIDENCE_QUERY : e->evidence;
}

static void receipts(const struct look *l)
{
    const struct payment *was = l->was, *is = l->is;
    const char *told = l->e->money.receipt;
    bool paid = was->state == PAYMENT_SUCCEEDED;
    bool changes = paid && is->state == PAYMENT_SUCCEEDED && *was->receipt &&
                   !same(is->receipt, was->receipt);

    holds(l,
          !changes ||
              (is->evidence > was->evidence && l->did[FLOW_DO_ALARM_DOUBLE] &&
               strstr(is->text, was->receipt)),
          "I3: a receipt gives way to stronger evidence alone, and is named");
    holds(l,
          !paid || is->state != PAYMENT_SUCCEEDED ||
              is->evidence >= was->evidence,
          "I3: evidence does not become weaker");
    if (!l->money)
        return;
    holds(l, is->state == PAYMENT_SUCCEEDED, "I3: paid wins");
    holds(l, !*told || *is->receipt, "I3: a receipt is kept");
    holds(l, is->evidence >= rank(l->e), "I3: the strongest evidence stands");
    holds(l,
          !paid || !*told || !*was->receipt || same(told, was->receipt) ||
              (l->w->receipts & receipt_bit(told)) ||
              l->did[FLOW_DO_ALARM_DOUBLE],
          "I1: a second receipt raises the alarm");
}

/* That left, or still may. */
static int attempts_of(const struct world *w)
{
    int n = 0;

    for (int k = 1; k <= w->made; k++)
        n += w->attempts[k].came || w->attempts[k].phase != PHASE_ENDED;
    return n;
}

static void alarms(const struct look *l)
{
    const struct payment *was = l->was;
    const struct world *w = l->w;
    bool twice = l->did[FLOW_DO_ALARM_DOUBLE];
    bool late = l->did[FLOW_DO_ALARM_LATE];
    bool first = l->money && was->state != PAYMENT_SUCCEEDED;

    holds(l,
          !twice || w->person || w->foreign || w->forgot || attempts_of(w) > 1,
          "I4: one charge raises no alarm of two");
    holds(l,
          !first || !in_the_air(was->state) || was->attempt == l->e->attempt ||
              twice,
          "I4: paid beside an open attempt raises the alarm");
    holds(l,
          l->did[FLOW_DO_STOP_PUSH] ==
              (first && was->state == PAYMENT_SENDING &&
               was->attempt != l->e->attempt),
          "I1: paid stops a later push that has not gone out");
    holds(l, !first || !is_final(was->state) || twice || late,
          "I4: paid after it was told as not paid raises an alarm");
    holds(l,
          !first || was->state != PAYMENT_FAILED ||
              was->evidence != EVIDENCE_PERSON || twice,
          "I4: paid against a person's word raises the alarm of two");
    holds(l,
          !first ||
              l->did[FLOW_DO_ALARM_DIFFERS] ==
                  (l->e->money.amount && l->e->money.amount != was->req.amount),
          "I3: another amount is flagged");
}

/* --- people --- */

static void people(const struct look *l)
{
    const struct flow_event *e = l->e;
    const struct payment *was = l->was;
    bool word = e->kind == FLOW_RESOLVED || e->kind == FLOW_NO_MONEY;
    bool cancel = e->kind == FLOW_CANCEL;
    bool asks_proof = e->kind == FLOW_NO_MONEY || e->decision != RESOLVE_PAID;
    bool replay = e->kind == FLOW_REPLAYED;

    holds(l, !l->refused || ((word || replay || cancel) && !l->changed),
          "I6: what is refused changes nothing");
    holds(l, !cancel || l->moved || l->refused,
          "I6: who cancels hears what became of it");
    holds(l, !l->moved || (l->is->state == PAYMENT_CANCELLED) == cancel,
          "I4: nothing is cancelled unless it is asked for");
    if (!word)
        return;
    holds(l,
          (is_open(was->state) && e->attempt == was->attempt) ||
              (l->refused && !l->changed),
          "I6: a word counts for what is unknown, and its attempt");
    holds(l, !asks_proof || !was->owner || e->force || l->refused,
          "I6: not while its worker may live");
    holds(l,
          e->kind != FLOW_NO_MONEY || !l->changed ||
              l->is->state == PAYMENT_UNRESOLVED,
          "I1: absence is no proof");
}

/* Who was dead comes back whole, by way of proof, as often as is allowed. */
static void replays(const struct look *l)
{
    const struct payment *was = l->was, *is = l->is;

    if (l->e->kind != FLOW_REPLAYED) {
        holds(l, is->replays == was->replays,
              "I4: nothing else counts as a replay");
        holds(l, was->state != PAYMENT_DEAD || is->state != PAYMENT_WAITING,
              "I4: nothing else brings back the dead");
        return;
    }
    holds(l, l->refused || l->moved, "I6: a replay that is refused says so");
    if (!l->moved)
        return;
    holds(l, was->state == PAYMENT_DEAD, "I6: only the dead are replayed");
    holds(l, is->state == PAYMENT_WAITING && is->waits == WAIT_PROOF,
          "I1: a replay asks for proof first");
    holds(l,
          is->replays == was->replays + 1 &&
              is->replays <= rules_policy.replays_max,
          "I6: replays are counted and bounded");
    holds(l, is->spent == 0 && is->queries == 0 && is->attempt == was->attempt,
          "I6: it has all its attempts anew, under new numbers");
    holds(l,
          is->deadline_at > l->w->now_at &&
              is->deadline_at <= l->w->now_at + l->e->replay.give_us &&
              (!is->req.expires_at || is->deadline_at <= is->req.expires_at),
          "I1: its new deadline is what was given, and its client's wish");
}

/* --- the face --- */

static struct look look_at(struct world *w, const struct payment *was,
                           const struct flow_event *e,
                           const struct flow_out *out)
{
    return (struct look){
        .w = w,
        .was = was,
        .is = out->changed ? &out->next : was,
        .e = e,
        .did = out->actions,
        .refused = out->refused,
        .changed = out->changed,
        .moved = out->changed && out->next.version != was->version,
        .money = e->kind == FLOW_MONEY ||
                 ((e->kind == FLOW_CALLBACK || e->kind == FLOW_QUERY) &&
                  e->verdict.kind == VERDICT_PAID),
        .enters = (e->kind == FLOW_RECOVERED || e->kind == FLOW_CALLBACK) &&
                  e->attempt > was->attempt,
    };
}

void rules_step(struct world *w, const struct payment *was,
                const struct flow_event *e, const struct flow_out *out)
{
    struct look l = look_at(w, was, e, out);

    states(&l);
    looked_at(&l);
    phone(&l);
    push(&l);
    spending(&l);
    attempts(&l);
    queries(&l);
    receipts(&l);
    alarms(&l);
    people(&l);
    replays(&l);
    if (l.money ||
        (e->kind == FLOW_RESOLVED && l.is->state == PAYMENT_SUCCEEDED))
        w->receipts |= receipt_bit(e->money.receipt);
}

void rules_once(struct world *w, const struct flow_event *e)
{
    static struct flow_out out;
    bool acts = false;

    flow_step(&w->row, e, &rules_policy, w->now_at, &out);
    for (int i = 0; i < FLOW_ACTIONS_N; i++)
        acts |= out.actions[i] && i != FLOW_DO_STOP_LINE;
    rule(w, !out.changed && !acts, "I5: the same word again is nothing new");
}

/* --- against the truth --- */

/* Whether attempt @p k may still bring money that nobody has told of. */
static bool may_live(const struct world *w, int k)
{
    const struct attempt *a = &w->attempts[k];
    enum end_kind kind = world_codes[a->code].kind;
    bool over = a->ended && a->proven &&
                (kind == END_UNSHOWN || kind == END_SILENT) &&
                !(w->receipts & (1u << k));

    if (a->excused)
        return false;
    if (!a->came)
        return a->phase == PHASE_COMMITTED && w->lives[a->life].alive &&
               !w->lives[a->life].distrusted;
    return !over && !(a->judged && !a->accepted && a->disproved);
}

static void truth_of_push(const struct look *l)
{
    struct world *w = l->w;
    struct attempt *last = &w->attempts[l->was->attempt];

    for (int k = 1; k <= w->made; k++)
        holds(l, !may_live(w, k), "I1: pushed beside an attempt that may live");
    if (last->came && last->proven && !last->excused &&
        world_codes[last->code].kind == END_SILENT) {
        last->counted_again = true;
        w->again++;
    }
    holds(l, w->again <= l->was->req.ask_again,
          "I1: not more prompts than the client allowed");
}

/* Told as over and unpaid, while a customer may still pay. */
static void truth_of_end(const struct look *l)
{
    const struct world *w = l->w;
    bool unasked =
        l->is->state == PAYMENT_REJECTED || l->is->state == PAYMENT_CANCELLED;
    /* dead until the recorders are compared: its replay was forgotten */
    bool comes_back = w->held && l->is->state == PAYMENT_DEAD;

    for (int k = 1; k <= w->made; k++) {
        const struct attempt *a = &w->attempts[k];
        bool open = a->came && !a->excused &&
                    (!a->judged || (a->accepted && !a->ended));

        holds(l, !open || w->person || comes_back,
              "I3: over while a prompt is open");
        holds(l, !unasked || !a->accepted || a->excused,
              "I3: rejected and cancelled is what never reached a customer");
        holds(l, l->is->state != PAYMENT_CANCELLED || !may_live(w, k),
              "I1: cancelled while an attempt may live");
    }
}

static bool money_moved(const struct world *w)
{
    for (int k = 1; k <= w->made; k++)
        if (w->attempts[k].paid)
            return true;
    return false;
}

static void note_word(struct world *w, const struct flow_event *e)
{
    w->person = true;
    for (int k = 1; e->decision == RESOLVE_AGAIN && k <= w->row.attempt; k++)
        w->attempts[k].excused = true;
}

void rules_truth(struct world *w, const struct payment *was,
                 const struct flow_event *e, const struct flow_out *out)
{
    struct look l = look_at(w, was, e, out);

    if (e->kind == FLOW_RESOLVED)
        note_word(w, e);
    if (!l.moved)
        return;
    if (l.did[FLOW_DO_PUSH])
        truth_of_push(&l);
    if (l.is->state > PAYMENT_SUCCEEDED)
        truth_of_end(&l);
    if (l.is->state == PAYMENT_SUCCEEDED)
        holds(&l, money_moved(w) || w->foreign || w->person,
              "I3: succeeded is paid");
}

void rules_end(struct world *w)
{
    const struct payment *p = &w->row;
    const struct attempt *last = &w->attempts[p->attempt];
    bool sure = !w->person && !w->foreign;

    rule(w, p->state >= PAYMENT_UNRESOLVED, "I2: it comes to an end");
    rule(w, !sure || !w->receipts || p->state == PAYMENT_SUCCEEDED,
         "I3: what was told as paid ends so");
    rule(w,
         !sure || w->forgot || p->state != PAYMENT_UNRESOLVED ||
             !last->end_told || world_codes[last->code].kind != END_FINAL ||
             same(world_codes[last->code].code, "17"),
         "I2: unresolved, and its callback had told");
    rule(w, !p->holds_phone, "I2: its phone is free at the end");
}
