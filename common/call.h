/*
 * Outgoing HTTP calls over curl multi, on the loop. The only place that knows
 * libcurl.
 *
 * A call with `once` set is sent at most once, whatever libcurl would like to
 * repeat: its body comes from a read callback without a seek callback, and the
 * pre-request callback refuses a second sending (both measured; see
 * ARCHITECTURE.md). HTTP/1.1 only, no redirects, no Expect, no proxy from the
 * environment, TLS checked.
 *
 * Its end says what is proven:
 *   CALL_NOT_SENT  no byte of the request left: name, connect or TLS failed, or
 *                  `before` said no
 *   CALL_ANSWERED  a complete HTTP answer was read (one that has no length ends
 *                  with its connection: whether it is whole, its JSON tells)
 *   CALL_LOST      it may have been received: anything else
 */
#ifndef FOLENI_COMMON_CALL_H
#define FOLENI_COMMON_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"
#include "common/loop.h"

struct call;
struct calls;

struct calls_spec {
    size_t slots_max;            /* open calls                            */
    size_t host_connections_max; /* to one host; 0 = slots_max           */
    int64_t connect_timeout_ms;
    int64_t total_timeout_ms;
    int64_t idle_connection_s; /* older idle connections are not reused */
    size_t answer_bytes_max;   /* a longer answer ends as CALL_LOST     */
    const char *ca_file;       /* PEM, or "" for none                   */
};

enum call_end { CALL_NOT_SENT, CALL_ANSWERED, CALL_LOST };

struct call_result {
    enum call_end end;
    int status;               /* HTTP status when answered, else 0        */
    const char *content_type; /* "" when there is none                    */
    const char *body;         /* borrowed for the callback, terminated    */
    size_t len;
    int64_t retry_after_s; /* of the header, -1 = none                 */
    int64_t took_us;       /* from the start to the end                */
    bool unreachable;      /* NOT_SENT because of name, connect or TLS, or no
                         connection came free in time                     */
    bool certificate; /* ... because the certificate was not accepted     */
    struct err err;   /* why, unless answered                     */
};

/**
 * Runs just before the first byte of the request goes out, on a connection that
 * is ready; once per call. false = do not send; the call then ends as
 * CALL_NOT_SENT.
 */
typedef bool (*call_before_fn)(void *arg);

/** Runs once per started call, never from inside call_start(). */
typedef void (*call_done_fn)(void *arg, const struct call_result *result);

struct call_request {
    const char *url;            /* copied                            */
    const char *const *headers; /* "Name: value", copied             */
    size_t headers_n;           /* <= CALL_HEADERS_MAX               */
    const char *body;           /* NULL = GET; copied otherwise      */
    size_t body_len;
    bool get;                  /* a GET all the same, with that body */
    const char *user_password; /* "user:password" for Basic, or NULL */
    bool once;                 /* both guards against resending     */
    int64_t total_timeout_ms;  /* 0 = that of the spec              */
    call_before_fn before;     /* or NULL                           */
    call_done_fn done;
    void *arg;
};

#define CALL_HEADERS_MAX 8
#define CALL_BODY_MAX 65536

/** Adds a room to @p loop: free the calls after the loop's last turn. */
struct calls *calls_new(struct loop *loop, const struct calls_spec *spec);

/** Aborts what is open without calling done. NULL is fine. */
void calls_free(struct calls *calls);

/**
 * Starts a call; not from inside call_before_fn.
 *
 * @return ERR_LIMIT when slots_max are open or the body or the headers are too
 *         large: done will not run.
 */
MUST_CHECK enum err_code call_start(struct calls *calls,
                                    const struct call_request *req,
                                    struct err *err);

/** Calls that are open now. */
size_t calls_open(const struct calls *calls);

#endif
