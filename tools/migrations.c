/*
 * Names are checked before anything is read, so that a misspelt file is never
 * silently left out. Files are sorted by number through their place in the
 * array: a number that is there twice, or a gap, is seen at once.
 */
#include "tools/migrations.h"

#include "common/buf.h"
#include "common/must.h"
#include "common/sign.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NUMBER_DIGITS 4
#define SUFFIX ".sql"

void migrations_free(struct migrations *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n; i++)
        free(m->items[i].sql);
    free(m->items);
    free(m);
}

static bool ends_in_sql(const char *file)
{
    size_t len = strlen(file);

    return len > strlen(SUFFIX) && !strcmp(file + len - strlen(SUFFIX), SUFFIX);
}

/** Reads "0001_payments.sql"; false when it is called otherwise. */
static bool parse_name(const char *file, struct migration *ret)
{
    int number = 0;

    for (int i = 0; i < NUMBER_DIGITS; i++) {
        if (!isdigit((unsigned char)file[i]))
            return false;
        number = number * 10 + (file[i] - '0');
    }
    const char *name = file + NUMBER_DIGITS + 1;
    size_t len = strlen(file);
    if (file[NUMBER_DIGITS] != '_' || number == 0 || !ends_in_sql(file) ||
        len < NUMBER_DIGITS + 2 + strlen(SUFFIX))
        return false;
    len -= NUMBER_DIGITS + 1 + strlen(SUFFIX);
    if (len >= sizeof(ret->name) ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != len)
        return false;
    memcpy(ret->name, name, len);
    ret->name[len] = '\0';
    ret->number = number;
    return true;
}

static enum err_code read_text(const char *path, struct buf *out,
                               struct err *err)
{
    char part[4096];
    FILE *file = fopen(path, "re");
    size_t n;

    if (!file)
        return err_set_from(err, ERR_IO, ERR_ERRNO, errno,
                            "could not open \"%.120s\"", path);
    while (!out->failed && (n = fread(part, 1, sizeof(part), file)) > 0)
        buf_add(out, part, n);
    int error = ferror(file) ? errno : 0;
    fclose(file);
    if (error)
        return err_set_from(err, ERR_IO, ERR_ERRNO, error,
                            "could not read \"%.120s\"", path);
    if (out->failed)
        return err_set(err, ERR_INPUT, "\"%.120s\" has more than %zu bytes",
                       path, MIGRATION_BYTES_MAX);
    if (memchr(out->data, 0, out->len))
        return err_set(err, ERR_INPUT, "\"%.120s\" holds a zero byte", path);
    return ERR_NONE;
}

static void put_checksum(const struct buf *text, char out[MIGRATION_SUM_SIZE])
{
    uint8_t sum[SHA256_SIZE];
    struct buf hex;

    sign_sha256(text->data, text->len, sum);
    buf_init(&hex, MIGRATION_SUM_SIZE);
    buf_addhex(&hex, sum, sizeof(sum));
    memcpy(out, hex.data, MIGRATION_SUM_SIZE);
    buf_done(&hex);
}

static enum err_code read_file(const char *directory, const char *file,
                               struct migration *m, struct err *err)
{
    char path[4096];
    struct buf text;

    snprintf(path, sizeof(path), "%s/%s", directory, file);
    buf_init(&text, MIGRATION_BYTES_MAX);
    enum err_code code = read_text(path, &text, err);
    if (code == ERR_NONE) {
        put_checksum(&text, m->checksum);
        m->sql = must_strdup(text.data);
    }
    buf_done(&text);
    return code;
}

/** Puts one file in its place; files that are no SQL are not ours. */
static enum err_code add_file(struct migrations *m, const char *directory,
                              const char *file, struct err *err)
{
    struct migration found = {0};

    if (!ends_in_sql(file))
        return ERR_NONE;
    if (!parse_name(file, &found))
        return err_set(err, ERR_INPUT,
                       "cannot use \"%.80s\": migrations are called "
                       "NNNN_name.sql, from 0001 on, in lower case",
                       file);
    struct migration *place = &m->items[found.number - 1];
    if (place->number)
        return err_set(err, ERR_INPUT, "migration %04d is there twice: %s, %s",
                       found.number, place->name, found.name);
    if (read_file(directory, file, &found, err))
        return err->code;
    *place = found;
    m->n = MAX(m->n, (size_t)found.number);
    return ERR_NONE;
}

static enum err_code check_gaps(const struct migrations *m,
                                const char *directory, struct err *err)
{
    if (m->n == 0)
        return err_set(err, ERR_NOT_FOUND, "\"%.120s\" holds no migration",
                       directory);
    for (size_t i = 0; i < m->n; i++)
        if (!m->items[i].number)
            return err_set(err, ERR_INPUT,
                           "migration %04zu is missing in \"%.120s\"", i + 1,
                           directory);
    return ERR_NONE;
}

static enum err_code read_all(struct migrations *m, DIR *dir,
                              const char *directory, struct err *err)
{
    const struct dirent *entry;

    while ((entry = readdir(dir)))
        if (add_file(m, directory, entry->d_name, err))
            return err->code;
    return check_gaps(m, directory, err);
}

enum err_code migrations_read(const char *directory, struct migrations **ret,
                              struct err *err)
{
    CLEANUP(migrations_free)
    struct migrations *m = NEW(struct migrations);
    DIR *dir = opendir(directory);

    if (!dir)
        return err_set_from(err, ERR_NOT_FOUND, ERR_ERRNO, errno,
                            "could not open the migrations' directory "
                            "\"%.120s\" (--dir names another)",
                            directory);
    m->items = must_alloc(MIGRATIONS_MAX, sizeof(*m->items));
    enum err_code code = read_all(m, dir, directory, err);
    closedir(dir);
    if (code)
        return code;
    *ret = TAKE(m);
    return ERR_NONE;
}

enum err_code migrations_record(struct migrations *m,
                                const struct migration_record *record,
                                struct err *err)
{
    int number = record->number;

    if (number < 1 || (size_t)number > m->n)
        return err_set(err, ERR_CONFLICT,
                       "the database has migration %04d_%s, but its file is "
                       "missing: is this an older Foleni than the database's?",
                       number, record->name);
    struct migration *found = &m->items[number - 1];
    if (number > 1 && !m->items[number - 2].applied)
        return err_set(err, ERR_CONFLICT,
                       "the database has migration %04d but not %04d: its "
                       "table `migrations` was changed by hand",
                       number, number - 1);
    if (strcmp(found->name, record->name) != 0 ||
        strcmp(found->checksum, record->checksum) != 0)
        return err_set(err, ERR_CONFLICT,
                       "migration %04d_%s was changed after it was applied "
                       "(as %s, on %.19s): restore the file and put the change "
                       "into a new one",
                       number, found->name, record->name, record->applied_at);
    found->applied = true;
    snprintf(found->applied_at, sizeof(found->applied_at), "%s",
             record->applied_at);
    return ERR_NONE;
}

/* --- where they are --- */

#define INSTALLED_DIRECTORY "/usr/share/foleni/sql"

static bool is_directory(const char *path)
{
    return access(path, R_OK | X_OK) == 0;
}

/** Writes the directory of this executable; false when it is not known. */
static bool own_directory(char *out, size_t size)
{
    ssize_t len = readlink("/proc/self/exe", out, size - 1);

    if (len <= 0)
        return false;
    out[len] = '\0';
    char *slash = strrchr(out, '/');
    if (!slash)
        return false;
    *slash = '\0';
    return true;
}

void migrations_find(const char *wanted, char out[PATH_MAX])
{
    static const char *const below[] = {"/../schemas/sql",
                                        "/../../schemas/sql"};
    char own[PATH_MAX], candidate[PATH_MAX + 32];

    snprintf(out, PATH_MAX, "%s", wanted ? wanted : INSTALLED_DIRECTORY);
    if (wanted || !own_directory(own, sizeof(own)))
        return;
    for (size_t i = 0; i < ARRAY_LEN(below); i++) {
        snprintf(candidate, sizeof(candidate), "%s%s", own, below[i]);
        if (!is_directory(candidate))
            continue;
        if (realpath(candidate, out))
            return;
    }
    snprintf(out, PATH_MAX, "%s", INSTALLED_DIRECTORY);
}
