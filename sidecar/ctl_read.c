
#define _GNU_SOURCE

#include "ctl.h"
#include "limit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


#define SLUICE_CTL_CHUNK  8192          /* buckets at a time: 2 MB           */


typedef struct {
    const char   *prefix;
    char        **names;
    size_t        n;
    size_t        size;
} sluice_ctl_names_t;


static int
sluice_ctl_visit(const char *name, void *data)
{
    sluice_ctl_names_t  *list = data;

    size_t   size;
    char   **names;

    if (strncmp(name, list->prefix, strlen(list->prefix)) != 0) {
        return 0;
    }

    if (list->n + 1 >= list->size) {
        size = list->size ? list->size * 2 : 32;
        names = realloc(list->names, size * sizeof(char *));

        if (names == NULL) {
            return -1;
        }

        list->names = names;
        list->size = size;
    }

    list->names[list->n] = strdup(name);

    if (list->names[list->n] == NULL) {
        return -1;
    }

    list->names[++list->n] = NULL;

    return 0;
}


static int
sluice_ctl_compare(const void *one, const void *two)
{
    return strverscmp(*(char *const *) one, *(char *const *) two);
}


/* the names of files with that prefix, sorted; NULL-terminated */

static char **
sluice_ctl_list(sluice_ctl_t *ctl, const char *prefix)
{
    sluice_error_t       error;
    sluice_ctl_names_t   list;

    memset(&list, 0, sizeof(sluice_ctl_names_t));
    list.prefix = prefix;

    if (sluice_dir_walk(&ctl->dir, sluice_ctl_visit, &list, &error)
        != SLUICE_OK)
    {
        sluice_ctl_skip(ctl, ".", "%s", error.text);
    }

    if (list.n > 1) {
        qsort(list.names, list.n, sizeof(char *), sluice_ctl_compare);
    }

    return list.names;
}


static void
sluice_ctl_list_free(char **names)
{
    char  **name;

    for (name = names; name != NULL && *name != NULL; name++) {
        free(*name);
    }

    free(names);
}


void
sluice_ctl_each_file(sluice_ctl_t *ctl, const char *prefix,
    sluice_ctl_visit_pt visit)
{
    char  **names, **name;

    names = sluice_ctl_list(ctl, prefix);

    for (name = names; name != NULL && *name != NULL; name++) {
        visit(ctl, *name);
    }

    sluice_ctl_list_free(names);
}


void
sluice_ctl_files(sluice_ctl_t *ctl, const char *table,
    const sluice_column_t *columns, const char *prefix,
    sluice_ctl_visit_pt visit)
{
    sluice_ctl_table(ctl, table, columns);
    sluice_ctl_each_file(ctl, prefix, visit);
    sluice_ctl_table_end(ctl);
}


bool
sluice_ctl_open(sluice_ctl_t *ctl, const char *name, uint32_t kind,
    sluice_file_t *file, bool *stale)
{
    sluice_error_t   error;
    sluice_status_t  status;

    status = sluice_file_open(&ctl->dir, name, kind, SLUICE_OPEN_LOOK, file,
                              &error);

    *stale = (status == SLUICE_STALE);

    if (status == SLUICE_OK || status == SLUICE_STALE) {
        return true;
    }

    if (status != SLUICE_ABSENT) {
        sluice_ctl_skip(ctl, name, "%s", error.text);
    }

    return false;
}


bool
sluice_ctl_read(sluice_ctl_t *ctl, const sluice_file_t *file,
    unsigned section, uint64_t offset, void *to, size_t len)
{
    size_t                    done;
    ssize_t                   n;
    const sluice_section_t   *s;

    s = &file->header.section[section];

    if (offset > s->size || len > s->size - offset) {
        sluice_ctl_skip(ctl, file->name, "a section is too short");
        return false;
    }

    for (done = 0; done < len; done += (size_t) n) {
        n = pread(file->fd, (char *) to + done, len - done,
                  (off_t) (s->offset + offset + done));

        if (n == -1 && errno == EINTR) {
            n = 0;

        } else if (n <= 0) {
            sluice_ctl_skip(ctl, file->name, "%s", n == 0 ? "it was truncated"
                                                          : strerror(errno));
            return false;
        }
    }

    return true;
}


bool
sluice_ctl_each_slot(sluice_ctl_t *ctl, const sluice_file_t *file,
    void (*visit)(sluice_u128_t slot, void *data), void *data)
{
    size_t                  n;
    unsigned                s;
    uint64_t                at, left;
    const uint64_t         *g;
    sluice_limit_bucket_t  *buckets;

    g = file->header.geometry;

    if (g[0] == 0 || g[0] > SLUICE_LIMIT_BUCKETS_MAX
        || g[1] < SLUICE_LIMIT_WINDOW_MIN || g[1] > SLUICE_LIMIT_WINDOW_MAX
        || g[2] == 0 || g[2] > SLUICE_LIMIT_SCALE_MAX
        || g[3] != SLUICE_LIMIT_BUCKET)
    {
        sluice_ctl_skip(ctl, file->name, "it has an impossible geometry");
        return false;
    }

    buckets = aligned_alloc(sizeof(sluice_limit_bucket_t),
                            SLUICE_CTL_CHUNK * sizeof(sluice_limit_bucket_t));
    if (buckets == NULL) {
        sluice_ctl_skip(ctl, file->name, "no memory");
        return false;
    }

    for (at = 0; at < g[0]; at += n) {

        left = g[0] - at;
        n = left < SLUICE_CTL_CHUNK ? (size_t) left : SLUICE_CTL_CHUNK;

        if (!sluice_ctl_read(ctl, file, 2,
                             at * sizeof(sluice_limit_bucket_t), buckets,
                             n * sizeof(sluice_limit_bucket_t)))
        {
            free(buckets);
            return false;
        }

        for (s = 0; s < n * SLUICE_LIMIT_BUCKET; s++) {
            visit(buckets[s / SLUICE_LIMIT_BUCKET]
                  .slot[s % SLUICE_LIMIT_BUCKET], data);
        }
    }

    free(buckets);

    return true;
}


/* asks who has locked what, and locks nothing: nobody is hindered by it */

const char *
sluice_ctl_use(const sluice_file_t *file)
{
    return sluice_file_locked(file, SLUICE_LOCK_PRIMARY) ? "newest"
           : sluice_file_locked(file, SLUICE_LOCK_USERS) ? "former"
                                                         : "unused";
}


const char *
sluice_ctl_unit(const sluice_file_t *file)
{
    uint64_t  unit;

    /* the module's numbers: NGX_HTTP_SLUICE_UNIT_REQUESTS and so on */
    static const char  *units[] = { "requests", "tokens", "bytes" };

    unit = file->header.geometry[4];

    return (unit < sizeof(units) / sizeof(units[0])) ? units[unit] : "";
}


bool
sluice_ctl_is(const char *file, const char *prefix, const char *subject)
{
    char      name[SLUICE_NAME_MAX];
    unsigned  number;

    return sluice_name_parse(file, prefix, name, sizeof(name), &number)
           && strcmp(name, subject) == 0;
}


void
sluice_ctl_fail(sluice_ctl_t *ctl, int code, const char *fmt, ...)
{
    va_list  args;

    fprintf(stderr, "sluicectl: ");

    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);

    fprintf(stderr, "\n");

    ctl->code = code;
}


/* on the standard error at once, and in the JSON at its end */

void
sluice_ctl_skip(sluice_ctl_t *ctl, const char *file, const char *fmt, ...)
{
    char               text[512], name[256], plain[512];
    va_list            args;
    sluice_skipped_t  *skipped;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    /* whoever may make a file may give it any name */

    sluice_ctl_plain(file, name, sizeof(name));
    sluice_ctl_plain(text, plain, sizeof(plain));

    fprintf(stderr, "skipped: %s: %s\n", name, plain);

    skipped = realloc(ctl->skipped,
                      (ctl->nskipped + 1) * sizeof(sluice_skipped_t));
    if (skipped == NULL) {
        return;
    }

    ctl->skipped = skipped;
    skipped += ctl->nskipped;

    skipped->file = strdup(file);
    skipped->reason = strdup(text);

    if (skipped->file != NULL && skipped->reason != NULL) {
        ctl->nskipped++;
    }
}
