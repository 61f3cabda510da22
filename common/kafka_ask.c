/*
 * Where a group stands, asked by a thread of its own: rd_kafka_committed()
 * blocks. The admin request that would not block ends the process when the
 * group's coordinator moves or stays silent (librdkafka issues 3663, 4605 and
 * 5040; seen with 2.0.2).
 *
 * Thread and owner share one question. Whoever comes second frees it, so that
 * the owner never waits for a silent broker.
 */
#include "common/kafka_priv.h"

#include "common/must.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 10000

struct kafka_ask {
    rd_kafka_t *rk; /* the thread's */
    rd_kafka_topic_partition_list_t *list;
    struct kafka_wake *wake;
    pthread_mutex_t lock; /* of what follows */
    bool done, dropped;
    rd_kafka_resp_err_t code;
};

static void ask_free(struct kafka_ask *ask)
{
    pthread_mutex_destroy(&ask->lock);
    rd_kafka_topic_partition_list_destroy(ask->list);
    free(ask);
}

/** The first error of its partitions counts for all of them. */
static rd_kafka_resp_err_t
list_code(const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++)
        if (list->elems[i].err)
            return list->elems[i].err;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t kafka_committed(rd_kafka_t *rk,
                                    rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_resp_err_t code = rd_kafka_committed(rk, list, ANSWER_MS);

    return code ? code : list_code(list);
}

static void *ask_thread(void *arg)
{
    struct kafka_ask *ask = arg;
    rd_kafka_resp_err_t code = kafka_committed(ask->rk, ask->list);
    bool dropped;

    rd_kafka_destroy_flags(ask->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    pthread_mutex_lock(&ask->lock);
    ask->code = code;
    ask->done = true;
    dropped = ask->dropped;
    if (!dropped)
        kafka_wake_ring(ask->wake);
    pthread_mutex_unlock(&ask->lock);
    if (dropped)
        ask_free(ask);
    return NULL;
}

static bool thread_start(struct kafka_ask *ask)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    bool started;

    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    started = pthread_create(&thread, &attributes, ask_thread, ask) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return started;
}

enum err_code kafka_ask(const struct config *cfg, const char *group,
                        const rd_kafka_topic_partition_list_t *list,
                        struct kafka_wake *wake, struct kafka_ask **ret,
                        struct err *err)
{
    const struct kafka_setting settings[] = {
        {"group.id", group, 0},
        {"enable.auto.commit", "false", 0},
    };
    const struct kafka_client_spec spec = {
        .type = RD_KAFKA_CONSUMER,
        .client_id = group,
        .settings = settings,
        .settings_n = ARRAY_LEN(settings),
    };
    struct kafka_ask *ask;
    rd_kafka_t *rk;

    if (kafka_client_new(cfg, &spec, &rk, err))
        return err->code;
    ask = NEW(struct kafka_ask);
    *ask = (struct kafka_ask){
        .rk = rk,
        .list = rd_kafka_topic_partition_list_copy(list),
        .wake = wake,
    };
    pthread_mutex_init(&ask->lock, NULL);
    if (!thread_start(ask)) {
        rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        ask_free(ask);
        return err_set(err, ERR_UNAVAILABLE, "no thread for a question");
    }
    *ret = ask;
    return ERR_NONE;
}

bool kafka_ask_over(struct kafka_ask *ask, rd_kafka_resp_err_t *ret_code,
                    const rd_kafka_topic_partition_list_t **ret_list)
{
    bool done;

    pthread_mutex_lock(&ask->lock);
    done = ask->done;
    pthread_mutex_unlock(&ask->lock);
    if (!done)
        return false;
    *ret_code = ask->code;
    *ret_list = ask->list;
    return true;
}

void kafka_ask_drop(struct kafka_ask *ask)
{
    bool done;

    if (!ask)
        return;
    pthread_mutex_lock(&ask->lock);
    done = ask->done;
    ask->dropped = true;
    pthread_mutex_unlock(&ask->lock);
    if (done)
        ask_free(ask);
}
