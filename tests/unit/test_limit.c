/*
 * Limits by a clock that the test holds: sliding windows, whatever their edges,
 * the bounded places of addresses, and what is shed first.
 */
#include "producer/limit.h"

#include "common/clock.h"
#include "common/metrics.h"
#include "common/must.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define T0 (INT64_C(1) * US_PER_S) /* a machine that has just started */
#define WINDOW_S 10
#define QUOTA 100

struct fixture {
    struct config cfg;
    struct client clients[2];
    struct limits *l;
    struct limit_state s; /* of the last request */
};

static int set_up(void **state)
{
    struct fixture *f = NEW(struct fixture);

    f->cfg = (struct config){.clients = f->clients,
                             .clients_n = 2,
                             .limits_window_s = WINDOW_S,
                             .limits_client_rate = QUOTA / WINDOW_S,
                             .limits_address_rate = 1};
    f->clients[0].uuid = (struct uuid){{1}};
    f->clients[1].uuid = (struct uuid){{2}};
    f->l = limits_new(&f->cfg);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    limits_free(f->l);
    free(f);
    return 0;
}

static bool ask(struct fixture *f, int client, int64_t now_us)
{
    return limits_client(f->l, &f->clients[client], now_us, &f->s);
}

static int ask_many(struct fixture *f, int n, int64_t now_us)
{
    int admitted = 0;

    for (int i = 0; i < n; i++)
        admitted += ask(f, 0, now_us);
    return admitted;
}

static bool ask_from(struct fixture *f, const char *address, int64_t now_us)
{
    return limits_address(f->l, address, now_us, &f->s);
}

/* --- a window --- */

static void test_quota_and_what_is_left(void **state)
{
    struct fixture *f = *state;

    assert_true(ask(f, 0, T0));
    assert_int_equal(f->s.quota, QUOTA);
    assert_int_equal(f->s.left, QUOTA - 1);
    assert_int_equal(f->s.window_s, WINDOW_S);
    assert_int_equal(ask_many(f, 2 * QUOTA, T0), QUOTA - 1);
    assert_int_equal(f->s.left, 0);
    assert_true(ask(f, 1, T0)); /* each client has its own */
}

/* What it says is when it may come again, and not a moment sooner. */
static void test_the_wait_is_true(void **state)
{
    struct fixture *f = *state;
    int64_t at;

    assert_int_equal(ask_many(f, QUOTA, T0), QUOTA);
    assert_false(ask(f, 0, T0 + 1));
    at = T0 + 1 + f->s.wait_us;
    assert_true(at >= T0 + WINDOW_S * US_PER_S);
    assert_true(at <= T0 + WINDOW_S * US_PER_S * 102 / 100);
    assert_false(ask(f, 0, at - 1));
    assert_true(ask(f, 0, at));
}

/* Refused ones cost nothing, or whoever insists would never get through. */
static void test_only_what_is_admitted_counts(void **state)
{
    struct fixture *f = *state;
    int64_t now = T0;

    assert_int_equal(ask_many(f, QUOTA, now), QUOTA);
    for (int i = 0; i < 100; i++)
        assert_int_equal(ask_many(f, 10, now += US_PER_S / 20), 0);
    assert_int_equal(ask_many(f, QUOTA, T0 + 11 * US_PER_S), QUOTA);
}

/* Bursts aligned to any edge: no span of the window's length has more. */
static void test_no_burst_over_an_edge(void **state)
{
    struct fixture *f = *state;

    for (int64_t edge = 0; edge < 100; edge += 7) {
        int64_t at = T0 + (edge + 1) * 1000 * US_PER_S + edge * 12345;

        assert_int_equal(ask_many(f, QUOTA, at), QUOTA);
        for (int i = 1; i <= 99; i++)
            assert_int_equal(
                ask_many(f, QUOTA, at + i * WINDOW_S * US_PER_S / 100), 0);
    }
}

/* A thousand requests at random: never above the quota, hardly ever below. */
static void test_a_steady_flood(void **state)
{
    struct fixture *f = *state;
    int64_t times[4000], now = T0;
    int n = 0, first = 0;
    unsigned dice = 1;

    for (int i = 0; i < 20000; i++) {
        dice = dice * 1103515245 + 12345;
        now += (dice >> 16) % 20000; /* some ten times the rate */
        if (!ask(f, 0, now))
            continue;
        must(n < 4000);
        times[n++] = now;
        while (times[first] <= now - WINDOW_S * US_PER_S)
            first++;
        assert_true(n - first <= QUOTA);
    }
    assert_true(n >= (now - T0) / US_PER_S * QUOTA / WINDOW_S * 97 / 100);
}

static void test_no_limit(void **state)
{
    struct fixture *f = *state;

    f->cfg.limits_client_rate = 0;
    assert_int_equal(ask_many(f, 10000, T0), 10000);
    assert_int_equal(f->s.quota, 0);
    f->clients[0].rate = 1; /* its own counts all the same */
    assert_int_equal(ask_many(f, 10000, T0), WINDOW_S);
}

/* --- new settings --- */

static void test_renewed_windows_stay(void **state)
{
    struct fixture *f = *state;
    struct client other[3] = {f->clients[1], {.uuid = {{3}}}, f->clients[0]};

    assert_int_equal(ask_many(f, QUOTA, T0), QUOTA);
    f->cfg.clients = other;
    f->cfg.clients_n = 3;
    limits_renew(f->l);
    assert_false(limits_client(f->l, &other[2], T0, &f->s));
    assert_true(limits_client(f->l, &other[1], T0, &f->s));
    f->cfg.limits_client_rate = 2 * QUOTA / WINDOW_S;
    assert_true(limits_client(f->l, &other[2], T0, &f->s));
    f->cfg.limits_client_rate = QUOTA / WINDOW_S / 2; /* several must go */
    assert_false(limits_client(f->l, &other[2], T0, &f->s));
    assert_true(f->s.wait_us > 9 * US_PER_S);
    f->cfg.limits_window_s = 2 * WINDOW_S;
    limits_renew(f->l);
    assert_true(limits_client(f->l, &other[2], T0, &f->s));
}

/* --- addresses --- */

static void test_an_address_has_its_window(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < WINDOW_S; i++)
        assert_true(ask_from(f, "192.0.2.1", T0));
    assert_false(ask_from(f, "192.0.2.1", T0));
    assert_false(ask_from(f, "::ffff:192.0.2.1", T0));
    assert_true(ask_from(f, "192.0.2.2", T0));
    for (int i = 0; i < WINDOW_S; i++)
        assert_true(ask_from(f, "2001:db8::1", T0));
    assert_false(ask_from(f, "2001:db8::ffff:2", T0)); /* the same /64 */
    assert_true(ask_from(f, "2001:db8:0:1::1", T0));
    assert_true(ask_from(f, "192.0.2.1", T0 + 11 * US_PER_S));
}

static bool ask_number(struct fixture *f, unsigned n, int64_t now_us)
{
    char address[32];

    (void)snprintf(address, sizeof(address), "10.%u.%u.%u", n >> 16 & 255,
                   n >> 8 & 255, n & 255);
    return ask_from(f, address, now_us);
}

/* Sending from everywhere frees nobody of a full window, nor may those who
   share a place have more than one address could. */
static void test_a_flood_of_addresses_evicts_nobody(void **state)
{
    struct fixture *f = *state;
    int64_t shared = metric_get(M_LIMIT_SHARED);
    int admitted = 0;

    for (int i = 0; i < WINDOW_S; i++)
        assert_true(ask_from(f, "192.0.2.1", T0));
    for (unsigned n = 0; n < 30 * LIMIT_ADDRESSES; n++)
        admitted += ask_number(f, n, T0);
    assert_false(ask_from(f, "192.0.2.1", T0));
    assert_true(admitted <= LIMIT_ADDRESSES + LIMIT_ADDRESSES / 8 * WINDOW_S);
    assert_true(metric_get(M_LIMIT_SHARED) > shared);
    /* when they are gone their places are anybody's */
    shared = metric_get(M_LIMIT_SHARED);
    assert_true(ask_number(f, 1 << 23, T0 + 11 * US_PER_S));
    assert_int_equal(metric_get(M_LIMIT_SHARED), shared);
}

static void test_addresses_without_a_limit(void **state)
{
    struct fixture *f = *state;

    f->cfg.limits_address_rate = 0;
    limits_renew(f->l);
    for (int i = 0; i < 10000; i++)
        assert_true(ask_from(f, "192.0.2.1", T0));
    assert_int_equal(f->s.quota, 0);
}

/* --- shedding --- */

static void assert_shed(struct limit_load load, const char *which)
{
    char shed[4] = "";
    size_t n = 0;

    load.records_max = load.bytes_max = 1000;
    load.slow_us = US_PER_S;
    if (limit_sheds(PRIORITY_LOW, &load))
        shed[n++] = 'l';
    if (limit_sheds(PRIORITY_NORMAL, &load))
        shed[n++] = 'n';
    if (limit_sheds(PRIORITY_HIGH, &load))
        shed[n++] = 'h';
    assert_string_equal(shed, which);
}

static void test_the_less_urgent_first(void **state)
{
    (void)state;
    assert_shed((struct limit_load){.records = 249,
                                    .bytes = 249,
                                    .oldest_us = US_PER_S - 1},
                "");
    assert_shed((struct limit_load){.records = 250}, "l");
    assert_shed((struct limit_load){.records = 500}, "ln");
    assert_shed((struct limit_load){.records = 899}, "ln");
    assert_shed((struct limit_load){.records = 900}, "lnh");
    assert_shed((struct limit_load){.bytes = 300}, "l");
    assert_shed((struct limit_load){.bytes = 600}, "ln");
    assert_shed((struct limit_load){.bytes = 950}, "lnh");
    assert_shed((struct limit_load){.oldest_us = US_PER_S}, "l");
    assert_shed((struct limit_load){.oldest_us = 2 * US_PER_S}, "ln");
    assert_shed((struct limit_load){.oldest_us = 4 * US_PER_S}, "lnh");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_quota_and_what_is_left),
        TEST(test_the_wait_is_true),
        TEST(test_only_what_is_admitted_counts),
        TEST(test_no_burst_over_an_edge),
        TEST(test_a_steady_flood),
        TEST(test_no_limit),
        TEST(test_renewed_windows_stay),
        TEST(test_an_address_has_its_window),
        TEST(test_a_flood_of_addresses_evicts_nobody),
        TEST(test_addresses_without_a_limit),
        cmocka_unit_test(test_the_less_urgent_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
