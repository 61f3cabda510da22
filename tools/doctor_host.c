/*
 * What the settings say, and what this host has for them: disks, keys. Daraja,
 * too: only for a token, and only where the fleet has none.
 */
#include "common/clock.h"
#include "common/must.h"
#include "common/sign.h"
#include "tools/daraja.h"
#include "tools/doctor.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DAY_S 86400
#define KEY_DAYS 365

static const char token_sql[] =
    "SELECT extract(epoch FROM expires_at - now())::bigint, failures, "
    "last_error FROM tokens WHERE consumer = decode($1, 'hex') "
    "AND version > 0";

/* --- settings --- */

static void check_settings(struct doctor *d, struct doctor_line *ret)
{
    const struct config *cfg = d->cfg;

    if (!*cfg->callbacks_mac_key)
        doctor_say(ret, DOCTOR_FAIL, "set callbacks.mac_key_file",
                   "callbacks.mac_key is not set");
    if (!cfg->shortcodes_n)
        doctor_say(ret, DOCTOR_FAIL, "fill the list shortcodes",
                   "no shortcode is configured");
    if (!cfg->clients_n)
        doctor_say(ret, DOCTOR_FAIL, "fill the list clients",
                   "no client is configured");
    if (!*cfg->spool_directory)
        doctor_say(ret, DOCTOR_WARN, "set spool.directory",
                   "callbacks are lost while Kafka is away: no spool");
    if (!cfg->recorder_enabled)
        doctor_say(ret, DOCTOR_WARN, "set recorder.enabled = true",
                   "without recorder a killed worker's pushes are unknown");
    doctor_say(ret, DOCTOR_OK, "", "%zu clients, %zu shortcodes",
               cfg->clients_n, cfg->shortcodes_n);
}

/* --- disks --- */

static long long free_kbytes(const char *directory)
{
    struct statvfs disk;

    if (statvfs(directory, &disk))
        return -1;
    return (long long)(disk.f_bavail * (disk.f_frsize / 1024));
}

static void judge_disk(const char *what, const char *directory, int64_t wants,
                       struct doctor_line *ret)
{
    long long left = free_kbytes(directory);

    if (left < 0)
        doctor_say(ret, DOCTOR_WARN,
                   "make it, for the user that Foleni runs as, or look on the "
                   "host that has it",
                   "%s %.200s: %s", what, directory, strerror(errno));
    else if (access(directory, W_OK | X_OK))
        doctor_say(ret, DOCTOR_WARN, "may the user that Foleni runs as?",
                   "%s %.200s cannot be written by this user", what, directory);
    else if (left < wants / 10)
        doctor_say(ret, DOCTOR_FAIL, "make room on that disk",
                   "%s %.200s: %lld MB are free", what, directory, left / 1024);
    else if (left < wants)
        doctor_say(ret, DOCTOR_WARN, "make room on that disk",
                   "%s %.200s: %lld of %lld MB that it may take are free", what,
                   directory, left / 1024, (long long)wants / 1024);
}

static int count_files(const char *directory, const char *end)
{
    DIR *dir = opendir(directory);
    int n = 0;

    for (struct dirent *e; dir && (e = readdir(dir));) {
        size_t len = strlen(e->d_name), tail = strlen(end);

        n += len > tail && !strcmp(e->d_name + len - tail, end);
    }
    if (dir)
        closedir(dir);
    return n;
}

static void check_spool(struct doctor *d, struct doctor_line *ret)
{
    const char *directory = d->cfg->spool_directory;
    int bad;

    if (!*directory) {
        doctor_say(ret, DOCTOR_OK, "", "there is none");
        return;
    }
    judge_disk("spool.directory", directory, d->cfg->spool_kbytes_max, ret);
    bad = count_files(directory, ".spool.bad");
    if (bad)
        doctor_say(ret, DOCTOR_WARN, "read what is left of them by hand",
                   "%d torn files were set aside in %.200s", bad, directory);
    doctor_say(ret, DOCTOR_OK, "", "%lld MB are free, %d files wait",
               free_kbytes(directory) / 1024, count_files(directory, ".spool"));
}

static void check_recorder(struct doctor *d, struct doctor_line *ret)
{
    const char *directory = d->cfg->recorder_directory;

    if (d->cfg->recorder_enabled)
        judge_disk("recorder.directory", directory, 16384, ret);
    doctor_say(ret, DOCTOR_OK, "", "%s",
               d->cfg->recorder_enabled ? directory : "switched off");
}

/* --- keys --- */

static void judge_key(void *arg, const struct config_secret *s)
{
    struct doctor_line *ret = arg;
    struct stat st;
    long long days;

    if (!s->file || stat(s->file, &st))
        return;
    days = (clock_wall_at() / US_PER_S - st.st_mtime) / DAY_S;
    if (st.st_mode & S_IRWXO)
        doctor_say(ret, DOCTOR_FAIL, "chmod 0400, owned by Foleni's user",
                   "everybody may read %s, the file of %s", s->file, s->path);
    else if (days > KEY_DAYS)
        doctor_say(ret, DOCTOR_WARN, "change it (deploy/README.md says how)",
                   "%s is %lld days old", s->path, days);
}

static void check_keys(struct doctor *d, struct doctor_line *ret)
{
    config_each_secret(d->cfg, judge_key, ret);
    doctor_say(ret, DOCTOR_OK, "",
               "none is older than %d days, signing is %lld", KEY_DAYS,
               (long long)d->cfg->callbacks_mac_key_id);
}

/* --- Daraja --- */

/* Whether the fleet has a token that works: asking for another may end it. */
static bool has_token(struct doctor *d, const struct shortcode *sc,
                      struct doctor_line *ret)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    char name[8192], hex[2 * SHA256_SIZE + 1];
    const char *const params[] = {hex};
    uint8_t id[SHA256_SIZE];

    snprintf(name, sizeof(name), "%s\n%s", sc->base_url, sc->consumer_key);
    sign_sha256(name, strlen(name), id);
    sign_wipe(name, sizeof(name));
    for (size_t i = 0; i < sizeof(id); i++)
        snprintf(hex + 2 * i, 3, "%02x", id[i]);
    if (!doctor_ask(d, ret, token_sql, params, 1, &rows))
        return true;
    if (!pg_text_rows_n(rows) || doctor_number(rows, 0, 0) <= 0)
        return false;
    if (doctor_number(rows, 0, 1))
        doctor_say(ret, DOCTOR_WARN, "see /health of the workers",
                   "%lld: the token ends in %lld s, and another one could not "
                   "be had: %.150s",
                   (long long)sc->shortcode, doctor_number(rows, 0, 0),
                   doctor_text(rows, 0, 2));
    return true;
}

static void check_daraja(struct doctor *d, struct doctor_line *ret)
{
    int asked = 0;

    for (size_t i = 0; i < d->cfg->shortcodes_n; i++) {
        const struct shortcode *sc = &d->cfg->shortcodes[i];
        struct err err;

        if (has_token(d, sc, ret))
            continue;
        asked++;
        if (!daraja_token(d->cfg, sc, &err))
            continue;
        doctor_say(ret, DOCTOR_FAIL,
                   err.code == ERR_UNAVAILABLE || err.code == ERR_TIMEOUT
                       ? "may this host reach it?"
                       : "are consumer_key and consumer_secret its own?",
                   "%lld at %.100s: %.200s", (long long)sc->shortcode,
                   sc->base_url, err.text);
        break; /* another one may wait as long */
    }
    doctor_say(ret, DOCTOR_OK, "", "tokens of %zu shortcodes, %d asked for",
               d->cfg->shortcodes_n, asked);
}

const struct doctor_check doctor_host[] = {
    {"settings", NEEDS_NOTHING, check_settings},
    {"keys", NEEDS_NOTHING, check_keys},
    {"spool", NEEDS_NOTHING, check_spool},
    {"recorder", NEEDS_NOTHING, check_recorder},
    {"daraja", NEEDS_POSTGRES, check_daraja},
};
const size_t doctor_host_n = ARRAY_LEN(doctor_host);
