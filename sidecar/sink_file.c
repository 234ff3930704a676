
/*
 * JSON lines in a file.
 *
 * A file cannot refuse a line that it has already, so that exactly once is
 * made here.  Beside the file stands PATH.state, replaced as a whole, with
 * {device, inode, offset}.  The rule that is kept at every instant:
 *
 *   A record whose line stands before `offset` never comes again.
 *
 * So at start the lines from `offset` on are the only ones whose records may
 * come again.  Their _ids are read, and a record that has one of them is
 * done without being written.  A torn last line is cut off: its record's
 * tail has not moved, and it does come again.
 *
 * Why the rule holds.  `offset` is raised in one place, before a batch is
 * written, to the end of the file.  The sink is serial: at that moment the
 * tails have moved over the last batch, and its entries are free, so that
 * none of the records written by this process comes again.  As for the lines
 * that a former process left behind `offset`: their records were in lanes
 * that existed when this process began, before the heads of that moment or
 * in entries of lanes without an owner.  Once all of that has been taken
 * over (`settled`) they cannot come either; until then `offset` stays where
 * it is, and the _ids are kept.
 *
 * The lines are on the disk before a batch is done.  A write that fails half
 * way is cut off again, so that a batch stands in the file once or not at
 * all while the process lives.  After an fdatasync() that failed it is
 * written anew, into new pages: the old ones may have been dropped by then.
 *
 * The file is renamed by whoever rotates it, in its directory; SIGHUP makes
 * a new one, between batches, once settled.  The file of the state, by
 * whatever name, goes on being written until then (lines.h).
 */

#define _GNU_SOURCE

#include "sink.h"
#include "document.h"
#include "io.h"
#include "lines.h"
#include "log.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


#define SLUICE_SINK_BUFFER  (256 * 1024)


typedef struct {
    sluice_sink_t    sink;
    sluice_lines_t   lines;

    bool             settled;           /* atomic: by the drain              */
    bool             reopen;            /* atomic: by the drain              */

    char            *buffer;
    size_t           buffered;
} sluice_sink_file_t;


static sluice_sink_answer_t sluice_sink_file_check(sluice_sink_t *sink,
    sluice_error_t *error);
static void *sluice_sink_file_writer_create(sluice_sink_t *sink);
static void sluice_sink_file_writer_destroy(sluice_sink_t *sink,
    void *writer);
static sluice_sink_answer_t sluice_sink_file_write(sluice_sink_t *sink,
    void *writer, sluice_batch_t *batch, sluice_error_t *error);
static void sluice_sink_file_reopen(sluice_sink_t *sink);
static void sluice_sink_file_settled(sluice_sink_t *sink);
static void sluice_sink_file_destroy(sluice_sink_t *sink);

static sluice_sink_answer_t sluice_sink_file_answer(int err);
static sluice_status_t sluice_sink_file_prepare(sluice_sink_file_t *file,
    sluice_error_t *error);
static sluice_status_t sluice_sink_file_put(sluice_sink_file_t *file,
    sluice_batch_t *batch, uint64_t *end, sluice_error_t *error);
static sluice_status_t sluice_sink_file_flush(sluice_sink_file_t *file,
    uint64_t *end, sluice_error_t *error);


sluice_sink_t *
sluice_sink_file_create(const char *rest, sluice_error_t *error)
{
    sluice_sink_t       *sink;
    sluice_sink_file_t  *file;

    if (*rest == '\0' || rest[strlen(rest) - 1] == '/'
        || strlen(rest) >= PATH_MAX - 16)
    {
        sluice_error(error, SLUICE_FAILED, "the sink is file:/path, and its "
                     "path names no file");
        return NULL;
    }

    file = calloc(1, sizeof(sluice_sink_file_t));

    if (file == NULL || (file->buffer = malloc(SLUICE_SINK_BUFFER)) == NULL) {
        free(file);
        sluice_error(error, SLUICE_FAILED, "no memory");
        return NULL;
    }

    sink = &file->sink;
    sink->name = "the file sink";
    sink->serial = true;
    sink->check = sluice_sink_file_check;
    sink->writer_create = sluice_sink_file_writer_create;
    sink->writer_destroy = sluice_sink_file_writer_destroy;
    sink->write = sluice_sink_file_write;
    sink->reopen = sluice_sink_file_reopen;
    sink->settled = sluice_sink_file_settled;
    sink->destroy = sluice_sink_file_destroy;

    if (sluice_lines_init(&file->lines, rest, error) != SLUICE_OK) {
        sluice_sink_file_destroy(sink);
        return NULL;
    }

    return sink;
}


static void
sluice_sink_file_destroy(sluice_sink_t *sink)
{
    sluice_sink_file_t  *file = (sluice_sink_file_t *) sink;

    sluice_lines_close(&file->lines);
    free(file->buffer);
    free(file);
}


static sluice_sink_answer_t
sluice_sink_file_check(sluice_sink_t *sink, sluice_error_t *error)
{
    sluice_sink_file_t  *file = (sluice_sink_file_t *) sink;

    bool             rotated;
    sluice_lines_t  *lines;

    lines = &file->lines;

    if (sluice_lines_lock(lines, error) != SLUICE_OK
        || sluice_lines_open(lines, error) != SLUICE_OK
        || sluice_lines_recover(lines, &rotated, error) != SLUICE_OK)
    {
        return SLUICE_SINK_FAILED;
    }

    if (rotated) {
        file->reopen = true;
    }

    return SLUICE_SINK_DONE;
}


static void *
sluice_sink_file_writer_create(sluice_sink_t *sink)
{
    return sink;
}


static void
sluice_sink_file_writer_destroy(sluice_sink_t *sink, void *writer)
{
    (void) sink;
    (void) writer;
}


static void
sluice_sink_file_reopen(sluice_sink_t *sink)
{
    sluice_sink_file_t  *file = (sluice_sink_file_t *) sink;

    __atomic_store_n(&file->reopen, true, __ATOMIC_RELEASE);
}


static void
sluice_sink_file_settled(sluice_sink_t *sink)
{
    sluice_sink_file_t  *file = (sluice_sink_file_t *) sink;

    __atomic_store_n(&file->settled, true, __ATOMIC_RELEASE);
}


static sluice_sink_answer_t
sluice_sink_file_write(sluice_sink_t *sink, void *writer,
    sluice_batch_t *batch, sluice_error_t *error)
{
    sluice_sink_file_t  *file = (sluice_sink_file_t *) sink;

    uint32_t               i;
    uint64_t               end;
    sluice_lines_t        *lines;
    sluice_sink_answer_t   answer;

    (void) writer;

    lines = &file->lines;
    errno = 0;

    if (sluice_sink_file_prepare(file, error) != SLUICE_OK) {
        return sluice_sink_file_answer(errno);
    }

    end = lines->end;
    errno = 0;

    if (sluice_sink_file_put(file, batch, &end, error) != SLUICE_OK) {
        goto failed;
    }

    if (end != lines->end && fdatasync(lines->fd) == -1) {
        sluice_error_errno(error, SLUICE_FAILED, "fdatasync \"%s\" failed",
                           lines->path);
        goto failed;
    }

    lines->end = end;

    for (i = 0; i < batch->count; i++) {
        batch->records[i].state = SLUICE_BATCH_DONE;
    }

    return SLUICE_SINK_DONE;

failed:

    answer = sluice_sink_file_answer(errno);

    if (ftruncate(lines->fd, (off_t) lines->end) == -1) {

        /* sluice_sink_file_prepare() will see it by the size */

        sluice_log(SLUICE_LOG_ERROR, "ftruncate \"%s\" failed: %s",
                   lines->path, strerror(errno));
    }

    return answer;
}


/* a failure's errno, which the making of its text leaves alone */

static sluice_sink_answer_t
sluice_sink_file_answer(int err)
{
    switch (err) {

    case ENOSPC:
    case EDQUOT:
    case EROFS:
    case EACCES:
        return SLUICE_SINK_FAILED;

    default:
        return SLUICE_SINK_RETRY;
    }
}


/* between two batches: a new file, and the state */

static sluice_status_t
sluice_sink_file_prepare(sluice_sink_file_t *file, sluice_error_t *error)
{
    struct stat       st;
    sluice_lines_t   *lines;
    sluice_status_t   status;

    lines = &file->lines;

    if (__atomic_load_n(&file->settled, __ATOMIC_ACQUIRE)) {

        sluice_ids_clear(&lines->ids);

        if (__atomic_load_n(&file->reopen, __ATOMIC_ACQUIRE)) {
            status = sluice_lines_open(lines, error);
            if (status != SLUICE_OK) {
                return status;
            }

            __atomic_store_n(&file->reopen, false, __ATOMIC_RELEASE);

            sluice_log(SLUICE_LOG_INFO, "\"%s\" was reopened", lines->path);
        }
    }

    if (fstat(lines->fd, &st) == -1) {
        return sluice_error_errno(error, SLUICE_FAILED, "fstat \"%s\" failed",
                                  lines->path);
    }

    if ((uint64_t) st.st_size > lines->end) {

        /* what a failed write has left */

        if (ftruncate(lines->fd, (off_t) lines->end) == -1) {
            return sluice_error_errno(error, SLUICE_FAILED,
                                      "ftruncate \"%s\" failed", lines->path);
        }

    } else if ((uint64_t) st.st_size < lines->end) {
        sluice_log(SLUICE_LOG_WARN, "\"%s\" was truncated by somebody else",
                   lines->path);
        lines->end = (uint64_t) st.st_size;
    }

    /* lines of a former process behind the offset: it stays */

    if (lines->ids.count != 0) {
        return SLUICE_OK;
    }

    if (lines->state.offset == lines->end
        && lines->state.inode == st.st_ino
        && lines->state.device == st.st_dev)
    {
        return SLUICE_OK;
    }

    return sluice_lines_store(lines, lines->end, error);
}


static sluice_status_t
sluice_sink_file_put(sluice_sink_file_t *file, sluice_batch_t *batch,
    uint64_t *end, sluice_error_t *error)
{
    char                        *json;
    size_t                       len;
    bson_t                       document;
    uint32_t                     i;
    sluice_status_t              status;
    const sluice_record_t       *record;
    const sluice_batch_lane_t   *lane;

    file->buffered = 0;

    for (i = 0; i < batch->count; i++) {

        record = sluice_batch_record(batch, i);
        lane = sluice_batch_lane(batch, i);

        if (sluice_ids_has(&file->lines.ids, lane->uuid, record->sequence)) {
            continue;
        }

        bson_init(&document);
        sluice_document_make(&document, record, lane->uuid, lane->node);
        json = bson_as_relaxed_extended_json(&document, &len);
        bson_destroy(&document);

        if (json == NULL || len + 1 > SLUICE_LINE_MAX) {
            bson_free(json);
            return sluice_error(error, SLUICE_FAILED, "no memory for a line "
                                "of \"%s\"", file->lines.path);
        }

        if (SLUICE_SINK_BUFFER - file->buffered < len + 1) {
            status = sluice_sink_file_flush(file, end, error);

            if (status != SLUICE_OK) {
                bson_free(json);
                return status;
            }
        }

        memcpy(file->buffer + file->buffered, json, len);
        file->buffer[file->buffered + len] = '\n';
        file->buffered += len + 1;

        bson_free(json);
    }

    return sluice_sink_file_flush(file, end, error);
}


static sluice_status_t
sluice_sink_file_flush(sluice_sink_file_t *file, uint64_t *end,
    sluice_error_t *error)
{
    sluice_lines_t  *lines;

    lines = &file->lines;

    if (!sluice_io_write(lines->fd, file->buffer, file->buffered,
                         (off_t) *end))
    {
        return sluice_error_errno(error, SLUICE_FAILED,
                                  "writing \"%s\" failed", lines->path);
    }

    *end += file->buffered;
    file->buffered = 0;

    return SLUICE_OK;
}
