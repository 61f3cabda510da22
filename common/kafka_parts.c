/*
 * The partitions of one assignment. Plain data: what to do with an assignment
 * is kafka_consumer.c.
 */
#include "common/kafka_priv.h"

#include "common/must.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kafka_parts_set(struct kafka_parts *parts,
                     const rd_kafka_topic_partition_list_t *list)
{
    free(parts->rows);
    parts->rows = NULL;
    parts->n = list ? (size_t)list->cnt : 0;
    if (parts->n > 0)
        parts->rows = must_alloc(parts->n, sizeof(*parts->rows));
    for (size_t i = 0; i < parts->n; i++) {
        struct kafka_part *part = &parts->rows[i];

        snprintf(part->topic, sizeof(part->topic), "%s", list->elems[i].topic);
        part->partition = list->elems[i].partition;
        part->next = KAFKA_BEGINNING;
        part->committed = -1;
    }
}

struct kafka_part *kafka_part_find(struct kafka_parts *parts, const char *topic,
                                   int32_t partition)
{
    for (size_t i = 0; i < parts->n; i++)
        if (parts->rows[i].partition == partition &&
            strcmp(parts->rows[i].topic, topic) == 0)
            return &parts->rows[i];
    return NULL;
}

/** Where a partition would go on. */
static int64_t part_offset(const struct kafka_part *part)
{
    if (part->started)
        return part->next;
    return part->committed >= 0 ? part->committed : KAFKA_BEGINNING;
}

struct kafka_position *kafka_parts_positions(const struct kafka_parts *parts)
{
    struct kafka_position *all =
        must_alloc(MAX(parts->n, (size_t)1), sizeof(*all));

    for (size_t i = 0; i < parts->n; i++) {
        memcpy(all[i].topic, parts->rows[i].topic, KAFKA_TOPIC_SIZE);
        all[i].partition = parts->rows[i].partition;
        all[i].committed = parts->rows[i].committed;
        memcpy(all[i].metadata, parts->rows[i].metadata, KAFKA_METADATA_SIZE);
        all[i].offset = part_offset(&parts->rows[i]);
    }
    return all;
}

rd_kafka_topic_partition_list_t *
kafka_parts_list(const struct kafka_parts *parts, bool started_only)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)parts->n);

    for (size_t i = 0; i < parts->n; i++) {
        const struct kafka_part *part = &parts->rows[i];

        if (started_only && !part->started)
            continue;
        rd_kafka_topic_partition_list_add(list, part->topic, part->partition)
            ->offset = part->next;
    }
    return list;
}

void kafka_offset_read(const rd_kafka_topic_partition_t *row,
                       int64_t *ret_committed,
                       char ret_metadata[KAFKA_METADATA_SIZE])
{
    size_t n = MIN(row->metadata_size, (size_t)KAFKA_METADATA_SIZE - 1);

    *ret_committed = MAX(row->offset, -1);
    memset(ret_metadata, 0, KAFKA_METADATA_SIZE);
    if (row->metadata && row->offset >= 0)
        memcpy(ret_metadata, row->metadata, n);
}
