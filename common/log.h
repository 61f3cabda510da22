/*
 * Structured logs: one line per event on standard error, as key=value or JSON.
 *
 *   log_info("gate", "push_refused", KV_ID("payment", &id), KV_ERR(&err));
 *   2026-11-21T07:46:00.123Z info foleni-worker gate push_refused
 *       payment=6f1c... err=unavailable text="could not reach gateway: ..."
 *
 * Event names are stable snake_case. Phone numbers go through KV_MSISDN, which
 * masks them (2547...149); secrets and bodies are never given. A line that
 * cannot be written (disk full) is dropped and counted, it never stops work.
 * The process-wide sink is one of the two globals that this program has.
 */
#ifndef FOLENI_COMMON_LOG_H
#define FOLENI_COMMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"

struct uuid;

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum kv_kind { KV_END_KIND, KV_TEXT, KV_NUMBER, KV_UUID, KV_PHONE, KV_ERROR };

struct kv {
    const char *key;
    enum kv_kind kind;
    int64_t number;
    const void *ptr; /* borrowed for the call */
};

#define KV(k, s) ((struct kv){(k), KV_TEXT, 0, (s)})
#define KV_INT(k, n) ((struct kv){(k), KV_NUMBER, (int64_t)(n), NULL})
#define KV_ID(k, uuid) ((struct kv){(k), KV_UUID, 0, (uuid)})
#define KV_MSISDN(n) ((struct kv){"msisdn", KV_PHONE, (n), NULL})
#define KV_ERR(err) ((struct kv){"err", KV_ERROR, 0, (err)})

/** @p name is the program's, borrowed for ever; call before the first line. */
void log_open(const char *name, enum log_level least, bool json);

/** Whether a line of @p level would be written. */
bool log_wants(enum log_level level);

/** @p kvs ends with a zeroed element; use the macros below. */
void log_write(enum log_level level, const char *scope, const char *event,
               const struct kv *kvs);

#define LOG_AT(level, scope, event, ...)                      \
    do {                                                      \
        if (log_wants(level))                                 \
            log_write(level, scope, event,                    \
                      (const struct kv[]){__VA_ARGS__, {0}}); \
    } while (0)

/* Each takes at least one KV. */
#define log_debug(scope, event, ...) \
    LOG_AT(LOG_DEBUG, scope, event, __VA_ARGS__)
#define log_info(scope, event, ...) LOG_AT(LOG_INFO, scope, event, __VA_ARGS__)
#define log_warn(scope, event, ...) LOG_AT(LOG_WARN, scope, event, __VA_ARGS__)
#define log_error(scope, event, ...) \
    LOG_AT(LOG_ERROR, scope, event, __VA_ARGS__)

/** Lines that could not be written since the start. */
uint64_t log_dropped(void);

#endif
