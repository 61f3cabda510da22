/*
 * A server that does to its clients what networks do: a forked child, a thread
 * per connection, plain or TLS, that follows a list of acts, one per request.
 * What it saw stands in shared memory; read it after hostile_stop(), when every
 * connection has come to its end.
 */
#ifndef FOLENI_TESTS_UNIT_HOSTILE_H
#define FOLENI_TESTS_UNIT_HOSTILE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/must.h"
#include "tests/unit/certificate.h"

#define HOSTILE_ACTS_MAX 16
#define HOSTILE_CONNECTIONS_MAX 256
#define HOSTILE_REQUEST_MAX 100000
#define HOSTILE_SOME 40 /* bytes: within the head */
#define HOSTILE_LIFE_S 120

/* How much of a request is read. */
enum hostile_read {
    READ_ALL,
    READ_HEAD,
    READ_SOME,
    READ_WAIT,    /* nothing, but wait until some is there           */
    READ_NOTHING, /* do not wait either                              */
};

/* How the act ends. */
enum hostile_end {
    THEN_KEEP, /* the next act on this connection                   */
    THEN_FIN,  /* for TLS with its close_notify                     */
    THEN_CUT,  /* FIN, for TLS without close_notify                 */
    THEN_RST,
    THEN_STALL, /* until the client goes                             */
};

struct hostile_act {
    enum hostile_read read;
    const char *say; /* NULL = nothing                                */
    int times;       /* that it is said, 0 = once                     */
    enum hostile_end then;
    bool before_tls; /* for TLS: act without a handshake             */
};

struct hostile_seen {
    atomic_int connections;
    atomic_int requests; /* of which the first byte came              */
    atomic_int complete; /* of which the last byte came               */
    char last[HOSTILE_REQUEST_MAX]; /* the last one, as far as read */
    atomic_bool held;               /* see hostile_hold()           */
};

struct hostile {
    pid_t pid;
    int port;
    int stop_fd;
    struct hostile_seen *seen;
};

/* --- in the child --- */

struct hostile_child {
    struct hostile_act acts[HOSTILE_ACTS_MAX];
    size_t acts_n;
    atomic_size_t next;
    SSL_CTX *tls;
    int listen_fd, stop_fd;
    struct hostile_seen *seen;
};

struct hostile_conn {
    struct hostile_child *child;
    int fd;
    SSL *ssl;
};

static ssize_t hostile_recv(struct hostile_conn *c, char *to, size_t n,
                            bool peek)
{
    if (!c->ssl)
        return recv(c->fd, to, n, peek ? MSG_PEEK : 0);
    return peek ? SSL_peek(c->ssl, to, (int)n) : SSL_read(c->ssl, to, (int)n);
}

static bool hostile_send(struct hostile_conn *c, const char *text)
{
    size_t len = strlen(text);

    while (len > 0) {
        ssize_t n = c->ssl ? SSL_write(c->ssl, text, (int)len)
                           : send(c->fd, text, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

/* Bytes that the whole request has, as far as @p text tells; 0 = unknown. */
static size_t hostile_wants(const char *text)
{
    const char *end = strstr(text, "\r\n\r\n");
    const char *length = strcasestr(text, "\r\nContent-Length:");

    if (!end)
        return 0;
    return (size_t)(end + 4 - text) +
           (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
}

/* false = the client went before it came to what the act waits for. */
static bool hostile_read_request(struct hostile_conn *c, enum hostile_read how)
{
    struct hostile_seen *seen = c->child->seen;
    char *text = calloc(1, HOSTILE_REQUEST_MAX);
    size_t len = 0, wants = 0;
    bool there;

    must(text);
    if (how == READ_NOTHING) {
        while (atomic_load(&seen->held))
            poll(NULL, 0, 1);
        free(text);
        return true;
    }
    there = hostile_recv(c, text, 1, true) > 0;
    if (there)
        atomic_fetch_add(&seen->requests, 1);
    while (there && how != READ_WAIT) {
        size_t n = how == READ_SOME ? HOSTILE_SOME : HOSTILE_REQUEST_MAX - 1;
        ssize_t got = hostile_recv(c, text + len, n - len, false);

        there = got > 0;
        len += there ? (size_t)got : 0;
        wants = hostile_wants(text);
        if ((how == READ_SOME && len == HOSTILE_SOME) ||
            (how == READ_HEAD && wants) ||
            (how == READ_ALL && wants && len >= wants))
            break;
    }
    if (wants && len >= wants)
        atomic_fetch_add(&seen->complete, 1);
    if (len > 0)
        memcpy(seen->last, text, HOSTILE_REQUEST_MAX);
    free(text);
    return there;
}

static void hostile_end(struct hostile_conn *c, enum hostile_end how)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    char rest[4096];

    if (how == THEN_STALL)
        while (hostile_recv(c, rest, sizeof(rest), false) > 0)
            ;
    if (how == THEN_FIN && c->ssl)
        SSL_shutdown(c->ssl);
    if (how == THEN_RST)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    if (c->ssl)
        SSL_free(c->ssl);
    close(c->fd);
}

static void *hostile_serve(void *arg)
{
    struct hostile_conn *c = arg;
    struct hostile_child *child = c->child;
    const struct hostile_act *act;
    bool going;

    do {
        size_t i = atomic_fetch_add(&child->next, 1);

        act = &child->acts[MIN(i, child->acts_n - 1)];
        if (child->tls && !act->before_tls && !c->ssl) {
            c->ssl = SSL_new(child->tls);
            SSL_set_fd(c->ssl, c->fd);
            if (SSL_accept(c->ssl) <= 0) {
                hostile_end(c, THEN_CUT);
                break;
            }
        }
        going = hostile_read_request(c, act->read);
        for (int k = 0; going && act->say && k < MAX(act->times, 1); k++)
            going = hostile_send(c, act->say);
        if (!going || act->then != THEN_KEEP) {
            hostile_end(c, going ? act->then : THEN_CUT);
            break;
        }
    } while (true);
    ERR_clear_error();
    free(c);
    return NULL;
}

/* Accepts until it is told to stop and nobody waits any more. */
NORETURN static void hostile_run(struct hostile_child *child)
{
    static pthread_t threads[HOSTILE_CONNECTIONS_MAX];
    size_t n = 0;
    bool stop = false;

    signal(SIGPIPE, SIG_IGN);
    alarm(HOSTILE_LIFE_S);
    while (true) {
        struct pollfd fds[] = {{child->listen_fd, POLLIN, 0},
                               {stop ? -1 : child->stop_fd, POLLIN, 0}};
        struct hostile_conn *c;

        poll(fds, 2, stop ? 0 : -1);
        stop |= fds[1].revents != 0;
        if (!fds[0].revents) {
            if (stop)
                break;
            continue;
        }
        must(n < HOSTILE_CONNECTIONS_MAX);
        c = NEW(struct hostile_conn);
        c->child = child;
        c->fd = accept(child->listen_fd, NULL, NULL);
        must(c->fd >= 0);
        atomic_fetch_add(&child->seen->connections, 1);
        must(pthread_create(&threads[n++], NULL, hostile_serve, c) == 0);
    }
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    _exit(0);
}

static SSL_CTX *hostile_tls(const struct certificate *cert)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

    must(tls);
    must(SSL_CTX_use_certificate_chain_file(tls, cert->cert) == 1);
    must(SSL_CTX_use_PrivateKey_file(tls, cert->key, SSL_FILETYPE_PEM) == 1);
    return tls;
}

/* --- in the test --- */

/* The last act is repeated. @p cert: NULL = plain. */
UNUSED static void hostile_start(struct hostile *h,
                                 const struct hostile_act *acts, size_t n,
                                 const struct certificate *cert)
{
    static struct hostile_child child;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(at);
    int pipe_fds[2];

    child = (struct hostile_child){.acts_n = n};
    must(n > 0 && n <= HOSTILE_ACTS_MAX);
    memcpy(child.acts, acts, n * sizeof(acts[0]));
    h->seen = mmap(NULL, sizeof(*h->seen), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(h->seen != MAP_FAILED);
    child.seen = h->seen;
    child.listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    must(bind(child.listen_fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    must(listen(child.listen_fd, 128) == 0);
    must(getsockname(child.listen_fd, (struct sockaddr *)&at, &len) == 0);
    h->port = ntohs(at.sin_port);
    must(pipe(pipe_fds) == 0);
    child.stop_fd = pipe_fds[0];
    h->stop_fd = pipe_fds[1];
    h->pid = fork();
    must(h->pid >= 0);
    if (h->pid == 0) {
        close(h->stop_fd);
        child.tls = cert ? hostile_tls(cert) : NULL;
        hostile_run(&child);
    }
    close(child.listen_fd);
    close(child.stop_fd);
}

/* While held, an act that reads nothing is not begun: on a connection that has
 * just served, its end would overtake the answer before it. */
UNUSED static void hostile_hold(struct hostile *h, bool held)
{
    atomic_store(&h->seen->held, held);
}

/* Waits for the end of all connections; close the client's first. */
UNUSED static void hostile_stop(struct hostile *h)
{
    int status;

    must(write(h->stop_fd, "x", 1) == 1);
    close(h->stop_fd);
    must(waitpid(h->pid, &status, 0) == h->pid);
    must(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

UNUSED static void hostile_forget(struct hostile *h)
{
    munmap(h->seen, sizeof(*h->seen));
}

#endif
