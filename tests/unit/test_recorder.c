/*
 * The flight recorder, written by children that are killed and read by their
 * parent: what a dead worker's file proves, and every file that proves nothing.
 */
#include "consumer/recorder.h"

#include "tests/unit/dead_worker.h"

#include <fcntl.h>
#include <sys/stat.h>

static void begin_one_answer_two(struct recorder *r)
{
    int slot;

    must(recorder_begin(r, &one, 1, &from) >= 0);
    slot = recorder_begin(r, &two, 7, &from);
    recorder_answer(r, slot, "accepted", CHECKOUT_ID, MERCHANT_ID, "0");
}

static void test_a_killed_worker(void **state)
{
    struct world *w = *state;
    struct recorder_reading *reading;
    struct recorder_mark mark;

    kill_it(live(w, begin_one_answer_two));
    reading = read_dead(w);
    mark = recorder_find(reading, &one, 1);
    assert_true(mark.begun);
    assert_false(mark.answered);
    mark = recorder_find(reading, &two, 7);
    assert_true(mark.begun && mark.answered);
    assert_string_equal(mark.verdict, "accepted");
    assert_string_equal(mark.checkout_id, CHECKOUT_ID);
    assert_string_equal(mark.merchant_id, MERCHANT_ID);
    assert_string_equal(mark.code, "0");
    /* never begun: another payment, another attempt */
    assert_false(recorder_find(reading, &three, 1).begun);
    assert_false(recorder_find(reading, &one, 2).begun);
    assert_false(recorder_find(reading, &two, 1).begun);
    recorder_reading_free(reading);
}

static void test_a_living_worker_says_nothing(void **state)
{
    struct world *w = *state;
    struct recorder_reading *reading = NULL;
    pid_t pid = live(w, begin_one_answer_two);

    assert_int_equal(recorder_read(w->path, &reading), RECORDER_ALIVE);
    assert_null(reading);
    must(kill(pid, SIGSTOP) == 0); /* frozen is not dead */
    assert_int_equal(recorder_read(w->path, &reading), RECORDER_ALIVE);
    assert_null(reading);
    kill_it(pid);
    recorder_reading_free(read_dead(w));
}

static void test_a_living_workers_file_stays(void **state)
{
    struct world *w = *state;
    pid_t pid = live(w, begin_one_answer_two);

    recorder_remove(w->path);
    assert_true(is_there(w->path));
    kill_it(pid);
    recorder_remove(w->path);
    assert_false(is_there(w->path));
    assert_gone(w->path);
    recorder_remove(w->path); /* twice is fine */
}

static void use_a_slot_again(struct recorder *r)
{
    int slot = recorder_begin(r, &one, 1, &from);

    recorder_answer(r, slot, "accepted", CHECKOUT_ID, MERCHANT_ID, "0");
    recorder_free_slot(r, slot);
    for (int i = 0; i < SLOTS; i++)
        must(recorder_begin(r, &two, i + 1, &from) >= 0);
}

/* What a slot said before does not stick to the next attempt. */
static void test_a_slot_used_again(void **state)
{
    struct world *w = *state;
    struct recorder_reading *reading;

    kill_it(live(w, use_a_slot_again));
    reading = read_dead(w);
    assert_false(recorder_find(reading, &one, 1).begun);
    for (int i = 0; i < SLOTS; i++) {
        struct recorder_mark mark = recorder_find(reading, &two, i + 1);

        assert_true(mark.begun);
        assert_false(mark.answered);
        assert_string_equal(mark.verdict, "");
        assert_string_equal(mark.checkout_id, "");
        assert_string_equal(mark.merchant_id, "");
        assert_string_equal(mark.code, "");
    }
    recorder_reading_free(reading);
}

static void end_one(struct recorder *r)
{
    int slot = recorder_begin(r, &one, 1, &from);

    recorder_answer(r, slot, "accepted", CHECKOUT_ID, MERCHANT_ID, "0");
    recorder_free_slot(r, slot);
    for (int i = 0; i < SLOTS - 1; i++) /* none of them takes its place */
        recorder_free_slot(r, recorder_begin(r, &two, i + 1, &from));
}

/* Postgres may have forgotten the outcome; the attempt did begin. */
static void test_an_ended_attempt_did_begin(void **state)
{
    struct world *w = *state;
    struct recorder_reading *reading;
    struct recorder_mark mark;

    kill_it(live(w, end_one));
    reading = read_dead(w);
    mark = recorder_find(reading, &one, 1);
    assert_true(mark.begun && mark.answered);
    assert_string_equal(mark.checkout_id, CHECKOUT_ID);
    assert_true(recorder_find(reading, &two, 1).begun);
    assert_false(recorder_find(reading, &two, SLOTS).begun);
    recorder_reading_free(reading);
}

struct all {
    struct recorder_begun begun[2 * SLOTS];
    int n;
};

static void add_begun(void *arg, const struct recorder_begun *begun)
{
    struct all *all = arg;

    must(all->n < 2 * SLOTS);
    all->begun[all->n++] = *begun;
}

static const struct recorder_begun *begun_of(const struct all *all,
                                             const struct uuid *payment)
{
    for (int i = 0; i < all->n; i++)
        if (uuid_equal(&all->begun[i].payment, payment))
            return &all->begun[i];
    return NULL;
}

static void begin_three(struct recorder *r)
{
    const struct recorder_source far = {2, 7, INT64_C(5000000000)};

    recorder_begin(r, &three, 2, &far);
}

/* Of the dead and the living; what is no recorder of ours says nothing. */
static void test_what_began_anywhere(void **state)
{
    struct world *w = *state;
    struct recorder *mine;
    struct all all = {.n = 0};
    char path[400];
    FILE *torn;
    pid_t pid;

    kill_it(live(w, end_one));
    pid = live(w, begin_three);
    mine = make(w);
    snprintf(path, sizeof(path), "%s/worker-torn.rec", w->directory);
    torn = fopen(path, "w");
    must(torn && fputs("torn", torn) > 0 && fclose(torn) == 0);
    recorder_each_begun(w->directory, add_begun, &all);
    assert_int_equal(all.n, SLOTS + 1);
    assert_true(begun_of(&all, &one)->mark.answered);
    assert_string_equal(begun_of(&all, &one)->mark.checkout_id, CHECKOUT_ID);
    assert_int_equal(begun_of(&all, &three)->attempt, 2);
    assert_false(begun_of(&all, &three)->mark.answered);
    assert_int_equal(begun_of(&all, &three)->source.topic, 2);
    assert_int_equal(begun_of(&all, &three)->source.partition, 7);
    assert_int_equal(begun_of(&all, &three)->source.offset, 5000000000);
    kill_it(pid);
    recorder_close(mine, true);
    recorder_each_begun("/nowhere/at/all", add_begun, &all);
    assert_int_equal(all.n, SLOTS + 1);
}

static void die_at_once(struct recorder *r)
{
    (void)r;
}

/* Leaves @p fill where the next calls have their variables. */
__attribute__((noinline)) static void dirty_the_stack(int fill)
{
    volatile char stack[8192];

    for (size_t i = 0; i < sizeof(stack); i++)
        stack[i] = (char)fill;
}

/* The boot id is compared, not what happens to lie behind it in memory. */
static void test_reading_often(void **state)
{
    struct world *w = *state;

    kill_it(live(w, die_at_once));
    for (int fill = 0; fill < 256; fill++) {
        dirty_the_stack(fill);
        recorder_reading_free(read_dead(w));
    }
}

static void test_killed_at_any_moment(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 50; i++) {
        struct recorder_reading *reading;
        int fds[2];
        char go;
        pid_t pid;

        must(pipe(fds) == 0);
        pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            struct recorder *r = make(w);

            must(write(fds[1], w->path, sizeof(w->path)) > 0);
            for (int n = 1;; n++) { /* marks, answers, frees, for ever */
                int slot = recorder_begin(r, &one, n, &from);

                recorder_answer(r, slot, "accepted", CHECKOUT_ID, MERCHANT_ID,
                                "0");
                if (n == 100)
                    must(write(fds[1], "x", 1) == 1);
                recorder_free_slot(r, slot);
            }
        }
        must(read(fds[0], w->path, sizeof(w->path)) == sizeof(w->path));
        must(read(fds[0], &go, 1) == 1);
        kill_it(pid);
        close(fds[0]);
        close(fds[1]);
        reading = read_dead(w);
        for (int n = 1; n < 200; n++) {
            struct recorder_mark mark = recorder_find(reading, &one, n);

            if (mark.answered) { /* an answer is whole or it is none */
                assert_true(mark.begun);
                assert_string_equal(mark.verdict, "accepted");
                assert_string_equal(mark.checkout_id, CHECKOUT_ID);
            }
        }
        recorder_reading_free(reading);
    }
}

/* --- slots --- */

static void test_slots(void **state)
{
    struct recorder *r = make(*state);
    int slots[SLOTS];

    assert_int_equal(recorder_used(r), 0);
    for (int i = 0; i < SLOTS; i++) {
        slots[i] = recorder_begin(r, &one, i + 1, &from);
        assert_in_range(slots[i], 0, SLOTS - 1);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(slots[k], slots[i]);
        assert_int_equal(recorder_used(r), i + 1);
    }
    assert_int_equal(recorder_begin(r, &one, 99, &from), -1);
    assert_int_equal(recorder_used(r), SLOTS);
    recorder_free_slot(r, slots[2]);
    assert_int_equal(recorder_used(r), SLOTS - 1);
    assert_int_equal(recorder_begin(r, &two, 1, &from), slots[2]);
    assert_int_equal(recorder_begin(r, &two, 2, &from), -1);
    recorder_close(r, true);
}

static void answer_at_length(struct recorder *r)
{
    char longest[200];

    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    recorder_answer(r, recorder_begin(r, &one, 1, &from), longest, longest,
                    longest, longest);
    recorder_begin(r, &two, 1, &from);
}

static void test_texts_are_cut_not_spilt(void **state)
{
    struct world *w = *state;
    struct recorder_reading *reading;
    struct recorder_mark mark;

    kill_it(live(w, answer_at_length));
    reading = read_dead(w);
    mark = recorder_find(reading, &one, 1);
    assert_true(mark.answered);
    assert_int_equal(strlen(mark.verdict), sizeof(mark.verdict) - 1);
    assert_int_equal(strlen(mark.checkout_id), CHECKOUT_ID_MAX);
    assert_int_equal(strlen(mark.merchant_id), CHECKOUT_ID_MAX);
    assert_int_equal(strlen(mark.code), RESULT_CODE_MAX);
    mark = recorder_find(reading, &two, 1);
    assert_true(mark.begun);
    assert_false(mark.answered);
    recorder_reading_free(reading);
}

/* --- files that prove nothing --- */

/* Writes @p len bytes at @p at of the dead worker's file. */
static void scribble(struct world *w, const void *bytes, size_t len, off_t at)
{
    int fd = open(w->path, O_RDWR);

    must(fd >= 0);
    must(pwrite(fd, bytes, len, at) == (ssize_t)len);
    close(fd);
}

static void test_of_another_boot(void **state)
{
    struct world *w = *state;

    kill_it(live(w, begin_one_answer_two));
    recorder_reading_free(read_dead(w));
    scribble(w, "00000000-0000-0000-0000-000000000000", 36, BOOT_AT);
    assert_gone(w->path);
    scribble(w, "", 1, BOOT_AT); /* a boot that nobody knows */
    assert_gone(w->path);
}

static void test_torn_and_stretched(void **state)
{
    static const off_t sizes[] = {0,
                                  1,
                                  HEAD_SIZE - 1,
                                  HEAD_SIZE,
                                  HEAD_SIZE + SLOTS * SLOT_SIZE - 1,
                                  HEAD_SIZE + SLOTS * SLOT_SIZE + 1};
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        kill_it(live(w, begin_one_answer_two));
        recorder_reading_free(read_dead(w));
        must(truncate(w->path, sizes[i]) == 0);
        assert_gone(w->path);
    }
}

static void test_foreign_and_damaged(void **state)
{
    static const uint64_t counts[] = {0, SLOTS - 1, SLOTS + 1, UINT64_MAX,
                                      UINT64_MAX / SLOT_SIZE + 1 + SLOTS};
    struct world *w = *state;

    kill_it(live(w, begin_one_answer_two));
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        scribble(w, &counts[i], sizeof(counts[i]), SLOTS_AT);
        assert_gone(w->path);
    }
    kill_it(live(w, begin_one_answer_two));
    scribble(w, "SOMETHING", 9, 0);
    assert_gone(w->path);
    assert_gone(w->directory);
    assert_gone("/tmp/foleni-no-such-file");
    assert_gone("/dev/null");
}

/* A slot's texts may lack their end: they were being written. */
static void test_a_text_without_end(void **state)
{
    struct world *w = *state;
    struct recorder_reading *reading;
    struct recorder_mark mark;
    char bytes[SLOT_SIZE - 28];

    kill_it(live(w, answer_at_length));
    memset(bytes, 'y', sizeof(bytes));
    scribble(w, bytes, sizeof(bytes), HEAD_SIZE + 28);
    reading = read_dead(w);
    mark = recorder_find(reading, &one, 1);
    assert_true(mark.answered);
    assert_int_equal(strlen(mark.checkout_id), CHECKOUT_ID_MAX);
    recorder_reading_free(reading);
}

/* --- the file's life --- */

static void test_open_and_close(void **state)
{
    struct world *w = *state;
    struct recorder *a = make(w), *b;
    struct recorder_reading *reading = NULL;
    struct stat st;
    char first[1024];

    snprintf(first, sizeof(first), "%s", w->path);
    b = make(w);
    assert_string_not_equal(first, w->path);
    assert_int_equal(stat(first, &st), 0);
    assert_int_equal(st.st_size, HEAD_SIZE + SLOTS * SLOT_SIZE);
    assert_true((size_t)st.st_blocks * 512 >= (size_t)st.st_size);
    assert_int_equal(recorder_read(first, &reading), RECORDER_ALIVE);
    recorder_close(a, true);
    assert_false(is_there(first));
    recorder_close(b, false); /* kept: something of it is open */
    recorder_reading_free(read_dead(w));
    recorder_close(NULL, true);
}

static void test_open_makes_its_directory(void **state)
{
    struct world *w = *state;
    struct recorder *r = NULL;
    struct err err;
    char deeper[100];

    snprintf(deeper, sizeof(deeper), "%s/new", w->directory);
    assert_int_equal(recorder_open(deeper, SLOTS, &r, &err), ERR_NONE);
    recorder_close(r, true);
    assert_int_equal(rmdir(deeper), 0);
    r = NULL;
    snprintf(deeper, sizeof(deeper), "%s/no/where", w->directory);
    assert_int_equal(recorder_open(deeper, SLOTS, &r, &err), ERR_IO);
    assert_non_null(strstr(err.text, "no/where"));
    assert_null(r);
}

/* --- what the dead have left --- */

struct left {
    char paths[8][1024];
    enum recorder_kind kinds[8];
    int n;
};

static void add_left(void *arg, const char *path, enum recorder_kind kind)
{
    struct left *left = arg;

    must(left->n < 8);
    snprintf(left->paths[left->n], sizeof(left->paths[0]), "%s", path);
    left->kinds[left->n++] = kind;
}

/* What the last recorder's file counts as now, -1 = as held, or not there. */
static int kind_of_last(struct world *w)
{
    struct left left = {.n = 0};

    recorder_each_dead(w->directory, add_left, &left);
    for (int i = 0; i < left.n; i++)
        if (strcmp(left.paths[i], w->path) == 0)
            return (int)left.kinds[i];
    return -1;
}

static void test_what_the_dead_left(void **state)
{
    struct world *w = *state;
    pid_t pid = live(w, begin_one_answer_two);

    assert_int_equal(kind_of_last(w), -1);
    must(kill(pid, SIGSTOP) == 0); /* frozen is not dead */
    assert_int_equal(kind_of_last(w), -1);
    assert_false(recorder_remove(w->path));
    kill_it(pid);
    assert_int_equal(kind_of_last(w), RECORDER_WHOLE);
    scribble(w, "00000000-0000-0000-0000-000000000000", 36, BOOT_AT);
    assert_int_equal(kind_of_last(w), RECORDER_SILENT);
    scribble(w, "", 1, BOOT_AT); /* of whatever boot */
    assert_int_equal(kind_of_last(w), RECORDER_TORN);
    assert_true(recorder_remove(w->path));
    assert_false(recorder_remove(w->path));
    assert_int_equal(kind_of_last(w), -1);
}

/* Whatever was done to a file that may hold marks, nobody calls it silent. */
static void test_torn_is_never_silent(void **state)
{
    static const off_t sizes[] = {1, HEAD_SIZE - 1, HEAD_SIZE,
                                  HEAD_SIZE + SLOTS * SLOT_SIZE - 1,
                                  HEAD_SIZE + SLOTS * SLOT_SIZE + 1};
    static const uint64_t counts[] = {0, SLOTS - 1, UINT64_MAX};
    char zeros[HEAD_SIZE] = {0};
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        kill_it(live(w, begin_one_answer_two));
        must(truncate(w->path, sizes[i]) == 0);
        assert_int_equal(kind_of_last(w), RECORDER_TORN);
    }
    kill_it(live(w, begin_one_answer_two));
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        scribble(w, &counts[i], sizeof(counts[i]), SLOTS_AT);
        assert_int_equal(kind_of_last(w), RECORDER_TORN);
    }
    scribble(w, zeros, sizeof(zeros), 0); /* its head is gone, marks are not */
    assert_int_equal(kind_of_last(w), RECORDER_TORN);
    must(unlink(w->path) == 0 && mkdir(w->path, 0700) == 0);
    assert_int_equal(kind_of_last(w), RECORDER_TORN); /* no file at all */
    must(rmdir(w->path) == 0);
}

/* Its process died before the first mark was possible. */
static void test_died_while_making_it(void **state)
{
    struct world *w = *state;

    kill_it(live(w, die_at_once));
    must(truncate(w->path, 0) == 0);
    assert_int_equal(kind_of_last(w), RECORDER_SILENT);
    must(truncate(w->path, HEAD_SIZE + SLOTS * SLOT_SIZE) == 0);
    assert_int_equal(kind_of_last(w), RECORDER_SILENT);
}

/* A file in the making may be swept before it is locked: another is made, and
   no living worker is ever without its own. */
static void test_swept_in_the_making(void **state)
{
    struct world *w = *state;
    pid_t pid = fork();

    must(pid >= 0);
    while (pid == 0) {
        struct left left = {.n = 0};

        recorder_each_dead(w->directory, add_left, &left);
        for (int i = 0; i < left.n; i++)
            (void)recorder_remove(left.paths[i]);
    }
    for (int i = 0; i < 500; i++) {
        struct recorder *r = make(w);

        assert_true(is_there(w->path));
        recorder_close(r, true);
    }
    kill_it(pid);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_killed_worker),
        TEST(test_a_living_worker_says_nothing),
        TEST(test_a_living_workers_file_stays),
        TEST(test_a_slot_used_again),
        TEST(test_an_ended_attempt_did_begin),
        TEST(test_what_began_anywhere),
        TEST(test_reading_often),
        TEST(test_killed_at_any_moment),
        TEST(test_slots),
        TEST(test_texts_are_cut_not_spilt),
        TEST(test_of_another_boot),
        TEST(test_torn_and_stretched),
        TEST(test_foreign_and_damaged),
        TEST(test_a_text_without_end),
        TEST(test_open_and_close),
        TEST(test_open_makes_its_directory),
        TEST(test_what_the_dead_left),
        TEST(test_torn_is_never_silent),
        TEST(test_died_while_making_it),
        TEST(test_swept_in_the_making),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
