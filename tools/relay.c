/*
 * One link per client: its socket, a socket to the mock, and for each a buffer
 * of what was read and one of what is to be written. Requests are passed on
 * whole, because a batch is let through or not before the mock sees it; who
 * does not read his answers is not read from either. A link ends when either
 * side does, or says what cannot be understood.
 */
#include "tools/relay.h"

#include "common/buf.h"
#include "common/list.h"
#include "common/log.h"
#include "common/must.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINKS_MAX 512
#define FRAME_MAX (16 * 1024 * 1024)
#define UNSENT_MAX (4 * 1024 * 1024) /* beyond it the other side waits */
#define READ_BYTES (64 * 1024)
#define READS_PER_TURN 16
#define NAMINGS_MAX 64 /* requests per link whose answers name brokers */
#define LENGTH 4       /* bytes before each frame */

struct link;

/** One of the two sockets of a link. */
struct side {
    struct link *link;
    int fd;
    struct loop_watch *watch;
    struct buf in, out;
    bool (*frame)(struct link *link, uint8_t *frame, size_t len);
};

struct link {
    struct list node;
    struct relay *relay;
    struct side client, mock;
    struct frame_head namings[NAMINGS_MAX];
    size_t namings_n;
    bool over;
};

struct relay {
    struct loop *loop;
    int fd, port, mock_port;
    struct loop_watch *watch;
    frame_admit_fn admit;
    void *arg;
    struct list links;
    size_t links_n;
};

/* --- links --- */

static void side_done(struct side *s)
{
    loop_unwatch(s->watch);
    if (s->fd >= 0)
        close(s->fd);
    buf_done(&s->in);
    buf_done(&s->out);
}

static void link_free(void *arg)
{
    struct link *link = arg;

    list_remove(&link->node);
    link->relay->links_n--;
    side_done(&link->client);
    side_done(&link->mock);
    free(link);
}

/** No more of it; its memory goes at the end of the turn. */
static void link_end(struct link *link)
{
    if (link->over)
        return;
    link->over = true;
    loop_watch_change(link->client.watch, 0);
    loop_watch_change(link->mock.watch, 0);
    loop_defer_free(link->relay->loop, link, link_free);
}

static struct side *other(struct side *s)
{
    return s == &s->link->client ? &s->link->mock : &s->link->client;
}

/** Reads while the other side takes it, writes while there is something. */
static void side_watch(struct side *s)
{
    int what = other(s)->out.len < UNSENT_MAX ? LOOP_READ : 0;

    if (s->out.len > 0)
        what |= LOOP_WRITE;
    loop_watch_change(s->watch, what);
}

/* --- frames --- */

/** A request: batches are weighed; whose answer names brokers is remembered. */
static bool request(struct link *link, uint8_t *frame, size_t len)
{
    struct relay *r = link->relay;
    struct frame_head head;

    if (!frame_head_read(frame, len, &head))
        return false;
    if (head.api == FRAME_PRODUCE)
        return frame_admit(frame, len, r->admit, r->arg);
    if (head.api != FRAME_METADATA && head.api != FRAME_COORDINATOR)
        return true;
    if (link->namings_n == NAMINGS_MAX)
        return false;
    link->namings[link->namings_n++] = head;
    return true;
}

static bool answer(struct link *link, uint8_t *frame, size_t len)
{
    int32_t correlation;

    if (!frame_correlation(frame, len, &correlation))
        return false;
    for (size_t i = 0; i < link->namings_n; i++) {
        struct frame_head head = link->namings[i];

        if (head.correlation != correlation)
            continue;
        link->namings[i] = link->namings[--link->namings_n];
        return frame_set_port(frame, len, &head, link->relay->port);
    }
    return true;
}

/** The length of the whole frame at @p at, 0 when it is not all there yet. */
static size_t whole_frame(const struct buf *in, size_t at, bool *ret_bad)
{
    const uint8_t *p = (const uint8_t *)in->data + at;
    size_t len;

    if (in->len - at < LENGTH)
        return 0;
    len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    *ret_bad = len > FRAME_MAX;
    return !*ret_bad && in->len - at >= LENGTH + len ? LENGTH + len : 0;
}

/** Passes whole frames on. @return false when the link has to end. */
static bool frames_pass(struct side *s)
{
    struct buf *out = &other(s)->out;
    size_t at = 0, n;
    bool bad = false;

    while ((n = whole_frame(&s->in, at, &bad)) > 0) {
        if (!s->frame(s->link, (uint8_t *)s->in.data + at + LENGTH, n - LENGTH))
            return false;
        buf_add(out, s->in.data + at, n);
        at += n;
    }
    buf_drop(&s->in, at);
    return !bad && !out->failed;
}

/* --- sockets --- */

/** @return false when the peer is gone. */
static bool side_read(struct side *s)
{
    char bytes[READ_BYTES];

    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t n = read(s->fd, bytes, sizeof(bytes));

        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (n == 0)
            return false;
        buf_add(&s->in, bytes, (size_t)n);
        if (s->in.failed || !frames_pass(s))
            return false;
        if ((size_t)n < sizeof(bytes) || other(s)->out.len >= UNSENT_MAX)
            break;
    }
    return true;
}

static bool side_write(struct side *s)
{
    ssize_t n;

    if (s->out.len == 0)
        return true;
    n = send(s->fd, s->out.data, s->out.len, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    buf_drop(&s->out, (size_t)n);
    return true;
}

static void side_ready(void *arg, int ready)
{
    struct side *s = arg;
    struct link *link = s->link;

    if (link->over)
        return;
    if (((ready & LOOP_READ) && !side_read(s)) || !side_write(&link->client) ||
        !side_write(&link->mock)) {
        link_end(link);
        return;
    }
    side_watch(&link->client);
    side_watch(&link->mock);
}

static void side_init(struct side *s, struct link *link, int fd,
                      bool (*frame)(struct link *, uint8_t *, size_t))
{
    static const int on = 1;

    s->link = link;
    s->fd = fd;
    s->frame = frame;
    buf_init(&s->in, LENGTH + FRAME_MAX + READ_BYTES);
    buf_init(&s->out, UNSENT_MAX + LENGTH + FRAME_MAX + READ_BYTES);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    s->watch = loop_watch(link->relay->loop, fd, LOOP_READ, side_ready, s);
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

/** Connects to the mock, which is a thread of ours: it takes no time. */
static int mock_connect(const struct relay *r)
{
    struct sockaddr_in to = loopback(r->mock_port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void link_begin(struct relay *r, int client_fd, int mock_fd)
{
    struct link *link = NEW(struct link);

    link->relay = r;
    side_init(&link->client, link, client_fd, request);
    side_init(&link->mock, link, mock_fd, answer);
    list_append(&r->links, &link->node);
    r->links_n++;
}

static void client_comes(void *arg, int ready)
{
    struct relay *r = arg;
    int client_fd = accept4(r->fd, NULL, NULL, SOCK_CLOEXEC);
    int mock_fd;

    (void)ready;
    if (client_fd < 0)
        return;
    mock_fd = r->links_n < LINKS_MAX ? mock_connect(r) : -1;
    if (mock_fd < 0) {
        close(client_fd);
        log_warn("relay", "client_refused", KV_INT("links", r->links_n));
        return;
    }
    link_begin(r, client_fd, mock_fd);
}

/* --- life --- */

static enum err_code listen_on(struct relay *r, struct err *err)
{
    struct sockaddr_in at = loopback(0);
    socklen_t len = sizeof(at);

    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (r->fd < 0 || bind(r->fd, (struct sockaddr *)&at, len) != 0 ||
        listen(r->fd, SOMAXCONN) != 0 ||
        getsockname(r->fd, (struct sockaddr *)&at, &len) != 0)
        return err_set_from(err, ERR_IO, ERR_ERRNO, errno,
                            "could not listen on 127.0.0.1");
    r->port = ntohs(at.sin_port);
    r->watch = loop_watch(r->loop, r->fd, LOOP_READ, client_comes, r);
    return ERR_NONE;
}

enum err_code relay_new(struct loop *loop, int mock_port, frame_admit_fn admit,
                        void *arg, struct relay **ret, struct err *err)
{
    struct relay *r = NEW(struct relay);

    r->loop = loop;
    r->mock_port = mock_port;
    r->admit = admit;
    r->arg = arg;
    list_init(&r->links);
    if (listen_on(r, err)) {
        relay_free(r);
        return err->code;
    }
    *ret = r;
    return ERR_NONE;
}

void relay_free(struct relay *r)
{
    if (!r)
        return;
    while (!list_empty(&r->links))
        link_free(container_of(r->links.next, struct link, node));
    loop_unwatch(r->watch);
    if (r->fd >= 0)
        close(r->fd);
    free(r);
}

int relay_port(const struct relay *r)
{
    return r->port;
}
