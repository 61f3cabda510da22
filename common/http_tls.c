/*
 * TLS of the HTTP server: 1.2 and above, no renegotiation, no early data (a
 * request that an attacker can repeat is not one), no session cache in memory
 * (tickets serve). Certificates are read at start.
 */
#include "common/http_priv.h"
#include "common/must.h"

#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

static enum err_code refuse(struct err *err, const char *what, const char *file)
{
    unsigned long code = ERR_get_error();
    const char *why = code ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    return err_set(err, ERR_CONFIG, "cannot use %s \"%s\": %s", what, file,
                   why ? why : "no reason given");
}

enum err_code http_tls_new(const char *cert, const char *key,
                           struct ssl_ctx_st **ret, struct err *err)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

    must(tls);
    must(SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION));
    SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_early_data(tls, 0);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_use_certificate_chain_file(tls, cert) != 1)
        refuse(err, "the certificate", cert);
    else if (SSL_CTX_use_PrivateKey_file(tls, key ? key : "",
                                         SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(tls) != 1)
        refuse(err, "the private key", key ? key : "");
    else {
        *ret = tls;
        return ERR_NONE;
    }
    SSL_CTX_free(tls);
    return err->code;
}

void http_tls_free(struct ssl_ctx_st *tls)
{
    SSL_CTX_free(tls);
}

struct bufferevent *http_tls_bufferevent(struct ssl_ctx_st *tls,
                                         struct event_base *base)
{
    SSL *ssl = SSL_new(tls);
    struct bufferevent *bev;

    must(ssl);
    bev = bufferevent_openssl_socket_new(
        base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    must(bev);
    /* A request says itself how long it is. */
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    return bev;
}
