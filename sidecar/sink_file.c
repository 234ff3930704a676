
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
 * a new one, between batches, once settled.  At start the file of the state
 * is looked for by its inode and by what it holds, and goes on being written
 * until settled.
 */

#define _GNU_SOURCE

#include "sink.h"
#include "document.h"
#include "file.h"
#include "log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


#define SLUICE_SINK_BUFFER  (256 * 1024)
#define SLUICE_SINK_LINE    (64 * 1024)     /* longer than any line of ours  */
#define SLUICE_SINK_BEGIN   "{ \"_id\" : { \"lane\""


typedef struct {
    uint8_t   uuid[16];
    uint64_t  sequence;
} sluice_lines_id_t;


typedef struct {
    uint64_t  device;
    uint64_t  inode;
    uint64_t  offset;
} sluice_lines_state_t;


typedef struct {
    sluice_sink_t         sink;

    char                  path[PATH_MAX];
    const char           *base;             /* the path's last component     */
    int                   dir;
    int                   fd;
    int                   lock;             /* PATH.lock                     */

    uint64_t              end;              /* of the last whole batch       */
    sluice_lines_state_t  state;            /* as stored                     */

    sluice_lines_id_t    *ids;              /* sorted: written already       */
    size_t                nids;
    size_t                ids_size;

    bool                  settled;          /* atomic: by the drain          */
    bool                  reopen;           /* atomic: by the drain          */

    char                 *buffer;
    size_t                buffered;
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

static sluice_status_t sluice_lines_lock_path(sluice_sink_file_t *file,
    sluice_error_t *error);
static sluice_status_t sluice_lines_open_path(sluice_sink_file_t *file,
    sluice_error_t *error);
static sluice_status_t sluice_lines_load(sluice_sink_file_t *file,
    bool *found, sluice_error_t *error);
static sluice_status_t sluice_lines_store(sluice_sink_file_t *file,
    uint64_t offset, sluice_error_t *error);
static sluice_status_t sluice_lines_recover(sluice_sink_file_t *file,
    sluice_error_t *error);
static int sluice_lines_rotated(sluice_sink_file_t *file);
static bool sluice_lines_named(const sluice_sink_file_t *file,
    const char *name);
static bool sluice_lines_ours(const sluice_sink_file_t *file, int fd);
static sluice_status_t sluice_lines_resume(sluice_sink_file_t *file,
    sluice_error_t *error);
static sluice_status_t sluice_lines_scan(sluice_sink_file_t *file,
    uint64_t *end, sluice_error_t *error);
static bool sluice_lines_scan_line(sluice_sink_file_t *file, const char *line,
    size_t len);
static int sluice_lines_compare(const void *one, const void *two);
static bool sluice_lines_has(const sluice_sink_file_t *file,
    const uint8_t uuid[16], uint64_t sequence);
static sluice_sink_answer_t sluice_lines_answer(int err);
static sluice_status_t sluice_lines_prepare(sluice_sink_file_t *file,
    sluice_error_t *error);
static sluice_status_t sluice_lines_put(sluice_sink_file_t *file,
    sluice_batch_t *batch, uint64_t *end, sluice_error_t *error);
static sluice_status_t sluice_lines_flush(sluice_sink_file_t *file,
    uint64_t *end, sluice_error_t *error);


sluice_sink_t *
sluice_sink_file_create(const char *rest, sluice_error_t *error)
{
    char                *slash;
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

    strcpy(file->path, rest);
    file->dir = -1;
    file->fd = -1;
    file->lock = -1;

    slash = strrchr(file->path, '/');

    if (slash == NULL) {
        file->base = file->path;
        file->dir = open(".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    } else {
        file->base = slash + 1;
        *slash = '\0';
        file->dir = open(slash == file->path ? "/" : file->path,
                         O_RDONLY|O_DIRECTORY|O_CLOEXEC);
        *slash = '/';
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

    if (file->dir == -1) {
        sluice_error_errno(error, SLUICE_FAILED, "open the directory of \"%s\" "
                           "failed", rest);
        sluice_sink_file_destroy(sink);
        return NULL;
    }

    return sink;
}


static void
sluice_sink_file_destroy(sluice_sink_t *sink)
{
    sluice_sink_file_t  *file = (sluice_sink_file_t *) sink;

    if (file->fd != -1) {
        close(file->fd);
    }

    if (file->lock != -1) {
        close(file->lock);
    }

    if (file->dir != -1) {
        close(file->dir);
    }

    free(file->ids);
    free(file->buffer);
    free(file);
}


static sluice_sink_answer_t
sluice_sink_file_check(sluice_sink_t *sink, sluice_error_t *error)
{
    sluice_sink_file_t  *file = (sluice_sink_file_t *) sink;

    if (sluice_lines_lock_path(file, error) != SLUICE_OK
        || sluice_lines_open_path(file, error) != SLUICE_OK
        || sluice_lines_recover(file, error) != SLUICE_OK)
    {
        return SLUICE_SINK_FAILED;
    }

    return SLUICE_SINK_DONE;
}


/* two of them on one file, from two directories, would cut each other off */

static sluice_status_t
sluice_lines_lock_path(sluice_sink_file_t *file, sluice_error_t *error)
{
    char           name[NAME_MAX + 16];
    sluice_file_t  lock;

    snprintf(name, sizeof(name), "%s.lock", file->base);

    file->lock = openat(file->dir, name,
                        O_RDWR|O_CREAT|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC, 0600);

    if (file->lock == -1) {
        return sluice_error_errno(error, SLUICE_FAILED,
                                  "open \"%s.lock\" failed", file->path);
    }

    memset(&lock, 0, sizeof(sluice_file_t));
    lock.fd = file->lock;

    if (!sluice_file_lock(&lock, 0, true)) {
        return sluice_error(error, SLUICE_BUSY, "another process writes to "
                            "\"%s\"", file->path);
    }

    return SLUICE_OK;
}


static sluice_status_t
sluice_lines_open_path(sluice_sink_file_t *file, sluice_error_t *error)
{
    int          fd;
    struct stat  st;

    fd = openat(file->dir, file->base, O_RDWR|O_CREAT|O_NONBLOCK|O_CLOEXEC,
                0640);

    if (fd == -1 || fstat(fd, &st) == -1) {
        sluice_error_errno(error, SLUICE_FAILED, "open \"%s\" failed",
                           file->path);
        goto failed;
    }

    if (!S_ISREG(st.st_mode)) {
        sluice_error(error, SLUICE_FAILED, "\"%s\" is not a regular file",
                     file->path);
        goto failed;
    }

    /* a new name must be on the disk before what it names counts */

    if (st.st_size == 0 && fsync(file->dir) == -1) {
        sluice_error_errno(error, SLUICE_FAILED, "fsync of the directory of "
                           "\"%s\" failed", file->path);
        goto failed;
    }

    if (file->fd != -1) {
        close(file->fd);
    }

    file->fd = fd;
    file->end = (uint64_t) st.st_size;

    return SLUICE_OK;

failed:

    if (fd != -1) {
        close(fd);
    }

    return SLUICE_FAILED;
}


static sluice_status_t
sluice_lines_load(sluice_sink_file_t *file, bool *found, sluice_error_t *error)
{
    int                  fd;
    char                 name[NAME_MAX + 16], text[128];
    ssize_t              n;
    unsigned long long   device, inode, offset;

    *found = false;

    snprintf(name, sizeof(name), "%s.state", file->base);

    fd = openat(file->dir, name, O_RDONLY|O_NONBLOCK|O_CLOEXEC);

    if (fd == -1) {
        if (errno == ENOENT) {
            return SLUICE_OK;
        }

        return sluice_error_errno(error, SLUICE_FAILED,
                                  "open \"%s.state\" failed", file->path);
    }

    n = read(fd, text, sizeof(text) - 1);
    close(fd);

    if (n < 0) {
        return sluice_error_errno(error, SLUICE_FAILED,
                                  "reading \"%s.state\" failed", file->path);
    }

    text[n] = '\0';

    if (sscanf(text, "sluice 1 %llu %llu %llu\n", &device, &inode, &offset)
        != 3)
    {
        sluice_log(SLUICE_LOG_ERROR, "skipped: \"%s.state\" is damaged; "
                   "records of the last batch may be written once more",
                   file->path);
        return SLUICE_OK;
    }

    file->state.device = device;
    file->state.inode = inode;
    file->state.offset = offset;
    *found = true;

    return SLUICE_OK;
}


/* a rename is whole or has not been: kill -9 leaves no half of a state */

static sluice_status_t
sluice_lines_store(sluice_sink_file_t *file, uint64_t offset,
    sluice_error_t *error)
{
    int          fd, len;
    char         name[NAME_MAX + 16], temporary[NAME_MAX + 16], text[128];
    struct stat  st;

    snprintf(name, sizeof(name), "%s.state", file->base);
    snprintf(temporary, sizeof(temporary), "%s.state.new", file->base);

    if (fstat(file->fd, &st) == -1) {
        return sluice_error_errno(error, SLUICE_FAILED, "fstat \"%s\" failed",
                                  file->path);
    }

    len = snprintf(text, sizeof(text), "sluice 1 %llu %llu %llu\n",
                   (unsigned long long) st.st_dev,
                   (unsigned long long) st.st_ino,
                   (unsigned long long) offset);

    fd = openat(file->dir, temporary,
                O_WRONLY|O_CREAT|O_TRUNC|O_NOFOLLOW|O_CLOEXEC, 0600);

    if (fd == -1 || write(fd, text, (size_t) len) != len
        || renameat(file->dir, temporary, file->dir, name) == -1)
    {
        sluice_error_errno(error, SLUICE_FAILED, "writing \"%s.state\" failed",
                           file->path);
        if (fd != -1) {
            close(fd);
        }
        return SLUICE_FAILED;
    }

    close(fd);

    file->state.device = st.st_dev;
    file->state.inode = st.st_ino;
    file->state.offset = offset;

    return SLUICE_OK;
}


static sluice_status_t
sluice_lines_recover(sluice_sink_file_t *file, sluice_error_t *error)
{
    int              fd;
    bool             found;
    char             last;
    struct stat      st;
    sluice_status_t  status;

    status = sluice_lines_load(file, &found, error);
    if (status != SLUICE_OK) {
        return status;
    }

    if (fstat(file->fd, &st) == -1) {
        return sluice_error_errno(error, SLUICE_FAILED, "fstat \"%s\" failed",
                                  file->path);
    }

    if (found
        && (st.st_ino != file->state.inode || st.st_dev != file->state.device))
    {
        /*
         * It was rotated, and we were ended before the next batch.  There is
         * one offset in one file: we go on in that one until all is settled.
         */

        fd = sluice_lines_rotated(file);

        if (fd != -1) {
            close(file->fd);
            file->fd = fd;
            file->reopen = true;

        } else {
            found = false;

            sluice_log(SLUICE_LOG_WARN, "the file that \"%s.state\" is about "
                       "is gone; records of its last batch may be written "
                       "once more", file->path);
        }
    }

    if (found) {
        return sluice_lines_resume(file, error);
    }

    /* a line that is not ours to cut: ours begin behind it */

    if (file->end > 0
        && (pread(file->fd, &last, 1, (off_t) file->end - 1) != 1
            || (last != '\n'
                && pwrite(file->fd, "\n", 1, (off_t) file->end++) != 1)))
    {
        return sluice_error_errno(error, SLUICE_FAILED,
                                  "ending the last line of \"%s\" failed",
                                  file->path);
    }

    return SLUICE_OK;
}


/* the file is the one of the state: what is behind the offset counts */

static sluice_status_t
sluice_lines_resume(sluice_sink_file_t *file, sluice_error_t *error)
{
    uint64_t         end;
    struct stat      st;
    sluice_status_t  status;

    if (fstat(file->fd, &st) == -1) {
        return sluice_error_errno(error, SLUICE_FAILED, "fstat \"%s\" failed",
                                  file->path);
    }

    file->end = (uint64_t) st.st_size;
    end = file->end;

    if (file->state.offset > file->end) {
        sluice_log(SLUICE_LOG_WARN, "\"%s\" is shorter than it was; records "
                   "of its last batch may be written once more", file->path);
        return SLUICE_OK;
    }

    status = sluice_lines_scan(file, &end, error);
    if (status != SLUICE_OK || end == file->end) {
        return status;
    }

    sluice_log(SLUICE_LOG_WARN, "\"%s\" ended in the middle of a line: %llu "
               "bytes are cut off", file->path,
               (unsigned long long) (file->end - end));

    if (ftruncate(file->fd, (off_t) end) == -1) {
        return sluice_error_errno(error, SLUICE_FAILED,
                                  "ftruncate \"%s\" failed", file->path);
    }

    file->end = end;

    return SLUICE_OK;
}


static int
sluice_lines_rotated(sluice_sink_file_t *file)
{
    int             fd, found;
    DIR            *d;
    struct dirent  *e;

    fd = openat(file->dir, ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);
    d = (fd != -1) ? fdopendir(fd) : NULL;

    if (d == NULL) {
        if (fd != -1) {
            close(fd);
        }
        return -1;
    }

    found = -1;

    while (found == -1 && (e = readdir(d)) != NULL) {

        if (e->d_ino != file->state.inode
            || !sluice_lines_named(file, e->d_name))
        {
            continue;
        }

        found = openat(file->dir, e->d_name, O_RDWR|O_NONBLOCK|O_CLOEXEC);

        if (found != -1 && !sluice_lines_ours(file, found)) {
            close(found);
            found = -1;
        }
    }

    closedir(d);

    return found;
}


/* as those that rotate files name them, and none that stands beside ours */

static bool
sluice_lines_named(const sluice_sink_file_t *file, const char *name)
{
    size_t  len;

    len = strlen(file->base);

    return strncmp(name, file->base, len) == 0
           && strncmp(name + len, ".state", 6) != 0
           && strcmp(name + len, ".lock") != 0;
}


/* an inode is used again, by what was compressed for instance */

static bool
sluice_lines_ours(const sluice_sink_file_t *file, int fd)
{
    char         text[sizeof(SLUICE_SINK_BEGIN)], *p;
    size_t       len;
    off_t        at;
    ssize_t      n;
    struct stat  st;

    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)
        || st.st_dev != file->state.device
        || st.st_ino != file->state.inode
        || (uint64_t) st.st_size < file->state.offset)
    {
        return false;
    }

    /* the end of the line before, and the beginning of one of ours */

    p = text;
    len = sizeof(text);
    at = (off_t) file->state.offset - 1;

    if (at == -1) {
        at = 0;
        len--;
    }

    n = pread(fd, text, len, at);

    if (n < 0) {
        return false;
    }

    if (file->state.offset != 0) {
        if (n == 0 || *p++ != '\n') {
            return false;
        }
        n--;
    }

    return memcmp(p, SLUICE_SINK_BEGIN, (size_t) n) == 0;
}


/* reads the _ids of the whole lines from the offset on, and where they end */

static sluice_status_t
sluice_lines_scan(sluice_sink_file_t *file, uint64_t *end,
    sluice_error_t *error)
{
    char      *buf, *p, *line;
    size_t     have;
    ssize_t    n;
    uint64_t   at;

    buf = malloc(SLUICE_SINK_LINE);
    if (buf == NULL) {
        return sluice_error(error, SLUICE_FAILED, "no memory");
    }

    at = file->state.offset;
    *end = at;
    have = 0;

    for ( ;; ) {
        n = pread(file->fd, buf + have, SLUICE_SINK_LINE - have,
                  (off_t) (at + have));

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
            if (!sluice_lines_scan_line(file, line, (size_t) (p - line))) {
                free(buf);
                return sluice_error(error, SLUICE_FAILED, "no memory");
            }

            line = p + 1;
        }

        if (line == buf && have == SLUICE_SINK_LINE) {

            /* somebody else's line: looked for its end only */

            line = buf + have;
            at += have;
            have = 0;
            continue;
        }

        at += (uint64_t) (line - buf);
        have -= (size_t) (line - buf);
        memmove(buf, line, have);
        *end = at;
    }

    free(buf);

    if (n == -1) {
        return sluice_error_errno(error, SLUICE_FAILED, "reading \"%s\" "
                                  "failed", file->path);
    }

    qsort(file->ids, file->nids, sizeof(sluice_lines_id_t),
          sluice_lines_compare);

    return SLUICE_OK;
}


/* the _id comes first in each line; false: no memory */

static bool
sluice_lines_scan_line(sluice_sink_file_t *file, const char *line, size_t len)
{
    char                head[256];
    size_t              size;
    bson_t              document;
    const char         *p, *end;
    bson_error_t        ignored;
    sluice_lines_id_t   id, *ids;

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

    if (file->nids == file->ids_size) {
        size = file->ids_size ? file->ids_size * 2 : 1024;
        ids = realloc(file->ids, size * sizeof(sluice_lines_id_t));

        if (ids == NULL) {
            return false;
        }

        file->ids = ids;
        file->ids_size = size;
    }

    file->ids[file->nids++] = id;

    return true;
}


static int
sluice_lines_compare(const void *one, const void *two)
{
    int                      rc;
    const sluice_lines_id_t  *a, *b;

    a = one;
    b = two;
    rc = memcmp(a->uuid, b->uuid, 16);

    if (rc != 0) {
        return rc;
    }

    return (a->sequence > b->sequence) - (a->sequence < b->sequence);
}


static bool
sluice_lines_has(const sluice_sink_file_t *file, const uint8_t uuid[16],
    uint64_t sequence)
{
    sluice_lines_id_t  id;

    if (file->nids == 0) {
        return false;
    }

    memcpy(id.uuid, uuid, 16);
    id.sequence = sequence;

    return bsearch(&id, file->ids, file->nids, sizeof(sluice_lines_id_t),
                   sluice_lines_compare) != NULL;
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

    uint32_t              i;
    uint64_t              end;
    sluice_sink_answer_t  answer;

    (void) writer;

    errno = 0;

    if (sluice_lines_prepare(file, error) != SLUICE_OK) {
        return sluice_lines_answer(errno);
    }

    end = file->end;
    errno = 0;

    if (sluice_lines_put(file, batch, &end, error) != SLUICE_OK) {
        goto failed;
    }

    if (end != file->end && fdatasync(file->fd) == -1) {
        sluice_error_errno(error, SLUICE_FAILED, "fdatasync \"%s\" failed",
                           file->path);
        goto failed;
    }

    file->end = end;

    for (i = 0; i < batch->count; i++) {
        batch->records[i].state = SLUICE_BATCH_DONE;
    }

    return SLUICE_SINK_DONE;

failed:

    answer = sluice_lines_answer(errno);

    if (ftruncate(file->fd, (off_t) file->end) == -1) {

        /* sluice_lines_prepare() will see it by the size */

        sluice_log(SLUICE_LOG_ERROR, "ftruncate \"%s\" failed: %s",
                   file->path, strerror(errno));
    }

    return answer;
}


/* a failure's errno, which the making of its text leaves alone */

static sluice_sink_answer_t
sluice_lines_answer(int err)
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
sluice_lines_prepare(sluice_sink_file_t *file, sluice_error_t *error)
{
    struct stat      st;
    sluice_status_t  status;

    if (__atomic_load_n(&file->settled, __ATOMIC_ACQUIRE)) {

        free(file->ids);
        file->ids = NULL;
        file->nids = 0;

        if (__atomic_load_n(&file->reopen, __ATOMIC_ACQUIRE)) {
            status = sluice_lines_open_path(file, error);
            if (status != SLUICE_OK) {
                return status;
            }

            __atomic_store_n(&file->reopen, false, __ATOMIC_RELEASE);

            sluice_log(SLUICE_LOG_INFO, "\"%s\" was reopened", file->path);
        }
    }

    if (fstat(file->fd, &st) == -1) {
        return sluice_error_errno(error, SLUICE_FAILED, "fstat \"%s\" failed",
                                  file->path);
    }

    if ((uint64_t) st.st_size > file->end) {

        /* what a failed write has left */

        if (ftruncate(file->fd, (off_t) file->end) == -1) {
            return sluice_error_errno(error, SLUICE_FAILED,
                                      "ftruncate \"%s\" failed", file->path);
        }

    } else if ((uint64_t) st.st_size < file->end) {
        sluice_log(SLUICE_LOG_WARN, "\"%s\" was truncated by somebody else",
                   file->path);
        file->end = (uint64_t) st.st_size;
    }

    /* lines of a former process behind the offset: it stays */

    if (file->nids != 0) {
        return SLUICE_OK;
    }

    if (file->state.offset == file->end
        && file->state.inode == st.st_ino && file->state.device == st.st_dev)
    {
        return SLUICE_OK;
    }

    return sluice_lines_store(file, file->end, error);
}


static sluice_status_t
sluice_lines_put(sluice_sink_file_t *file, sluice_batch_t *batch,
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

        if (sluice_lines_has(file, lane->uuid, record->sequence)) {
            continue;
        }

        bson_init(&document);
        sluice_document_make(&document, record, lane->uuid, lane->node);
        json = bson_as_relaxed_extended_json(&document, &len);
        bson_destroy(&document);

        if (json == NULL || len + 1 > SLUICE_SINK_LINE) {
            bson_free(json);
            return sluice_error(error, SLUICE_FAILED, "no memory for a line "
                                "of \"%s\"", file->path);
        }

        if (SLUICE_SINK_BUFFER - file->buffered < len + 1) {
            status = sluice_lines_flush(file, end, error);

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

    return sluice_lines_flush(file, end, error);
}


static sluice_status_t
sluice_lines_flush(sluice_sink_file_t *file, uint64_t *end,
    sluice_error_t *error)
{
    size_t   done;
    ssize_t  n;

    for (done = 0; done < file->buffered; done += (size_t) n) {
        n = pwrite(file->fd, file->buffer + done, file->buffered - done,
                   (off_t) *end);

        if (n == -1 && errno == EINTR) {
            n = 0;

        } else if (n <= 0) {
            return sluice_error_errno(error, SLUICE_FAILED,
                                      "writing \"%s\" failed", file->path);
        }

        *end += (uint64_t) n;
    }

    file->buffered = 0;

    return SLUICE_OK;
}
