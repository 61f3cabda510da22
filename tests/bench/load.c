/*
 * An open-loop load generator: sends the requests of a plan, each when it is
 * due, over kept-alive connections to 127.0.0.1. What an answer took counts
 * from when its request was due: one that finds every connection busy waits,
 * and its waiting counts. So a server that stands still is seen by every
 * request of that time.
 *
 *   bench-load PORT CONNECTIONS TIMEOUT_S PLAN RESULTS
 *
 * PLAN: per request u64 due (us from the start), u32 length, the bytes; in the
 * order of their times. RESULTS: one struct result per request, in that order.
 * Standard output: one JSON object with its own CPU. It ends when everything is
 * answered, or TIMEOUT_S after the last one was due. Nothing is ever repeated.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 8192
#define READ_MAX 65536
#define EVENTS_MAX 256
#define IDLE_US 8000000 /* the server closes what is idle a little later */
#define US_PER_S 1000000
#define NONE SIZE_MAX

struct result {
    int64_t due_us;     /* from the start                          */
    int32_t latency_us; /* from when it was due to its last byte   */
    int32_t service_us; /* from when it was sent                   */
    int32_t status;     /* 0 = no answer                           */
    int32_t bytes;      /* of the answer's body                    */
};

struct request {
    const char *data;
    size_t len;
};

struct connection {
    int fd;           /* -1 = closed                           */
    size_t job;       /* the request under way, NONE = free    */
    size_t sent;      /* of its bytes                          */
    int64_t began_us; /* when it was sent, or last used        */
    char head[HEAD_MAX];
    size_t head_len;
    bool in_body;
    long long body_left;
};

static struct sockaddr_in server;
static int epoll;
static struct connection *connections;
static size_t connections_n;
static size_t *idle, idle_first, idle_n; /* a ring: all are used in turn */
static struct request *requests;
static struct result *results;
static size_t requests_n, next_request, open_n;
static size_t reconnects, lost;
static int64_t start_us;

static void die(const char *what)
{
    fprintf(stderr, "bench-load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * US_PER_S + t.tv_nsec / 1000;
}

static void *memory(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);

    if (!p)
        die("memory");
    return p;
}

/* --- the plan --- */

static size_t count_requests(const char *at, const char *end)
{
    size_t n = 0;

    while (end - at >= 12) {
        uint32_t len;

        memcpy(&len, at + 8, sizeof(len));
        at += 12 + len;
        n++;
    }
    if (at != end)
        die("the plan breaks off");
    return n;
}

static void read_plan(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    const char *at;

    if (fd < 0 || fstat(fd, &st))
        die(path);
    at = mmap(NULL, (size_t)st.st_size + 1, PROT_READ, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED)
        die("mmap");
    close(fd);
    requests_n = count_requests(at, at + st.st_size);
    requests = memory(requests_n, sizeof(*requests));
    results = memory(requests_n, sizeof(*results));
    for (size_t i = 0; i < requests_n; i++) {
        uint32_t len;

        memcpy(&results[i].due_us, at, sizeof(results[i].due_us));
        memcpy(&len, at + 8, sizeof(len));
        requests[i] = (struct request){at + 12, len};
        at += 12 + len;
    }
}

/* --- connections --- */

static void watch(struct connection *c, int how, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};

    if (epoll_ctl(epoll, how, c->fd, &e))
        die("epoll_ctl");
}

/* Loopback connects at once, so this may block. */
static bool connect_it(struct connection *c)
{
    int one = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    if (connect(c->fd, (struct sockaddr *)&server, sizeof(server))) {
        close(c->fd);
        c->fd = -1;
        return false;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK))
        die("fcntl");
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
    return true;
}

static void disconnect(struct connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static void set_idle(struct connection *c)
{
    c->job = NONE;
    idle[(idle_first + idle_n++) % connections_n] = (size_t)(c - connections);
}

static struct connection *take_idle(void)
{
    struct connection *c = &connections[idle[idle_first]];

    idle_first = (idle_first + 1) % connections_n;
    idle_n--;
    return c;
}

static void end_job(struct connection *c, int status, long long bytes)
{
    struct result *r = &results[c->job];
    int64_t now = now_us();

    r->latency_us = (int32_t)(now - start_us - r->due_us);
    r->service_us = (int32_t)(now - c->began_us);
    r->status = status;
    r->bytes = (int32_t)bytes;
    c->began_us = now;
    open_n--;
    set_idle(c);
}

static void lose(struct connection *c)
{
    disconnect(c);
    if (c->job == NONE)
        return; /* it stays in the ring and is connected anew */
    lost++;
    end_job(c, 0, 0);
}

/* --- sending --- */

static void send_more(struct connection *c)
{
    const struct request *r = &requests[c->job];

    while (c->sent < r->len) {
        ssize_t n =
            send(c->fd, r->data + c->sent, r->len - c->sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN) {
            watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return;
        }
        if (n < 0) {
            lose(c);
            return;
        }
        c->sent += (size_t)n;
    }
}

static void begin(struct connection *c, size_t job)
{
    int64_t now = now_us();

    if (c->fd >= 0 && now - c->began_us > IDLE_US)
        disconnect(c);
    c->job = job;
    c->sent = 0;
    c->head_len = 0;
    c->in_body = false;
    c->began_us = now;
    open_n++;
    if (c->fd < 0) {
        reconnects++;
        if (!connect_it(c)) {
            lose(c);
            return;
        }
    }
    send_more(c);
}

/* Sends what is due; returns how long to wait for the next, -1 = for ever. */
static int64_t send_due(void)
{
    while (next_request < requests_n && idle_n) {
        int64_t wait = start_us + results[next_request].due_us - now_us();

        if (wait > 0)
            return wait;
        begin(take_idle(), next_request++);
    }
    return -1;
}

/* --- answers --- */

/* The value of a header, or NULL. */
static const char *header(const char *head, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = strstr(head, "\r\n"); at; at = strstr(at, "\r\n")) {
        at += 2;
        if (strncasecmp(at, name, len) == 0 && at[len] == ':')
            return at + len + 1;
    }
    return NULL;
}

/* One end of the head and the beginning of the body, which is thrown away. */
static void read_head(struct connection *c)
{
    char *end = strstr(c->head, "\r\n\r\n");
    const char *length;

    if (!end) {
        if (c->head_len == HEAD_MAX - 1)
            lose(c);
        return;
    }
    end[2] = '\0';
    length = header(c->head, "content-length");
    c->body_left = length ? strtoll(length, NULL, 10) : 0;
    results[c->job].bytes = (int32_t)c->body_left;
    c->body_left -= (long long)(c->head_len - (size_t)(end + 4 - c->head));
    c->in_body = true;
}

static void finish(struct connection *c)
{
    const char *how = header(c->head, "connection");
    int status = (int)strtol(c->head + sizeof("HTTP/1.1"), NULL, 10);

    if (how && strncasecmp(how, " close", 6) == 0)
        disconnect(c);
    end_job(c, status, results[c->job].bytes);
}

static void receive(struct connection *c)
{
    static char rest[READ_MAX];
    size_t room = HEAD_MAX - 1 - c->head_len;
    ssize_t n = c->in_body ? recv(c->fd, rest, sizeof(rest), 0)
                           : recv(c->fd, c->head + c->head_len, room, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || c->job == NONE) {
        lose(c);
        return;
    }
    if (c->in_body) {
        c->body_left -= n;
    } else {
        c->head_len += (size_t)n;
        c->head[c->head_len] = '\0';
        read_head(c);
    }
    if (c->job != NONE && c->in_body && c->body_left <= 0)
        finish(c);
}

static void serve(const struct epoll_event *e)
{
    struct connection *c = e->data.ptr;

    if (c->fd < 0)
        return;
    if (e->events & EPOLLOUT) {
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
        if (c->job != NONE)
            send_more(c);
    }
    if (c->fd >= 0 && e->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive(c);
}

/* --- the run --- */

static void turn(int64_t wait_us)
{
    struct epoll_event events[EVENTS_MAX];
    struct timespec t = {.tv_sec = wait_us / US_PER_S,
                         .tv_nsec = wait_us % US_PER_S * 1000};
    int n = epoll_pwait2(epoll, events, EVENTS_MAX, &t, NULL);

    if (n < 0 && errno != EINTR)
        die("epoll_pwait2");
    for (int i = 0; i < n; i++)
        serve(&events[i]);
}

static void run(int64_t timeout_us)
{
    int64_t end_us;

    start_us = now_us();
    end_us = start_us + timeout_us;
    if (requests_n)
        end_us += results[requests_n - 1].due_us;
    while (next_request < requests_n || open_n) {
        int64_t wait = send_due();
        int64_t left = end_us - now_us();

        if (left <= 0)
            break;
        if (open_n || next_request < requests_n)
            turn(wait < 0 || wait > left ? left : wait);
    }
}

static void write_results(const char *path)
{
    FILE *out = fopen(path, "we");

    if (!out ||
        fwrite(results, sizeof(*results), requests_n, out) != requests_n ||
        fclose(out))
        die(path);
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / US_PER_S;
}

static void report(double began)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    printf("{\"began\":%.6f,\"seconds\":%.6f,\"user_s\":%.4f,\"sys_s\":%.4f,"
           "\"requests\":%zu,\"lost\":%zu,\"unanswered\":%zu,"
           "\"reconnects\":%zu}\n",
           began, (double)(now_us() - start_us) / US_PER_S,
           seconds(used.ru_utime), seconds(used.ru_stime), requests_n, lost,
           open_n + requests_n - next_request, reconnects);
}

int main(int argc, char **argv)
{
    struct timespec wall;

    if (argc != 6) {
        fputs("usage: bench-load PORT CONNECTIONS TIMEOUT_S PLAN RESULTS\n",
              stderr);
        return 64;
    }
    prctl(PR_SET_TIMERSLACK, 1000);
    server.sin_family = AF_INET;
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.sin_port = htons((uint16_t)strtol(argv[1], NULL, 10));
    connections_n = (size_t)strtoll(argv[2], NULL, 10);
    if (connections_n < 1)
        return 64;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    connections = memory(connections_n, sizeof(*connections));
    idle = memory(connections_n, sizeof(*idle));
    read_plan(argv[4]);
    for (size_t i = 0; i < connections_n; i++) {
        if (!connect_it(&connections[i]))
            die("connect");
        connections[i].began_us = now_us();
        set_idle(&connections[i]);
    }
    clock_gettime(CLOCK_REALTIME, &wall);
    run(strtoll(argv[3], NULL, 10) * US_PER_S);
    report((double)wall.tv_sec + (double)wall.tv_nsec / 1e9);
    write_results(argv[5]);
    return 0;
}
