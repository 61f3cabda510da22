/*
 * Metrics as a table: a row of metrics.def makes the enum value, the storage,
 * the exposition on /metrics (Prometheus text format 0.0.4) and the line in the
 * documents. One thread writes, so a counter is a plain uint64_t.
 *
 * A program shows the rows of its own group and of the common one.
 */
#ifndef FOLENI_COMMON_METRICS_H
#define FOLENI_COMMON_METRICS_H

#include <stdint.h>

#include "common/base.h"

struct buf;

enum metric {
#define METRIC(id, group, kind, name, labels, help) id,
#include "common/metrics.def"
#undef METRIC
    METRICS_N
};

enum metric_group { MG_COMMON = 1, MG_API = 2, MG_WORKER = 4, MG_SIM = 8 };

void metric_add(enum metric m, uint64_t n);
void metric_set(enum metric m, int64_t value);

/** Adds a duration to a histogram row (seconds on the wire). */
void metric_observe_us(enum metric m, int64_t us);

/** What a counter or gauge holds now; a histogram's number of observations. */
int64_t metric_get(enum metric m);

/** Writes all rows of @p groups (a set of metric_group bits). */
void metrics_write(struct buf *out, unsigned groups);

#endif
