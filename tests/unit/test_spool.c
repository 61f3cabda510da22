/*
 * The spool on a real directory: what was confirmed comes to Kafka, in order,
 * whoever dies in between, and whatever the disk does.
 */
#include "producer/spool.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "producer/spool_file.h"
#include "producer/spool_frame.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_US (60 * US_PER_S)
#define GOT_MAX 8192
#define BODY_SIZE 32

/* What stands for Kafka. */
struct sink {
    bool up, mute;               /* mute: no delivery reports */
    int refuse, fail, too_large; /* so many of the next ones */
    char got[GOT_MAX][BODY_SIZE];
    size_t got_n;
    struct loop *loop;
    struct report {
        struct loop_timer timer;
        kafka_done_fn done;
        void *arg;
        bool failed;
    } reports[GOT_MAX];
    size_t reports_n;
};

struct world {
    struct loop *loop;
    char directory[64];
    struct spool_spec spec;
    struct sink sink;
    struct spool *spool;
    struct spool_item *items[GOT_MAX];
    size_t put, durable, failed;
};

static void report(void *arg)
{
    struct report *r = arg;
    struct err err;

    (void)err_set(&err, ERR_UNSURE, "not delivered");
    r->done(r->arg, r->failed ? &err : NULL);
}

static enum err_code sink_publish(void *arg, const struct kafka_record *record,
                                  kafka_done_fn done, void *done_arg,
                                  struct err *err)
{
    struct sink *k = arg;
    struct report *r = &k->reports[k->reports_n];

    if (k->refuse > 0 && k->refuse--)
        return err_set(err, ERR_LIMIT, "queue full");
    if (k->too_large > 0 && k->too_large--)
        return err_set(err, ERR_INPUT, "too large");
    must(k->got_n < GOT_MAX && k->reports_n++ < GOT_MAX);
    r->failed = k->fail > 0 && k->fail--;
    r->done = done;
    r->arg = done_arg;
    if (!r->failed)
        snprintf(k->got[k->got_n++], BODY_SIZE, "%.*s", (int)record->value_len,
                 (const char *)record->value);
    timer_init(&r->timer, report, r);
    if (!k->mute)
        timer_set(k->loop, &r->timer, clock_now_us());
    return ERR_NONE;
}

static bool sink_up(void *arg)
{
    const struct sink *k = arg;

    return k->up;
}

/* --- the world --- */

#define WAIT(w, cond)                                   \
    do {                                                \
        int64_t end_us_ = clock_now_us() + PATIENCE_US; \
        while (!(cond) && clock_now_us() < end_us_)     \
            loop_once((w)->loop, 20 * US_PER_MS);       \
        assert_true(cond);                              \
    } while (0)

static struct spool *open_spool(struct world *w)
{
    struct spool *s;
    struct err err;

    if (spool_new(w->loop, &w->spec, &s, &err))
        fail_msg("%s", err.text);
    return s;
}

static int set_up(void **state)
{
    struct world *w = NEW(struct world);

    w->loop = loop_new();
    w->sink.loop = w->loop;
    snprintf(w->directory, sizeof(w->directory), "/tmp/foleni-spool-XXXXXX");
    must(mkdtemp(w->directory));
    w->spec = (struct spool_spec){
        .directory = w->directory,
        .bytes_max = 1 << 20,
        .file_bytes = 1 << 16,
        .publish = sink_publish,
        .up = sink_up,
        .arg = &w->sink,
    };
    w->spool = open_spool(w);
    *state = w;
    return 0;
}

/* Files of the directory whose names end so; the last one's path. */
static size_t files(const struct world *w, const char *suffix, char path[512])
{
    DIR *d = opendir(w->directory);
    struct dirent *e;
    size_t n = 0;

    while ((e = readdir(d))) {
        size_t len = strlen(e->d_name), s = strlen(suffix);

        if (*e->d_name == '.' || len < s ||
            strcmp(e->d_name + len - s, suffix) != 0)
            continue;
        if (path)
            snprintf(path, 512, "%s/%s", w->directory, e->d_name);
        n++;
    }
    closedir(d);
    return n;
}

static void clear(const struct world *w)
{
    char path[512];

    while (files(w, "", path))
        must(unlink(path) == 0);
}

static int tear_down(void **state)
{
    struct world *w = *state;

    spool_free(w->spool);
    clear(w);
    must(rmdir(w->directory) == 0);
    loop_free(w->loop);
    for (size_t i = 0; i < w->put; i++)
        free(w->items[i]);
    free(w);
    return 0;
}

static void on_done(void *arg, const struct err *err)
{
    struct world *w = arg;

    w->durable += !err;
    w->failed += err != NULL;
}

static enum err_code put(struct world *w, const char *body)
{
    struct kafka_header headers[] = {{"foleni-payment-id", "6f1c", 4}};
    struct kafka_record r = {.key = "key",
                             .key_len = 3,
                             .value = body,
                             .value_len = strlen(body),
                             .headers = headers,
                             .headers_n = 1};
    struct spool_item *item = spool_item_new(&r);
    enum err_code code;
    struct err err;

    code = spool_put(w->spool, item, on_done, w, &err);
    if (code)
        free(item);
    else
        w->items[w->put++] = item;
    return code;
}

static void put_many(struct world *w, size_t n)
{
    char body[BODY_SIZE];

    for (size_t i = 0; i < n; i++) {
        snprintf(body, sizeof(body), "body %zu", w->put);
        assert_int_equal(put(w, body), ERR_NONE);
    }
    assert_true(w->durable < w->put); /* never inside the call */
    WAIT(w, w->durable + w->failed == w->put);
}

/* All that was put, each once and in order. */
static void assert_got_all(const struct world *w)
{
    char body[BODY_SIZE];

    assert_int_equal(w->sink.got_n, w->put);
    for (size_t i = 0; i < w->put; i++) {
        snprintf(body, sizeof(body), "body %zu", i);
        assert_string_equal(w->sink.got[i], body);
    }
}

static void drain_all(struct world *w)
{
    w->sink.up = true;
    WAIT(w, spool_bytes(w->spool) == 0);
}

/* --- in and out --- */

static void test_kept_until_kafka_is_back(void **state)
{
    struct world *w = *state;
    char path[512], note[100];
    struct stat st;

    put_many(w, 3);
    assert_int_equal(w->durable, 3);
    assert_int_equal(files(w, ".spool", path), 1);
    must(!stat(path, &st));
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(spool_bytes(w->spool) > 0);
    assert_true(spool_ok(w->spool, note, sizeof(note)));
    assert_int_equal(w->sink.got_n, 0);
    drain_all(w);
    assert_got_all(w);
    assert_int_equal(files(w, "", NULL), 0);
}

static void test_many_files_in_order(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 40; i++) /* a batch goes into one file */
        put_many(w, 100);
    assert_int_equal(w->durable, 4000);
    assert_true(files(w, ".spool", NULL) >= 3);
    drain_all(w);
    assert_got_all(w);
    assert_int_equal(files(w, "", NULL), 0);
}

static void test_put_while_it_drains(void **state)
{
    struct world *w = *state;

    put_many(w, 50);
    w->sink.up = true;
    put_many(w, 50);
    drain_all(w);
    assert_got_all(w);
}

static void test_what_was_not_delivered_goes_again(void **state)
{
    struct world *w = *state;

    put_many(w, 400);
    w->sink.fail = 30;
    w->sink.refuse = 1;
    drain_all(w);
    assert_int_equal(w->sink.got_n, 400);
    for (size_t i = 0; i < 400; i++) { /* nothing twice, nothing missing */
        char body[BODY_SIZE];
        size_t times = 0;

        snprintf(body, sizeof(body), "body %zu", i);
        for (size_t k = 0; k < 400; k++)
            times += strcmp(w->sink.got[k], body) == 0;
        assert_int_equal(times, 1);
    }
}

static void test_kafka_goes_away_again(void **state)
{
    struct world *w = *state;

    put_many(w, 600);
    w->sink.up = true;
    WAIT(w, w->sink.got_n > 0);
    w->sink.up = false;
    for (int i = 0; i < 20; i++)
        loop_once(w->loop, US_PER_MS);
    assert_true(w->sink.got_n < 600);
    drain_all(w);
    assert_got_all(w);
}

/* No broker takes it, so it would stand in the way for ever. */
static void test_a_record_that_is_too_large(void **state)
{
    struct world *w = *state;
    int64_t bad = metric_get(M_SPOOL_BAD);

    put_many(w, 3);
    w->sink.too_large = 1;
    drain_all(w);
    assert_int_equal(w->sink.got_n, 2);
    assert_int_equal(files(w, ".spool.bad", NULL), 1);
    assert_int_equal(metric_get(M_SPOOL_BAD), bad + 1);
}

/* --- bounds --- */

static void test_full(void **state)
{
    struct world *w = *state;
    int64_t alarms = metric_get(M_ALARM_SPOOL), full = metric_get(M_SPOOL_FULL);
    char note[100];

    spool_free(w->spool);
    w->spec.bytes_max = 4000;
    w->spool = open_spool(w);
    while (!put(w, "body"))
        ;
    assert_int_equal(put(w, "body"), ERR_LIMIT);
    assert_true(spool_bytes(w->spool) <= 4000);
    assert_true(spool_bytes(w->spool) > 3900);
    assert_int_equal(metric_get(M_ALARM_SPOOL), alarms + 1);
    assert_int_equal(metric_get(M_SPOOL_FULL), full + 2);
    assert_false(spool_ok(w->spool, note, sizeof(note)));
    assert_non_null(strstr(note, "of 4000 bytes"));
    WAIT(w, w->durable == w->put);
    drain_all(w);
    assert_true(spool_ok(w->spool, note, sizeof(note)));
    assert_int_equal(w->sink.got_n, w->put);
    w->sink.up = false;
    assert_int_equal(put(w, "body"), ERR_NONE);
    WAIT(w, w->durable == w->put);
}

/* --- the disk fails --- */

/* How large a file of this process may become. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    must(!getrlimit(RLIMIT_FSIZE, &limit));
    limit.rlim_cur = bytes;
    must(!setrlimit(RLIMIT_FSIZE, &limit));
}

/* The file system takes the first bytes of a record and no more. */
static void test_disk_full_inside_a_record(void **state)
{
    struct world *w = *state;
    char path[512], note[100];
    struct stat is;

    signal(SIGXFSZ, SIG_IGN);
    put_many(w, 2);
    must(files(w, ".spool", path) == 1 && !stat(path, &is));
    for (size_t n = 0; n < 40; n++) { /* behind the two, then in new files */
        limit_files(n ? SPOOL_HEAD_SIZE + n : (rlim_t)is.st_size + 5);
        assert_int_equal(put(w, "does not fit"), ERR_NONE);
        WAIT(w, w->failed == n + 1);
        limit_files(RLIM_INFINITY);
        assert_false(spool_ok(w->spool, note, sizeof(note)));
        assert_non_null(strstr(note, "could not write"));
    }
    put_many(w, 1);
    assert_true(spool_ok(w->spool, note, sizeof(note)));
    drain_all(w);
    assert_int_equal(w->sink.got_n, 3);
    assert_string_equal(w->sink.got[0], "body 0");
    assert_string_equal(w->sink.got[1], "body 1");
    assert_string_equal(w->sink.got[2], "body 42");
    assert_int_equal(files(w, "", NULL), 0); /* none was torn */
}

/* After a failed fsync nobody knows what is on the disk. */
static void test_sync_fails(void **state)
{
    struct world *w = *state;
    struct spool_dir dir;
    struct spool_file *f;
    struct err err;
    int null = open("/dev/null", O_RDWR); /* takes bytes, cannot sync */

    must(!spool_dir_open(w->directory, &dir, &err));
    must(!spool_file_new(&dir, &f, &err));
    assert_int_equal(spool_file_append(f, "x", 1, &err), ERR_NONE);
    assert_int_equal(f->end, SPOOL_HEAD_SIZE + 1);
    must(dup2(null, f->fd) == f->fd);
    assert_int_equal(spool_file_append(f, "y", 1, &err), ERR_IO);
    assert_non_null(strstr(err.text, "could not sync"));
    assert_int_equal(f->end, SPOOL_HEAD_SIZE + 1);
    close(null);
    spool_file_remove(&dir, f, false);
    spool_dir_close(&dir);
}

static void test_directories_that_cannot_be_used(void **state)
{
    static const char *const paths[] = {"/proc/none", "/dev/null",
                                        "/nowhere/at/all"};
    struct world *w = *state;
    struct spool *s;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        w->spec.directory = paths[i];
        assert_int_equal(spool_new(w->loop, &w->spec, &s, &err), ERR_IO);
        assert_non_null(strstr(err.text, paths[i]));
    }
}

/* The directory is taken away under it: said, and over when it is back. */
static void test_directory_goes_and_comes_back(void **state)
{
    struct world *w = *state;
    char note[100];

    must(rmdir(w->directory) == 0);
    assert_int_equal(put(w, "body 0"), ERR_NONE);
    WAIT(w, w->failed == 1);
    assert_false(spool_ok(w->spool, note, sizeof(note)));
    assert_int_equal(spool_bytes(w->spool), 0);
    must(mkdir(w->directory, 0700) == 0);
}

/* --- deaths --- */

/* Runs @p life in a process that is then killed with SIGKILL. */
static void live_and_die(struct world *w, void (*life)(struct world *w))
{
    int ready[2];
    char byte;
    pid_t pid;

    must(!pipe(ready));
    pid = fork();
    if (!pid) {
        struct world *mine = NEW(struct world);

        mine->loop = loop_new();
        mine->sink.loop = mine->loop;
        mine->spec = w->spec;
        mine->spec.arg = &mine->sink;
        mine->spool = open_spool(mine);
        life(mine);
        must(write(ready[1], "", 1) == 1);
        for (;;)
            pause();
    }
    close(ready[1]);
    must(read(ready[0], &byte, 1) == 1);
    kill(pid, SIGKILL);
    must(waitpid(pid, NULL, 0) == pid);
    close(ready[0]);
}

/* Looks at the directory at once: one that runs does so every few seconds. */
static void start_anew(struct world *w)
{
    spool_free(w->spool);
    w->spool = open_spool(w);
    w->sink.up = true;
}

static void put_120(struct world *w)
{
    put_many(w, 120);
}

static void test_killed_after_the_sync(void **state)
{
    struct world *w = *state;

    live_and_die(w, put_120);
    assert_int_equal(files(w, ".spool", NULL), 1);
    start_anew(w);
    WAIT(w, w->sink.got_n == 120);
    WAIT(w, files(w, "", NULL) == 0);
    for (size_t i = 0; i < 120; i++) {
        char body[BODY_SIZE];

        snprintf(body, sizeof(body), "body %zu", i);
        assert_string_equal(w->sink.got[i], body);
    }
}

static void put_and_give(struct world *w)
{
    put_many(w, 120);
    w->sink.mute = w->sink.up = true;
    WAIT(w, w->sink.got_n == 120);
}

/* In Kafka, perhaps, and nobody heard so: all of it goes once more. */
static void test_killed_before_the_reports(void **state)
{
    struct world *w = *state;

    live_and_die(w, put_and_give);
    start_anew(w);
    WAIT(w, w->sink.got_n == 120);
    WAIT(w, files(w, "", NULL) == 0);
}

static void test_a_living_process_keeps_its_files(void **state)
{
    struct world *w = *state;
    struct sink other = {.up = true, .loop = w->loop};
    struct spool *second;

    put_many(w, 5);
    w->spec.arg = &other;
    second = open_spool(w);
    for (int i = 0; i < 50; i++)
        loop_once(w->loop, 2 * US_PER_MS);
    assert_int_equal(other.got_n, 0);
    spool_free(w->spool); /* ends in order, and leaves what it has */
    w->spool = second;
    assert_int_equal(files(w, ".spool", NULL), 1);
    WAIT(w, other.got_n == 5);
    WAIT(w, files(w, "", NULL) == 0);
}

/* --- files that are torn, and others' --- */

static void copy_cut(const struct world *w, const char *data, size_t len)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%016zx-0badcafe.spool", w->directory, len);
    f = fopen(path, "wb");
    must(f && fwrite(data, 1, len, f) == len);
    fclose(f);
}

static size_t read_whole(const char *path, char *to, size_t size)
{
    FILE *f = fopen(path, "rb");
    size_t n = fread(to, 1, size, f);

    fclose(f);
    return n;
}

static void test_torn_at_every_byte(void **state)
{
    struct world *w = *state;
    int64_t bad = metric_get(M_SPOOL_BAD);
    char path[512], data[1024];
    size_t len, one, records = 0, torn = 0;

    put_many(w, 3);
    must(files(w, ".spool", path) == 1);
    len = read_whole(path, data, sizeof(data));
    one = (len - SPOOL_HEAD_SIZE) / 3;
    drain_all(w);
    w->sink.got_n = 0;
    spool_free(w->spool);
    for (size_t n = 0; n <= len; n++) {
        size_t in = n < SPOOL_HEAD_SIZE ? 0 : n - SPOOL_HEAD_SIZE;

        copy_cut(w, data, n);
        records += in / one;
        torn += n > 0 && (n < SPOOL_HEAD_SIZE || in % one);
    }
    w->spool = open_spool(w);
    WAIT(w, files(w, ".spool", NULL) == 0 && spool_bytes(w->spool) == 0);
    assert_int_equal(w->sink.got_n, records);
    assert_int_equal(files(w, ".spool.bad", NULL), torn);
    assert_int_equal(metric_get(M_SPOOL_BAD), bad + (int64_t)torn);
}

/* Bytes that anybody may have left there. */
static void test_files_of_others(void **state)
{
    struct world *w = *state;
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/notes.txt", w->directory);
    must((f = fopen(path, "w")));
    fclose(f);
    snprintf(path, sizeof(path), "%s/half.spool.new", w->directory);
    must((f = fopen(path, "w")));
    fclose(f);
    snprintf(path, sizeof(path), "%s/large.spool", w->directory);
    must((f = fopen(path, "w")));
    must(!ftruncate(fileno(f), SPOOL_FILE_MAX + 1));
    fclose(f);
    snprintf(path, sizeof(path), "%s/folder.spool", w->directory);
    must(!mkdir(path, 0700));
    start_anew(w);
    WAIT(w, files(w, ".spool.bad", NULL) == 1 && !files(w, ".new", NULL));
    assert_int_equal(files(w, "notes.txt", NULL), 1);
    must(!rmdir(path));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_kept_until_kafka_is_back),
        TEST(test_many_files_in_order),
        TEST(test_put_while_it_drains),
        TEST(test_what_was_not_delivered_goes_again),
        TEST(test_kafka_goes_away_again),
        TEST(test_a_record_that_is_too_large),
        TEST(test_full),
        TEST(test_disk_full_inside_a_record),
        TEST(test_sync_fails),
        TEST(test_directories_that_cannot_be_used),
        TEST(test_directory_goes_and_comes_back),
        TEST(test_killed_after_the_sync),
        TEST(test_killed_before_the_reports),
        TEST(test_a_living_process_keeps_its_files),
        TEST(test_torn_at_every_byte),
        TEST(test_files_of_others),
    };

    log_open("test_spool", LOG_ERROR + 1, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
