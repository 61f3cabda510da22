/* Unit tests of the courier against a receiver that misbehaves. */
#include "tests/daraja/courier.h"

#include "common/buf.h"
#include "common/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURN_US (20 * US_PER_MS)
#define TURNS_MAX 250
#define TIMEOUT_MS 200
#define BODY "{\"Body\":{}}"
#define GOOD "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

struct post {
    struct loop *loop;
    struct courier *courier;
    int listener;
    char url[64];
    int done, status;
    char error[128];
};

static int set_up(void **state)
{
    struct post *p = calloc(1, sizeof(*p));
    struct courier_spec spec = {TIMEOUT_MS, ""};
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);

    p->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(p->listener, 8), 0);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&at, &len), 0);
    snprintf(p->url, sizeof(p->url), "http://127.0.0.1:%d/callbacks/a/1/b",
             ntohs(at.sin_port));
    p->loop = loop_new();
    p->courier = courier_new(p->loop, &spec);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct post *p = *state;

    courier_free(p->courier);
    loop_free(p->loop);
    close(p->listener);
    free(p);
    return 0;
}

static void on_done(void *arg, int status, const char *error)
{
    struct post *p = arg;

    p->done++;
    p->status = status;
    snprintf(p->error, sizeof(p->error), "%s", error);
}

static void send_letter(struct post *p)
{
    struct courier_letter letter = {.url = p->url,
                                    .shortcode = 174379,
                                    .body = BODY,
                                    .len = strlen(BODY),
                                    .done = on_done,
                                    .arg = p};
    struct err err;

    assert_int_equal(courier_send(p->courier, &letter, &err), 0);
}

/* Takes the connection and reads the whole letter from it. */
static int take(struct post *p, int fd, char *text, size_t size)
{
    size_t have = 0;

    if (fd < 0)
        fd = accept(p->listener, NULL, NULL);
    assert_true(fd >= 0);
    text[0] = '\0';
    for (int i = 0; i < TURNS_MAX && !strstr(text, BODY); i++) {
        ssize_t n = recv(fd, text + have, size - 1 - have, MSG_DONTWAIT);

        have += n > 0 ? (size_t)n : 0;
        text[have] = '\0';
        loop_once(p->loop, US_PER_MS);
    }
    assert_non_null(strstr(text, BODY));
    return fd;
}

static void answer(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void wait_done(struct post *p, int done)
{
    for (int i = 0; i < TURNS_MAX && p->done < done; i++)
        loop_once(p->loop, TURN_US);
    assert_int_equal(p->done, done);
}

static void a_connection_serves_many(void **state)
{
    struct post *p = *state;
    char text[1024];
    int fd = -1;

    for (int i = 1; i <= 3; i++) {
        send_letter(p);
        fd = take(p, fd, text, sizeof(text));
        assert_non_null(strstr(text, "POST /callbacks/a/1/b HTTP/1.1\r\n"));
        assert_non_null(strstr(text, "\r\nBusinessShortCode: 174379\r\n"));
        answer(fd, GOOD);
        wait_done(p, i);
        assert_int_equal(p->status, 200);
    }
    close(fd);
}

static void an_answer_may_come_in_pieces(void **state)
{
    struct post *p = *state;
    char text[1024];
    int fd;

    send_letter(p);
    fd = take(p, -1, text, sizeof(text));
    for (const char *at = GOOD; *at; at++) {
        assert_int_equal(p->done, 0);
        assert_int_equal(send(fd, at, 1, MSG_NOSIGNAL), 1);
        loop_once(p->loop, US_PER_MS);
    }
    wait_done(p, 1);
    assert_int_equal(p->status, 200);
    close(fd);
}

static void failures_are_told_once(void **state)
{
    static const char *const answers[] = {
        "", "220 smtp.example.org\r\n", "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"};
    struct post *p = *state;
    char text[1024];

    for (int i = 0; i < (int)ARRAY_LEN(answers); i++) {
        int fd;

        send_letter(p);
        fd = take(p, -1, text, sizeof(text));
        answer(fd, answers[i]);
        close(fd);
        wait_done(p, i + 1);
        assert_int_equal(p->status, 0);
        assert_string_not_equal(p->error, "");
    }
}

static void silence_ends(void **state)
{
    struct post *p = *state;
    char text[1024];
    int fd;

    send_letter(p);
    fd = take(p, -1, text, sizeof(text));
    wait_done(p, 1);
    assert_int_equal(p->status, 0);
    assert_string_equal(p->error, "no answer in time");
    close(fd);
}

static void a_closing_answer_is_an_answer(void **state)
{
    struct post *p = *state;
    char text[1024];
    int fd;

    send_letter(p);
    fd = take(p, -1, text, sizeof(text));
    answer(fd, "HTTP/1.1 500 No\r\nConnection: close\r\n\r\n");
    wait_done(p, 1);
    assert_int_equal(p->status, 500);
    close(fd);
    send_letter(p); /* on a new connection */
    fd = take(p, -1, text, sizeof(text));
    answer(fd, GOOD);
    wait_done(p, 2);
    assert_int_equal(p->status, 200);
    close(fd);
}

static void what_is_open_is_aborted(void **state)
{
    struct post *p = *state;

    send_letter(p);
    loop_once(p->loop, US_PER_MS);
    courier_free(p->courier);
    p->courier = NULL;
    assert_int_equal(p->done, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_connection_serves_many),      CASE(an_answer_may_come_in_pieces),
        CASE(failures_are_told_once),        CASE(silence_ends),
        CASE(a_closing_answer_is_an_answer), CASE(what_is_open_is_aborted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
