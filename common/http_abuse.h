/*
 * What a well-behaved server never does to its clients: for the simulator,
 * which has to. Beside http.h, so that product code does not see it.
 */
#ifndef FOLENI_COMMON_HTTP_ABUSE_H
#define FOLENI_COMMON_HTTP_ABUSE_H

#include <stdbool.h>

#include "common/base.h"
#include "common/err.h"
#include "common/http.h"

/**
 * Ends the request by closing its connection, without an answer. @p reset: by
 * a TCP reset, otherwise by a FIN.
 */
void http_abort(struct http_request *req, bool reset);

/**
 * Sends a head that promises @p len bytes of body, the first @p sent of them,
 * and closes the connection.
 */
void http_reply_cut(struct http_request *req, int status,
                    const char *content_type, const void *body, size_t len,
                    size_t sent);

/** The peer's port, which names the connection together with http_peer(). */
int http_peer_port(const struct http_request *req);

/**
 * true: closes the listening socket, so that connections are refused; open
 * connections stay. false: listens again on the same port.
 *
 * @return ERR_IO when the port could not be bound again.
 */
MUST_CHECK enum err_code http_server_refuse(struct http_server *server,
                                            bool refuse, struct err *err);

#endif
