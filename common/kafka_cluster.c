/*
 * Who answers at kafka.brokers. Blocking, for the command line. A broker does
 * not tell its release; the version of the protocol between brokers is as near
 * as it comes, and KRaft clusters of Kafka 4 tell none.
 */
#include "common/kafka_priv.h"

#include "common/must.h"
#include "common/payment.h"

#include <stdio.h>
#include <string.h>

#define METADATA_MS 10000
#define SETTINGS_MS 5000
#define ID_MS 5000
#define VERSION "inter.broker.protocol.version"
#define EMBEDDED "mockCluster" /* how librdkafka's own broker calls itself */

static void take_version(rd_kafka_event_t *event, struct kafka_cluster *ret)
{
    const rd_kafka_ConfigResource_t **all;
    const rd_kafka_ConfigEntry_t **entries;
    size_t n = 0, m = 0;

    all = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &n);
    for (size_t i = 0; i < n; i++) {
        entries = rd_kafka_ConfigResource_configs(all[i], &m);
        for (size_t k = 0; k < m; k++)
            if (!strcmp(rd_kafka_ConfigEntry_name(entries[k]), VERSION) &&
                rd_kafka_ConfigEntry_value(entries[k]))
                text_copy(ret->version, sizeof(ret->version),
                          rd_kafka_ConfigEntry_value(entries[k]));
    }
}

/** Best effort: whoever may not ask is told nothing. */
static void read_version(rd_kafka_t *rk, int broker, struct kafka_cluster *ret)
{
    rd_kafka_ConfigResource_t *asked;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_event_t *event;
    char name[16];

    snprintf(name, sizeof(name), "%d", broker);
    asked = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_BROKER, name);
    must(asked);
    rd_kafka_DescribeConfigs(rk, &asked, 1, NULL, queue);
    event = rd_kafka_queue_poll(queue, SETTINGS_MS);
    if (event && !rd_kafka_event_error(event))
        take_version(event, ret);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_ConfigResource_destroy(asked);
    rd_kafka_queue_destroy(queue);
}

static enum err_code read_cluster(rd_kafka_t *rk, struct kafka_cluster *ret,
                                  struct err *err)
{
    const struct rd_kafka_metadata *all;
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(rk, 0, NULL, &all, METADATA_MS);
    char *id;

    if (code)
        return err_set_from(err, ERR_UNAVAILABLE, ERR_KAFKA, code,
                            "could not reach kafka: %s",
                            rd_kafka_err2str(code));
    ret->brokers = all->broker_cnt;
    id = rd_kafka_clusterid(rk, ID_MS);
    text_copy(ret->id, sizeof(ret->id), id ? id : "");
    if (id)
        rd_kafka_mem_free(rk, id);
    ret->embedded = !strncmp(ret->id, EMBEDDED, strlen(EMBEDDED));
    if (!ret->embedded)
        read_version(rk, all->orig_broker_id, ret);
    rd_kafka_metadata_destroy(all);
    return ERR_NONE;
}

enum err_code kafka_cluster_read(const struct config *cfg,
                                 struct kafka_cluster *ret, struct err *err)
{
    const struct kafka_client_spec spec = {.type = RD_KAFKA_PRODUCER,
                                           .client_id = "foleni-doctor"};
    rd_kafka_t *rk;
    enum err_code code;

    memset(ret, 0, sizeof(*ret));
    if (kafka_client_new(cfg, &spec, &rk, err))
        return err->code;
    code = read_cluster(rk, ret, err);
    rd_kafka_destroy(rk);
    return code;
}
