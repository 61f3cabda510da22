/*
 * Storage and exposition of the rows of metrics.def. Every row has one slot;
 * a histogram's observations stand in a table of their own. Counts of buckets
 * are kept apart and summed up when somebody looks, because that is rarer.
 */
#include "common/metrics.h"

#include <stdbool.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/must.h"

enum kind { COUNTER, GAUGE, HISTOGRAM };

/* The histograms, counted: COUNTER and GAUGE rows leave nothing here. */
#define SLOT_COUNTER(id)
#define SLOT_GAUGE(id)
#define SLOT_HISTOGRAM(id) SLOT_##id,
enum slot {
#define METRIC(id, group, kind, name, labels, help) SLOT_##kind(id)
#include "common/metrics.def"
#undef METRIC
    SLOTS_N
};

/* Upper bounds: from a call over loopback to a prompt that nobody answers. */
static const struct {
    int64_t us;
    const char *seconds;
} bounds[] = {
    {100, "0.0001"},  {250, "0.00025"}, {500, "0.0005"},  {1000, "0.001"},
    {2500, "0.0025"}, {5000, "0.005"},  {10000, "0.01"},  {25000, "0.025"},
    {50000, "0.05"},  {100000, "0.1"},  {250000, "0.25"}, {500000, "0.5"},
    {1000000, "1"},   {2500000, "2.5"}, {5000000, "5"},   {10000000, "10"},
    {30000000, "30"}, {60000000, "60"},
};

struct row {
    const char *name, *labels, *help;
    enum kind kind;
    unsigned group;
    int slot; /* of a histogram, else -1 */
};

#define INDEX_COUNTER(id) (-1)
#define INDEX_GAUGE(id) (-1)
#define INDEX_HISTOGRAM(id) SLOT_##id
static const struct row rows[METRICS_N] = {
#define METRIC(id, group, kind, name, labels, help) \
    [id] = {name, labels, help, kind, group, INDEX_##kind(id)},
#include "common/metrics.def"
#undef METRIC
};

/* One of the two globals of a program: see log.h for the other. The count of a
   histogram is its value here. */
static uint64_t values[METRICS_N];
static struct {
    uint64_t counts[ARRAY_LEN(bounds)]; /* each bucket alone */
    int64_t sum_us;
} histograms[SLOTS_N];

static void write_head(struct buf *out, const struct row *row);
static void write_value(struct buf *out, enum metric m);
static void write_histogram(struct buf *out, enum metric m);

void metric_add(enum metric m, uint64_t n)
{
    must(rows[m].kind != HISTOGRAM);
    values[m] += n;
}

void metric_set(enum metric m, int64_t value)
{
    must(rows[m].kind != HISTOGRAM);
    values[m] = (uint64_t)value;
}

void metric_observe_us(enum metric m, int64_t us)
{
    size_t i = 0;

    must(rows[m].kind == HISTOGRAM);
    values[m]++;
    histograms[rows[m].slot].sum_us += MAX(us, 0);
    while (i < ARRAY_LEN(bounds) && us > bounds[i].us)
        i++;
    if (i < ARRAY_LEN(bounds)) /* beyond the last it is in +Inf alone */
        histograms[rows[m].slot].counts[i]++;
}

int64_t metric_get(enum metric m)
{
    return (int64_t)values[m];
}

void metrics_write(struct buf *out, unsigned groups)
{
    const char *family = "";

    for (unsigned m = 0; m < METRICS_N; m++) {
        if (!(rows[m].group & groups))
            continue;
        if (strcmp(rows[m].name, family) != 0)
            write_head(out, &rows[m]);
        family = rows[m].name;
        if (rows[m].kind == HISTOGRAM)
            write_histogram(out, m);
        else
            write_value(out, m);
    }
}

static void write_head(struct buf *out, const struct row *row)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help,
             row->name, kinds[row->kind]);
}

static void write_value(struct buf *out, enum metric m)
{
    const char *labels = rows[m].labels;

    buf_adds(out, rows[m].name);
    if (labels[0])
        buf_addf(out, "{%s}", labels);
    buf_addc(out, ' ');
    buf_addi(out, (int64_t)values[m]);
    buf_addc(out, '\n');
}

static void write_bucket(struct buf *out, const struct row *row,
                         const char *bound, uint64_t n)
{
    buf_addf(out, "%s_bucket{%s%sle=\"%s\"} %llu\n", row->name, row->labels,
             row->labels[0] ? "," : "", bound, (unsigned long long)n);
}

static void write_histogram(struct buf *out, enum metric m)
{
    const struct row *row = &rows[m];
    int64_t sum_us = histograms[row->slot].sum_us;
    const char *open = row->labels[0] ? "{" : "";
    const char *close = row->labels[0] ? "}" : "";
    uint64_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        n += histograms[row->slot].counts[i];
        write_bucket(out, row, bounds[i].seconds, n);
    }
    write_bucket(out, row, "+Inf", values[m]);
    buf_addf(out, "%s_sum%s%s%s %lld.%06lld\n", row->name, open, row->labels,
             close, (long long)(sum_us / US_PER_S),
             (long long)(sum_us % US_PER_S));
    buf_addf(out, "%s_count%s%s%s %llu\n", row->name, open, row->labels, close,
             (unsigned long long)values[m]);
}
