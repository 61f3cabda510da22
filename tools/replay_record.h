/*
 * Records of which no payment was made go back to their topic: key and value
 * byte for byte, signed anew by their client's secret with the present time,
 * which gives them a deadline of their own. Only records whose own signature
 * holds came this far (letters.c reads them as strictly as the workers do), so
 * nothing is signed that its client had not.
 *
 * A record is produced before its item is noted: one that comes twice is the
 * same payment.
 */
#ifndef FOLENI_TOOLS_REPLAY_RECORD_H
#define FOLENI_TOOLS_REPLAY_RECORD_H

#include "tools/replay.h"

struct replay_records;

/** @p r is borrowed. */
MUST_CHECK enum err_code replay_records_new(struct replay *r,
                                            struct replay_records **ret,
                                            struct err *err);
void replay_records_free(struct replay_records *records);

/** Sends up to @p n ready records back; @p ret of them, all durable. */
MUST_CHECK enum err_code replay_records_release(struct replay_records *records,
                                                int64_t n, int64_t *ret,
                                                struct err *err);

#endif
