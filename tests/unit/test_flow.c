/*
 * The core, without any service: each arrow of the picture of states, and what
 * must not happen beside it. Random histories are in tests/histories.
 */
#include "common/recovered.h"
#include "tests/unit/flow_steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- arrows --- */

static void test_claims(void **state)
{
    struct payment go = claimed(CLAIM_GO), wait = claimed(CLAIM_WAIT),
                   late = claimed(CLAIM_LATE), out = claimed(CLAIM_CANCELLED);

    (void)state;
    assert_int_equal(go.state, PAYMENT_SENDING);
    assert_int_equal(go.attempt, 1);
    assert_true(go.holds_phone);
    assert_int_equal(wait.state, PAYMENT_WAITING);
    assert_int_equal(wait.waits, WAIT_PHONE);
    assert_int_equal(wait.attempt, 0);
    assert_false(wait.holds_phone);
    assert_int_equal(late.state, PAYMENT_REJECTED);
    assert_int_equal(late.pushed_at, 0);
    assert_int_equal(out.state, PAYMENT_CANCELLED);
    assert_int_equal(out.attempt, 0);
    assert_int_equal(out.class, RESULT_WITHDRAWN);
}

static struct flow_event cancel(void)
{
    struct flow_event e = event(FLOW_CANCEL, 0);

    text_copy(e.why.text, sizeof(e.why.text), "cancelled by shop");
    return e;
}

static void test_what_waits_is_cancelled_once(void **state)
{
    static const enum claim_verdict waiting[] = {CLAIM_WAIT, CLAIM_PARK};
    struct flow_event e = cancel(), due = event(FLOW_DUE, 0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++) {
        struct payment p = claimed(waiting[i]);
        struct flow_out out = step(&p, &e, T0 + US_PER_S);

        assert_true(flow_may_cancel(&p));
        assert_true(out.changed);
        assert_null(out.refused);
        assert_int_equal(out.next.state, PAYMENT_CANCELLED);
        assert_int_equal(out.next.class, RESULT_WITHDRAWN);
        assert_string_equal(out.next.code, "cancelled");
        assert_string_equal(out.next.text, "cancelled by shop");
        assert_true(out.actions[FLOW_DO_ANNOUNCE]);
        assert_false(flow_may_cancel(&out.next));
        p = out.next;
        out = step(&p, &e, T0 + 2 * US_PER_S);
        assert_false(out.changed);
        assert_non_null(out.refused);
        assert_false(step(&p, &due, p.deadline_at).actions[FLOW_DO_PUSH]);
    }
}

static void test_what_may_have_left_is_not_cancelled(void **state)
{
    struct payment p[] = {claimed(CLAIM_GO), prompted(), unknown(),
                          claimed(CLAIM_WAIT), claimed(CLAIM_LATE)};
    struct flow_event e = cancel();

    (void)state;
    p[3].spent = 1; /* an attempt that is proven unpaid */
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        struct flow_out out = step(&p[i], &e, T0 + US_PER_S);

        assert_false(flow_may_cancel(&p[i]));
        assert_false(out.changed);
        assert_non_null(out.refused);
    }
}

static void test_what_was_proven_unsent_is_cancelled(void **state)
{
    struct payment p = claimed(CLAIM_GO);
    struct flow_event unsent = event(FLOW_NOT_SENT, 1), e = cancel();

    (void)state;
    p = step(&p, &unsent, T0 + US_PER_S).next;
    assert_int_equal(step(&p, &e, T0 + US_PER_S).next.state, PAYMENT_CANCELLED);
}

static void test_accepted_is_prompted(void **state)
{
    struct payment p = claimed(CLAIM_GO);
    struct flow_event e = answer(VERDICT_ACCEPTED, 1);
    struct flow_out out = step(&p, &e, T0 + US_PER_S);

    (void)state;
    assert_true(out.changed);
    assert_int_equal(out.next.state, PAYMENT_PROMPTED);
    assert_int_equal(out.next.version, 2);
    assert_string_equal(out.next.checkout_id, "ws_CO_1");
    assert_true(out.next.holds_phone);
    assert_true(out.actions[FLOW_DO_ANNOUNCE]);
    assert_int_equal(out.next.next_action_at, T0 + 21 * US_PER_S);
}

static void test_answer_of_another_attempt_is_nothing(void **state)
{
    struct payment p = claimed(CLAIM_GO);
    struct flow_event e = answer(VERDICT_ACCEPTED, 2);

    (void)state;
    assert_false(step(&p, &e, T0).changed);
}

static void test_unsent_waits_and_spends_nothing(void **state)
{
    struct payment p = claimed(CLAIM_GO);
    struct flow_event e = event(FLOW_NOT_SENT, 1);
    struct flow_out out;

    (void)state;
    e.unreachable = true;
    out = step(&p, &e, T0 + US_PER_S);
    assert_int_equal(out.next.state, PAYMENT_WAITING);
    assert_int_equal(out.next.waits, WAIT_RETRY);
    assert_int_equal(out.next.spent, 0);
    assert_int_equal(out.next.pushed_at, 0);
    assert_false(out.next.holds_phone);
    assert_true(out.actions[FLOW_DO_WAKE_PHONE]);
    assert_int_equal(out.next.next_action_at, T0 + 2 * US_PER_S);
}

static void test_lost_is_unknown_and_never_pushed(void **state)
{
    struct payment p = unknown();
    struct flow_event due = event(FLOW_DUE, 0);

    (void)state;
    assert_int_equal(p.state, PAYMENT_UNKNOWN);
    assert_true(p.holds_phone);
    for (int64_t at = T0; p.state == PAYMENT_UNKNOWN && p.next_action_at;) {
        struct flow_out out;

        at = p.next_action_at;
        out = step(&p, &due, at);
        assert_false(out.actions[FLOW_DO_PUSH]);
        p = out.next;
        assert_true(p.next_action_at > at);
    }
    assert_int_equal(p.state, PAYMENT_UNRESOLVED);
    assert_false(p.holds_phone);
}

static void test_phone_is_let_go_after_the_hold(void **state)
{
    struct payment p = unknown();
    struct flow_event due = event(FLOW_DUE, 0);
    struct flow_out out = step(&p, &due, T0 + 386 * US_PER_S);

    (void)state;
    assert_false(out.next.holds_phone);
    assert_true(out.actions[FLOW_DO_WAKE_PHONE]);
    assert_int_equal(out.next.state, PAYMENT_UNKNOWN);
    assert_int_equal(out.next.version, p.version);
}

static void test_token_refused_is_tried_at_once_then_waits(void **state)
{
    struct payment p = claimed(CLAIM_GO);
    struct flow_event e = answer(VERDICT_AUTH, 1), due = event(FLOW_DUE, 0);

    (void)state;
    e.token_version = 7;
    p = step(&p, &e, T0).next;
    assert_int_equal(p.next_action_at, T0);
    assert_int_equal(p.auth_version, 7); /* nobody may use it again (S13) */
    assert_int_equal(p.spent, 0);
    p = step(&p, &due, T0 + 1).next;
    assert_int_equal(p.state, PAYMENT_SENDING);
    assert_int_equal(p.attempt, 2);
    e.attempt = 2;
    e.token_version = 0; /* as a dead worker's recorder tells it */
    p = step(&p, &e, T0 + 2).next;
    assert_true(p.next_action_at > T0 + US_PER_S);
    assert_int_equal(p.auth_version, 7);
    p = step(&p, &due, p.next_action_at).next;
    e = answer(VERDICT_ACCEPTED, 3);
    assert_int_equal(step(&p, &e, T0 + 9 * US_PER_S).next.auth_version, 0);
}

static void test_throttled_obeys_retry_after(void **state)
{
    struct payment p = claimed(CLAIM_GO);
    struct flow_event e = answer(VERDICT_THROTTLED, 1);

    (void)state;
    e.verdict.retry_after_s = 30;
    p = step(&p, &e, T0).next;
    assert_int_equal(p.state, PAYMENT_WAITING);
    assert_true(p.next_action_at >= T0 + 30 * US_PER_S);
    assert_int_equal(p.spent, 0);
}

static void test_callback_pays(void **state)
{
    struct payment p = prompted();
    struct flow_event e = callback("0", 1);
    struct flow_out out = step(&p, &e, T0 + 9 * US_PER_S);

    (void)state;
    assert_int_equal(out.next.state, PAYMENT_SUCCEEDED);
    assert_string_equal(out.next.receipt, "RCPT000001");
    assert_true(out.actions[FLOW_DO_WAKE_PHONE]);
    assert_true(out.actions[FLOW_DO_ANNOUNCE]);
    assert_false(out.actions[FLOW_DO_ALARM_DOUBLE]);
    assert_false(step(&out.next, &e, T0 + 10 * US_PER_S).changed);
}

static void test_callback_before_the_answer(void **state)
{
    struct payment p = claimed(CLAIM_GO);
    struct flow_event paid = callback("0", 1), e = answer(VERDICT_ACCEPTED, 1);

    (void)state;
    p = step(&p, &paid, T0 + US_PER_S).next;
    assert_int_equal(p.state, PAYMENT_SUCCEEDED);
    p.checkout_id[0] = '\0';
    p = step(&p, &e, T0 + 2 * US_PER_S).next;
    assert_int_equal(p.state, PAYMENT_SUCCEEDED);
    assert_string_equal(p.checkout_id, "ws_CO_1");
}

static void test_paid_wins_over_failed(void **state)
{
    struct payment p = prompted();
    struct flow_event failed = callback("1037", 1), paid = callback("0", 1);

    (void)state;
    p = step(&p, &failed, T0 + 20 * US_PER_S).next;
    assert_int_equal(p.state, PAYMENT_FAILED);
    assert_int_equal(p.class, RESULT_NO_ANSWER);
    p = step(&p, &paid, T0 + 40 * US_PER_S).next;
    assert_int_equal(p.state, PAYMENT_SUCCEEDED);
    p = step(&p, &failed, T0 + 41 * US_PER_S).next;
    assert_int_equal(p.state, PAYMENT_SUCCEEDED);
}

static void test_second_receipt_raises_the_alarm(void **state)
{
    struct payment p = prompted();
    struct flow_event paid = callback("0", 1);
    struct flow_out out;

    (void)state;
    p = step(&p, &paid, T0 + 20 * US_PER_S).next;
    text_copy(paid.money.receipt, sizeof(paid.money.receipt), "RCPT000002");
    out = step(&p, &paid, T0 + 21 * US_PER_S);
    assert_true(out.actions[FLOW_DO_ALARM_DOUBLE]);
    assert_string_equal(out.next.receipt, "RCPT000001");
}

static void test_receipt_follows_a_query(void **state)
{
    struct payment p = prompted();
    struct flow_event q = query("0", 1), paid = callback("0", 1);

    (void)state;
    p = step(&p, &q, T0 + 20 * US_PER_S).next;
    assert_int_equal(p.state, PAYMENT_SUCCEEDED);
    assert_int_equal(p.evidence, EVIDENCE_QUERY);
    p = step(&p, &paid, T0 + 30 * US_PER_S).next;
    assert_string_equal(p.receipt, "RCPT000001");
    assert_int_equal(p.evidence, EVIDENCE_CALLBACK);
}

static void test_one_query_fails_nothing(void **state)
{
    struct payment p = prompted();
    struct flow_event q = query("1037", 1);
    struct flow_out out = step(&p, &q, T0 + 20 * US_PER_S);

    (void)state;
    assert_int_equal(out.next.state, PAYMENT_PROMPTED);
    p = out.next;
    p = step(&p, &q, T0 + 100 * US_PER_S).next; /* apart, but too young */
    assert_int_equal(p.state, PAYMENT_PROMPTED);
    p = step(&p, &q, T0 + 200 * US_PER_S).next;
    assert_int_equal(p.state, PAYMENT_FAILED);
    assert_int_equal(p.evidence, EVIDENCE_QUERY);
}

static void test_queries_that_differ_start_over(void **state)
{
    struct payment p = prompted();
    struct flow_event a = query("1037", 1), b = query("1032", 1);

    (void)state;
    p = step(&p, &a, T0 + 20 * US_PER_S).next;
    p = step(&p, &b, T0 + 200 * US_PER_S).next;
    assert_int_equal(p.state, PAYMENT_PROMPTED);
    p = step(&p, &b, T0 + 230 * US_PER_S).next;
    assert_int_equal(p.state, PAYMENT_PROMPTED);
    p = step(&p, &b, T0 + 261 * US_PER_S).next;
    assert_int_equal(p.state, PAYMENT_FAILED);
}

static void test_thin_proof_is_asked_twice(void **state)
{
    struct payment p = prompted();
    struct flow_event e = callback("1025", 1), due = event(FLOW_DUE, 0),
                      other = query("1032", 1), same = query("1025", 1);
    struct flow_out out;

    (void)state;
    p = step(&p, &e, T0 + 10 * US_PER_S).next;
    assert_int_equal(p.state, PAYMENT_WAITING);
    assert_int_equal(p.waits, WAIT_PROOF);
    assert_int_equal(p.spent, 1);
    out = step(&p, &due, p.next_action_at);
    assert_true(out.actions[FLOW_DO_QUERY]);
    assert_false(out.actions[FLOW_DO_PUSH]);
    p = step(&out.next, &other, T0 + 200 * US_PER_S).next;
    assert_int_equal(p.waits, WAIT_PROOF);
    p = step(&p, &same, T0 + 201 * US_PER_S).next;
    assert_int_equal(p.waits, WAIT_RETRY);
    assert_true(step(&p, &due, T0 + 202 * US_PER_S).actions[FLOW_DO_PUSH]);
}

/* A query from before the callback proves nothing. */
static void test_hasty_proof_is_none(void **state)
{
    struct payment p = prompted();
    struct flow_event e = callback("1001", 1), same = query("1001", 1),
                      due = event(FLOW_DUE, 0);

    (void)state;
    p = step(&p, &due, T0 + 9 * US_PER_S).next; /* asks */
    p = step(&p, &e, T0 + 10 * US_PER_S).next;
    assert_true(p.next_action_at >= T0 + policy.same_amount_gap_us);
    assert_false(step(&p, &same, T0 + 11 * US_PER_S).changed);
    p = step(&p, &due, p.next_action_at).next;
    p = step(&p, &same, T0 + 201 * US_PER_S).next;
    assert_int_equal(p.waits, WAIT_RETRY);
}

/* --- asking again --- */

/* A prompt that was not answered, of a client who allows @p again more. */
static struct payment unanswered(int again)
{
    struct payment p = prompted();
    struct flow_event e = callback("1037", 1);

    p.req.ask_again = again;
    return step(&p, &e, T0 + 30 * US_PER_S).next;
}

/* The query at the next prompt's time says the same, and the prompt follows. */
static struct payment asked_again(struct payment p, const char *code)
{
    struct flow_event due = event(FLOW_DUE, 0), same = query(code, p.attempt);
    int64_t at = p.next_action_at;
    struct flow_out out = step(&p, &due, at);

    assert_int_equal(p.waits, WAIT_PROOF);
    assert_true(out.actions[FLOW_DO_QUERY]);
    assert_false(out.actions[FLOW_DO_PUSH]);
    p = step(&out.next, &same, at + 1).next;
    assert_int_equal(p.waits, WAIT_RETRY);
    out = step(&p, &due, at + 2);
    assert_true(out.actions[FLOW_DO_PUSH]);
    return out.next;
}

static struct payment prompted_again(struct payment p, int64_t at)
{
    struct flow_event e = answer(VERDICT_ACCEPTED, p.attempt);

    return step(&p, &e, at).next;
}

static void test_not_asked_again_unless_the_client_says_so(void **state)
{
    struct payment p = unanswered(0);

    (void)state;
    assert_int_equal(p.state, PAYMENT_FAILED);
    assert_int_equal(p.class, RESULT_NO_ANSWER);
}

static void test_asked_again_so_often(void **state)
{
    struct payment p = unanswered(2);

    (void)state;
    assert_true(p.next_action_at >= T0 + (30 + 60) * US_PER_S);
    assert_true(p.next_action_at <= T0 + (30 + 180) * US_PER_S);
    assert_false(p.holds_phone);
    for (int again = 1; again <= 2; again++) {
        struct flow_event e;
        int64_t at;

        assert_int_equal(p.state, PAYMENT_WAITING);
        p = asked_again(p, again == 1 ? "1037" : "1019");
        assert_int_equal(p.attempt, 1 + again);
        at = p.pushed_at + US_PER_S;
        p = prompted_again(p, at);
        e = callback("1019", p.attempt);
        p = step(&p, &e, at + US_PER_S).next;
    }
    assert_int_equal(p.state, PAYMENT_FAILED);
    assert_string_equal(p.code, "1019");
}

static void test_asked_again_only_on_the_same_word(void **state)
{
    static const char *const words[] = {"1032", "1019", "1", "9999"};
    struct payment p = unanswered(1);
    struct flow_event due = event(FLOW_DUE, 0);
    int64_t at = p.next_action_at;

    (void)state;
    p = step(&p, &due, at).next;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        struct flow_event other = query(words[i], 1);

        assert_false(step(&p, &other, at + US_PER_S).changed);
    }
    p = step(&p, &due, p.deadline_at).next; /* the callback's word stands */
    assert_int_equal(p.state, PAYMENT_FAILED);
    assert_int_equal(p.class, RESULT_NO_ANSWER);
}

static void test_a_repeated_callback_asks_no_more(void **state)
{
    struct payment p = unanswered(1), q;
    struct flow_event again = callback("1037", 1), other = callback("1032", 1),
                      due = event(FLOW_DUE, 0), same = query("1037", 1);

    (void)state;
    assert_false(step(&p, &again, T0 + 40 * US_PER_S).changed);
    q = step(&p, &other, T0 + 40 * US_PER_S).next; /* it was seen */
    assert_int_equal(q.state, PAYMENT_FAILED);
    p = step(&p, &due, p.next_action_at).next;
    p = step(&p, &same, T0 + 200 * US_PER_S).next;
    assert_int_equal(p.waits, WAIT_RETRY);
    assert_false(step(&p, &again, T0 + 201 * US_PER_S).changed);
}

static void test_not_asked_again_past_its_time(void **state)
{
    struct payment p = prompted(), q;
    struct flow_event e = callback("1037", 1), due = event(FLOW_DUE, 0);

    (void)state;
    p.req.ask_again = 1;
    q = step(&p, &e, p.deadline_at - 60 * US_PER_S).next;
    assert_int_equal(q.state, PAYMENT_FAILED);
    q = unanswered(1);
    q = step(&q, &due, q.next_action_at).next;
    e = query("1037", 1);
    q = step(&q, &e, T0 + 300 * US_PER_S).next;
    q = step(&q, &due, q.deadline_at).next;
    assert_int_equal(q.state, PAYMENT_FAILED);
    assert_int_equal(q.class, RESULT_NO_ANSWER);
}

static void test_not_asked_again_past_the_attempts(void **state)
{
    struct payment p = prompted();
    struct flow_event e = callback("1037", 1);

    (void)state;
    p.req.ask_again = 2;
    p.spent = policy.attempts_max - 1;
    assert_int_equal(step(&p, &e, T0 + 30 * US_PER_S).next.state,
                     PAYMENT_FAILED);
}

static void test_late_payment_stops_the_second_prompt(void **state)
{
    struct payment p = unanswered(1);
    struct flow_event paid = callback("0", 1), due = event(FLOW_DUE, 0);
    struct flow_out out = step(&p, &paid, T0 + 60 * US_PER_S);

    (void)state;
    assert_int_equal(out.next.state, PAYMENT_SUCCEEDED);
    assert_false(out.actions[FLOW_DO_ALARM_DOUBLE]);
    out = step(&out.next, &due, p.next_action_at);
    assert_false(out.actions[FLOW_DO_PUSH]);
    assert_false(out.actions[FLOW_DO_QUERY]);
    p = asked_again(p, "1037");
    out = step(&p, &paid, T0 + 250 * US_PER_S);
    assert_int_equal(out.next.state, PAYMENT_SUCCEEDED);
    assert_true(out.actions[FLOW_DO_ALARM_DOUBLE]); /* it has gone out */
}

/* The two-minute rule strikes: the earlier prompt was seen after all. */
static void test_too_soon_after_ones_own(void **state)
{
    struct payment p = prompted();
    struct flow_event e = callback("17", 1);

    (void)state;
    assert_int_equal(step(&p, &e, T0 + 5 * US_PER_S).next.state,
                     PAYMENT_FAILED);
    p = asked_again(unanswered(1), "1037");
    p = prompted_again(p, p.pushed_at + US_PER_S);
    e = callback("17", 2);
    p = step(&p, &e, p.pushed_at + 2 * US_PER_S).next;
    assert_int_equal(p.state, PAYMENT_UNKNOWN);
    e = query("17", 2);
    assert_int_equal(e.verdict.kind, VERDICT_REPEAT);
    for (int i = 4; i < 9; i++) /* however often: no failure */
        assert_false(step(&p, &e, p.pushed_at + i * 100 * US_PER_S).changed);
}

/* Another worker made the attempt that this one found no phone for. */
static void test_late_phone_busy_leaves_the_proof(void **state)
{
    struct payment p = prompted();
    struct flow_event e = callback("1001", 1), busy = event(FLOW_PHONE_BUSY, 0);
    struct flow_out out;

    (void)state;
    p = step(&p, &e, T0 + 10 * US_PER_S).next;
    out = step(&p, &busy, T0 + 11 * US_PER_S);
    assert_false(out.changed);
    assert_int_equal(out.next.waits, WAIT_PROOF);
}

/* Postgres forgot a claim, another worker claimed it anew and pushed: what the
   first one says of its own attempt 1 is no proof about the other's. */
static void test_unsent_is_of_its_own_claim_only(void **state)
{
    struct payment p = claimed(CLAIM_GO);
    struct flow_event e = event(FLOW_NOT_SENT, 1), lost = event(FLOW_LOST, 1);

    (void)state;
    e.owner = p.owner + 1;
    assert_false(step(&p, &e, T0 + US_PER_S).changed);
    p = step(&p, &lost, T0 + US_PER_S).next;
    e.owner = lost.owner;
    assert_false(step(&p, &e, T0 + 2 * US_PER_S).changed);
}

/* The same of what the provider refused the first one. */
static void test_refused_is_of_its_own_claim_only(void **state)
{
    static const enum verdict_kind refusals[] = {
        VERDICT_AUTH, VERDICT_THROTTLED, VERDICT_LOCKED, VERDICT_FAILED};
    struct payment sent = claimed(CLAIM_GO), lost = unknown();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        struct flow_event e = answer(refusals[i], 1);

        assert_true(step(&sent, &e, T0 + US_PER_S).changed);
        assert_false(step(&lost, &e, T0 + 2 * US_PER_S).changed);
        e.owner = OTHER;
        assert_false(step(&sent, &e, T0 + US_PER_S).changed);
    }
}

static void test_deadline_after_a_push_is_no_rejection(void **state)
{
    struct payment p = prompted();
    struct flow_event e = callback("1001", 1), same = query("1001", 1),
                      due = event(FLOW_DUE, 0), unsent;
    int64_t at = T0 + 200 * US_PER_S;

    (void)state;
    p = step(&p, &e, T0 + 10 * US_PER_S).next;
    p = step(&p, &due, at).next; /* asks */
    p = step(&p, &same, at).next;
    p = step(&p, &due, at).next;
    unsent = event(FLOW_NOT_SENT, p.attempt);
    p = step(&p, &unsent, at + 1).next;
    assert_int_equal(p.state, PAYMENT_WAITING);
    p = step(&p, &due, p.deadline_at).next;
    assert_int_equal(p.state, PAYMENT_FAILED);
    assert_int_equal(p.class, RESULT_EXPIRED);
}

static void test_spent_attempts_are_dead(void **state)
{
    struct payment p = prompted();
    struct flow_event e = callback("26", 1);
    struct flow_out out;

    (void)state;
    p.spent = policy.attempts_max - 1;
    out = step(&p, &e, T0 + 10 * US_PER_S);
    assert_int_equal(out.next.state, PAYMENT_DEAD);
    assert_true(out.actions[FLOW_DO_DEAD_LETTER]);
}

static void test_deadline_pushes_nothing(void **state)
{
    struct payment p = claimed(CLAIM_WAIT);
    struct flow_event due = event(FLOW_DUE, 0);
    struct flow_out out = step(&p, &due, p.deadline_at);

    (void)state;
    assert_int_equal(out.next.state, PAYMENT_REJECTED);
    assert_false(out.actions[FLOW_DO_PUSH]);
    out = step(&p, &due, p.deadline_at - 1);
    assert_true(out.actions[FLOW_DO_PUSH]);
}

static void test_orphan_is_unknown_then_recorder_speaks(void **state)
{
    struct payment p = claimed(CLAIM_GO);
    struct flow_event orphan = event(FLOW_ORPHAN, 0),
                      never = event(FLOW_NEVER_BEGAN, 1),
                      trace = event(FLOW_NO_TRACE, 1);

    (void)state;
    orphan.owner = OTHER;
    assert_false(step(&p, &orphan, T0).changed);
    orphan.owner = ME;
    p = step(&p, &orphan, T0 + 4 * US_PER_S).next;
    assert_int_equal(p.state, PAYMENT_UNKNOWN);
    assert_int_equal(p.owner, ME);
    assert_int_equal(step(&p, &trace, T0 + 5 * US_PER_S).next.owner, 0);
    p = step(&p, &never, T0 + 5 * US_PER_S).next;
    assert_int_equal(p.state, PAYMENT_WAITING);
    assert_int_equal(p.spent, 0);
    assert_int_equal(p.next_action_at, T0 + 5 * US_PER_S);
}

/* An end that is stored frees its mark in the recorder. What the recorder
   does not show is no proof then that the attempt never began. */
static void test_ended_attempt_is_not_the_recorders(void **state)
{
    struct flow_event ends[] = {event(FLOW_LOST, 1),
                                answer(VERDICT_AMBIGUOUS, 1)};
    struct flow_event orphan = event(FLOW_ORPHAN, 0),
                      never = event(FLOW_NEVER_BEGAN, 1);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct payment sent = claimed(CLAIM_GO);
        struct payment taken = step(&sent, &orphan, T0 + US_PER_S).next;
        struct payment late = step(&taken, &ends[i], T0 + 2 * US_PER_S).next;
        struct payment p = step(&sent, &ends[i], T0 + US_PER_S).next;

        assert_int_equal(p.state, PAYMENT_UNKNOWN);
        assert_int_equal(p.owner, 0);
        assert_false(step(&p, &never, T0 + 5 * US_PER_S).changed);
        assert_int_equal(late.state, PAYMENT_UNKNOWN);
        assert_int_equal(late.owner, 0);
        assert_int_equal(late.version, taken.version + 1);
        assert_false(step(&late, &never, T0 + 5 * US_PER_S).changed);
        assert_false(step(&late, &ends[i], T0 + 5 * US_PER_S).changed);
    }
}

/* A recorder shows attempt @p n of a payment that Postgres gave back as it was
   before. */
static struct flow_out recovered(const struct payment *p, int n, bool taken)
{
    struct flow_event e = event(FLOW_RECOVERED, n);

    e.phone_taken = taken;
    return step(p, &e, T0 + 5 * US_PER_S);
}

static void test_forgotten_attempt_is_unknown(void **state)
{
    struct payment p = claimed(CLAIM_WAIT);
    struct flow_out out = recovered(&p, 1, false);

    (void)state;
    assert_true(out.changed);
    assert_int_equal(out.next.state, PAYMENT_UNKNOWN);
    assert_int_equal(out.next.attempt, 1);
    assert_int_equal(out.next.owner, 0);
    assert_true(out.next.holds_phone);
    assert_int_equal(out.next.pushed_at, T0 + 5 * US_PER_S);
    assert_int_equal(out.next.version, p.version + RECOVERED_AHEAD);
    assert_false(out.actions[FLOW_DO_PUSH]);
    assert_true(out.actions[FLOW_DO_ANNOUNCE]);
    assert_false(recovered(&p, 1, true).next.holds_phone);
    p = out.next;
    assert_false(recovered(&p, 1, false).changed); /* entered already */
    p = prompted();
    out = recovered(&p, 2, false);
    assert_int_equal(out.next.state, PAYMENT_UNKNOWN);
    assert_string_equal(out.next.checkout_id, ""); /* of attempt 1 */
    assert_false(recovered(&p, 1, false).changed);
    p.state = PAYMENT_UNRESOLVED;
    out = recovered(&p, 2, false);
    assert_int_equal(out.next.state, PAYMENT_UNRESOLVED);
    assert_int_equal(out.next.attempt, 2);
    p.state = PAYMENT_DEAD; /* its replay was forgotten */
    assert_int_equal(recovered(&p, 2, false).next.state, PAYMENT_UNKNOWN);
    p.state = PAYMENT_FAILED;
    assert_false(recovered(&p, 2, false).changed);
    p.state = PAYMENT_SUCCEEDED; /* and yet pushed again: by a person's word */
    out = recovered(&p, 2, false);
    assert_int_equal(out.next.state, PAYMENT_SUCCEEDED);
    assert_int_equal(out.next.attempt, 2);
    assert_true(out.actions[FLOW_DO_ALARM_DOUBLE]);
}

/* Attempt 1 waits for its retry, as Postgres gave it back; a callback speaks of
   attempt 2. It is never dropped, and attempt 2 is never made once more. */
static void test_callback_of_a_forgotten_attempt(void **state)
{
    static const char *const codes[] = {"1032", "1037", "1025", "17", "9999"};
    struct flow_event not_sent = event(FLOW_NOT_SENT, 1),
                      due = event(FLOW_DUE, 0);
    struct payment p = claimed(CLAIM_GO), q;

    (void)state;
    p = step(&p, &not_sent, T0 + US_PER_S).next;
    assert_int_equal(p.waits, WAIT_RETRY);
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct flow_event e = callback(codes[i], 2);
        bool fails = e.verdict.kind == VERDICT_FAILED;

        q = step(&p, &e, T0 + 5 * US_PER_S).next;
        assert_int_equal(q.state, fails ? PAYMENT_FAILED : PAYMENT_UNKNOWN);
        assert_int_equal(q.attempt, 2);
        assert_int_equal(q.version, p.version + RECOVERED_AHEAD);
        assert_string_equal(q.checkout_id, "ws_CO_1");
        assert_false(q.holds_phone);
        assert_false(step(&q, &e, T0 + 6 * US_PER_S).changed);
        assert_false(recovered(&q, 2, false).changed);
        if (fails)
            continue;
        assert_string_equal(q.code, codes[i]);
        assert_int_equal(q.evidence, EVIDENCE_NONE);
        assert_true(step(&q, &due, T0 + 60 * US_PER_S).actions[FLOW_DO_QUERY]);
    }
    p = claimed(CLAIM_PARK);
    assert_int_equal(p.attempt, 0);
    not_sent = callback("1032", 1);
    assert_int_equal(step(&p, &not_sent, T0).next.state, PAYMENT_FAILED);
}

/* While something of the row's own attempt may be in the air, or its customer
   was asked more often than is known, nothing is called over. */
static void test_callback_of_a_forgotten_attempt_amid_one(void **state)
{
    const struct payment rows[] = {claimed(CLAIM_GO), prompted(), unknown()};
    struct flow_event e = callback("1032", 2), paid = callback("0", 2),
                      again = callback("1037", 2);
    struct payment p;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        p = step(&rows[i], &e, T0 + 5 * US_PER_S).next;
        assert_int_equal(p.state, PAYMENT_UNKNOWN);
        assert_int_equal(p.attempt, 2);
        assert_int_equal(p.owner, 0);
        assert_true(p.holds_phone);
        assert_false(step(&p, &e, T0 + 6 * US_PER_S).changed);
        p = step(&rows[i], &paid, T0 + 5 * US_PER_S).next;
        assert_int_equal(p.state, PAYMENT_SUCCEEDED);
        assert_int_equal(p.paid_attempt, 2);
        assert_int_equal(p.version, rows[i].version + RECOVERED_AHEAD);
    }
    p = rows[0]; /* its own push is stopped where it has not gone out */
    assert_true(step(&p, &paid, T0).actions[FLOW_DO_STOP_PUSH]);
    assert_int_equal(step(&p, &paid, T0).next.attempt, 1);
    p.req.ask_again = 2;
    p.state = PAYMENT_WAITING;
    p.waits = WAIT_RETRY;
    assert_int_equal(step(&p, &again, T0).next.state, PAYMENT_FAILED);
    p.state = PAYMENT_FAILED;
    assert_false(step(&p, &e, T0).changed);
    p.state = PAYMENT_UNRESOLVED;
    p = step(&p, &e, T0).next;
    assert_int_equal(p.state, PAYMENT_UNRESOLVED);
    assert_int_equal(p.attempt, 2);
}

/* Attempts that nobody remembers may have been prompts which their client had
   allowed: they are taken for such, and no more of them follow. */
static void test_forgotten_attempts_may_have_been_prompts(void **state)
{
    struct payment p = unknown();
    struct flow_event e = callback("1025", 3);

    (void)state;
    for (int allowed = 0; allowed <= 2; allowed++) {
        p.req.ask_again = allowed;
        assert_int_equal(step(&p, &e, T0 + 5 * US_PER_S).next.spent, allowed);
    }
}

static void test_late_answer_revives_unknown(void **state)
{
    struct payment p = unknown();
    struct flow_event e = answer(VERDICT_ACCEPTED, 1);

    (void)state;
    p = step(&p, &e, T0 + 30 * US_PER_S).next;
    assert_int_equal(p.state, PAYMENT_PROMPTED);
    assert_string_equal(p.checkout_id, "ws_CO_1");
}

static void test_soft_codes_are_unknown(void **state)
{
    struct payment p = prompted();
    struct flow_event e = callback("9999", 1), strange = callback("77777", 1);

    (void)state;
    assert_int_equal(step(&p, &e, T0 + US_PER_S).next.state, PAYMENT_UNKNOWN);
    assert_int_equal(step(&p, &strange, T0 + US_PER_S).next.state,
                     PAYMENT_UNKNOWN);
}

static void test_owed_event_is_sent_again(void **state)
{
    struct payment p = prompted();
    struct flow_event paid = callback("0", 1), due = event(FLOW_DUE, 0);
    struct flow_out out;

    (void)state;
    p = step(&p, &paid, T0 + 9 * US_PER_S).next;
    assert_int_equal(p.next_action_at, T0 + 19 * US_PER_S);
    out = step(&p, &due, p.next_action_at);
    assert_true(out.actions[FLOW_DO_ANNOUNCE]);
    assert_int_equal(out.next.version, p.version);
    p.published_version = p.version;
    out = step(&p, &due, p.next_action_at);
    assert_false(out.actions[FLOW_DO_ANNOUNCE]);
    assert_int_equal(out.next.next_action_at, 0);
}

static void test_no_illegal_move(void **state)
{
    (void)state;
    for (int to = PAYMENT_SENDING; to <= PAYMENT_DEAD; to++)
        assert_int_equal(
            flow_may_move(PAYMENT_SUCCEEDED, (enum payment_state)to),
            to == PAYMENT_SUCCEEDED || to == PAYMENT_UNKNOWN);
    assert_false(flow_may_move(PAYMENT_UNKNOWN, PAYMENT_SENDING));
    assert_false(flow_may_move(PAYMENT_PROMPTED, PAYMENT_SENDING));
    assert_false(flow_may_move(PAYMENT_UNRESOLVED, PAYMENT_SENDING));
    assert_true(flow_may_move(PAYMENT_WAITING, PAYMENT_SENDING));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_what_waits_is_cancelled_once),
        cmocka_unit_test(test_what_may_have_left_is_not_cancelled),
        cmocka_unit_test(test_what_was_proven_unsent_is_cancelled),
        cmocka_unit_test(test_accepted_is_prompted),
        cmocka_unit_test(test_answer_of_another_attempt_is_nothing),
        cmocka_unit_test(test_unsent_waits_and_spends_nothing),
        cmocka_unit_test(test_lost_is_unknown_and_never_pushed),
        cmocka_unit_test(test_phone_is_let_go_after_the_hold),
        cmocka_unit_test(test_token_refused_is_tried_at_once_then_waits),
        cmocka_unit_test(test_throttled_obeys_retry_after),
        cmocka_unit_test(test_callback_pays),
        cmocka_unit_test(test_callback_before_the_answer),
        cmocka_unit_test(test_paid_wins_over_failed),
        cmocka_unit_test(test_second_receipt_raises_the_alarm),
        cmocka_unit_test(test_receipt_follows_a_query),
        cmocka_unit_test(test_one_query_fails_nothing),
        cmocka_unit_test(test_queries_that_differ_start_over),
        cmocka_unit_test(test_thin_proof_is_asked_twice),
        cmocka_unit_test(test_hasty_proof_is_none),
        cmocka_unit_test(test_not_asked_again_unless_the_client_says_so),
        cmocka_unit_test(test_asked_again_so_often),
        cmocka_unit_test(test_asked_again_only_on_the_same_word),
        cmocka_unit_test(test_a_repeated_callback_asks_no_more),
        cmocka_unit_test(test_not_asked_again_past_its_time),
        cmocka_unit_test(test_not_asked_again_past_the_attempts),
        cmocka_unit_test(test_late_payment_stops_the_second_prompt),
        cmocka_unit_test(test_too_soon_after_ones_own),
        cmocka_unit_test(test_late_phone_busy_leaves_the_proof),
        cmocka_unit_test(test_unsent_is_of_its_own_claim_only),
        cmocka_unit_test(test_refused_is_of_its_own_claim_only),
        cmocka_unit_test(test_deadline_after_a_push_is_no_rejection),
        cmocka_unit_test(test_spent_attempts_are_dead),
        cmocka_unit_test(test_deadline_pushes_nothing),
        cmocka_unit_test(test_orphan_is_unknown_then_recorder_speaks),
        cmocka_unit_test(test_ended_attempt_is_not_the_recorders),
        cmocka_unit_test(test_late_answer_revives_unknown),
        cmocka_unit_test(test_forgotten_attempt_is_unknown),
        cmocka_unit_test(test_callback_of_a_forgotten_attempt),
        cmocka_unit_test(test_callback_of_a_forgotten_attempt_amid_one),
        cmocka_unit_test(test_forgotten_attempts_may_have_been_prompts),
        cmocka_unit_test(test_soft_codes_are_unknown),
        cmocka_unit_test(test_owed_event_is_sent_again),
        cmocka_unit_test(test_no_illegal_move),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
