/*
 * The frame of a program: its command line, its exit codes, how it stops, and
 * what its admin listener answers over a real socket.
 */
#include "common/app.h"

#include "common/app_priv.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_BYTES_MAX 65536
#define WAIT_US (100 * US_PER_MS)
#define TURNS_MAX 100 /* of WAIT_US: an answer that takes longer has failed */
#define LONG_MS 60000

static void find_fault(const struct config *cfg, struct buf *faults)
{
    if (cfg->worker_slots == 7)
        buf_adds(faults, "worker.slots: seven is refused here\n");
}

static const struct app_option options[] = {
    {"pool", "worker.pools", "LIST", "pools that this process serves"},
    {"bare", "recorder.enabled", NULL, "a switch"},
};

static const struct app_spec spec = {
    .name = "foleni-test",
    .summary = "Does nothing.",
    .options = options,
    .options_n = ARRAY_LEN(options),
    .check = find_fault,
};

#define ARGS_MAX 8

/* --- arguments --- */

static enum err_code read_args(const char *const *words, struct app_args *ret,
                               struct err *err)
{
    char *argv[ARGS_MAX + 2] = {(char[]){"foleni-test"}};
    char copies[ARGS_MAX][64];
    int argc = 1;

    for (; *words; words++, argc++) {
        snprintf(copies[argc - 1], sizeof(copies[0]), "%s", *words);
        argv[argc] = copies[argc - 1];
    }
    return app_args_read(&spec, argc, argv, ret, err);
}

#define READ(args, err, ...) \
    read_args((const char *const[]){__VA_ARGS__, NULL}, args, err)

static void test_settings_keep_their_order(void **state)
{
    struct app_args args;
    struct err err;

    (void)state;
    assert_int_equal(READ(&args, &err, "--set", "a.b=1", "--pool", "high,low",
                          "--bare", "--set=a.b=2"),
                     ERR_NONE);
    assert_int_equal(args.what, APP_RUN);
    assert_null(args.config);
    assert_int_equal(args.sets_n, 4);
    assert_string_equal(args.sets[0], "a.b=1");
    assert_string_equal(args.sets[1], "worker.pools=high,low");
    assert_string_equal(args.sets[2], "recorder.enabled=true");
    assert_string_equal(args.sets[3], "a.b=2");
    app_args_done(&args);
    assert_int_equal(args.sets_n, 0);
}

static void test_each_option_says_what_to_do(void **state)
{
    struct app_args args;
    struct err err;

    (void)state;
    assert_int_equal(READ(&args, &err, "--check"), ERR_NONE);
    assert_int_equal(args.what, APP_CHECK);
    assert_int_equal(READ(&args, &err, "--help"), ERR_NONE);
    assert_int_equal(args.what, APP_HELP);
    assert_int_equal(READ(&args, &err, "--version"), ERR_NONE);
    assert_int_equal(args.what, APP_VERSION);
}

static void assert_refused(const char *a, const char *b, const char *why)
{
    struct app_args args = {.sets_n = 99};
    struct err err;

    assert_int_equal(READ(&args, &err, a, b), ERR_USAGE);
    assert_string_equal(err.text, why);
    assert_int_equal(args.sets_n, 99);
}

static void test_what_is_not_known_is_refused(void **state)
{
    (void)state;
    assert_refused("--fast", NULL,
                   "option \"--fast\" is not known, or takes no value");
    assert_refused("--check=1", NULL,
                   "option \"--check=1\" is not known, or takes no value");
    assert_refused("-x", NULL, "option \"-x\" is not known, or takes no value");
    assert_refused("-xc", NULL,
                   "option \"-x\" is not known, or takes no value");
    assert_refused("-c", NULL, "option \"-c\" needs a value");
    assert_refused("--set", NULL, "option \"--set\" needs a value");
    assert_refused("--pool", NULL, "option \"--pool\" needs a value");
    assert_refused("--check", "now", "unexpected argument \"now\"");
    assert_refused("--set=a=1", "-y",
                   "option \"-y\" is not known, or takes no value");
}

static void test_help_names_every_option(void **state)
{
    static const char *const parts[] = {
        "foleni-test",      "Does nothing.", "-c, --config FILE",
        "--set PATH=VALUE", "--check",       "--version",
        "--help",           "--pool LIST",   "--bare ",
        "a switch",
    };
    struct buf b;

    (void)state;
    buf_init(&b, TEXT_BYTES_MAX);
    app_help(&spec, &b);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (!strstr(b.data, parts[i]))
            fail_msg("no \"%s\" in the help", parts[i]);
    buf_done(&b);
}

/* --- exit codes --- */

struct outcome {
    int exit_code; /* 100 + error code when app_new() returned */
    char text[8192];
};

static NORETURN void run_child(int out_fd, const char *a, const char *b,
                               const char *c)
{
    const char *words[] = {"foleni-test", a, b, c};
    char copies[ARRAY_LEN(words)][64];
    char *argv[ARRAY_LEN(words) + 1] = {NULL};
    struct app *app = NULL;
    struct err err;
    enum err_code code;
    int argc = 0;

    for (size_t i = 0; i < ARRAY_LEN(words) && words[i]; i++, argc++) {
        snprintf(copies[i], sizeof(copies[i]), "%s", words[i]);
        argv[i] = copies[i];
    }
    dup2(out_fd, STDOUT_FILENO);
    dup2(out_fd, STDERR_FILENO);
    code = app_new(&spec, argc, argv, &app, &err);
    app_free(app);
    _exit(100 + (int)code);
}

/* What a process of its own says and how it ends. */
static void run(struct outcome *ret, const char *a, const char *b,
                const char *c)
{
    FILE *file = tmpfile();
    int status = 0;
    ssize_t n;
    pid_t pid;

    assert_non_null(file);
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        run_child(fileno(file), a, b, c);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    ret->exit_code = WEXITSTATUS(status);
    n = pread(fileno(file), ret->text, sizeof(ret->text) - 1, 0);
    ret->text[MAX(n, 0)] = '\0';
    fclose(file);
}

static void test_version_and_help_end_well(void **state)
{
    struct outcome o;

    (void)state;
    run(&o, "--version", NULL, NULL);
    assert_int_equal(o.exit_code, 0);
    assert_string_equal(o.text, "foleni-test " FOLENI_VERSION "\n");
    run(&o, "--help", NULL, NULL);
    assert_int_equal(o.exit_code, 0);
    assert_non_null(strstr(o.text, "Usage: foleni-test"));
}

static void test_check_says_fine_or_every_fault(void **state)
{
    struct outcome o;

    (void)state;
    run(&o, "--check", NULL, NULL);
    assert_int_equal(o.exit_code, 0);
    assert_string_equal(o.text, "configuration is fine\n");
    run(&o, "--check", "--set", "worker.slots=7");
    assert_int_equal(o.exit_code, 78);
    assert_string_equal(o.text, "worker.slots: seven is refused here\n");
    run(&o, "--check", "--set=worker.slots=zero", "--set=no.such=1");
    assert_int_equal(o.exit_code, 78);
    assert_non_null(strstr(o.text, "worker.slots"));
    assert_non_null(strstr(o.text, "no.such"));
    assert_null(strstr(o.text, "fine"));
    run(&o, "--check", "-c", "/does/not/exist");
    assert_int_equal(o.exit_code, 78);
    assert_non_null(strstr(o.text, "/does/not/exist"));
}

static void test_faults_are_said_and_returned(void **state)
{
    struct outcome o;

    (void)state;
    run(&o, "--fast", NULL, NULL);
    assert_int_equal(o.exit_code, 100 + ERR_USAGE);
    assert_string_equal(o.text, "foleni-test: option \"--fast\" is not known, "
                                "or takes no value; see --help\n");
    run(&o, "--set", "worker.slots=7", NULL);
    assert_int_equal(o.exit_code, 100 + ERR_CONFIG);
    assert_string_equal(o.text, "worker.slots: seven is refused here\n");
    run(&o, "--set", "worker.slots=8", NULL);
    assert_int_equal(o.exit_code, 100 + ERR_NONE);
    assert_non_null(strstr(o.text, " info foleni-test app started version="));
}

static void test_errors_have_exit_codes(void **state)
{
    static const struct {
        enum err_code code;
        int exit_code;
    } cases[] = {
        {ERR_USAGE, 64},   {ERR_CONFIG, 78},   {ERR_UNAVAILABLE, 75},
        {ERR_TIMEOUT, 75}, {ERR_INTERNAL, 70}, {ERR_INPUT, 70},
        {ERR_IO, 75},      {ERR_DENIED, 70},
    };
    struct err err;

    (void)state;
    log_open("foleni-test", LOG_ERROR, false);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void)err_set(&err, cases[i].code, "for the test");
        assert_int_equal(app_fail("foleni-test", &err), cases[i].exit_code);
    }
}

/* --- stopping --- */

static struct app *app;
static int stops;

static int set_up(void **state)
{
    char *argv[] = {(char[]){"foleni-test"}, (char[]){"--set"},
                    (char[]){"log.level=error"}, NULL};
    struct err err;

    (void)state;
    stops = 0;
    return (int)app_new(&spec, 3, argv, &app, &err);
}

static int tear_down(void **state)
{
    (void)state;
    app_free(app);
    return 0;
}

static void on_stop_drained(void *arg)
{
    (void)arg;
    stops++;
    assert_true(app->stopping);
    app_drained(app);
}

static void on_stop_waits(void *arg)
{
    (void)arg;
    stops++;
}

static void send_signal(void *arg)
{
    raise(*(const int *)arg);
}

static void ends_with(int signo)
{
    struct loop_timer t;

    timer_init(&t, send_signal, &signo);
    timer_set(app->loop, &t, 0);
    assert_int_equal(app_run(app, LONG_MS, on_stop_drained, NULL), 0);
    assert_int_equal(stops, 1);
}

static void test_sigterm_ends_the_run(void **state)
{
    (void)state;
    ends_with(SIGTERM);
}

static void test_sigint_ends_the_run(void **state)
{
    (void)state;
    ends_with(SIGINT);
}

static void stop_twice(void *arg)
{
    (void)arg;
    app_stop(app);
    app_stop(app);
}

static void test_a_program_may_stop_itself(void **state)
{
    struct loop_timer t;

    (void)state;
    timer_init(&t, stop_twice, NULL);
    timer_set(app->loop, &t, 0);
    assert_int_equal(app_run(app, LONG_MS, on_stop_drained, NULL), 0);
    assert_int_equal(stops, 1);
}

static void drain_later(void *arg)
{
    (void)arg;
    app_drained(app);
}

/* It waits for the run, and the drain then has all its time. */
static void test_an_early_signal_is_not_lost(void **state)
{
    struct loop_timer t;

    (void)state;
    raise(SIGTERM);
    loop_once(app->loop, 0);
    loop_once(app->loop, 0);
    assert_true(app->stopping);
    assert_int_equal(stops, 0);
    timer_init(&t, drain_later, NULL);
    timer_set(app->loop, &t, clock_now_us() + 2 * US_PER_MS);
    assert_int_equal(app_run(app, LONG_MS, on_stop_waits, NULL), 0);
    assert_int_equal(stops, 1);
}

static void test_a_drain_that_takes_too_long_ends(void **state)
{
    (void)state;
    raise(SIGTERM);
    raise(SIGTERM);
    assert_int_equal(app_run(app, 1, on_stop_waits, NULL), 75);
    assert_int_equal(stops, 1);
}

static void test_a_broken_pipe_is_an_error_not_an_end(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    assert_int_equal(write(ends[1], "x", 1), -1);
    close(ends[1]);
}

/* --- the admin listener --- */

static struct health rows[2];
static size_t rows_n;
static int own_arg;

static size_t fill_health(void *arg, struct health *ret, size_t max)
{
    assert_ptr_equal(arg, &own_arg);
    assert_true(rows_n <= max);
    memcpy(ret, rows, rows_n * sizeof(rows[0]));
    return rows_n;
}

static void own_get(void *arg, struct http_request *req)
{
    assert_ptr_equal(arg, &own_arg);
    http_reply(req, 200, "text/plain", "one", 3);
}

static void own_post(void *arg, struct http_request *req)
{
    assert_ptr_equal(arg, &own_arg);
    http_reply(req, 200, "text/plain", "two", 3);
}

static const struct http_route own_routes[] = {
    {HTTP_GET, "/own", own_get},
    {HTTP_POST, "/own/{}", own_post},
};

static int set_up_admin(void **state)
{
    struct err err;

    if (set_up(state))
        return -1;
    rows_n = 0;
    return (int)app_admin(app, "127.0.0.1:0", own_routes, 2, fill_health,
                          &own_arg, &err);
}

static int connect_to(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* Sends a request, turns the loop until the answer has ended, and returns its
   status; its body is at @p ret_body. */
static int ask(const char *line, const char **ret_body)
{
    static char text[TEXT_BYTES_MAX];
    size_t len = 0;
    ssize_t n = -1;
    int fd = connect_to(http_server_port(app->admin));

    snprintf(text, sizeof(text),
             "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
             "Content-Length: 0\r\n\r\n",
             line);
    assert_int_equal(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    for (int turn = 0; turn < TURNS_MAX && n != 0; turn++) {
        loop_once(app->loop, WAIT_US);
        while ((n = recv(fd, text + len, sizeof(text) - 1 - len,
                         MSG_DONTWAIT)) > 0)
            len += (size_t)n;
    }
    close(fd);
    assert_int_equal(n, 0);
    text[len] = '\0';
    *ret_body = strstr(text, "\r\n\r\n");
    assert_non_null(*ret_body);
    *ret_body += 4;
    assert_memory_equal(text, "HTTP/1.1 ", 9);
    return (int)strtol(text + 9, NULL, 10);
}

static void assert_health(int status, const char *word, int ready)
{
    CLEANUP(json_free)
    struct json *doc = NULL;
    const char *body;
    struct err err;

    assert_int_equal(ask("GET /health", &body), status);
    assert_int_equal(json_parse_strict(body, strlen(body), &doc, &err), 0);
    assert_string_equal(json_text(json_get(doc, "status")), word);
    assert_string_equal(json_text(json_get(doc, "version")), FOLENI_VERSION);
    assert_int_equal(strlen(json_text(json_get(doc, "timestamp"))), 24);
    assert_int_equal(ask("GET /health/ready", &body), ready);
    assert_int_equal(ask("GET /health/live", &body), 200);
}

static void test_health_follows_what_is_needed(void **state)
{
    (void)state;
    assert_health(200, "ok", 200);
    rows[0] = (struct health){.name = "kafka", .needed = true, .ok = true};
    rows[1] = (struct health){.name = "postgres", .ok = true};
    rows_n = 2;
    assert_health(200, "ok", 200);
    rows[1].ok = false;
    assert_health(200, "degraded", 200);
    rows[0].ok = false;
    assert_health(503, "down", 503);
}

static void test_health_tells_each_dependency(void **state)
{
    const char *body;

    (void)state;
    rows[0] = (struct health){.name = "kafka",
                              .ok = true,
                              .needed = true,
                              .latency_us = 12034,
                              .note = "3 brokers"};
    rows[1] = (struct health){
        .name = "daraja", .latency_us = -1, .note = "open \"breaker\""};
    rows_n = 2;
    assert_int_equal(ask("GET /health", &body), 200);
    assert_non_null(strstr(
        body, "\"dependencies\":{\"kafka\":{\"ok\":true,\"needed\":true,"
              "\"latency_ms\":12.034,\"note\":\"3 brokers\"},"
              "\"daraja\":{\"ok\":false,\"needed\":false,\"latency_ms\":null,"
              "\"note\":\"open \\\"breaker\\\"\"}}"));
}

static void test_a_stopping_program_is_not_ready(void **state)
{
    const char *body;

    (void)state;
    raise(SIGTERM);
    loop_once(app->loop, 0);
    assert_int_equal(ask("GET /health/ready", &body), 503);
    assert_string_equal(body, "{\"status\":\"stopping\"}");
    assert_int_equal(ask("GET /health/live", &body), 200);
}

static void test_metrics_know_the_process(void **state)
{
    const char *body, *rss;

    (void)state;
    assert_int_equal(ask("GET /metrics", &body), 200);
    rss = strstr(body, "\nfoleni_resident_bytes ");
    assert_non_null(rss);
    assert_true(strtoll(strchr(rss, ' '), NULL, 10) > 1000000);
    assert_non_null(strstr(body, "\nfoleni_start_time_seconds 1"));
    assert_null(strstr(body, "foleni_pushes_total"));
}

static void test_own_routes_get_their_argument(void **state)
{
    const char *body;

    (void)state;
    assert_int_equal(ask("GET /own", &body), 200);
    assert_string_equal(body, "one");
    assert_int_equal(ask("POST /own/x", &body), 200);
    assert_string_equal(body, "two");
    assert_int_equal(ask("GET /nowhere", &body), 404);
}

static void test_a_bad_address_is_an_error(void **state)
{
    struct err err;

    (void)state;
    assert_int_not_equal(app_admin(app, "nowhere", NULL, 0, NULL, NULL, &err),
                         ERR_NONE);
    assert_memory_equal(err.text, "admin listener: ", 16);
}

#define APP_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define ADMIN_TEST(test) \
    cmocka_unit_test_setup_teardown(test, set_up_admin, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_keep_their_order),
        cmocka_unit_test(test_each_option_says_what_to_do),
        cmocka_unit_test(test_what_is_not_known_is_refused),
        cmocka_unit_test(test_help_names_every_option),
        cmocka_unit_test(test_version_and_help_end_well),
        cmocka_unit_test(test_check_says_fine_or_every_fault),
        cmocka_unit_test(test_faults_are_said_and_returned),
        cmocka_unit_test(test_errors_have_exit_codes),
        APP_TEST(test_sigterm_ends_the_run),
        APP_TEST(test_sigint_ends_the_run),
        APP_TEST(test_a_program_may_stop_itself),
        APP_TEST(test_an_early_signal_is_not_lost),
        APP_TEST(test_a_drain_that_takes_too_long_ends),
        APP_TEST(test_a_broken_pipe_is_an_error_not_an_end),
        ADMIN_TEST(test_health_follows_what_is_needed),
        ADMIN_TEST(test_health_tells_each_dependency),
        ADMIN_TEST(test_a_stopping_program_is_not_ready),
        ADMIN_TEST(test_metrics_know_the_process),
        ADMIN_TEST(test_own_routes_get_their_argument),
        APP_TEST(test_a_bad_address_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
