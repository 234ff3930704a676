
/* a file of JSON lines, its lock and its state; how a start goes on in it */

#define _GNU_SOURCE

#include "lines.h"
#include "file.h"
#include "io.h"
#include "log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>


#define SLUICE_LINES_BEGIN  "{ \"_id\" : { \"lane\""


static sluice_status_t sluice_lines_load(sluice_lines_t *lines, bool *found,
    sluice_error_t *error);
static int sluice_lines_rotated(const sluice_lines_t *lines);
static bool sluice_lines_named(const sluice_lines_t *lines, const char *name);
static bool sluice_lines_ours(const sluice_lines_t *lines, int fd);
static sluice_status_t sluice_lines_resume(sluice_lines_t *lines,
    sluice_error_t *error);


sluice_status_t
sluice_lines_init(sluice_lines_t *lines, const char *path,
    sluice_error_t *error)
{
    char  *slash;

    memset(lines, 0, sizeof(sluice_lines_t));
    strcpy(lines->path, path);
    lines->fd = -1;
    lines->lock = -1;

    slash = strrchr(lines->path, '/');

    if (slash == NULL) {
        lines->base = lines->path;
        lines->dir = open(".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    } else {
        lines->base = slash + 1;
        *slash = '\0';
        lines->dir = open(slash == lines->path ? "/" : lines->path,
                          O_RDONLY|O_DIRECTORY|O_CLOEXEC);
        *slash = '/';
    }

    if (lines->dir == -1) {
        return sluice_error_errno(error, SLUICE_FAILED, "open the directory "
                                  "of \"%s\" failed", path);
    }

    return SLUICE_OK;
}


void
sluice_lines_close(sluice_lines_t *lines)
{
    if (lines->fd != -1) {
        close(lines->fd);
    }

    if (lines->lock != -1) {
        close(lines->lock);
    }

    if (lines->dir != -1) {
        close(lines->dir);
    }

    sluice_ids_clear(&lines->ids);
}


/* two of them on one file, from two directories, would cut each other off */

sluice_status_t
sluice_lines_lock(sluice_lines_t *lines, sluice_error_t *error)
{
    char  name[NAME_MAX + 16];

    snprintf(name, sizeof(name), "%s.lock", lines->base);

    lines->lock = openat(lines->dir, name,
                         O_RDWR|O_CREAT|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC, 0600);

    if (lines->lock == -1) {
        return sluice_error_errno(error, SLUICE_FAILED,
                                  "open \"%s.lock\" failed", lines->path);
    }

    if (!sluice_file_lock_fd(lines->lock, 0, true)) {
        return sluice_error(error, SLUICE_BUSY, "another process writes to "
                            "\"%s\"", lines->path);
    }

    return SLUICE_OK;
}


sluice_status_t
sluice_lines_open(sluice_lines_t *lines, sluice_error_t *error)
{
    int          fd;
    struct stat  st;

    fd = openat(lines->dir, lines->base, O_RDWR|O_CREAT|O_NONBLOCK|O_CLOEXEC,
                0640);

    if (fd == -1 || fstat(fd, &st) == -1) {
        sluice_error_errno(error, SLUICE_FAILED, "open \"%s\" failed",
                           lines->path);
        goto failed;
    }

    if (!S_ISREG(st.st_mode)) {
        sluice_error(error, SLUICE_FAILED, "\"%s\" is not a regular file",
                     lines->path);
        goto failed;
    }

    /* a new name must be on the disk before what it names counts */

    if (st.st_size == 0 && fsync(lines->dir) == -1) {
        sluice_error_errno(error, SLUICE_FAILED, "fsync of the directory of "
                           "\"%s\" failed", lines->path);
        goto failed;
    }

    if (lines->fd != -1) {
        close(lines->fd);
    }

    lines->fd = fd;
    lines->end = (uint64_t) st.st_size;

    return SLUICE_OK;

failed:

    if (fd != -1) {
        close(fd);
    }

    return SLUICE_FAILED;
}


static sluice_status_t
sluice_lines_load(sluice_lines_t *lines, bool *found, sluice_error_t *error)
{
    int                  fd;
    char                 name[NAME_MAX + 16], text[128];
    ssize_t              n;
    unsigned long long   device, inode, offset;

    *found = false;

    snprintf(name, sizeof(name), "%s.state", lines->base);

    fd = openat(lines->dir, name, O_RDONLY|O_NONBLOCK|O_CLOEXEC);

    if (fd == -1) {
        if (errno == ENOENT) {
            return SLUICE_OK;
        }

        return sluice_error_errno(error, SLUICE_FAILED,
                                  "open \"%s.state\" failed", lines->path);
    }

    n = read(fd, text, sizeof(text) - 1);
    close(fd);

    if (n < 0) {
        return sluice_error_errno(error, SLUICE_FAILED,
                                  "reading \"%s.state\" failed", lines->path);
    }

    text[n] = '\0';

    if (sscanf(text, "sluice 1 %llu %llu %llu\n", &device, &inode, &offset)
        != 3)
    {
        sluice_log(SLUICE_LOG_ERROR, "skipped: \"%s.state\" is damaged; "
                   "records of the last batch may be written once more",
                   lines->path);
        return SLUICE_OK;
    }

    lines->state.device = device;
    lines->state.inode = inode;
    lines->state.offset = offset;
    *found = true;

    return SLUICE_OK;
}


/* a rename is whole or has not been: kill -9 leaves no half of a state */

sluice_status_t
sluice_lines_store(sluice_lines_t *lines, uint64_t offset,
    sluice_error_t *error)
{
    int          fd, len;
    char         name[NAME_MAX + 16], temporary[NAME_MAX + 16], text[128];
    struct stat  st;

    snprintf(name, sizeof(name), "%s.state", lines->base);
    snprintf(temporary, sizeof(temporary), "%s.state.new", lines->base);

    if (fstat(lines->fd, &st) == -1) {
        return sluice_error_errno(error, SLUICE_FAILED, "fstat \"%s\" failed",
                                  lines->path);
    }

    len = snprintf(text, sizeof(text), "sluice 1 %llu %llu %llu\n",
                   (unsigned long long) st.st_dev,
                   (unsigned long long) st.st_ino,
                   (unsigned long long) offset);

    fd = openat(lines->dir, temporary,
                O_WRONLY|O_CREAT|O_TRUNC|O_NOFOLLOW|O_CLOEXEC, 0600);

    if (fd == -1 || !sluice_io_write(fd, text, (size_t) len, -1)
        || renameat(lines->dir, temporary, lines->dir, name) == -1)
    {
        sluice_error_errno(error, SLUICE_FAILED, "writing \"%s.state\" failed",
                           lines->path);
        if (fd != -1) {
            close(fd);
        }
        return SLUICE_FAILED;
    }

    close(fd);

    lines->state.device = st.st_dev;
    lines->state.inode = st.st_ino;
    lines->state.offset = offset;

    return SLUICE_OK;
}


sluice_status_t
sluice_lines_recover(sluice_lines_t *lines, bool *rotated,
    sluice_error_t *error)
{
    int              fd;
    bool             found;
    char             last;
    struct stat      st;
    sluice_status_t  status;

    *rotated = false;

    status = sluice_lines_load(lines, &found, error);
    if (status != SLUICE_OK) {
        return status;
    }

    if (fstat(lines->fd, &st) == -1) {
        return sluice_error_errno(error, SLUICE_FAILED, "fstat \"%s\" failed",
                                  lines->path);
    }

    if (found
        && (st.st_ino != lines->state.inode
            || st.st_dev != lines->state.device))
    {
        /*
         * It was rotated, and we were ended before the next batch.  There is
         * one offset in one file: we go on in that one until all is settled.
         */

        fd = sluice_lines_rotated(lines);

        if (fd != -1) {
            close(lines->fd);
            lines->fd = fd;
            *rotated = true;

        } else {
            found = false;

            sluice_log(SLUICE_LOG_WARN, "the file that \"%s.state\" is about "
                       "is gone; records of its last batch may be written "
                       "once more", lines->path);
        }
    }

    if (found) {
        return sluice_lines_resume(lines, error);
    }

    /* a line that is not ours to cut: ours begin behind it */

    if (lines->end > 0
        && (pread(lines->fd, &last, 1, (off_t) lines->end - 1) != 1
            || (last != '\n'
                && pwrite(lines->fd, "\n", 1, (off_t) lines->end++) != 1)))
    {
        return sluice_error_errno(error, SLUICE_FAILED,
                                  "ending the last line of \"%s\" failed",
                                  lines->path);
    }

    return SLUICE_OK;
}


/* the file is the one of the state: what is behind the offset counts */

static sluice_status_t
sluice_lines_resume(sluice_lines_t *lines, sluice_error_t *error)
{
    uint64_t         end;
    struct stat      st;
    sluice_status_t  status;

    if (fstat(lines->fd, &st) == -1) {
        return sluice_error_errno(error, SLUICE_FAILED, "fstat \"%s\" failed",
                                  lines->path);
    }

    lines->end = (uint64_t) st.st_size;
    end = lines->end;

    if (lines->state.offset > lines->end) {
        sluice_log(SLUICE_LOG_WARN, "\"%s\" is shorter than it was; records "
                   "of its last batch may be written once more", lines->path);
        return SLUICE_OK;
    }

    status = sluice_ids_read(&lines->ids, lines->fd, lines->path,
                             lines->state.offset, &end, error);
    if (status != SLUICE_OK || end == lines->end) {
        return status;
    }

    sluice_log(SLUICE_LOG_WARN, "\"%s\" ended in the middle of a line: %llu "
               "bytes are cut off", lines->path,
               (unsigned long long) (lines->end - end));

    if (ftruncate(lines->fd, (off_t) end) == -1) {
        return sluice_error_errno(error, SLUICE_FAILED,
                                  "ftruncate \"%s\" failed", lines->path);
    }

    lines->end = end;

    return SLUICE_OK;
}


static int
sluice_lines_rotated(const sluice_lines_t *lines)
{
    int             fd, found;
    DIR            *d;
    struct dirent  *e;

    fd = openat(lines->dir, ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);
    d = (fd != -1) ? fdopendir(fd) : NULL;

    if (d == NULL) {
        if (fd != -1) {
            close(fd);
        }
        return -1;
    }

    found = -1;

    while (found == -1 && (e = readdir(d)) != NULL) {

        if (e->d_ino != lines->state.inode
            || !sluice_lines_named(lines, e->d_name))
        {
            continue;
        }

        found = openat(lines->dir, e->d_name, O_RDWR|O_NONBLOCK|O_CLOEXEC);

        if (found != -1 && !sluice_lines_ours(lines, found)) {
            close(found);
            found = -1;
        }
    }

    closedir(d);

    return found;
}


/* as those that rotate files name them, and none that stands beside ours */

static bool
sluice_lines_named(const sluice_lines_t *lines, const char *name)
{
    size_t  len;

    len = strlen(lines->base);

    return strncmp(name, lines->base, len) == 0
           && strncmp(name + len, ".state", 6) != 0
           && strcmp(name + len, ".lock") != 0;
}


/* an inode is used again, by what was compressed for instance */

static bool
sluice_lines_ours(const sluice_lines_t *lines, int fd)
{
    char         text[sizeof(SLUICE_LINES_BEGIN)], *p;
    size_t       len;
    off_t        at;
    ssize_t      n;
    struct stat  st;

    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)
        || st.st_dev != lines->state.device
        || st.st_ino != lines->state.inode
        || (uint64_t) st.st_size < lines->state.offset)
    {
        return false;
    }

    /* the end of the line before, and the beginning of one of ours */

    p = text;
    len = sizeof(text);
    at = (off_t) lines->state.offset - 1;

    if (at == -1) {
        at = 0;
        len--;
    }

    n = pread(fd, text, len, at);

    if (n < 0) {
        return false;
    }

    if (lines->state.offset != 0) {
        if (n == 0 || *p++ != '\n') {
            return false;
        }
        n--;
    }

    return memcmp(p, SLUICE_LINES_BEGIN, (size_t) n) == 0;
}
