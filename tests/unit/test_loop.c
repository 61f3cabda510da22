/*
 * The loop: what runs when, what is left to run, what no longer runs.
 */
#include "common/loop.h"

#include "common/clock.h"
#include "common/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NO_WAIT 0
#define LONG_US (20 * US_PER_S) /* a test that waits this long has failed */

static struct loop *loop;
static char trace[64]; /* one letter per thing that happened */

static int set_up(void **state)
{
    (void)state;
    trace[0] = '\0';
    loop = loop_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

static void note(char letter)
{
    size_t n = strlen(trace);

    if (n + 1 < sizeof(trace)) {
        trace[n] = letter;
        trace[n + 1] = '\0';
    }
}

/* Notes the letter that the argument points at. */
static void on_event(void *arg)
{
    note(*(const char *)arg);
}

static void stop_loop(void *arg)
{
    (void)arg;
    note('!');
    loop_stop(loop);
}

#define LETTER(x) (&(char[]){x}[0])

/* Writes to an eventfd, as another thread's body too. */
static void *write_one(void *arg)
{
    uint64_t one = 1;

    if (write(*(const int *)arg, &one, sizeof(one)) != sizeof(one))
        abort();
    return NULL;
}

/* --- timers --- */

static void test_timers_run_in_the_order_of_their_times(void **state)
{
    struct loop_timer a, b, c;
    int64_t now_us = clock_now_us();

    (void)state;
    timer_init(&a, on_event, LETTER('a'));
    timer_init(&b, on_event, LETTER('b'));
    timer_init(&c, stop_loop, NULL);
    timer_set(loop, &c, now_us + 3000);
    timer_set(loop, &b, now_us + 2000);
    timer_set(loop, &a, now_us + 1000);
    loop_run(loop);
    assert_string_equal(trace, "ab!");
    assert_true(clock_now_us() >= now_us + 3000);
    assert_false(timer_armed(&a));
}

static void test_a_due_timer_runs_without_waiting(void **state)
{
    struct loop_timer a;

    (void)state;
    timer_init(&a, on_event, LETTER('a'));
    timer_set(loop, &a, 0);
    assert_string_equal(trace, "");
    assert_true(timer_armed(&a));
    loop_once(loop, LONG_US);
    assert_string_equal(trace, "a");
}

static void test_a_cancelled_timer_does_not_run(void **state)
{
    struct loop_timer a, b;

    (void)state;
    timer_init(&a, on_event, LETTER('a'));
    timer_init(&b, on_event, LETTER('b'));
    timer_set(loop, &a, 0);
    timer_set(loop, &b, 0);
    timer_cancel(loop, &a);
    timer_cancel(loop, &a);
    loop_once(loop, NO_WAIT);
    assert_string_equal(trace, "b");
}

static struct loop_timer victim;

static void cancel_victim(void *arg)
{
    (void)arg;
    note('c');
    timer_cancel(loop, &victim);
}

static void test_a_timer_may_cancel_one_that_is_due_too(void **state)
{
    struct loop_timer a;

    (void)state;
    timer_init(&a, cancel_victim, NULL);
    timer_init(&victim, on_event, LETTER('v'));
    timer_set(loop, &a, 1);
    timer_set(loop, &victim, 2);
    loop_once(loop, NO_WAIT);
    loop_once(loop, NO_WAIT);
    assert_string_equal(trace, "c");
}

static struct loop_timer again;

static void set_again(void *arg)
{
    (void)arg;
    note('r');
    timer_set(loop, &again, 0);
}

static void test_a_timer_that_sets_itself_waits_for_the_next_turn(void **state)
{
    (void)state;
    timer_init(&again, set_again, NULL);
    timer_set(loop, &again, 0);
    loop_once(loop, NO_WAIT);
    assert_string_equal(trace, "r");
    loop_once(loop, LONG_US);
    assert_string_equal(trace, "rr");
    timer_cancel(loop, &again);
}

/* The loop has gone to sleep for the later one when the earlier one comes. */
static void test_an_earlier_timer_is_not_held_up_by_a_later_one(void **state)
{
    struct loop_timer late, early;
    int fd = loop_wake_fd(loop, on_event, LETTER('w'));
    int64_t now_us = clock_now_us();

    (void)state;
    timer_init(&late, on_event, LETTER('l'));
    timer_init(&early, stop_loop, NULL);
    timer_set(loop, &late, now_us + LONG_US);
    write_one(&fd);
    loop_once(loop, LONG_US);
    timer_set(loop, &early, clock_now_us() + 1000);
    loop_run(loop);
    assert_string_equal(trace, "w!");
    assert_true(clock_now_us() < now_us + LONG_US);
    timer_cancel(loop, &late);
}

static void test_a_timer_set_again_moves(void **state)
{
    struct loop_timer a, b;

    (void)state;
    timer_init(&a, on_event, LETTER('a'));
    timer_init(&b, stop_loop, NULL);
    timer_set(loop, &a, 0);
    timer_set(loop, &a, clock_now_us() + LONG_US);
    timer_set(loop, &b, clock_now_us() + 1000);
    loop_run(loop);
    assert_string_equal(trace, "!");
    timer_cancel(loop, &a);
}

static void test_once_waits_no_longer_than_asked(void **state)
{
    int64_t before_us = clock_now_us();

    (void)state;
    loop_once(loop, 2000);
    assert_true(clock_now_us() >= before_us + 2000);
    loop_once(loop, -1);
}

/* --- descriptors --- */

static struct loop_watch *watch;

static void on_ready(void *arg, int ready)
{
    (void)arg;
    note((char)('0' + ready));
}

static void test_a_watch_says_what_is_ready(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    watch = loop_watch(loop, ends[0], LOOP_READ, on_ready, NULL);
    loop_once(loop, NO_WAIT);
    assert_string_equal(trace, "");
    assert_int_equal(write(ends[1], "x", 1), 1);
    loop_once(loop, LONG_US);
    loop_once(loop, LONG_US); /* level-triggered: nobody has read */
    assert_string_equal(trace, "11");
    loop_watch_change(watch, 0);
    loop_once(loop, NO_WAIT);
    assert_string_equal(trace, "11");
    loop_watch_change(watch, LOOP_READ);
    loop_once(loop, LONG_US);
    assert_string_equal(trace, "111");
    loop_unwatch(watch);
    loop_once(loop, NO_WAIT);
    assert_string_equal(trace, "111");

    watch = loop_watch(loop, ends[1], LOOP_READ | LOOP_WRITE, on_ready, NULL);
    loop_once(loop, LONG_US);
    assert_string_equal(trace, "1112");
    loop_unwatch(watch);
    loop_unwatch(NULL);
    close(ends[0]);
    close(ends[1]);
}

static struct loop_watch *pair[2];

/* Whoever comes first ends both, itself too. */
static void end_both(void *arg, int ready)
{
    (void)arg;
    (void)ready;
    note('e');
    for (int i = 0; i < 2; i++) {
        loop_unwatch(pair[i]);
        pair[i] = NULL;
    }
}

static void test_unwatch_holds_within_the_batch(void **state)
{
    int a[2], b[2];

    (void)state;
    assert_int_equal(pipe(a) | pipe(b), 0);
    assert_int_equal(write(a[1], "x", 1) + write(b[1], "x", 1), 2);
    pair[0] = loop_watch(loop, a[0], LOOP_READ, end_both, NULL);
    pair[1] = loop_watch(loop, b[0], LOOP_READ, end_both, NULL);
    loop_once(loop, LONG_US);
    loop_once(loop, NO_WAIT);
    assert_string_equal(trace, "e");
    close(a[0]), close(a[1]), close(b[0]), close(b[1]);
}

/* --- rooms, time, memory --- */

static int work_left;

static bool room_a(void *arg)
{
    (void)arg;
    note('a');
    return work_left-- > 0;
}

static bool room_b(void *arg)
{
    (void)arg;
    note('b');
    return false;
}

static void test_rooms_run_in_order_after_the_timers(void **state)
{
    struct loop_timer t;

    (void)state;
    work_left = 0;
    loop_add_room(loop, room_a, NULL);
    loop_add_room(loop, room_b, NULL);
    timer_init(&t, on_event, LETTER('t'));
    timer_set(loop, &t, 0);
    loop_once(loop, LONG_US);
    assert_string_equal(trace, "tab");
}

static void test_work_left_means_no_waiting(void **state)
{
    int64_t before_us = clock_now_us();

    (void)state;
    work_left = 2;
    loop_add_room(loop, room_a, NULL);
    loop_once(loop, NO_WAIT);
    loop_once(loop, LONG_US);
    loop_once(loop, LONG_US);
    assert_string_equal(trace, "aaa");
    assert_true(clock_now_us() < before_us + LONG_US);
}

static int64_t times_us[2];

static bool room_time(void *arg)
{
    (void)arg;
    times_us[0] = loop_now_us(loop);
    while (clock_now_us() == times_us[0])
        ;
    times_us[1] = loop_now_us(loop);
    return false;
}

static void test_time_stands_still_within_a_turn(void **state)
{
    int64_t first_us;

    (void)state;
    loop_add_room(loop, room_time, NULL);
    loop_once(loop, NO_WAIT);
    assert_int_equal(times_us[0], times_us[1]);
    first_us = times_us[0];
    assert_true(loop_now_us(loop) > first_us);
    loop_once(loop, NO_WAIT);
    assert_true(times_us[0] > first_us);
}

static void free_noted(void *ptr)
{
    note('f');
    free(ptr);
}

static void free_and_defer(void *ptr)
{
    note('d');
    loop_defer_free(loop, ptr, free_noted);
}

static bool room_defers(void *arg)
{
    (void)arg;
    if (work_left-- > 0)
        loop_defer_free(loop, malloc(1), free_noted);
    note('x');
    return false;
}

static void test_memory_is_freed_after_the_rooms(void **state)
{
    (void)state;
    work_left = 1;
    loop_add_room(loop, room_defers, NULL);
    loop_add_room(loop, room_b, NULL);
    loop_once(loop, NO_WAIT);
    assert_string_equal(trace, "xbf");
}

static void test_freeing_may_defer_more(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++)
        loop_defer_free(loop, malloc(1), free_and_defer);
    loop_once(loop, NO_WAIT);
    assert_string_equal(trace, "dddddddddddddddddddd");
    loop_once(loop, NO_WAIT);
    assert_int_equal(strlen(trace), 40);
    assert_string_equal(trace + 20, "ffffffffffffffffffff");
    /* This one is left for loop_free(). */
    loop_defer_free(loop, malloc(1), free_and_defer);
}

static void test_turns_are_counted(void **state)
{
    int64_t before = metric_get(M_TURNS);

    (void)state;
    loop_once(loop, NO_WAIT);
    loop_once(loop, NO_WAIT);
    assert_int_equal(metric_get(M_TURNS), before + 2);
}

static void test_a_stop_before_the_run_counts(void **state)
{
    struct loop_timer t;

    (void)state;
    loop_stop(loop);
    loop_run(loop);
    timer_init(&t, stop_loop, NULL);
    timer_set(loop, &t, 0);
    loop_run(loop);
    assert_string_equal(trace, "!");
}

/* --- signals, other threads --- */

static void test_signals_come_through_the_loop(void **state)
{
    (void)state;
    loop_on_signal(loop, SIGUSR1, on_event, LETTER('1'));
    loop_on_signal(loop, SIGUSR2, stop_loop, NULL);
    raise(SIGUSR1);
    assert_string_equal(trace, "");
    raise(SIGUSR2);
    loop_run(loop);
    assert_int_equal(strlen(trace), 2);
    assert_non_null(strchr(trace, '1'));
}

static void test_another_thread_wakes_the_loop(void **state)
{
    pthread_t thread;
    int fd = loop_wake_fd(loop, stop_loop, NULL);

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, write_one, &fd), 0);
    loop_run(loop);
    pthread_join(thread, NULL);
    assert_string_equal(trace, "!");
}

static void test_many_wakes_are_one_and_drained(void **state)
{
    int fd = loop_wake_fd(loop, on_event, LETTER('w'));
    uint64_t count;

    (void)state;
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    for (int i = 0; i < 5; i++)
        write_one(&fd);
    loop_once(loop, LONG_US);
    assert_int_equal(read(fd, &count, sizeof(count)), -1);
    loop_once(loop, NO_WAIT);
    assert_string_equal(trace, "w");
    write_one(&fd);
    loop_once(loop, LONG_US);
    assert_string_equal(trace, "ww");
}

static void test_a_closed_wake_is_silent(void **state)
{
    int kept = loop_wake_fd(loop, on_event, LETTER('k'));
    int closed = loop_wake_fd(loop, on_event, LETTER('c'));

    (void)state;
    write_one(&kept);
    write_one(&closed);
    loop_wake_close(loop, closed);
    assert_int_equal(fcntl(closed, F_GETFD), -1);
    loop_once(loop, LONG_US);
    assert_string_equal(trace, "k");
}

#define LOOP_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_timers_run_in_the_order_of_their_times),
        LOOP_TEST(test_a_due_timer_runs_without_waiting),
        LOOP_TEST(test_a_cancelled_timer_does_not_run),
        LOOP_TEST(test_a_timer_may_cancel_one_that_is_due_too),
        LOOP_TEST(test_a_timer_that_sets_itself_waits_for_the_next_turn),
        LOOP_TEST(test_an_earlier_timer_is_not_held_up_by_a_later_one),
        LOOP_TEST(test_a_timer_set_again_moves),
        LOOP_TEST(test_once_waits_no_longer_than_asked),
        LOOP_TEST(test_a_watch_says_what_is_ready),
        LOOP_TEST(test_unwatch_holds_within_the_batch),
        LOOP_TEST(test_rooms_run_in_order_after_the_timers),
        LOOP_TEST(test_work_left_means_no_waiting),
        LOOP_TEST(test_time_stands_still_within_a_turn),
        LOOP_TEST(test_memory_is_freed_after_the_rooms),
        LOOP_TEST(test_freeing_may_defer_more),
        LOOP_TEST(test_turns_are_counted),
        LOOP_TEST(test_a_stop_before_the_run_counts),
        LOOP_TEST(test_signals_come_through_the_loop),
        LOOP_TEST(test_another_thread_wakes_the_loop),
        LOOP_TEST(test_many_wakes_are_one_and_drained),
        LOOP_TEST(test_a_closed_wake_is_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
