/*
 * foleni-worker: claims payments from Kafka, pushes them to Daraja, settles
 * what became of them.
 */
#include "consumer/consumer.h"

int main(int argc, char **argv)
{
    CLEANUP(app_free)
    struct app *app = NULL;
    CLEANUP(consumer_free)
    struct consumer *consumer = NULL;
    struct err err;

    if (app_new(&consumer_app, argc, argv, &app, &err))
        return app_fail(consumer_app.name, &err);
    if (consumer_new(app, &consumer, &err))
        return app_fail(consumer_app.name, &err);
    return consumer_run(consumer);
}
