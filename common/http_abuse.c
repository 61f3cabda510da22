/*
 * The bad manners of http_abuse.h, for the simulator and for tests.
 */
#include "common/http_abuse.h"

#include "common/http_priv.h"
#include "common/must.h"

#include <event2/http_struct.h>

#include <stdio.h>
#include <sys/socket.h>

void http_abort(struct http_request *req, bool reset)
{
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};

    must(req->ev);
    if (reset) /* connect(2): dissolves the connection, here by a reset */
        (void)connect(req->conn->fd, &nowhere, sizeof(nowhere));
    req->on_close = NULL;
    http_conn_close(req->conn);
}

void http_reply_cut(struct http_request *req, int status,
                    const char *content_type, const void *body, size_t len,
                    size_t sent)
{
    char promised[24];

    must(sent <= len);
    snprintf(promised, sizeof(promised), "%zu", len);
    http_add_header(req, "Content-Length", promised);
    http_add_close(req);
    http_reply(req, status, content_type, body, sent);
}

int http_peer_port(const struct http_request *req)
{
    return req->ev->remote_port;
}

enum err_code http_server_refuse(struct http_server *s, bool refuse,
                                 struct err *err)
{
    if (!refuse && !s->bound)
        return http_listen(s, err);
    if (refuse && s->bound)
        http_unlisten(s);
    return ERR_NONE;
}
