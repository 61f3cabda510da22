/*
 * A self-signed certificate for 127.0.0.1, made by the openssl program for one
 * test and removed after it.
 */
#ifndef FOLENI_TESTS_UNIT_CERTIFICATE_H
#define FOLENI_TESTS_UNIT_CERTIFICATE_H

#include <stdio.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base.h"
#include "common/must.h"

struct certificate {
    char cert[100], key[100]; /* PEM files */
};

UNUSED static void certificate_make(struct certificate *c, const char *name)
{
    pid_t pid;
    int status;

    snprintf(c->cert, sizeof(c->cert), "/tmp/foleni-%d-%s.pem", (int)getpid(),
             name);
    snprintf(c->key, sizeof(c->key), "/tmp/foleni-%d-%s.key", (int)getpid(),
             name);
    pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        must(freopen("/dev/null", "w", stderr));
        execlp("openssl", "openssl", "req", "-x509", "-newkey", "ec",
               "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
               "2", "-subj", "/CN=127.0.0.1", "-addext",
               "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", c->key,
               "-out", c->cert, NULL);
        _exit(127);
    }
    must(waitpid(pid, &status, 0) == pid && status == 0);
}

UNUSED static void certificate_remove(const struct certificate *c)
{
    unlink(c->cert);
    unlink(c->key);
}

#endif
