
/* reading the _ids of JSON lines, and looking one up */

#define _GNU_SOURCE

#include "ids.h"
#include "document.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


static bool sluice_ids_line(sluice_ids_t *ids, const char *line, size_t len);
static int sluice_ids_compare(const void *one, const void *two);


sluice_status_t
sluice_ids_read(sluice_ids_t *ids, int fd, const char *path, uint64_t offset,
    uint64_t *end, sluice_error_t *error)
{
    bool       foreign;
    char      *buf, *p, *line;
    size_t     have;
    ssize_t    n;
    uint64_t   at;

    buf = malloc(SLUICE_LINE_MAX);
    if (buf == NULL) {
        return sluice_error(error, SLUICE_FAILED, "no memory");
    }

    at = offset;
    *end = at;
    have = 0;
    foreign = false;

    for ( ;; ) {
        n = pread(fd, buf + have, SLUICE_LINE_MAX - have, (off_t) (at + have));

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n <= 0) {
            break;
        }

        have += (size_t) n;
        line = buf;

        while ((p = memchr(line, '\n', have - (size_t) (line - buf)))
               != NULL)
        {
            if (!foreign && !sluice_ids_line(ids, line, (size_t) (p - line))) {
                free(buf);
                return sluice_error(error, SLUICE_FAILED, "no memory");
            }

            foreign = false;
            line = p + 1;
            *end = at + (uint64_t) (line - buf);
        }

        if (line == buf && have == SLUICE_LINE_MAX) {

            /* somebody else's line: looked for its end only */

            foreign = true;
            line = buf + have;
        }

        at += (uint64_t) (line - buf);
        have -= (size_t) (line - buf);
        memmove(buf, line, have);
    }

    free(buf);

    if (n == -1) {
        return sluice_error_errno(error, SLUICE_FAILED, "reading \"%s\" "
                                  "failed", path);
    }

    if (ids->count != 0) {
        qsort(ids->list, ids->count, sizeof(sluice_id_t), sluice_ids_compare);
    }

    return SLUICE_OK;
}


/* the _id comes first in each line; false: no memory */

static bool
sluice_ids_line(sluice_ids_t *ids, const char *line, size_t len)
{
    char          head[256];
    size_t        size;
    bson_t        document;
    const char   *p, *end;
    sluice_id_t   id, *list;
    bson_error_t  ignored;

    p = memmem(line, len, "\"seq\"", 5);
    end = (p != NULL) ? memchr(p, '}', len - (size_t) (p - line)) : NULL;

    if (end == NULL || end - line > 200) {
        return true;
    }

    size = (size_t) (end + 1 - line);
    memcpy(head, line, size);
    head[size] = '}';

    if (!bson_init_from_json(&document, head, (ssize_t) size + 1, &ignored)) {
        return true;
    }

    if (!sluice_document_id(&document, id.uuid, &id.sequence)) {
        bson_destroy(&document);
        return true;
    }

    bson_destroy(&document);

    if (ids->count == ids->room) {
        size = ids->room ? ids->room * 2 : 1024;
        list = realloc(ids->list, size * sizeof(sluice_id_t));

        if (list == NULL) {
            return false;
        }

        ids->list = list;
        ids->room = size;
    }

    ids->list[ids->count++] = id;

    return true;
}


static int
sluice_ids_compare(const void *one, const void *two)
{
    int                 rc;
    const sluice_id_t  *a, *b;

    a = one;
    b = two;
    rc = memcmp(a->uuid, b->uuid, 16);

    if (rc != 0) {
        return rc;
    }

    return (a->sequence > b->sequence) - (a->sequence < b->sequence);
}


bool
sluice_ids_has(const sluice_ids_t *ids, const uint8_t uuid[16],
    uint64_t sequence)
{
    sluice_id_t  id;

    if (ids->count == 0) {
        return false;
    }

    memcpy(id.uuid, uuid, 16);
    id.sequence = sequence;

    return bsearch(&id, ids->list, ids->count, sizeof(sluice_id_t),
                   sluice_ids_compare) != NULL;
}


void
sluice_ids_clear(sluice_ids_t *ids)
{
    free(ids->list);
    memset(ids, 0, sizeof(sluice_ids_t));
}
