/*
 * A small HTTP/1.1 client: one request at a time per connection, connections
 * kept for a moment, one write per request, one watch per connection for its
 * whole life. A callback is never sent twice: when its connection dies, it has
 * failed.
 */
#include "tests/daraja/courier.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/call.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/must.h"
#include "tests/daraja/words.h"

#define OPEN_MAX 1000
#define ANSWER_BYTES_MAX 4096
#define REQUEST_BYTES_MAX 8192
#define PLAIN "http://"
/* Receivers close idle connections; one this old is not used again. */
#define IDLE_US (2 * US_PER_S)

struct visit {
    struct list node; /* in courier.idle or courier.busy */
    struct courier *c;
    struct sockaddr_in to;
    int fd;
    struct loop_watch *watch;
    struct loop_timer timeout;
    int64_t idle_us; /* since when */
    size_t sent;
    bool writing; /* the watch waits for room to write */
    struct buf out, in;
    courier_done_fn done; /* NULL while idle */
    void *arg;
};

struct courier {
    struct loop *loop;
    struct courier_spec spec;
    struct calls *calls;
    struct list idle, busy; /* idle: the last used first */
    size_t busy_n;
};

/* A letter that libcurl carries. */
struct parcel {
    courier_done_fn done;
    void *arg;
};

struct courier *courier_new(struct loop *loop, const struct courier_spec *spec)
{
    struct courier *c = NEW(struct courier);
    struct calls_spec calls = {
        .slots_max = OPEN_MAX,
        .connect_timeout_ms = spec->timeout_ms,
        .total_timeout_ms = spec->timeout_ms,
        .idle_connection_s = IDLE_US / US_PER_S,
        .answer_bytes_max = ANSWER_BYTES_MAX,
        .ca_file = spec->ca_file,
    };

    c->loop = loop;
    c->spec = *spec;
    c->calls = calls_new(loop, &calls);
    list_init(&c->idle);
    list_init(&c->busy);
    return c;
}

static void visit_free(void *arg)
{
    struct visit *v = arg;

    buf_done(&v->out);
    buf_done(&v->in);
    free(v);
}

/* Its memory may still be in use further up in this turn. */
static void visit_close(struct visit *v)
{
    struct courier *c = v->c;

    timer_cancel(c->loop, &v->timeout);
    loop_unwatch(v->watch);
    close(v->fd);
    list_remove(&v->node);
    loop_defer_free(c->loop, v, visit_free);
}

void courier_free(struct courier *c)
{
    if (!c)
        return;
    calls_free(c->calls);
    list_splice(&c->busy, &c->idle);
    while (!list_empty(&c->busy))
        visit_close(container_of(c->busy.next, struct visit, node));
    free(c);
}

static void finish(struct visit *v, int status, const char *error)
{
    courier_done_fn done = v->done;

    v->done = NULL;
    v->c->busy_n--;
    done(v->arg, status, error);
}

static void fail(struct visit *v, const char *error)
{
    bool busy = v->done != NULL;

    visit_close(v);
    if (busy)
        finish(v, 0, error);
}

static void on_timeout(void *arg)
{
    fail(arg, "no answer in time");
}

static void rest(struct visit *v)
{
    timer_cancel(v->c->loop, &v->timeout);
    list_remove(&v->node);
    list_append(&v->c->idle, &v->node);
    v->idle_us = loop_now_us(v->c->loop);
}

/* Length of head and body as the head says, 0 while it is not complete, -1
 * when it does not say: such an answer ends with its connection. */
static ssize_t answer_length(const struct buf *in)
{
    const char *end = strstr(in->data, "\r\n\r\n");
    const char *length = strcasestr(in->data, "\r\nContent-Length:");

    if (!end)
        return 0;
    if (!length || length > end)
        return -1;
    return end + 4 - in->data + strtol(length + 17, NULL, 10);
}

static void answered(struct visit *v, bool keep)
{
    int status = (int)strtol(v->in.data + strlen("HTTP/1.1 "), NULL, 10);

    if (keep)
        rest(v);
    else
        visit_close(v);
    finish(v, status, "");
}

static void read_answer(struct visit *v)
{
    char chunk[ANSWER_BYTES_MAX];
    ssize_t n = recv(v->fd, chunk, sizeof(chunk), 0);
    ssize_t length;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || !v->done) {
        fail(v, n < 0 ? strerror(errno) : "connection closed");
        return;
    }
    buf_add(&v->in, chunk, (size_t)n);
    length = answer_length(&v->in);
    if (v->in.failed || strncmp(v->in.data, "HTTP/1.", MIN(v->in.len, 7)) != 0)
        fail(v, "no HTTP answer");
    else if (length < 0)
        answered(v, false);
    else if (length > 0 && v->in.len >= (size_t)length)
        answered(v, !strcasestr(v->in.data, "\r\nConnection: close"));
}

static void want_room(struct visit *v, bool want)
{
    if (v->writing != want)
        loop_watch_change(v->watch, want ? LOOP_READ | LOOP_WRITE : LOOP_READ);
    v->writing = want;
}

/* Returns an errno, 0 when all is written or the rest waits for the socket. */
static int write_request(struct visit *v)
{
    ssize_t n =
        send(v->fd, v->out.data + v->sent, v->out.len - v->sent, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return errno;
    v->sent += n > 0 ? (size_t)n : 0;
    want_room(v, v->sent < v->out.len);
    return 0;
}

static void on_ready(void *arg, int ready)
{
    struct visit *v = arg;
    int why;

    if ((ready & LOOP_WRITE) && v->done) {
        why = write_request(v);
        if (why) {
            fail(v, strerror(why));
            return;
        }
    }
    if (ready & LOOP_READ)
        read_answer(v);
}

static struct visit *find_idle(struct courier *c, const struct sockaddr_in *to)
{
    int64_t oldest_us = loop_now_us(c->loop) - IDLE_US;
    struct list *at = c->idle.prev;

    while (at != &c->idle) {
        struct visit *v = container_of(at, struct visit, node);

        at = at->prev;
        if (v->idle_us < oldest_us)
            visit_close(v);
        else if (v->to.sin_port == to->sin_port &&
                 v->to.sin_addr.s_addr == to->sin_addr.s_addr)
            return v;
    }
    return NULL;
}

static struct visit *dial(struct courier *c, const struct sockaddr_in *to,
                          struct err *err)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    struct visit *v;

    if (fd < 0 || (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0 &&
                   errno != EINPROGRESS)) {
        err_set_from(err, ERR_UNAVAILABLE, ERR_ERRNO, errno,
                     "could not connect");
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    /* Without it an answer may wait for the delayed ACK; not vital. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    v = NEW(struct visit);
    v->c = c;
    v->to = *to;
    v->fd = fd;
    list_init(&v->node);
    buf_init(&v->out, REQUEST_BYTES_MAX);
    buf_init(&v->in, ANSWER_BYTES_MAX);
    timer_init(&v->timeout, on_timeout, v);
    v->watch = loop_watch(c->loop, fd, LOOP_READ | LOOP_WRITE, on_ready, v);
    v->writing = true; /* once it is connected */
    return v;
}

/* "http://10.0.0.1:8080/path": false for everything that is not so plain. */
static bool plain_address(const char *url, struct sockaddr_in *to,
                          const char **ret_path)
{
    const char *host = url + strlen(PLAIN);
    size_t len;
    char text[INET_ADDRSTRLEN];
    long port = 80;
    char *end;

    if (strncmp(url, PLAIN, strlen(PLAIN)) != 0)
        return false;
    len = strcspn(host, ":/");
    snprintf(text, sizeof(text), "%.*s", (int)MIN(len, sizeof(text)), host);
    end = (char *)(uintptr_t)(host + len);
    if (*end == ':')
        port = strtol(host + len + 1, &end, 10);
    if (*end != '/' || port < 1 || port > 65535)
        return false;
    memset(to, 0, sizeof(*to));
    to->sin_family = AF_INET;
    to->sin_port = htons((uint16_t)port);
    *ret_path = end;
    return len < sizeof(text) && inet_pton(AF_INET, text, &to->sin_addr) == 1;
}

static void write_letter(struct visit *v, const struct courier_letter *letter,
                         const char *path)
{
    struct buf *out = &v->out;
    const char *host = letter->url + strlen(PLAIN);

    buf_reset(out);
    buf_adds(out, "POST ");
    buf_adds(out, path);
    buf_adds(out, " HTTP/1.1\r\nHost: ");
    buf_add(out, host, (size_t)(path - host));
    buf_adds(out, "\r\nContent-Type: " WORDS_JSON "\r\nBusinessShortCode: ");
    buf_addi(out, letter->shortcode);
    buf_adds(out, "\r\nContent-Length: ");
    buf_addi(out, (int64_t)letter->len);
    buf_adds(out, "\r\n\r\n");
    buf_add(out, letter->body, letter->len);
    must(!out->failed); /* URL and body are bounded far below */
}

static enum err_code visit_send(struct courier *c,
                                const struct courier_letter *letter,
                                const struct sockaddr_in *to, const char *path,
                                struct err *err)
{
    struct visit *v = find_idle(c, to);
    bool fresh = !v;
    int why;

    if (fresh && !(v = dial(c, to, err)))
        return err->code;
    buf_reset(&v->in);
    write_letter(v, letter, path);
    v->sent = 0;
    why = fresh ? 0 : write_request(v);
    if (why) {
        visit_close(v);
        return err_set_from(err, ERR_UNAVAILABLE, ERR_ERRNO, why,
                            "could not send");
    }
    v->done = letter->done;
    v->arg = letter->arg;
    list_remove(&v->node);
    list_append(&c->busy, &v->node);
    c->busy_n++;
    timer_set(c->loop, &v->timeout,
              loop_now_us(c->loop) + c->spec.timeout_ms * US_PER_MS);
    return ERR_NONE;
}

static void parcel_done(void *arg, const struct call_result *r)
{
    struct parcel parcel = *(struct parcel *)arg;

    free(arg);
    if (r->end == CALL_ANSWERED)
        parcel.done(parcel.arg, r->status, "");
    else
        parcel.done(parcel.arg, 0, r->err.text);
}

static enum err_code parcel_send(struct courier *c,
                                 const struct courier_letter *letter,
                                 struct err *err)
{
    struct parcel *parcel = NEW(struct parcel);
    char shortcode[48];
    const char *headers[] = {"Content-Type: " WORDS_JSON, shortcode};
    struct call_request req = {
        .url = letter->url,
        .headers = headers,
        .headers_n = ARRAY_LEN(headers),
        .body = letter->body,
        .body_len = letter->len,
        .done = parcel_done,
        .arg = parcel,
    };

    *parcel = (struct parcel){letter->done, letter->arg};
    snprintf(shortcode, sizeof(shortcode), "BusinessShortCode: %lld",
             (long long)letter->shortcode);
    if (call_start(c->calls, &req, err) == ERR_NONE)
        return ERR_NONE;
    free(parcel);
    return err->code;
}

enum err_code courier_send(struct courier *c,
                           const struct courier_letter *letter, struct err *err)
{
    struct sockaddr_in to;
    const char *path;

    if (!plain_address(letter->url, &to, &path))
        return parcel_send(c, letter, err);
    if (c->busy_n >= OPEN_MAX)
        return err_set(err, ERR_LIMIT, "too many callbacks are on their way");
    return visit_send(c, letter, &to, path, err);
}
