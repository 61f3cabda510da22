/*
 * Money in the flow: paid wins over every state and the stronger evidence over
 * the weaker, one payment counts once however often it is told, and each sign
 * of a second charge raises the alarm. Then what Pull's silence and a person's
 * word may do, and when they are refused.
 */
#include "tests/unit/flow_steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define LATER (T0 + 400 * US_PER_S)

static struct flow_event money(enum evidence evidence, const char *receipt,
                               int attempt)
{
    struct flow_event e = event(FLOW_MONEY, attempt);

    e.evidence = evidence;
    text_copy(e.money.receipt, sizeof(e.money.receipt), receipt);
    return e;
}

static struct flow_event paid(const char *receipt, int attempt)
{
    struct flow_event e = callback("0", attempt);

    text_copy(e.money.receipt, sizeof(e.money.receipt), receipt);
    return e;
}

static struct flow_event resolved(enum resolution decision, int attempt)
{
    struct flow_event e = event(FLOW_RESOLVED, attempt);

    e.decision = decision;
    return e;
}

static struct payment after(struct payment p, struct flow_event e, int64_t at)
{
    return step(&p, &e, at).next;
}

static struct payment unowned(void)
{
    struct payment p = unknown();

    assert_int_equal(p.owner, 0);
    return p;
}

static struct payment unresolved(void)
{
    struct payment p =
        after(unowned(), event(FLOW_DUE, 0), T0 + 1900 * US_PER_S);

    assert_int_equal(p.state, PAYMENT_UNRESOLVED);
    return p;
}

/* A second attempt in the air, after a person's word about the first. */
static struct payment pushed_again(void)
{
    struct payment p = after(unowned(), resolved(RESOLVE_AGAIN, 1), LATER);

    p = after(p, event(FLOW_DUE, 0), LATER);
    assert_int_equal(p.state, PAYMENT_SENDING);
    assert_int_equal(p.attempt, 2);
    return p;
}

/* --- paid --- */

static void test_paid_from_every_state(void **state)
{
    static const enum payment_state states[] = {
        PAYMENT_SENDING,  PAYMENT_PROMPTED,   PAYMENT_WAITING,
        PAYMENT_UNKNOWN,  PAYMENT_UNRESOLVED, PAYMENT_FAILED,
        PAYMENT_REJECTED, PAYMENT_CANCELLED,  PAYMENT_SUPERSEDED,
        PAYMENT_DEAD,
    };
    struct flow_event ways[] = {paid("RCPT1", 1),
                                money(EVIDENCE_C2B, "RCPT1", 1),
                                money(EVIDENCE_PULL, "RCPT1", 1)};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        for (size_t k = 0; k < ARRAY_LEN(ways); k++) {
            struct payment p = prompted();
            struct flow_out out;

            p.state = states[i];
            out = step(&p, &ways[k], LATER);
            assert_int_equal(out.next.state, PAYMENT_SUCCEEDED);
            assert_int_equal(out.next.class, RESULT_PAID);
            assert_string_equal(out.next.receipt, "RCPT1");
            assert_false(out.next.holds_phone);
            assert_int_equal(out.actions[FLOW_DO_ALARM_LATE],
                             payment_state_final(states[i]));
            assert_false(out.actions[FLOW_DO_ALARM_DOUBLE]);
        }
    }
}

static void test_one_payment_told_twice_counts_once(void **state)
{
    struct payment p = prompted();
    struct flow_event c2b = money(EVIDENCE_C2B, "RCPT1", 1),
                      stk = paid("RCPT1", 1);
    struct flow_out out;

    (void)state;
    p = after(p, c2b, LATER);
    assert_int_equal(p.evidence, EVIDENCE_C2B);
    out = step(&p, &stk, LATER + 1);
    assert_true(out.changed);
    assert_int_equal(out.next.evidence, EVIDENCE_CALLBACK);
    assert_false(out.actions[FLOW_DO_ALARM_DOUBLE]);
    p = out.next;
    assert_false(step(&p, &c2b, LATER + 2).changed);
    assert_false(step(&p, &stk, LATER + 2).changed);
}

static void test_second_receipt(void **state)
{
    struct payment p = after(prompted(), paid("RCPT1", 1), LATER);
    struct flow_event other = money(EVIDENCE_C2B, "RCPT10", 1);
    struct flow_out out = step(&p, &other, LATER);

    (void)state;
    assert_true(out.changed);
    assert_true(out.actions[FLOW_DO_ALARM_DOUBLE]);
    assert_true(out.actions[FLOW_DO_ANNOUNCE]);
    assert_string_equal(out.next.receipt, "RCPT1");
    assert_non_null(strstr(out.next.text, " RCPT10"));
    assert_false(step(&out.next, &other, LATER).changed); /* told already */
    p = after(out.next, paid("RCPT100", 1), LATER);
    assert_non_null(strstr(p.text, " RCPT10 RCPT100"));
}

static void test_stronger_evidence_has_the_receipt(void **state)
{
    struct payment p =
        after(prompted(), money(EVIDENCE_PULL, "RCPT1", 1), LATER);
    struct flow_event stk = paid("RCPT2", 1),
                      pull = money(EVIDENCE_PULL, "RCPT1", 1);
    struct flow_out out = step(&p, &stk, LATER);

    (void)state;
    assert_true(out.actions[FLOW_DO_ALARM_DOUBLE]);
    assert_string_equal(out.next.receipt, "RCPT2");
    assert_int_equal(out.next.evidence, EVIDENCE_CALLBACK);
    assert_non_null(strstr(out.next.text, " RCPT1"));
    assert_false(step(&out.next, &pull, LATER).changed);
}

/* The callback had no receipt; the notice has it, and is no more than that. */
static void test_receipt_of_weaker_evidence(void **state)
{
    struct payment p = after(prompted(), paid("", 1), LATER);
    struct flow_event c2b = money(EVIDENCE_C2B, "RCPT1", 1);
    struct flow_out out = step(&p, &c2b, LATER);

    (void)state;
    assert_string_equal(out.next.receipt, "RCPT1");
    assert_int_equal(out.next.evidence, EVIDENCE_CALLBACK);
    assert_false(out.actions[FLOW_DO_ALARM_DOUBLE]);
}

static void test_more_receipts_than_the_text_takes(void **state)
{
    struct payment p = after(prompted(), paid("RCPT000000", 1), LATER);

    (void)state;
    for (int i = 0; i < 40; i++) {
        char receipt[] = "RCPT1000AA";
        struct flow_event e;
        struct flow_out out;

        receipt[8] = (char)('A' + i / 26);
        receipt[9] = (char)('A' + i % 26);
        e = paid(receipt, 1);
        out = step(&p, &e, LATER);
        assert_true(out.actions[FLOW_DO_ALARM_DOUBLE]);
        p = out.next;
    }
    assert_string_equal(p.receipt, "RCPT000000");
}

static void test_earlier_attempt_pays_while_a_later_is_open(void **state)
{
    struct payment p = pushed_again();
    struct flow_event first = money(EVIDENCE_C2B, "RCPT1", 1);
    struct flow_out out = step(&p, &first, LATER + US_PER_S);

    (void)state;
    assert_int_equal(out.next.state, PAYMENT_SUCCEEDED);
    assert_true(out.actions[FLOW_DO_ALARM_DOUBLE]);
    assert_true(out.actions[FLOW_DO_STOP_PUSH]);
    p = after(out.next, answer(VERDICT_ACCEPTED, 2), LATER + 2 * US_PER_S);
    assert_int_equal(p.state, PAYMENT_SUCCEEDED);
    p = after(p, callback("1032", 2), LATER + 3 * US_PER_S);
    assert_int_equal(p.state, PAYMENT_SUCCEEDED);
}

static void test_earlier_attempt_pays_and_stops_the_later(void **state)
{
    struct payment p = after(unowned(), resolved(RESOLVE_AGAIN, 1), LATER);
    struct flow_event first = paid("RCPT1", 1), due = event(FLOW_DUE, 0);
    struct flow_out out = step(&p, &first, LATER);

    (void)state;
    assert_int_equal(out.next.state, PAYMENT_SUCCEEDED);
    assert_false(out.actions[FLOW_DO_ALARM_DOUBLE]);
    assert_false(step(&out.next, &due, LATER + US_PER_S).actions[FLOW_DO_PUSH]);
}

/* The query had no receipt; the one that comes is of another attempt. */
static void test_receipt_of_another_attempt(void **state)
{
    struct payment p = pushed_again();
    struct flow_event first = paid("RCPT1", 1);
    struct flow_out out;

    (void)state;
    p = after(p, answer(VERDICT_ACCEPTED, 2), LATER);
    p = after(p, query("0", 2), LATER);
    assert_int_equal(p.state, PAYMENT_SUCCEEDED);
    out = step(&p, &first, LATER);
    assert_string_equal(out.next.receipt, "RCPT1");
    assert_true(out.actions[FLOW_DO_ALARM_DOUBLE]);
}

/* The query was of the first attempt, while the second was on its way; then
   the first one's receipt comes. */
static void test_receipt_of_the_attempt_that_paid(void **state)
{
    struct payment p = pushed_again();
    struct flow_event first = paid("RCPT1", 1), second = paid("RCPT2", 2),
                      again = paid("", 2), c2b = money(EVIDENCE_C2B, "R", 2);
    struct flow_out out;

    (void)state;
    p = after(p, query("0", 1), LATER);
    assert_int_equal(p.state, PAYMENT_SUCCEEDED);
    assert_int_equal(p.attempt, 2);
    out = step(&p, &first, LATER);
    assert_string_equal(out.next.receipt, "RCPT1");
    assert_false(out.actions[FLOW_DO_ALARM_DOUBLE]);
    assert_true(step(&out.next, &second, LATER).actions[FLOW_DO_ALARM_DOUBLE]);
    assert_true(step(&p, &second, LATER).actions[FLOW_DO_ALARM_DOUBLE]);
    assert_true(step(&p, &again, LATER).actions[FLOW_DO_ALARM_DOUBLE]);
    /* which attempt a notice is of is not known */
    assert_false(step(&p, &c2b, LATER).actions[FLOW_DO_ALARM_DOUBLE]);
}

static void test_paid_not_as_asked(void **state)
{
    struct payment p = prompted();
    struct flow_event e = paid("RCPT1", 1);
    struct flow_out out;

    (void)state;
    e.money.amount = p.req.amount;
    e.money.msisdn = p.req.msisdn;
    assert_false(step(&p, &e, LATER).actions[FLOW_DO_ALARM_DIFFERS]);
    e.money.amount = 99;
    out = step(&p, &e, LATER);
    assert_true(out.actions[FLOW_DO_ALARM_DIFFERS]);
    assert_int_equal(out.next.state, PAYMENT_SUCCEEDED);
    assert_non_null(strstr(out.next.text, "99 of 100"));
    e.money.amount = 0;
    e.money.msisdn = 254799999149;
    out = step(&p, &e, LATER);
    assert_true(out.actions[FLOW_DO_ALARM_DIFFERS]);
    assert_int_equal(out.next.state, PAYMENT_SUCCEEDED);
    assert_non_null(strstr(out.next.text, "149 for 2547"));
}

/* --- a receipt that is another payment's --- */

static void test_receipt_taken(void **state)
{
    struct payment p =
        after(prompted(), money(EVIDENCE_C2B, "RCPT1", 1), LATER);
    struct flow_event taken = event(FLOW_RECEIPT_TAKEN, 1);
    struct flow_out out;

    (void)state;
    taken.evidence = EVIDENCE_CALLBACK;
    text_copy(taken.money.receipt, sizeof(taken.money.receipt), "RCPT2");
    assert_false(step(&p, &taken, LATER).changed);
    text_copy(taken.money.receipt, sizeof(taken.money.receipt), "RCPT1");
    out = step(&p, &taken, LATER);
    assert_int_equal(out.next.state, PAYMENT_UNKNOWN);
    assert_string_equal(out.next.receipt, "");
    assert_int_equal(out.next.paid_at, 0);
    assert_true(out.actions[FLOW_DO_ALARM_TAKEN]);
    assert_true(out.actions[FLOW_DO_ANNOUNCE]);
    assert_false(out.next.holds_phone);
    assert_true(out.next.next_action_at > LATER);
    taken.evidence = EVIDENCE_C2B; /* no stronger than what gave it to us */
    assert_false(step(&p, &taken, LATER).changed);
}

/* Neither gives way, and a person has to see to both. */
static void test_receipt_shared(void **state)
{
    struct payment p = prompted();
    struct flow_event e = paid("RCPT1", 1);
    struct flow_out out;

    (void)state;
    assert_false(step(&p, &e, LATER).actions[FLOW_DO_ALARM_SHARED]);
    e.shared = true;
    out = step(&p, &e, LATER);
    assert_int_equal(out.next.state, PAYMENT_SUCCEEDED);
    assert_string_equal(out.next.receipt, "RCPT1");
    assert_true(out.actions[FLOW_DO_ALARM_SHARED]);
    assert_string_equal(flow_alarm_name(FLOW_DO_ALARM_SHARED),
                        "receipt_shared");
    assert_false(step(&out.next, &e, LATER).changed); /* told already */
    p = after(p, query("0", 1), LATER);
    assert_true(step(&p, &e, LATER).actions[FLOW_DO_ALARM_SHARED]);
}

/* --- nothing found --- */

static void test_no_money_is_unresolved(void **state)
{
    struct payment p = unowned();
    struct flow_event none = event(FLOW_NO_MONEY, 1);
    struct flow_out out = step(&p, &none, LATER);

    (void)state;
    assert_int_equal(out.next.state, PAYMENT_UNRESOLVED);
    assert_int_equal(out.next.evidence, EVIDENCE_PULL);
    assert_true(out.actions[FLOW_DO_ALARM_UNRESOLVED]);
    assert_non_null(strstr(out.next.text, "presumed not charged"));
    assert_false(step(&out.next, &none, LATER).changed);
    p = unresolved();
    out = step(&p, &none, T0 + 2000 * US_PER_S);
    assert_non_null(strstr(out.next.text, "presumed not charged"));
    assert_int_equal(out.next.state, PAYMENT_UNRESOLVED);
    assert_false(out.actions[FLOW_DO_ALARM_UNRESOLVED]);
}

static void test_no_money_is_no_proof_elsewhere(void **state)
{
    struct payment p = claimed(CLAIM_GO), q = prompted(), r = unowned();
    struct flow_event none = event(FLOW_NO_MONEY, 1),
                      of_none = event(FLOW_NO_MONEY, 2);
    struct flow_out out = step(&p, &none, LATER);

    (void)state;
    assert_false(out.changed);
    assert_non_null(out.refused);
    assert_false(step(&q, &none, LATER).changed);
    assert_false(step(&r, &of_none, LATER).changed);
    p = after(p, event(FLOW_ORPHAN, 0), LATER);
    assert_int_equal(p.owner, ME);
    assert_non_null(step(&p, &none, LATER).refused);
    none.force = true;
    assert_true(step(&p, &none, LATER).changed);
}

/* --- a person's word --- */

static void test_resolved_paid(void **state)
{
    struct payment p = unresolved();
    struct flow_event e = resolved(RESOLVE_PAID, 1), other = paid("RCPT2", 1);
    struct flow_out out = step(&p, &e, LATER);

    (void)state;
    assert_false(out.changed);
    assert_non_null(out.refused); /* without a receipt */
    text_copy(e.money.receipt, sizeof(e.money.receipt), "RCPT1");
    out = step(&p, &e, LATER);
    assert_int_equal(out.next.state, PAYMENT_SUCCEEDED);
    assert_int_equal(out.next.evidence, EVIDENCE_PERSON);
    assert_null(out.refused);
    assert_true(step(&out.next, &other, LATER).actions[FLOW_DO_ALARM_DOUBLE]);
}

static void test_resolved_not_paid_and_paid_after_all(void **state)
{
    struct payment p = unresolved();
    struct flow_event e = resolved(RESOLVE_NOT_PAID, 1),
                      late = paid("RCPT1", 1);
    struct flow_out out;

    (void)state;
    p = after(p, e, LATER);
    assert_int_equal(p.state, PAYMENT_FAILED);
    assert_int_equal(p.evidence, EVIDENCE_PERSON);
    out = step(&p, &late, LATER);
    assert_int_equal(out.next.state, PAYMENT_SUCCEEDED);
    assert_true(out.actions[FLOW_DO_ALARM_DOUBLE]);
}

static void test_resolved_again(void **state)
{
    struct payment p = unowned();
    struct flow_event e = resolved(RESOLVE_AGAIN, 1);
    struct flow_out out;

    (void)state;
    text_copy(e.why.text, sizeof(e.why.text), "seen on the statement");
    out = step(&p, &e, T0 + 10 * US_PER_S);
    assert_int_equal(out.next.state, PAYMENT_WAITING);
    assert_int_equal(out.next.waits, WAIT_RETRY);
    assert_int_equal(out.next.spent, 1);
    assert_int_equal(out.next.next_action_at, T0 + 120 * US_PER_S);
    assert_string_equal(out.next.text, "seen on the statement");
    out = step(&p, &e, p.deadline_at);
    assert_false(out.changed);
    assert_non_null(out.refused);
}

static void test_again_only_when_its_worker_is_gone(void **state)
{
    struct payment p = claimed(CLAIM_GO);
    struct flow_event e = resolved(RESOLVE_AGAIN, 1);

    (void)state;
    p = after(p, event(FLOW_ORPHAN, 0), T0 + 4 * US_PER_S);
    assert_non_null(step(&p, &e, LATER).refused);
    assert_false(step(&p, &e, LATER).changed);
    e.force = true;
    p = after(p, e, LATER);
    assert_int_equal(p.state, PAYMENT_WAITING);
    /* and yet its answer comes: no second push follows */
    p = after(p, answer(VERDICT_ACCEPTED, 1), LATER);
    assert_int_equal(p.state, PAYMENT_PROMPTED);
}

/* Its worker's end is not known: neither is its push's. */
static struct payment unresolved_of_mine(void)
{
    struct payment p = claimed(CLAIM_GO);

    p = after(p, event(FLOW_ORPHAN, 0), T0 + 4 * US_PER_S);
    p = after(p, event(FLOW_DUE, 0), T0 + 1900 * US_PER_S);
    assert_int_equal(p.state, PAYMENT_UNRESOLVED);
    p.deadline_at = T0 + 86400 * US_PER_S;
    return p;
}

static void test_unresolved_asks_for_its_worker_too(void **state)
{
    struct flow_event words[] = {resolved(RESOLVE_AGAIN, 1),
                                 resolved(RESOLVE_NOT_PAID, 1),
                                 event(FLOW_NO_MONEY, 1)};
    struct payment p = unresolved_of_mine(),
                   q = after(p, event(FLOW_NO_TRACE, 1), T0 + 2000 * US_PER_S);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        assert_non_null(step(&p, &words[i], T0 + 2000 * US_PER_S).refused);
        assert_false(step(&p, &words[i], T0 + 2000 * US_PER_S).changed);
        assert_null(step(&q, &words[i], T0 + 2000 * US_PER_S).refused);
        words[i].force = true;
        assert_true(step(&p, &words[i], T0 + 2000 * US_PER_S).changed);
    }
}

static void test_not_paid_only_when_its_worker_is_gone(void **state)
{
    struct payment p = claimed(CLAIM_GO);
    struct flow_event e = resolved(RESOLVE_NOT_PAID, 1);

    (void)state;
    p = after(p, event(FLOW_ORPHAN, 0), T0 + 4 * US_PER_S);
    assert_non_null(step(&p, &e, LATER).refused);
    e.force = true;
    assert_int_equal(step(&p, &e, LATER).next.state, PAYMENT_FAILED);
}

/* What its recorder shows, or its worker says after all, still counts. */
static void test_unresolved_hears_its_worker(void **state)
{
    int64_t at = T0 + 2000 * US_PER_S;
    struct payment p = unresolved_of_mine(), q;

    (void)state;
    q = after(p, event(FLOW_NEVER_BEGAN, 1), at);
    assert_int_equal(q.state, PAYMENT_WAITING);
    assert_int_equal(q.spent, 0);
    q = after(p, answer(VERDICT_ACCEPTED, 1), at);
    assert_int_equal(q.state, PAYMENT_PROMPTED);
    q = after(p, event(FLOW_LOST, 1), at);
    assert_int_equal(q.state, PAYMENT_UNRESOLVED);
    assert_int_equal(q.owner, 0);
    /* so that no write on an older view brings the owner back */
    assert_int_equal(q.version, p.version + 1);
}

static void test_resolved_is_refused_elsewhere(void **state)
{
    struct payment states[] = {
        claimed(CLAIM_GO),
        claimed(CLAIM_WAIT),
        prompted(),
        after(prompted(), paid("RCPT1", 1), LATER),
        after(prompted(), callback("1032", 1), LATER),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        for (int d = RESOLVE_PAID; d <= RESOLVE_AGAIN; d++) {
            struct flow_event e =
                resolved((enum resolution)d, states[i].attempt);
            struct flow_out out = step(&states[i], &e, LATER);

            assert_false(out.changed);
            assert_non_null(out.refused);
        }
}

static void test_resolved_about_an_older_attempt(void **state)
{
    struct payment p = pushed_again();
    struct flow_event e = resolved(RESOLVE_NOT_PAID, 1);

    (void)state;
    p = after(p, event(FLOW_LOST, 2), LATER);
    assert_int_equal(p.state, PAYMENT_UNKNOWN);
    assert_non_null(step(&p, &e, LATER).refused);
}

/* The lock may be the first push, which only a person has disproved. */
static void test_locked_after_a_persons_word(void **state)
{
    struct payment p = pushed_again();
    struct flow_event locked = answer(VERDICT_LOCKED, 2);

    (void)state;
    locked.verdict.class = RESULT_PHONE_BUSY;
    p = after(p, locked, LATER);
    assert_int_equal(p.state, PAYMENT_UNKNOWN);
    assert_false(step(&p, &locked, LATER).changed); /* told again */
}

/* --- believed unsent --- */

static void test_a_callback_stops_the_next_attempt(void **state)
{
    struct payment p = claimed(CLAIM_GO), q;
    struct flow_event due = event(FLOW_DUE, 0);

    (void)state;
    p = after(p, answer(VERDICT_THROTTLED, 1), T0);
    assert_int_equal(p.state, PAYMENT_WAITING);
    q = after(p, callback("1001", 1), T0); /* not shown, as was believed */
    assert_int_equal(q.state, PAYMENT_WAITING);
    q = after(p, callback("1032", 1), T0);
    assert_int_equal(q.state, PAYMENT_FAILED);
    q = after(p, callback("9999", 1), T0 + US_PER_S);
    assert_int_equal(q.state, PAYMENT_UNKNOWN);
    assert_int_equal(q.pushed_at, T0 + US_PER_S);
    q = after(q, due, q.next_action_at);
    assert_int_equal(q.state, PAYMENT_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paid_from_every_state),
        cmocka_unit_test(test_one_payment_told_twice_counts_once),
        cmocka_unit_test(test_second_receipt),
        cmocka_unit_test(test_stronger_evidence_has_the_receipt),
        cmocka_unit_test(test_receipt_of_weaker_evidence),
        cmocka_unit_test(test_more_receipts_than_the_text_takes),
        cmocka_unit_test(test_earlier_attempt_pays_while_a_later_is_open),
        cmocka_unit_test(test_earlier_attempt_pays_and_stops_the_later),
        cmocka_unit_test(test_receipt_of_another_attempt),
        cmocka_unit_test(test_receipt_of_the_attempt_that_paid),
        cmocka_unit_test(test_paid_not_as_asked),
        cmocka_unit_test(test_receipt_taken),
        cmocka_unit_test(test_receipt_shared),
        cmocka_unit_test(test_no_money_is_unresolved),
        cmocka_unit_test(test_no_money_is_no_proof_elsewhere),
        cmocka_unit_test(test_resolved_paid),
        cmocka_unit_test(test_resolved_not_paid_and_paid_after_all),
        cmocka_unit_test(test_resolved_again),
        cmocka_unit_test(test_again_only_when_its_worker_is_gone),
        cmocka_unit_test(test_unresolved_asks_for_its_worker_too),
        cmocka_unit_test(test_not_paid_only_when_its_worker_is_gone),
        cmocka_unit_test(test_unresolved_hears_its_worker),
        cmocka_unit_test(test_resolved_is_refused_elsewhere),
        cmocka_unit_test(test_resolved_about_an_older_attempt),
        cmocka_unit_test(test_locked_after_a_persons_word),
        cmocka_unit_test(test_a_callback_stops_the_next_attempt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
