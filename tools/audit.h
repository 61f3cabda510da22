/*
 * Verification of the audit trail: the chain of each payment, that of the
 * operators' actions, what was purged, and the anchors over all of it. Every
 * hash is computed again, by Postgres with the statement here, in pieces of
 * bounded size; nothing is written and no lock is held from one piece to the
 * next, so it may run beside the workers.
 *
 * Each part ends at its first break: what follows it in a chain proves nothing.
 */
#ifndef FOLENI_TOOLS_AUDIT_H
#define FOLENI_TOOLS_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"
#include "common/pg.h"

#define AUDIT_TEXT_MAX 400

/** Which part of the trail. */
enum audit_part {
    AUDIT_PAYMENTS, /* chains of payments, and the payments themselves */
    AUDIT_ACTIONS,  /* what operators did                              */
    AUDIT_PURGES,   /* what they removed, as said in both others       */
    AUDIT_ANCHORS,  /* both against the anchors                        */
    AUDIT_PARTS_N
};

struct audit_spec {
    const char *from, *to; /* time as Postgres reads it, NULL = no limit */
    /** Called after each piece; may be NULL. */
    void (*progress)(void *arg, enum audit_part part, int percent,
                     int64_t rows);
    void *arg;
};

struct audit_result {
    int64_t n;      /* payments, actions ... that were looked at         */
    int64_t rows;   /* of the timeline; ANCHORS: rows that they cover    */
    int64_t before; /* PAYMENTS: rows from before there was a trail      */
    int64_t after;  /* ANCHORS: rows that no anchor covers yet           */
    int64_t age_s;  /* ANCHORS: of the newest one, -1 = there is none    */
    bool broken;
    char where[AUDIT_TEXT_MAX]; /* "payment 6ba7…, version 3"             */
    char what[AUDIT_TEXT_MAX];  /* what differs                           */
};

/** "payments", "actions", "purges", "anchors" */
const char *audit_part_name(enum audit_part part);

/**
 * Verifies all parts. ERR_NONE: the results say what was found, breaks too.
 * ERR_USAGE: a time cannot be read. Otherwise as pg_session_exec().
 */
MUST_CHECK enum err_code audit_verify(struct pg_session *s,
                                      const struct audit_spec *spec,
                                      struct audit_result ret[AUDIT_PARTS_N],
                                      struct err *err);

#endif
