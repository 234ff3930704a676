
#define _GNU_SOURCE

#include "quarantine.h"
#include "clock.h"
#include "document.h"
#include "io.h"
#include "log.h"

#include <bson/bson.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


static sluice_status_t sluice_quarantine_begin(
    sluice_quarantine_t *quarantine, sluice_quarantine_file_t *file,
    sluice_error_t *error);
static sluice_status_t sluice_quarantine_end(sluice_quarantine_t *quarantine,
    sluice_quarantine_file_t *file, sluice_status_t status,
    sluice_error_t *error);
static sluice_status_t sluice_quarantine_reject(
    sluice_quarantine_t *quarantine, const sluice_batch_t *batch,
    const sluice_batch_reject_t *reject, sluice_error_t *error);
static sluice_status_t sluice_quarantine_put(sluice_quarantine_t *quarantine,
    sluice_quarantine_file_t *file, const bson_t *line,
    sluice_error_t *error);
static sluice_status_t sluice_quarantine_file(sluice_quarantine_t *quarantine,
    sluice_quarantine_file_t *file, sluice_error_t *error);


sluice_status_t
sluice_quarantine_open(sluice_quarantine_t *quarantine, const char *path,
    sluice_error_t *error)
{
    memset(quarantine, 0, sizeof(sluice_quarantine_t));
    pthread_mutex_init(&quarantine->mutex, NULL);

    quarantine->dir = -1;
    quarantine->damaged.fd = -1;
    quarantine->damaged.name = "damaged";
    quarantine->rejected.fd = -1;
    quarantine->rejected.name = "dead-letters";

    if (path == NULL) {
        return SLUICE_OK;
    }

    if (strlen(path) >= sizeof(quarantine->path)) {
        return sluice_error(error, SLUICE_FAILED, "\"%s\" is too long", path);
    }

    strcpy(quarantine->path, path);

    if (mkdir(path, 0700) == -1 && errno != EEXIST) {
        return sluice_error_errno(error, SLUICE_FAILED, "making \"%s\", the "
                                  "directory of --quarantine, failed", path);
    }

    quarantine->dir = open(path, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (quarantine->dir == -1
        || faccessat(quarantine->dir, ".", W_OK|X_OK, AT_EACCESS) == -1)
    {
        sluice_error_errno(error, SLUICE_FAILED, "\"%s\", the directory of "
                           "--quarantine, cannot be written", path);
        sluice_quarantine_close(quarantine);
        return SLUICE_FAILED;
    }

    return SLUICE_OK;
}


void
sluice_quarantine_close(sluice_quarantine_t *quarantine)
{
    if (quarantine->damaged.fd != -1) {
        close(quarantine->damaged.fd);
        quarantine->damaged.fd = -1;
    }

    if (quarantine->rejected.fd != -1) {
        close(quarantine->rejected.fd);
        quarantine->rejected.fd = -1;
    }

    if (quarantine->dir != -1) {
        close(quarantine->dir);
        quarantine->dir = -1;
    }
}


sluice_status_t
sluice_quarantine_damage(sluice_quarantine_t *quarantine,
    const uint8_t lane[16], uint64_t position, const char *reason,
    const void *bytes, size_t len, sluice_error_t *error)
{
    bson_t           line;
    sluice_status_t  status;

    if (quarantine->dir == -1) {
        return SLUICE_OK;
    }

    bson_init(&line);
    BSON_APPEND_DATE_TIME(&line, "found",
                          (int64_t) (sluice_clock_wall_us() / 1000));
    BSON_APPEND_BINARY(&line, "lane", BSON_SUBTYPE_UUID, lane, 16);
    BSON_APPEND_INT64(&line, "position", (int64_t) position);
    BSON_APPEND_UTF8(&line, "reason", reason);
    BSON_APPEND_BINARY(&line, "bytes", BSON_SUBTYPE_BINARY, bytes,
                       (uint32_t) len);

    status = sluice_quarantine_begin(quarantine, &quarantine->damaged, error);

    if (status == SLUICE_OK) {
        status = sluice_quarantine_put(quarantine, &quarantine->damaged, &line,
                                       error);
    }

    status = sluice_quarantine_end(quarantine, &quarantine->damaged, status,
                                   error);

    bson_destroy(&line);

    return status;
}


sluice_status_t
sluice_quarantine_rejects(sluice_quarantine_t *quarantine,
    const sluice_batch_t *batch, sluice_error_t *error)
{
    uint32_t         i;
    sluice_status_t  status;

    if (quarantine->dir == -1) {
        return SLUICE_OK;
    }

    status = sluice_quarantine_begin(quarantine, &quarantine->rejected, error);

    for (i = 0; status == SLUICE_OK && i < batch->nrejects; i++) {
        status = sluice_quarantine_reject(quarantine, batch,
                                          &batch->rejects[i], error);
    }

    return sluice_quarantine_end(quarantine, &quarantine->rejected, status,
                                 error);
}


/* takes the mutex, which sluice_quarantine_end() gives back */

static sluice_status_t
sluice_quarantine_begin(sluice_quarantine_t *quarantine,
    sluice_quarantine_file_t *file, sluice_error_t *error)
{
    struct stat      st;
    sluice_status_t  status;

    pthread_mutex_lock(&quarantine->mutex);

    status = sluice_quarantine_file(quarantine, file, error);
    if (status != SLUICE_OK) {
        return status;
    }

    if (fstat(file->fd, &st) == -1) {
        sluice_error_errno(error, SLUICE_FAILED,
                           "fstat \"%s/%s.jsonl\" failed", quarantine->path,
                           file->name);
        close(file->fd);
        file->fd = -1;

        return SLUICE_FAILED;
    }

    file->size = st.st_size;

    return SLUICE_OK;
}


/* what was written goes to the disk, or is cut off: it comes again */

static sluice_status_t
sluice_quarantine_end(sluice_quarantine_t *quarantine,
    sluice_quarantine_file_t *file, sluice_status_t status,
    sluice_error_t *error)
{
    if (status == SLUICE_OK && fdatasync(file->fd) == -1) {

        /*
         * The kernel tells an error once and may have dropped the pages:
         * what this file holds is no longer to be relied upon.
         */

        file->abandoned = true;

        status = sluice_error_errno(error, SLUICE_FAILED, "fdatasync "
                                    "\"%s/%s.jsonl\" failed",
                                    quarantine->path, file->name);
    }

    if (status != SLUICE_OK && file->fd != -1) {

        if (ftruncate(file->fd, file->size) == -1) {
            sluice_log(SLUICE_LOG_ERROR, "ftruncate \"%s/%s.jsonl\" failed: "
                       "%s; lines may stand in it twice", quarantine->path,
                       file->name, strerror(errno));
        }

        close(file->fd);
        file->fd = -1;
    }

    pthread_mutex_unlock(&quarantine->mutex);

    return status;
}


static sluice_status_t
sluice_quarantine_reject(sluice_quarantine_t *quarantine,
    const sluice_batch_t *batch, const sluice_batch_reject_t *reject,
    sluice_error_t *error)
{
    bson_t                      line, document;
    sluice_status_t             status;
    const sluice_batch_lane_t  *lane;

    lane = sluice_batch_lane(batch, reject->index);

    bson_init(&document);
    sluice_document_make(&document, sluice_batch_record(batch, reject->index),
                         lane->uuid, lane->node);

    bson_init(&line);
    BSON_APPEND_DATE_TIME(&line, "refused",
                          (int64_t) (sluice_clock_wall_us() / 1000));
    BSON_APPEND_INT32(&line, "code", reject->code);
    (void) sluice_document_text(&line, "reason", reject->text,
                                strlen(reject->text));
    BSON_APPEND_DOCUMENT(&line, "document", &document);

    status = sluice_quarantine_put(quarantine, &quarantine->rejected, &line,
                                   error);

    bson_destroy(&line);
    bson_destroy(&document);

    return status;
}


static sluice_status_t
sluice_quarantine_put(sluice_quarantine_t *quarantine,
    sluice_quarantine_file_t *file, const bson_t *line, sluice_error_t *error)
{
    char             *json;
    size_t            len;
    sluice_status_t   status;

    json = bson_as_canonical_extended_json(line, &len);
    if (json == NULL) {
        return sluice_error(error, SLUICE_FAILED, "no memory for a line of "
                            "\"%s/%s.jsonl\"", quarantine->path, file->name);
    }

    json[len++] = '\n';             /* over the NUL: nobody needs it */

    status = SLUICE_OK;

    if (!sluice_io_write(file->fd, json, len, -1)) {
        status = sluice_error_errno(error, SLUICE_FAILED, "writing "
                                    "\"%s/%s.jsonl\" failed",
                                    quarantine->path, file->name);
    }

    bson_free(json);

    return status;
}


/* opens it at need; after a torn line a new one is begun */

static sluice_status_t
sluice_quarantine_file(sluice_quarantine_t *quarantine,
    sluice_quarantine_file_t *file, sluice_error_t *error)
{
    int          fd;
    char         name[96], last;
    struct stat  st;

    if (file->fd != -1) {
        return SLUICE_OK;
    }

    if (file->abandoned) {
        snprintf(name, sizeof(name), "%s.%llu.jsonl", file->name,
                 (unsigned long long) sluice_clock_wall_us());
    } else {
        snprintf(name, sizeof(name), "%s.jsonl", file->name);
    }

    fd = openat(quarantine->dir, name,
                O_RDWR|O_CREAT|O_APPEND|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC, 0600);

    if (fd == -1 || fstat(fd, &st) == -1) {
        sluice_error_errno(error, SLUICE_FAILED, "open \"%s/%s\" failed",
                           quarantine->path, name);
        goto failed;
    }

    if (!S_ISREG(st.st_mode)) {
        sluice_error(error, SLUICE_FAILED, "\"%s/%s\" is not a regular file",
                     quarantine->path, name);
        goto failed;
    }

    if (st.st_size == 0) {

        /* its name must be on the disk as well */

        if (fsync(quarantine->dir) == -1) {
            sluice_error_errno(error, SLUICE_FAILED, "fsync of \"%s\" failed",
                               quarantine->path);
            goto failed;
        }

    } else if (pread(fd, &last, 1, st.st_size - 1) != 1
               || (last != '\n' && write(fd, "\n", 1) != 1))
    {
        sluice_error_errno(error, SLUICE_FAILED, "writing \"%s/%s\" failed",
                           quarantine->path, name);
        goto failed;
    }

    file->fd = fd;

    return SLUICE_OK;

failed:

    if (fd != -1) {
        close(fd);
    }

    return SLUICE_FAILED;
}
