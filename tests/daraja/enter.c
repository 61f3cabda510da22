/*
 * What comes first in every request that is no push and no query: outage,
 * token, JSON, and a shortcode that is of the token's app.
 */
#include <string.h>

#include "common/json.h"
#include "tests/daraja/sim_priv.h"

static bool refuse(struct sim *sim, struct http_request *req, const char *code,
                   const char *message)
{
    sim_refuse(sim, req, 400, code, message, 0);
    return false;
}

bool sim_enter_body(struct sim *sim, struct http_request *req, const char *text,
                    size_t len, const char *member, struct json **ret_doc,
                    struct merchant **ret)
{
    struct access_app *app;
    struct err err;
    int64_t shortcode;

    if (outage_answer(sim, req))
        return false;
    app = access_check(sim->access, http_header(req, "Authorization"),
                       loop_now_us(sim->loop));
    if (!app)
        return refuse(sim, req, "400.003.01", "Invalid Access Token");
    if (json_parse_tolerant(text, len, ret_doc, &err) ||
        !json_is_object(*ret_doc))
        return refuse(sim, req, "400.002.05", "Invalid Request Payload");
    if (!json_integer_or_text(json_get(*ret_doc, member), &shortcode) ||
        !(*ret = merchant_find(sim->merchants, shortcode)) ||
        strcmp((*ret)->settings->consumer_key, access_key(app)) != 0)
        return refuse(sim, req, "400.002.02",
                      "Bad Request - Invalid ShortCode");
    return true;
}

bool sim_enter(struct sim *sim, struct http_request *req, const char *member,
               struct json **ret_doc, struct merchant **ret)
{
    size_t len;
    const char *text = http_body(req, &len);

    return sim_enter_body(sim, req, text, len, member, ret_doc, ret);
}
