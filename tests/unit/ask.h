/*
 * A client for handlers under test: one request over a real connection to a
 * server on the same loop, and the whole of its answer as text.
 */
#ifndef FOLENI_TESTS_UNIT_ASK_H
#define FOLENI_TESTS_UNIT_ASK_H

#include "common/clock.h"
#include "common/http.h"
#include "common/loop.h"
#include "common/must.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ASK_PATIENCE_US (60 * US_PER_S)

struct answer {
    int status; /* 0 = none came */
    char text[16384];
    size_t len;
    const char *body;
};

static int ask_dial(int port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    must(fd >= 0);
    must(connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    must(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    return fd;
}

static void ask_read(struct answer *a, int fd, struct loop *loop)
{
    int64_t end_us = clock_now_us() + ASK_PATIENCE_US;
    ssize_t n = -1;

    while (n != 0 && clock_now_us() < end_us) {
        loop_once(loop, US_PER_MS);
        n = recv(fd, a->text + a->len, sizeof(a->text) - 1 - a->len, 0);
        if (n > 0)
            a->len += (size_t)n;
        else if (n < 0 && errno != EAGAIN)
            break;
    }
}

/* @p headers: lines, each with its CRLF. The server closes when it is done. */
UNUSED static void ask(struct loop *loop, int port, const char *method,
                       const char *path, const char *headers, const char *body,
                       struct answer *a)
{
    static char request[131072];
    const char *end;
    int fd = ask_dial(port);
    int len = snprintf(request, sizeof(request),
                       "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                       "Content-Length: %zu\r\n%s\r\n%s",
                       method, path, strlen(body), headers, body);

    *a = (struct answer){.body = a->text};
    must(len > 0 && (size_t)len < sizeof(request));
    must(send(fd, request, (size_t)len, MSG_NOSIGNAL) == len);
    ask_read(a, fd, loop);
    close(fd);
    if (a->len > 12)
        a->status = (int)strtol(a->text + 9, NULL, 10);
    end = strstr(a->text, "\r\n\r\n");
    a->body = end ? end + 4 : a->text;
}

/* Whether the head of the answer holds the line. */
UNUSED static bool answer_has(const struct answer *a, const char *line)
{
    const char *at = strcasestr(a->text, line);

    return at && at < a->body;
}

#endif
