
#define _GNU_SOURCE

#include "file.h"
#include "clock.h"
#include "fault.h"
#include "hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>


#define SLUICE_TEMPORARY  ".new."


typedef struct {
    const sluice_dir_t    *dir;
    const char            *prefix;
    uint32_t               kind;
    sluice_file_visit_pt   visit;
    void                  *data;
    bool                   failed;
} sluice_file_each_t;


static sluice_status_t sluice_file_temporary(const sluice_dir_t *dir,
    sluice_file_t *file, sluice_error_t *error);
static sluice_status_t sluice_file_allocate(const sluice_dir_t *dir,
    sluice_file_t *file, sluice_error_t *error);
static void sluice_file_layout(sluice_file_header_t *header,
    const sluice_file_spec_t *spec);
static uint32_t sluice_file_header_crc(const sluice_file_header_t *header);
static sluice_status_t sluice_file_map(sluice_file_t *file,
    sluice_error_t *error);
static int sluice_file_each_one(const char *name, void *data);
static int sluice_file_sweep_one(const char *name, void *data);
static bool sluice_lock(int fd, int cmd, off_t byte, short type,
    short *found);


sluice_status_t
sluice_file_create(const sluice_dir_t *dir, const sluice_file_spec_t *spec,
    sluice_file_t *file, sluice_error_t *error)
{
    sluice_status_t       status;
    sluice_file_header_t  header;

    memset(file, 0, sizeof(sluice_file_t));
    memset(&header, 0, sizeof(sluice_file_header_t));

    header.abi_major = SLUICE_ABI_MAJOR;
    header.abi_minor = SLUICE_ABI_MINOR;
    header.kind = spec->kind;
    header.created = sluice_clock_wall_us();
    memcpy(header.boot_id, dir->boot_id, 16);
    sluice_random(header.uuid, 16);
    sluice_random(header.key, 16);

    header.uuid[6] = (uint8_t) ((header.uuid[6] & 0x0f) | 0x40);
    header.uuid[8] = (uint8_t) ((header.uuid[8] & 0x3f) | 0x80);

    snprintf(header.name, sizeof(header.name), "%s", spec->subject);
    memcpy(header.geometry, spec->geometry, sizeof(header.geometry));
    sluice_file_layout(&header, spec);

    file->header = header;
    file->size = header.size;
    file->writable = true;
    file->temporary = true;

    status = sluice_file_temporary(dir, file, error);

    if (status != SLUICE_OK) {
        return status;
    }

    status = sluice_file_allocate(dir, file, error);

    if (status != SLUICE_OK) {
        sluice_file_close(dir, file);
        return status;
    }

    header.magic = 0;
    memcpy(file->map, &header, sizeof(sluice_file_header_t));

    sluice_fault("file.allocated");

    return SLUICE_OK;
}


/*
 * The lock is what tells it from an orphan.  A sweep that comes between the
 * two has removed the file, or is about to: then another one is made, under
 * another name, as it is by its name that a sweep removes.
 */

static sluice_status_t
sluice_file_temporary(const sluice_dir_t *dir, sluice_file_t *file,
    sluice_error_t *error)
{
    char         uuid[37];
    unsigned     tries;
    struct stat  st;

    sluice_uuid_format(file->header.uuid, uuid);

    for (tries = 0; tries < 16; tries++) {

        snprintf(file->name, sizeof(file->name), SLUICE_TEMPORARY "%s.%u",
                 uuid, tries);

        file->fd = openat(dir->fd, file->name,
                          O_RDWR|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0600);

        if (file->fd == -1) {
            return sluice_error_errno(error, errno == ENOSPC ? SLUICE_FULL
                                                             : SLUICE_FAILED,
                                      "creating a file in \"%s\" failed",
                                      dir->path);
        }

        sluice_fault("file.temporary");

        if (sluice_file_lock(file, SLUICE_LOCK_USERS, false)
            && fstat(file->fd, &st) == 0 && st.st_nlink != 0)
        {
            return SLUICE_OK;
        }

        sluice_file_close(dir, file);
    }

    return sluice_error(error, SLUICE_BUSY,
                        "new files in \"%s\" are taken for orphans",
                        dir->path);
}


static sluice_status_t
sluice_file_allocate(const sluice_dir_t *dir, sluice_file_t *file,
    sluice_error_t *error)
{
    int  rc;

    if (geteuid() == 0 && fchown(file->fd, dir->uid, dir->gid) == -1) {
        return sluice_error_errno(error, SLUICE_FAILED,
                                  "fchown of a file in \"%s\" failed",
                                  dir->path);
    }

    if (fchmod(file->fd, 0660) == -1) {
        return sluice_error_errno(error, SLUICE_FAILED,
                                  "fchmod of a file in \"%s\" failed",
                                  dir->path);
    }

    /* a sparse file on a full tmpfs would be SIGBUS in a worker */

    do {
        rc = posix_fallocate(file->fd, 0, (off_t) file->size);
    } while (rc == EINTR);

    if (rc != 0) {
        errno = rc;
        return sluice_error_errno(error,
                                  rc == ENOSPC ? SLUICE_FULL : SLUICE_FAILED,
                                  "allocating %zu bytes for \"%s\" in \"%s\" "
                                  "failed", file->size, file->header.name,
                                  dir->path);
    }

    return sluice_file_map(file, error);
}


static void
sluice_file_layout(sluice_file_header_t *header,
    const sluice_file_spec_t *spec)
{
    unsigned  i;
    uint64_t  offset;

    offset = SLUICE_FILE_HEADER;

    for (i = 0; i < SLUICE_FILE_SECTIONS; i++) {
        if (spec->section[i] == 0) {
            continue;
        }

        header->section[i].offset = offset;
        header->section[i].size = spec->section[i];

        offset += (spec->section[i] + 4095) & ~(uint64_t) 4095;
    }

    header->size = offset;
}


static uint32_t
sluice_file_header_crc(const sluice_file_header_t *header)
{
    return sluice_crc32c(0, header, offsetof(sluice_file_header_t, crc));
}


sluice_status_t
sluice_file_publish(const sluice_dir_t *dir, sluice_file_t *file,
    const char *name, sluice_error_t *error)
{
    sluice_file_header_t  *header;

    header = (sluice_file_header_t *) file->map;

    file->header.magic = SLUICE_FILE_MAGIC;
    file->header.crc = sluice_file_header_crc(&file->header);

    header->crc = file->header.crc;
    __atomic_store_n(&header->magic, SLUICE_FILE_MAGIC, __ATOMIC_RELEASE);

    sluice_fault("file.whole");

    if (renameat2(dir->fd, file->name, dir->fd, name, RENAME_NOREPLACE) == -1) {
        return sluice_error_errno(error,
                              errno == EEXIST ? SLUICE_EXISTS : SLUICE_FAILED,
                              "publishing \"%s/%s\" failed", dir->path, name);
    }

    snprintf(file->name, sizeof(file->name), "%s", name);
    file->temporary = false;
    file->created = true;

    sluice_fault("file.published");

    return SLUICE_OK;
}


sluice_status_t
sluice_file_open(const sluice_dir_t *dir, const char *name, uint32_t kind,
    sluice_file_mode_t mode, sluice_file_t *file, sluice_error_t *error)
{
    ssize_t          n;
    struct stat      st;
    sluice_status_t  status;

    memset(file, 0, sizeof(sluice_file_t));
    snprintf(file->name, sizeof(file->name), "%s", name);
    file->writable = (mode != SLUICE_OPEN_LOOK);

    /* O_NONBLOCK: a FIFO in its place must not stop us */

    file->fd = openat(dir->fd, name,
                      (file->writable ? O_RDWR : O_RDONLY)
                      |O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

    if (file->fd == -1) {
        return sluice_error_errno(error,
                               errno == ENOENT ? SLUICE_ABSENT : SLUICE_FAILED,
                               "open \"%s/%s\" failed", dir->path, name);
    }

    if (fstat(file->fd, &st) == -1) {
        status = sluice_error_errno(error, SLUICE_FAILED,
                                    "fstat \"%s/%s\" failed", dir->path, name);
        goto failed;
    }

    if (!S_ISREG(st.st_mode)) {
        status = sluice_error(error, SLUICE_CORRUPT,
                              "\"%s/%s\" is not a regular file", dir->path,
                              name);
        goto failed;
    }

    if (mode == SLUICE_OPEN_WRITE && st.st_uid != dir->uid) {
        status = sluice_error(error, SLUICE_FAILED,
                              "\"%s/%s\" belongs to user %u, not to the "
                              "worker user %u", dir->path, name, st.st_uid,
                              dir->uid);
        goto failed;
    }

    if (file->writable && !sluice_file_lock(file, SLUICE_LOCK_USERS, false)) {
        status = sluice_error(error, SLUICE_BUSY,
                              "\"%s/%s\" is being removed", dir->path, name);
        goto failed;
    }

    /* removed between openat() and the lock */

    if (file->writable && (fstat(file->fd, &st) == -1 || st.st_nlink == 0)) {
        status = sluice_error(error, SLUICE_ABSENT, "\"%s/%s\" was removed",
                              dir->path, name);
        goto failed;
    }

    n = pread(file->fd, &file->header, sizeof(sluice_file_header_t), 0);

    if (n != (ssize_t) sizeof(sluice_file_header_t)) {
        status = sluice_error(error, SLUICE_CORRUPT,
                              "\"%s/%s\" is truncated", dir->path, name);
        goto failed;
    }

    status = sluice_file_check_header(&file->header, (uint64_t) st.st_size,
                                      kind, name, error);
    if (status != SLUICE_OK) {
        goto failed;
    }

    /* it was made when the operator had named another group, or none */

    if (mode == SLUICE_OPEN_WRITE
        && dir->gid != SLUICE_GROUP_KEEP && dir->gid != st.st_gid
        && (geteuid() == 0 || geteuid() == st.st_uid)
        && fchown(file->fd, (uid_t) -1, dir->gid) == -1)
    {
        status = sluice_error_errno(error, SLUICE_FAILED,
                                    "changing the group of \"%s/%s\" failed",
                                    dir->path, name);
        goto failed;
    }

    file->size = file->header.size;

    if (file->writable) {
        status = sluice_file_map(file, error);
        if (status != SLUICE_OK) {
            goto failed;
        }
    }

    if (memcmp(file->header.boot_id, dir->boot_id, 16) != 0) {
        return sluice_error(error, SLUICE_STALE,
                            "\"%s/%s\" is from before the last boot",
                            dir->path, name);
    }

    return SLUICE_OK;

failed:

    close(file->fd);
    file->fd = -1;

    return status;
}


sluice_status_t
sluice_file_check_header(const sluice_file_header_t *header, uint64_t size,
    uint32_t kind, const char *name, sluice_error_t *error)
{
    unsigned  i;
    uint64_t  end;

    if (header->magic != SLUICE_FILE_MAGIC) {
        return sluice_error(error, SLUICE_CORRUPT,
                            "\"%s\" is not a file of Sluice", name);
    }

    /* the version first: another one may have put the CRC elsewhere */

    if (header->abi_major != SLUICE_ABI_MAJOR
        || header->abi_minor != SLUICE_ABI_MINOR)
    {
        return sluice_error(error, SLUICE_VERSION,
                            "\"%s\" has version %u.%u, this is %u.%u", name,
                            header->abi_major, header->abi_minor,
                            SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR);
    }

    if (header->crc != sluice_file_header_crc(header)) {
        return sluice_error(error, SLUICE_CORRUPT,
                            "\"%s\" has a damaged header", name);
    }

    if (header->kind != kind) {
        return sluice_error(error, SLUICE_CORRUPT,
                            "\"%s\" is of kind %u, not %u", name,
                            header->kind, kind);
    }

    if (header->size != size) {
        return sluice_error(error, SLUICE_CORRUPT,
                            "\"%s\" has %llu bytes, not %llu", name,
                            (unsigned long long) size,
                            (unsigned long long) header->size);
    }

    end = SLUICE_FILE_HEADER;

    for (i = 0; i < SLUICE_FILE_SECTIONS; i++) {
        if (header->section[i].size == 0) {
            continue;
        }

        if (header->section[i].offset < end
            || header->section[i].offset % 4096 != 0
            || header->section[i].offset > size
            || header->section[i].size > size - header->section[i].offset)
        {
            return sluice_error(error, SLUICE_CORRUPT,
                                "\"%s\" has a section out of place", name);
        }

        end = header->section[i].offset + header->section[i].size;
    }

    if (memchr(header->name, '\0', sizeof(header->name)) == NULL) {
        return sluice_error(error, SLUICE_CORRUPT, "\"%s\" has no name", name);
    }

    return SLUICE_OK;
}


bool
sluice_file_fits(const sluice_file_t *file, const sluice_file_spec_t *spec)
{
    unsigned  i;

    for (i = 0; i < SLUICE_FILE_SECTIONS; i++) {
        if (file->header.section[i].size != spec->section[i]) {
            return false;
        }
    }

    return memcmp(file->header.geometry, spec->geometry,
                  sizeof(spec->geometry)) == 0;
}


static sluice_status_t
sluice_file_map(sluice_file_t *file, sluice_error_t *error)
{
    void  *p;

    p = mmap(NULL, file->size, PROT_READ|PROT_WRITE, MAP_SHARED, file->fd, 0);

    if (p == MAP_FAILED) {
        return sluice_error_errno(error, SLUICE_FAILED,
                                  "mmap of %zu bytes for \"%s\" failed",
                                  file->size, file->name);
    }

    file->map = p;

    return SLUICE_OK;
}


void
sluice_file_close(const sluice_dir_t *dir, sluice_file_t *file)
{
    if (file->map != NULL) {
        munmap(file->map, file->size);
        file->map = NULL;
    }

    if (file->fd != -1) {
        if (file->temporary) {
            unlinkat(dir->fd, file->name, 0);
        }

        close(file->fd);
        file->fd = -1;
    }
}


sluice_status_t
sluice_file_retire(const sluice_dir_t *dir, sluice_file_t *file)
{
    /* the shared lock becomes an exclusive one, or stays as it is */

    if (!sluice_file_lock(file, SLUICE_LOCK_USERS, true)) {
        return SLUICE_BUSY;
    }

    unlinkat(dir->fd, file->name, 0);

    return SLUICE_OK;
}


static int
sluice_file_each_one(const char *name, void *data)
{
    sluice_file_each_t  *each = data;

    unsigned         n;
    char             subject[SLUICE_NAME_MAX];
    sluice_file_t    file;
    sluice_error_t   error;
    sluice_status_t  status;

    if (!sluice_name_parse(name, each->prefix, subject, sizeof(subject), &n))
    {
        return 0;
    }

    errno = 0;

    status = sluice_file_open(each->dir, name, each->kind, SLUICE_OPEN_WRITE,
                              &file, &error);

    if (status != SLUICE_OK && status != SLUICE_STALE) {

        /* any other file that we cannot open is nobody's */

        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
            each->failed = true;
        }

        return 0;
    }

    if (status == SLUICE_OK) {
        each->visit(&file, each->data);
    }

    sluice_file_close(each->dir, &file);

    return 0;
}


bool
sluice_file_each(const sluice_dir_t *dir, const char *prefix, uint32_t kind,
    sluice_file_visit_pt visit, void *data)
{
    sluice_error_t      error;
    sluice_file_each_t  each;

    each.dir = dir;
    each.prefix = prefix;
    each.kind = kind;
    each.visit = visit;
    each.data = data;
    each.failed = false;

    return sluice_dir_walk(dir, sluice_file_each_one, &each, &error)
           == SLUICE_OK
           && !each.failed;
}


static int
sluice_file_sweep_one(const char *name, void *data)
{
    int                  fd;
    const sluice_dir_t  *dir = data;

    if (strncmp(name, SLUICE_TEMPORARY, sizeof(SLUICE_TEMPORARY) - 1) != 0) {
        return 0;
    }

    fd = openat(dir->fd, name, O_RDWR|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);
    if (fd == -1) {
        return 0;
    }

    /* its builder holds the lock for as long as it lives */

    if (sluice_lock(fd, F_OFD_SETLK, SLUICE_LOCK_USERS, F_WRLCK, NULL)) {
        unlinkat(dir->fd, name, 0);
    }

    close(fd);

    return 0;
}


void
sluice_file_sweep(const sluice_dir_t *dir)
{
    sluice_error_t  error;

    sluice_dir_walk(dir, sluice_file_sweep_one, (void *) dir, &error);
}


static bool
sluice_lock(int fd, int cmd, off_t byte, short type, short *found)
{
    int           rc;
    struct flock  lock;

    memset(&lock, 0, sizeof(struct flock));

    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = byte;
    lock.l_len = 1;

    do {
        rc = fcntl(fd, cmd, &lock);
    } while (rc == -1 && errno == EINTR);

    if (found != NULL) {
        *found = lock.l_type;
    }

    return rc == 0;
}


bool
sluice_file_lock(const sluice_file_t *file, off_t byte, bool exclusive)
{
    return sluice_file_lock_fd(file->fd, byte, exclusive);
}


void
sluice_file_unlock(const sluice_file_t *file, off_t byte)
{
    sluice_lock(file->fd, F_OFD_SETLK, byte, F_UNLCK, NULL);
}


bool
sluice_file_locked(const sluice_file_t *file, off_t byte)
{
    short  found;

    /* a question that fails is answered "yes": nobody is robbed by mistake */

    return !sluice_lock(file->fd, F_OFD_GETLK, byte, F_WRLCK, &found)
           || found != F_UNLCK;
}


bool
sluice_file_lock_fd(int fd, off_t byte, bool exclusive)
{
    return sluice_lock(fd, F_OFD_SETLK, byte, exclusive ? F_WRLCK : F_RDLCK,
                       NULL);
}


void
sluice_uuid_format(const uint8_t uuid[16], char text[37])
{
    static const char  hex[] = "0123456789abcdef";

    unsigned   i;
    char      *p;

    p = text;

    for (i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *p++ = '-';
        }

        *p++ = hex[uuid[i] >> 4];
        *p++ = hex[uuid[i] & 15];
    }

    *p = '\0';
}


void
sluice_random(void *data, size_t len)
{
    ssize_t   n;
    uint8_t  *p;

    for (p = data; len > 0; p += n, len -= (size_t) n) {
        n = getrandom(p, len, 0);

        if (n < 0) {
            if (errno != EINTR) {
                abort();
            }
            n = 0;
        }
    }
}
