/*
 * foleni-api: accepts payments over HTTP, takes Daraja's callbacks, and tells
 * clients where their payments stand.
 */
#include "producer/producer.h"

int main(int argc, char **argv)
{
    CLEANUP(app_free)
    struct app *app = NULL;
    CLEANUP(producer_free)
    struct producer *producer = NULL;
    struct err err;

    if (app_new(&producer_app, argc, argv, &app, &err))
        return app_fail(producer_app.name, &err);
    if (producer_new(app, &producer, &err))
        return app_fail(producer_app.name, &err);
    return producer_run(producer);
}
