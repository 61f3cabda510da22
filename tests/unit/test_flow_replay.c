/*
 * A dead payment comes back: with its new deadline, all attempts, by way of
 * proof, never while it is anything but dead, and never for ever.
 */
#include "tests/unit/flow_steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NOT_SHOWN "26" /* asks for proof */
#define DIED (T0 + 3600 * US_PER_S)
#define GIVEN (600 * US_PER_S)
#define LONG_AFTER (DIED + 86400 * US_PER_S)

static struct flow_event replayed(void)
{
    struct flow_event e = event(FLOW_REPLAYED, 0);

    e.replay = (struct replay_terms){.id = 5, .give_us = GIVEN};
    return e;
}

static struct payment after(struct payment p, struct flow_event e, int64_t at)
{
    return step(&p, &e, at).next;
}

static struct payment dead(void)
{
    struct payment p = prompted();

    p.spent = 2;
    p = after(p, callback(NOT_SHOWN, 1), DIED);
    assert_int_equal(p.state, PAYMENT_DEAD);
    return p;
}

static void test_comes_back_whole(void **state)
{
    struct payment was = dead(), p = after(was, replayed(), LONG_AFTER);

    (void)state;
    assert_int_equal(p.state, PAYMENT_WAITING);
    assert_int_equal(p.waits, WAIT_PROOF);
    assert_int_equal(p.next_action_at, LONG_AFTER);
    assert_int_equal(p.deadline_at, LONG_AFTER + GIVEN);
    assert_int_equal(p.spent, 0);
    assert_int_equal(p.attempt, 1);
    assert_int_equal(p.replays, 1);
    assert_int_equal(p.replay, 5);
    assert_int_equal(p.version, was.version + 1);
    assert_string_equal(p.code, NOT_SHOWN); /* what the query has to repeat */
}

static void test_is_pushed_after_its_proof(void **state)
{
    struct payment p = after(dead(), replayed(), LONG_AFTER);
    struct flow_event due = event(FLOW_DUE, 0);
    struct flow_out out = step(&p, &due, LONG_AFTER);

    (void)state;
    assert_true(out.actions[FLOW_DO_QUERY]);
    assert_false(out.actions[FLOW_DO_PUSH]);
    p = after(out.next, query(NOT_SHOWN, 1), LONG_AFTER + US_PER_S);
    assert_int_equal(p.waits, WAIT_RETRY);
    out = step(&p, &due, LONG_AFTER + US_PER_S);
    assert_true(out.actions[FLOW_DO_PUSH]);
    assert_int_equal(out.next.attempt, 2);
}

static void test_the_query_says_paid(void **state)
{
    struct payment p = after(dead(), replayed(), LONG_AFTER);

    (void)state;
    p = after(p, event(FLOW_DUE, 0), LONG_AFTER);
    p = after(p, query("0", 1), LONG_AFTER + US_PER_S);
    assert_int_equal(p.state, PAYMENT_SUCCEEDED);
}

static void test_without_proof_it_ends_again(void **state)
{
    struct payment p = after(dead(), replayed(), LONG_AFTER);

    (void)state;
    p = after(p, event(FLOW_DUE, 0), LONG_AFTER + GIVEN);
    assert_int_equal(p.state, PAYMENT_FAILED);
    assert_string_equal(p.code, NOT_SHOWN);
}

static void test_who_has_just_died_rests(void **state)
{
    struct payment p = after(dead(), replayed(), DIED + US_PER_S);

    (void)state;
    assert_true(p.next_action_at >= DIED + policy.busy_phone_min_us);
}

static void refused(struct payment p, int64_t at)
{
    struct flow_event e = replayed();
    struct flow_out out = step(&p, &e, at);

    assert_non_null(out.refused);
    assert_false(out.changed);
}

static void test_only_the_dead(void **state)
{
    struct payment p = dead();

    (void)state;
    for (int s = PAYMENT_SENDING; s < PAYMENT_DEAD; s++) {
        p.state = (enum payment_state)s;
        refused(p, LONG_AFTER);
    }
}

static void test_not_for_ever(void **state)
{
    struct payment p = dead();

    (void)state;
    p.replays = policy.replays_max;
    refused(p, LONG_AFTER);
}

static void test_the_clients_wish_holds(void **state)
{
    struct payment p = dead();

    (void)state;
    p.req.expires_at = LONG_AFTER;
    refused(p, LONG_AFTER);
    p.req.expires_at = LONG_AFTER + US_PER_S;
    p = after(p, replayed(), LONG_AFTER);
    assert_int_equal(p.deadline_at, LONG_AFTER + US_PER_S);
}

static void test_nothing_to_ask_for(void **state)
{
    struct payment p = dead();

    (void)state;
    p.checkout_id[0] = '\0';
    refused(p, LONG_AFTER);
}

/* What counted before a replay is forgotten, and must not be mistaken for
   nothing. */
static void test_what_went_before_still_counts(void **state)
{
    struct payment p = after(dead(), replayed(), LONG_AFTER), q;

    (void)state;
    p = after(p, event(FLOW_DUE, 0), LONG_AFTER);
    p = after(p, query(NOT_SHOWN, 1), LONG_AFTER + US_PER_S);
    p = after(p, event(FLOW_DUE, 0), LONG_AFTER + US_PER_S);
    p = after(p, answer(VERDICT_ACCEPTED, 2), LONG_AFTER + 2 * US_PER_S);
    q = after(p, callback("17", 2), LONG_AFTER + 3 * US_PER_S);
    assert_int_equal(q.state, PAYMENT_UNKNOWN); /* it may be our own */
    p.req.ask_again = 2;
    q = after(p, callback("1037", 2), LONG_AFTER + 3 * US_PER_S);
    assert_int_equal(q.state, PAYMENT_FAILED);
}

static void test_unsent_is_not_rejected(void **state)
{
    struct payment p = after(dead(), replayed(), LONG_AFTER);

    (void)state;
    p = after(p, event(FLOW_DUE, 0), LONG_AFTER);
    p = after(p, query(NOT_SHOWN, 1), LONG_AFTER + US_PER_S);
    p = after(p, event(FLOW_DUE, 0), LONG_AFTER + US_PER_S);
    p = after(p, event(FLOW_NOT_SENT, 2), LONG_AFTER + 2 * US_PER_S);
    p = after(p, event(FLOW_DUE, 0), LONG_AFTER + GIVEN);
    assert_int_equal(p.state, PAYMENT_FAILED); /* its customer may know of it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comes_back_whole),
        cmocka_unit_test(test_is_pushed_after_its_proof),
        cmocka_unit_test(test_the_query_says_paid),
        cmocka_unit_test(test_without_proof_it_ends_again),
        cmocka_unit_test(test_who_has_just_died_rests),
        cmocka_unit_test(test_only_the_dead),
        cmocka_unit_test(test_not_for_ever),
        cmocka_unit_test(test_the_clients_wish_holds),
        cmocka_unit_test(test_nothing_to_ask_for),
        cmocka_unit_test(test_what_went_before_still_counts),
        cmocka_unit_test(test_unsent_is_not_rejected),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
