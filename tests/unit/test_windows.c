/*
 * Windows of test builds: the plan's text, and that an ordinary build has no
 * trace of them. The hook is compiled in here by itself.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef FOLENI_WINDOWS
#define BUILT_WITH true
#include "common/windows.h"
#else
#define BUILT_WITH false
#define FOLENI_WINDOWS
#include "common/windows.c"
#endif

#include "common/clock.h"

/* How a child ends that passes `here` once with this plan: its signal when it
   was killed or stopped, 0 when it went on. */
static int end_with(const char *plan)
{
    int status, sig = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        setenv("FOLENI_WINDOW", plan, 1);
        WINDOW(here);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    if (WIFSIGNALED(status))
        return WTERMSIG(status);
    if (WIFSTOPPED(status)) {
        sig = WSTOPSIG(status);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
    }
    return sig;
}

static void kills_and_stops_itself(void **state)
{
    (void)state;
    assert_int_equal(end_with("here:kill"), SIGKILL);
    assert_int_equal(end_with("here:stop"), SIGSTOP);
    assert_int_equal(end_with("there:kill,here:kill:1"), SIGKILL);
    assert_int_equal(end_with("*:kill"), SIGKILL);
}

static void does_nothing_elsewhere(void **state)
{
    static const char *plans[] = {
        "",
        "there:kill",
        "here",
        "here:",
        "here:kills",
        "here:kill:0",
        "here:kill:",
        "here:kill:x",
        ":kill",
        "her:kill",
        "hereabout:kill",
        ",,:,",
        "here:-5",
        "here:5:often",
        "@",
        "@/nowhere/at/all",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++)
        if (end_with(plans[i]))
            fail_msg("\"%s\" did something", plans[i]);
}

static void sleeps(void **state)
{
    int64_t began = clock_now_us();

    (void)state;
    setenv("FOLENI_WINDOW", "here:30", 1);
    WINDOW(here);
    assert_true(clock_now_us() - began >= 30 * US_PER_MS);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void file_is_read_anew(void **state)
{
    char path[] = "/tmp/foleni-window-XXXXXX", plan[64];
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    snprintf(plan, sizeof(plan), "@%s", path);
    assert_int_equal(end_with(plan), 0);
    write_file(path, "here:kill\n");
    assert_int_equal(end_with(plan), SIGKILL);
    write_file(path, "there:kill\n");
    assert_int_equal(end_with(plan), 0);
    assert_int_equal(unlink(path), 0);
}

static bool file_holds(const char *path, const char *word)
{
    size_t len = strlen(word), n;
    bool found = false;
    char *text;
    FILE *f = fopen(path, "re");

    if (!f)
        fail_msg("there is no %s", path);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    n = (size_t)ftell(f);
    rewind(f);
    text = malloc(n + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, n, f), n);
    for (size_t i = 0; !found && i + len <= n; i++)
        found = memcmp(text + i, word, len) == 0;
    free(text);
    fclose(f);
    return found;
}

/* The archives that the programs are linked of, which stand above this one. */
static void ordinary_builds_have_none(void **state)
{
    static const char *rooms[] = {"libcommon.a", "libproducer.a",
                                  "libconsumer.a"};
    char self[1024], path[1100];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    (void)state;
    assert_true(n > 0);
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        snprintf(path, sizeof(path), "%s/../%s", self, rooms[i]);
        assert_true(file_holds(path, "must_failed")); /* the search works */
        assert_int_equal(file_holds(path, "window_open"), BUILT_WITH);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kills_and_stops_itself),
        cmocka_unit_test(does_nothing_elsewhere),
        cmocka_unit_test(sleeps),
        cmocka_unit_test(file_is_read_anew),
        cmocka_unit_test(ordinary_builds_have_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
