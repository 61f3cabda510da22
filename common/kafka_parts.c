/*
 * The partitions of one assignment, and the question where their group stood.
 *
 * The question is an admin request because rd_kafka_committed() would block the
 * loop; its answer is an event. Plain data apart from that: what to do with an
 * assignment is kafka_consumer.c.
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

void kafka_offsets_ask(rd_kafka_t *rk, const char *group,
                       const rd_kafka_topic_partition_list_t *list,
                       uintptr_t opaque, rd_kafka_queue_t *to)
{
    rd_kafka_ListConsumerGroupOffsets_t *request =
        rd_kafka_ListConsumerGroupOffsets_new(group, list);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(
        rk, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    char why[128];

    must(!rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_OFFSETS_MS,
                                                    why, sizeof(why)));
    rd_kafka_AdminOptions_set_opaque(options, (void *)opaque);
    rd_kafka_ListConsumerGroupOffsets(rk, &request, 1, options, to);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ListConsumerGroupOffsets_destroy(request);
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

/** The first error of a partition, or NULL. */
static const char *list_fault(const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++)
        if (list->elems[i].err)
            return rd_kafka_err2str(list->elems[i].err);
    return NULL;
}

const rd_kafka_topic_partition_list_t *
kafka_offsets_answer(rd_kafka_event_t *event, const char **ret_text)
{
    const rd_kafka_group_result_t **groups;
    const rd_kafka_topic_partition_list_t *list;
    const rd_kafka_error_t *error;
    size_t n = 0;

    *ret_text = rd_kafka_event_error_string(event);
    if (rd_kafka_event_error(event))
        return NULL;
    groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
        rd_kafka_event_ListConsumerGroupOffsets_result(event), &n);
    *ret_text = "no group in the answer";
    if (n != 1)
        return NULL;
    error = rd_kafka_group_result_error(groups[0]);
    *ret_text = error ? rd_kafka_error_string(error) : NULL;
    if (error)
        return NULL;
    list = rd_kafka_group_result_partitions(groups[0]);
    *ret_text = list_fault(list);
    return *ret_text ? NULL : list;
}
