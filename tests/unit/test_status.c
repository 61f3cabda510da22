/*
 * Index, cache and long polls: bounds, ages, versions, and who is woken.
 */
#include "producer/status.h"

#include "common/clock.h"
#include "common/metrics.h"
#include "common/must.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ENTRIES_MAX 100
#define PATIENCE_US (60 * US_PER_S)

struct world {
    struct loop *loop;
    struct config cfg;
    struct status *status;
};

static int set_up(void **state)
{
    struct world *w = NEW(struct world);

    w->loop = loop_new();
    w->cfg.cache_entries_max = ENTRIES_MAX;
    w->cfg.cache_kbytes_max = 64;
    w->cfg.cache_ttl_ms = 60000;
    w->cfg.cache_index_ttl_ms = 1800000;
    w->status = status_new(w->loop, &w->cfg);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    status_free(w->status);
    loop_free(w->loop);
    free(w);
    return 0;
}

static struct uuid id_of(int n)
{
    struct uuid id = {{0}};

    snprintf((char *)id.b, sizeof(id.b), "%d", n);
    return id;
}

static void put(struct world *w, int n, int version, bool final,
                const char *document)
{
    struct uuid id = id_of(n);
    struct status_entry news = {
        .client = {{9}},
        .fingerprint = {1, 2, 3},
        .version = version,
        .final = final,
        .document = document,
        .len = strlen(document),
    };

    status_put(w->status, &id, &news);
}

static bool find(struct world *w, int n, struct status_entry *ret)
{
    struct uuid id = id_of(n);

    return status_find(w->status, &id, ret);
}

static bool known(struct world *w, int n)
{
    struct status_entry e;

    return find(w, n, &e);
}

static bool has_document(struct world *w, int n)
{
    struct status_entry e;

    return find(w, n, &e) && e.document;
}

/* Until the clock has gone on by more than @p ms. */
static void let_pass(struct world *w, int64_t ms)
{
    int64_t end_us = clock_now_us() + ms * US_PER_MS;

    while (clock_now_us() <= end_us)
        loop_once(w->loop, US_PER_MS);
}

/* --- what is kept --- */

static void test_put_and_find(void **state)
{
    struct world *w = *state;
    int64_t hits = metric_get(M_CACHE_HIT), misses = metric_get(M_CACHE_MISS);
    struct uuid client = {{9}};
    struct status_entry e;

    assert_false(find(w, 1, &e));
    put(w, 1, 3, false, "{\"v\":3}");
    assert_true(find(w, 1, &e));
    assert_true(uuid_equal(&e.client, &client));
    assert_int_equal(e.fingerprint[2], 3);
    assert_int_equal(e.version, 3);
    assert_false(e.final);
    assert_string_equal(e.document, "{\"v\":3}");
    assert_int_equal(e.len, 7);
    assert_false(find(w, 2, &e));
    assert_int_equal(metric_get(M_CACHE_HIT), hits + 1);
    assert_int_equal(metric_get(M_CACHE_MISS), misses + 2);
    assert_int_equal(metric_get(M_CACHE_ENTRIES), 1);
    assert_int_equal(metric_get(M_CACHE_BYTES), 7);
}

static void test_the_document_is_a_copy(void **state)
{
    struct world *w = *state;
    char text[] = "abc";
    struct status_entry e;

    put(w, 1, 1, false, text);
    memset(text, 'x', 3);
    assert_true(find(w, 1, &e));
    assert_string_equal(e.document, "abc");
}

static void test_versions_never_go_back(void **state)
{
    struct world *w = *state;
    struct status_entry e;

    put(w, 1, 2, false, "two");
    put(w, 1, 1, true, "one");
    put(w, 1, 0, false, "queued");
    assert_true(find(w, 1, &e));
    assert_int_equal(e.version, 2);
    assert_false(e.final);
    assert_string_equal(e.document, "two");
    put(w, 1, 5, true, "five"); /* versions may be skipped */
    assert_true(find(w, 1, &e));
    assert_int_equal(e.version, 5);
    assert_true(e.final);
    assert_string_equal(e.document, "five");
    put(w, 1, 6, true, "paid after all");
    assert_true(find(w, 1, &e));
    assert_int_equal(e.version, 6);
    assert_int_equal(metric_get(M_CACHE_BYTES), strlen("paid after all"));
}

static void test_the_same_version_refills(void **state)
{
    struct world *w = *state;
    struct status_entry e;

    put(w, 1, 2, false, "two");
    put(w, 1, 2, false, "another two");
    assert_true(find(w, 1, &e));
    assert_string_equal(e.document, "two");
    w->cfg.cache_ttl_ms = 1;
    let_pass(w, 2);
    assert_true(find(w, 1, &e)); /* the index remembers longer */
    assert_null(e.document);
    assert_int_equal(e.version, 2);
    w->cfg.cache_ttl_ms = 60000;
    put(w, 1, 1, false, "one");
    assert_false(has_document(w, 1));
    put(w, 1, 2, false, "read again");
    assert_true(find(w, 1, &e));
    assert_string_equal(e.document, "read again");
}

/* --- ages --- */

static void test_documents_expire(void **state)
{
    struct world *w = *state;

    w->cfg.cache_ttl_ms = 5;
    put(w, 1, 1, false, "old");
    let_pass(w, 6);
    put(w, 2, 1, false, "young");
    assert_false(has_document(w, 1));
    assert_true(known(w, 1));
    w->cfg.cache_ttl_ms = 60000;
    assert_true(has_document(w, 2));
    assert_int_equal(metric_get(M_CACHE_BYTES), 8); /* of the last put */
}

static void test_entries_expire(void **state)
{
    struct world *w = *state;

    w->cfg.cache_index_ttl_ms = 5;
    put(w, 1, 1, false, "old");
    let_pass(w, 6);
    put(w, 2, 1, false, "young");
    assert_false(known(w, 1));
    assert_true(known(w, 2));
    assert_int_equal(metric_get(M_CACHE_ENTRIES), 1);
}

/* --- bounds --- */

static void test_the_oldest_entries_leave(void **state)
{
    struct world *w = *state;

    for (int n = 1; n <= ENTRIES_MAX; n++)
        put(w, n, 1, false, "x");
    for (int n = 1; n <= ENTRIES_MAX; n++)
        assert_true(known(w, n));
    assert_int_equal(metric_get(M_CACHE_ENTRIES), ENTRIES_MAX);
    put(w, 1, 2, false, "x"); /* news make it young */
    for (int n = ENTRIES_MAX + 1; n <= ENTRIES_MAX + 10; n++)
        put(w, n, 1, false, "x");
    assert_int_equal(metric_get(M_CACHE_ENTRIES), ENTRIES_MAX);
    assert_true(known(w, 1));
    for (int n = 2; n <= 11; n++)
        assert_false(known(w, n));
    for (int n = 12; n <= ENTRIES_MAX + 10; n++)
        assert_true(known(w, n));
}

static void test_the_only_entry_may_be_all(void **state)
{
    struct world *w = *state;

    w->cfg.cache_entries_max = 1;
    put(w, 1, 1, true, "one");
    assert_true(has_document(w, 1));
    put(w, 2, 1, true, "two");
    assert_false(known(w, 1));
    assert_true(has_document(w, 2));
}

static void test_the_oldest_documents_leave(void **state)
{
    struct world *w = *state;
    char document[8193];

    memset(document, 'd', 8192);
    document[8192] = '\0';
    for (int n = 1; n <= 10; n++)
        put(w, n, 1, false, document);
    assert_int_equal(metric_get(M_CACHE_BYTES), 64 * 1024);
    for (int n = 1; n <= 10; n++) {
        assert_true(known(w, n));
        assert_int_equal(has_document(w, n), n > 2);
    }
    put(w, 3, 2, false, document);
    put(w, 11, 1, false, document);
    assert_true(has_document(w, 3));
    assert_false(has_document(w, 4));
}

static void test_many(void **state)
{
    struct world *w = *state;
    unsigned dice = 7;

    for (int i = 0; i < 50000; i++) {
        dice = dice * 1664525u + 1013904223u;
        put(w, (int)(dice >> 16) % 400, (int)(dice >> 8) % 7, dice & 1,
            "{\"a\":1}");
        assert_true(metric_get(M_CACHE_ENTRIES) <= ENTRIES_MAX);
        assert_true(metric_get(M_CACHE_BYTES) <= ENTRIES_MAX * 7);
    }
}

/* --- waiting --- */

struct waiter {
    struct world *w;
    struct status_wait wait;
    int woken;
    int version; /* when it was woken; -1 = no document then */
    int n;
};

static void on_woken(void *arg)
{
    struct waiter *x = arg;
    struct status_entry e;

    x->woken++;
    x->version = find(x->w, x->n, &e) && e.document ? e.version : -1;
}

static void start(struct world *w, struct waiter *x, int n, int64_t us)
{
    struct uuid id = id_of(n);

    *x = (struct waiter){.w = w, .n = n};
    status_wait(w->status, &id, &x->wait, us, on_woken, x);
}

static void wait_for(struct world *w, const struct waiter *x)
{
    int64_t end_us = clock_now_us() + PATIENCE_US;

    while (!x->woken && clock_now_us() < end_us)
        loop_once(w->loop, 20 * US_PER_MS);
    assert_int_equal(x->woken, 1);
}

static void test_final_wakes_all_of_one(void **state)
{
    struct world *w = *state;
    struct waiter a, b, other;

    put(w, 1, 1, false, "one");
    put(w, 2, 1, false, "one");
    start(w, &a, 1, PATIENCE_US);
    start(w, &b, 1, PATIENCE_US);
    start(w, &other, 2, 30 * US_PER_MS);
    put(w, 1, 2, false, "two"); /* news, but not the last */
    assert_int_equal(a.woken + b.woken, 0);
    put(w, 1, 3, true, "three");
    assert_int_equal(a.woken, 1);
    assert_int_equal(b.woken, 1);
    assert_int_equal(a.version, 3);
    assert_int_equal(other.woken, 0);
    put(w, 1, 4, true, "four");
    wait_for(w, &other);
    assert_int_equal(a.woken, 1); /* once, and its timer is off */
    assert_false(timer_armed(&a.wait.timer));
}

static void test_time_out(void **state)
{
    struct world *w = *state;
    struct waiter a;

    put(w, 1, 1, false, "one");
    start(w, &a, 1, 10 * US_PER_MS);
    loop_once(w->loop, 0);
    assert_int_equal(a.woken, 0);
    wait_for(w, &a);
    put(w, 1, 2, true, "two");
    assert_int_equal(a.woken, 1);
}

static void test_unwait(void **state)
{
    struct world *w = *state;
    struct waiter a, b;

    put(w, 1, 1, false, "one");
    start(w, &a, 1, 5 * US_PER_MS);
    start(w, &b, 1, PATIENCE_US);
    status_unwait(&a.wait);
    let_pass(w, 10);
    put(w, 1, 2, true, "two");
    assert_int_equal(a.woken, 0);
    assert_int_equal(b.woken, 1);
}

static void test_waited_for_entries_stay(void **state)
{
    struct world *w = *state;
    struct waiter waiters[5];

    for (int n = 1; n <= 5; n++) {
        put(w, n, 1, false, "x");
        start(w, &waiters[n - 1], n, PATIENCE_US);
    }
    for (int n = 6; n <= 3 * ENTRIES_MAX; n++)
        put(w, n, 1, false, "x");
    assert_true(metric_get(M_CACHE_ENTRIES) <= ENTRIES_MAX + 5);
    for (int n = 1; n <= 5; n++) {
        put(w, n, 2, true, "y");
        assert_int_equal(waiters[n - 1].woken, 1);
        assert_int_equal(waiters[n - 1].version, 2);
    }
}

/* However many wait: the bound is passed by them alone. */
static void test_all_are_waited_for(void **state)
{
    struct world *w = *state;
    struct waiter waiters[2 * ENTRIES_MAX];

    for (int n = 0; n < 2 * ENTRIES_MAX; n++) {
        put(w, n, 1, false, "x");
        start(w, &waiters[n], n, PATIENCE_US);
    }
    assert_int_equal(metric_get(M_CACHE_ENTRIES), 2 * ENTRIES_MAX);
    status_wake(w->status);
    for (int n = 0; n < 2 * ENTRIES_MAX; n++)
        assert_int_equal(waiters[n].woken, 1);
    put(w, 5000, 1, false, "x");
    assert_int_equal(metric_get(M_CACHE_ENTRIES), ENTRIES_MAX);
}

/* A poll that keeps its payment known does not keep an old document. */
static void test_waiting_makes_no_document_younger(void **state)
{
    struct world *w = *state;
    struct waiter a;

    w->cfg.cache_entries_max = 1;
    w->cfg.cache_ttl_ms = 20;
    put(w, 1, 1, false, "old");
    start(w, &a, 1, PATIENCE_US);
    let_pass(w, 15);
    put(w, 2, 1, false, "young"); /* 1 would have to leave */
    let_pass(w, 10);
    assert_true(known(w, 1));
    assert_false(has_document(w, 1));
    status_unwait(&a.wait);
}

static void test_clear(void **state)
{
    struct world *w = *state;
    struct waiter a;

    for (int n = 1; n <= 10; n++)
        put(w, n, 1, false, "x");
    start(w, &a, 3, PATIENCE_US);
    status_clear(w->status);
    assert_int_equal(a.woken, 0);
    assert_int_equal(metric_get(M_CACHE_ENTRIES), 1);
    assert_int_equal(metric_get(M_CACHE_BYTES), 0);
    for (int n = 1; n <= 10; n++)
        assert_int_equal(known(w, n), n == 3);
    assert_false(has_document(w, 3));
    put(w, 3, 1, false, "x"); /* refilled by the same version */
    assert_true(has_document(w, 3));
    put(w, 3, 2, true, "y");
    assert_int_equal(a.woken, 1);
    status_clear(w->status);
    assert_false(known(w, 3));
}

static void test_wake_ends_every_poll(void **state)
{
    struct world *w = *state;
    struct waiter waiters[4];

    for (int n = 0; n < 4; n++) {
        put(w, n / 2, 1, false, "x");
        start(w, &waiters[n], n / 2, PATIENCE_US);
    }
    status_wake(w->status);
    for (int n = 0; n < 4; n++)
        assert_int_equal(waiters[n].woken, 1);
    status_wake(w->status);
    assert_int_equal(waiters[0].woken, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_put_and_find),
        TEST(test_the_document_is_a_copy),
        TEST(test_versions_never_go_back),
        TEST(test_the_same_version_refills),
        TEST(test_documents_expire),
        TEST(test_entries_expire),
        TEST(test_the_oldest_entries_leave),
        TEST(test_the_only_entry_may_be_all),
        TEST(test_the_oldest_documents_leave),
        TEST(test_many),
        TEST(test_final_wakes_all_of_one),
        TEST(test_time_out),
        TEST(test_unwait),
        TEST(test_waited_for_entries_stay),
        TEST(test_all_are_waited_for),
        TEST(test_waiting_makes_no_document_younger),
        TEST(test_clear),
        TEST(test_wake_ends_every_poll),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
