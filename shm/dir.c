
/* the directory of the shared files, and the names in it */

#define _GNU_SOURCE

#include "dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>


typedef struct {
    const char  *prefix;
    const char  *subject;
    unsigned    *numbers;
    unsigned     max;
    unsigned     count;
} sluice_series_t;


static sluice_status_t sluice_dir_open_any(sluice_dir_t *dir,
    const char *path, struct stat *st, sluice_error_t *error);
static int sluice_dir_foreign(const char *name, void *data);
static bool sluice_dir_adoptable(const sluice_dir_t *dir);
static void sluice_boot_id(uint8_t id[16]);
static int sluice_dir_series_one(const char *name, void *data);


sluice_status_t
sluice_dir_open(sluice_dir_t *dir, const char *path, uid_t uid, gid_t gid,
    bool create, sluice_error_t *error)
{
    bool             made, change;
    uid_t            owner;
    struct stat      st;
    sluice_status_t  status;

    made = false;

    if (create) {
        if (mkdir(path, 0700) == 0) {
            made = true;

        } else if (errno != EEXIST) {
            return sluice_error_errno(error, SLUICE_FAILED,
                                      "mkdir \"%s\" failed", path);
        }
    }

    status = sluice_dir_open_any(dir, path, &st, error);
    if (status != SLUICE_OK) {
        return status;
    }

    if (!made && st.st_uid != uid && st.st_uid != 0) {
        sluice_dir_close(dir);
        return sluice_error(error, SLUICE_FAILED,
                            "\"%s\" belongs to user %u, not to the worker "
                            "user %u", path, st.st_uid, uid);
    }

    /* "sluice_dir /run;" would take /run from the system */

    if (create && !made && st.st_uid != uid && !sluice_dir_adoptable(dir)) {
        sluice_dir_close(dir);
        return sluice_error(error, SLUICE_FAILED,
                            "\"%s\" is somebody else's: it belongs to root "
                            "and is not empty", path);
    }

    if (!made && (st.st_mode & S_IWOTH)) {
        sluice_dir_close(dir);
        return sluice_error(error, SLUICE_FAILED,
                            "\"%s\" may be written by everybody", path);
    }

    /*
     * The set-group-ID bit hands the group on to files that workers make
     * after they have given up root, so that the sidecar may open them.
     */

    if (create && geteuid() == 0) {
        owner = uid;
        change = (st.st_uid != uid || st.st_gid != gid
                  || (st.st_mode & 07777) != 02770);

    } else {
        owner = (uid_t) -1;
        change = create && (made || (gid != SLUICE_GROUP_KEEP
                                     && st.st_gid != gid));
    }

    if (change
        && (fchown(dir->fd, owner, gid) == -1 || fchmod(dir->fd, 02770) == -1))
    {
        sluice_error_errno(error, SLUICE_FAILED,
                           "changing owner, group and mode of \"%s\" failed",
                           path);
        sluice_dir_close(dir);
        return SLUICE_FAILED;
    }

    if (create && faccessat(dir->fd, ".", R_OK|W_OK|X_OK, AT_EACCESS) == -1) {
        sluice_error_errno(error, SLUICE_FAILED, "\"%s\" is not writable",
                           path);
        sluice_dir_close(dir);
        return SLUICE_FAILED;
    }

    dir->uid = uid;
    dir->gid = gid;

    return SLUICE_OK;
}


sluice_status_t
sluice_dir_open_reader(sluice_dir_t *dir, const char *path,
    sluice_error_t *error)
{
    struct stat      st;
    sluice_status_t  status;

    status = sluice_dir_open_any(dir, path, &st, error);

    if (status == SLUICE_OK) {
        dir->uid = st.st_uid;
        dir->gid = st.st_gid;
    }

    return status;
}


static sluice_status_t
sluice_dir_open_any(sluice_dir_t *dir, const char *path, struct stat *st,
    sluice_error_t *error)
{
    memset(dir, 0, sizeof(sluice_dir_t));
    dir->fd = -1;

    if (strlen(path) >= sizeof(dir->path)) {
        return sluice_error(error, SLUICE_FAILED, "\"%s\" is too long", path);
    }

    strcpy(dir->path, path);

    dir->fd = open(path, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (dir->fd == -1) {
        return sluice_error_errno(error,
                               errno == ENOENT ? SLUICE_ABSENT : SLUICE_FAILED,
                               "open \"%s\" failed", path);
    }

    if (fstat(dir->fd, st) == -1) {
        sluice_error_errno(error, SLUICE_FAILED, "fstat \"%s\" failed", path);
        sluice_dir_close(dir);
        return SLUICE_FAILED;
    }

    sluice_boot_id(dir->boot_id);

    return SLUICE_OK;
}


static int
sluice_dir_foreign(const char *name, void *data)
{
    bool  *foreign = data;

    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return 0;
    }

    *foreign = true;

    return -1;
}


/* root's, but empty, as a mount is, or a directory of ours already */

static bool
sluice_dir_adoptable(const sluice_dir_t *dir)
{
    bool            foreign;
    struct stat     st;
    sluice_error_t  error;

    foreign = false;

    return (sluice_dir_walk(dir, sluice_dir_foreign, &foreign, &error)
            == SLUICE_OK
            && !foreign)
           || fstatat(dir->fd, "workers", &st, AT_SYMLINK_NOFOLLOW) == 0;
}


void
sluice_dir_close(sluice_dir_t *dir)
{
    if (dir->fd != -1) {
        close(dir->fd);
        dir->fd = -1;
    }
}


bool
sluice_dir_is_tmpfs(const sluice_dir_t *dir)
{
    struct statfs  fs;

    return fstatfs(dir->fd, &fs) == 0
           && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}


/*
 * Monotonic times in a file mean something only until the next boot.  All
 * zeros where there is no /proc: then every boot looks the same.
 */

static void
sluice_boot_id(uint8_t id[16])
{
    int       fd;
    char      text[40];
    ssize_t   n, i;
    unsigned  digits, v;

    memset(id, 0, 16);

    fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY|O_CLOEXEC);
    if (fd == -1) {
        return;
    }

    n = read(fd, text, sizeof(text) - 1);
    close(fd);

    digits = 0;

    for (i = 0; i < n && digits < 32; i++) {
        if (text[i] >= '0' && text[i] <= '9') {
            v = (unsigned) (text[i] - '0');

        } else if (text[i] >= 'a' && text[i] <= 'f') {
            v = (unsigned) (text[i] - 'a') + 10;

        } else {
            continue;
        }

        id[digits / 2] |= (uint8_t) (digits & 1 ? v : v << 4);
        digits++;
    }
}


sluice_status_t
sluice_dir_walk(const sluice_dir_t *dir, sluice_dir_visit_pt visit, void *data,
    sluice_error_t *error)
{
    int             fd;
    DIR            *d;
    struct dirent  *e;

    /* not a dup(): that would share the position with other walks */

    fd = openat(dir->fd, ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);
    d = (fd != -1) ? fdopendir(fd) : NULL;

    if (d == NULL) {
        sluice_error_errno(error, SLUICE_FAILED, "reading \"%s\" failed",
                           dir->path);
        if (fd != -1) {
            close(fd);
        }
        return SLUICE_FAILED;
    }

    while ((e = readdir(d)) != NULL) {
        if (strlen(e->d_name) < SLUICE_FILE_NAME_MAX
            && visit(e->d_name, data) < 0)
        {
            break;
        }
    }

    closedir(d);

    return SLUICE_OK;
}


static int
sluice_dir_series_one(const char *name, void *data)
{
    sluice_series_t  *series = data;

    char      subject[SLUICE_NAME_MAX];
    unsigned  n, i;

    if (!sluice_name_parse(name, series->prefix, subject, sizeof(subject), &n)
        || strcmp(subject, series->subject) != 0)
    {
        return 0;
    }

    /* an insertion that lets the oldest fall off the end */

    for (i = (series->count < series->max) ? series->count : series->max;
         i > 0 && series->numbers[i - 1] < n;
         i--)
    {
        if (i < series->max) {
            series->numbers[i] = series->numbers[i - 1];
        }
    }

    if (i < series->max) {
        series->numbers[i] = n;
    }

    series->count++;

    return 0;
}


unsigned
sluice_dir_series(const sluice_dir_t *dir, const char *prefix,
    const char *subject, unsigned *numbers, unsigned max)
{
    sluice_error_t   error;
    sluice_series_t  series;

    series.prefix = prefix;
    series.subject = subject;
    series.numbers = numbers;
    series.max = max;
    series.count = 0;

    if (sluice_dir_walk(dir, sluice_dir_series_one, &series, &error)
        != SLUICE_OK)
    {
        return 0;
    }

    return series.count;
}


bool
sluice_name_parse(const char *file, const char *prefix, char *subject,
    size_t size, unsigned *n)
{
    char           *end;
    size_t          len;
    const char     *dot, *start;
    unsigned long   v;

    len = strlen(prefix);

    if (strncmp(file, prefix, len) != 0) {
        return false;
    }

    start = file + len;
    dot = strrchr(start, '.');

    if (dot == NULL
        || !sluice_name_valid(start, (size_t) (dot - start))
        || (size_t) (dot - start) >= size
        || dot[1] < '1' || dot[1] > '9')
    {
        return false;
    }

    v = strtoul(dot + 1, &end, 10);

    if (*end != '\0' || v > SLUICE_NUMBER_MAX) {
        return false;
    }

    memcpy(subject, start, (size_t) (dot - start));
    subject[dot - start] = '\0';
    *n = (unsigned) v;

    return true;
}


bool
sluice_name_valid(const char *name, size_t len)
{
    size_t  i;

    if (len == 0 || len >= SLUICE_NAME_MAX) {
        return false;
    }

    for (i = 0; i < len; i++) {
        if (!((name[i] >= 'a' && name[i] <= 'z')
              || (name[i] >= 'A' && name[i] <= 'Z')
              || (name[i] >= '0' && name[i] <= '9')
              || name[i] == '_' || name[i] == '-'))
        {
            return false;
        }
    }

    return true;
}
