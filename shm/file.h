
/*
 * Shared files: one subject each, in one directory on tmpfs (dir.h).
 *
 * A file is a header of 4096 bytes and up to four sections, found by offset.
 * It is built under a temporary name, its magic is written last, and it is
 * renamed when whole; so whatever stands under a final name was whole once.
 * The header never changes after that and carries a CRC32C of its own.
 *
 * Locks are OFD locks on single bytes of the file (fcntl(2)): they belong to
 * the open file description, hold under SIGSTOP, are inherited over fork()
 * and gone when the last process that shares the description is dead.
 *
 *   byte 0      USERS     shared: whoever uses the file; exclusive: may unlink
 *   byte 1      OWNER     exclusive: the one process that writes (lanes), or
 *                         that gives out lines (pools)
 *   byte 2      PRIMARY   shared: those whose newest file of the name it is
 *   1024 + n    SLOT      exclusive: the process that has slot n (workers)
 *   2048 + n    LINE      shared: those whose configuration names the member
 *                         of line n; exclusive: may give it away (pools)
 *
 * Nothing here is for the request path.
 */

#ifndef SLUICE_FILE_H
#define SLUICE_FILE_H

#include "dir.h"
#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


#define SLUICE_ABI_MAJOR       1
#define SLUICE_ABI_MINOR       0

#define SLUICE_FILE_MAGIC      0x0a1a454349554c53ull     /* "SLUICE\x1a\n" */
#define SLUICE_FILE_HEADER     4096
#define SLUICE_FILE_SECTIONS   4
#define SLUICE_FILE_GEOMETRY   8

#define SLUICE_LOCK_USERS      0
#define SLUICE_LOCK_OWNER      1
#define SLUICE_LOCK_PRIMARY    2
#define SLUICE_LOCK_SLOT       1024
#define SLUICE_LOCK_LINE       2048


typedef enum {
    SLUICE_FILE_WORKERS = 1,
    SLUICE_FILE_ZONE,
    SLUICE_FILE_POOL,
    SLUICE_FILE_LANE,
    SLUICE_FILE_CONN,
    SLUICE_FILE_PROXIES
} sluice_file_kind_t;


typedef struct {
    uint64_t  offset;
    uint64_t  size;
} sluice_section_t;


typedef struct {
    uint64_t          magic;
    uint16_t          abi_major;
    uint16_t          abi_minor;
    uint32_t          kind;
    uint64_t          size;             /* of the file, this header included */
    uint64_t          created;          /* wall clock, microseconds          */
    uint8_t           uuid[16];
    uint8_t           boot_id[16];
    char              name[64];         /* of the subject, with NUL          */
    uint64_t          geometry[SLUICE_FILE_GEOMETRY];        /* by kind      */
    sluice_section_t  section[SLUICE_FILE_SECTIONS];
    uint8_t           key[16];          /* of the hashes within the file     */
    uint8_t           reserved[232];
    uint32_t          crc;              /* of the bytes before, magic set    */
    uint32_t          pad;
} sluice_file_header_t;

_Static_assert(sizeof(sluice_file_header_t) == 512, "file header");
_Static_assert(offsetof(sluice_file_header_t, name) == 64, "file header");
_Static_assert(offsetof(sluice_file_header_t, crc) == 504, "file header");


/* what distinguishes a file that is to be made or found */
typedef struct {
    uint32_t     kind;
    const char  *subject;                               /* header's name     */
    uint64_t     geometry[SLUICE_FILE_GEOMETRY];
    uint64_t     section[SLUICE_FILE_SECTIONS];         /* sizes in bytes    */
} sluice_file_spec_t;


typedef struct {
    int                    fd;
    uint8_t               *map;         /* shared, the whole file            */
    size_t                 size;
    char                   name[SLUICE_FILE_NAME_MAX];       /* final name   */
    bool                   writable;
    bool                   temporary;   /* not yet under its final name      */
    bool                   created;     /* made, not found, by this process  */
    sluice_file_header_t   header;      /* a checked private copy            */
} sluice_file_t;


/*
 * Makes a file under a temporary name, all its blocks allocated and zero, its
 * USERS lock held (shared); the caller fills the sections in and publishes.
 * SLUICE_FULL: no space.
 */
sluice_status_t sluice_file_create(const sluice_dir_t *dir,
    const sluice_file_spec_t *spec, sluice_file_t *file,
    sluice_error_t *error);

/*
 * Writes the magic and gives the file its name.  SLUICE_EXISTS: the name is
 * taken; the file is as it was and may be published under another name.
 */
sluice_status_t sluice_file_publish(const sluice_dir_t *dir,
    sluice_file_t *file, const char *name, sluice_error_t *error);

/*
 * Opens and checks a file: its header's magic, version, CRC, kind, sections
 * and size, and, for a writer, its owner; a writer that may do so gives it to
 * the directory's group.  It holds the USERS lock (shared) afterwards, unless
 * opened to look.  SLUICE_STALE leaves it open.
 */
typedef enum {
    SLUICE_OPEN_LOOK,           /* read-only, no lock, no map                */
    SLUICE_OPEN_READ,           /* read and write, mapped, whoever owns it   */
    SLUICE_OPEN_WRITE           /* the same, its owner checked               */
} sluice_file_mode_t;

sluice_status_t sluice_file_open(const sluice_dir_t *dir, const char *name,
    uint32_t kind, sluice_file_mode_t mode, sluice_file_t *file,
    sluice_error_t *error);

/* checks a header that stands in private memory against the file's size */
sluice_status_t sluice_file_check_header(const sluice_file_header_t *header,
    uint64_t size, uint32_t kind, const char *name, sluice_error_t *error);

/* whether it has the geometry and the sections of the spec */
bool sluice_file_fits(const sluice_file_t *file,
    const sluice_file_spec_t *spec);

/* ends its map and its locks, and removes it if it was never published */
void sluice_file_close(const sluice_dir_t *dir, sluice_file_t *file);

/*
 * Unlinks a file if nobody else uses it.  SLUICE_BUSY: somebody does.
 * The file must have been opened by this call's process itself: processes
 * that share a description by fork() do not see each other's locks.
 * The caller closes it either way.
 */
sluice_status_t sluice_file_retire(const sluice_dir_t *dir,
    sluice_file_t *file);

/*
 * Opens each file PREFIX NAME.N of the kind for writing, hands it over, and
 * closes it; one that is damaged, another's, or from before a boot is passed
 * over.  false: for want of descriptors or memory some were not reached.
 */
typedef void (*sluice_file_visit_pt)(sluice_file_t *file, void *data);

bool sluice_file_each(const sluice_dir_t *dir, const char *prefix,
    uint32_t kind, sluice_file_visit_pt visit, void *data);

/* unlinks temporary files that nobody is building any more */
void sluice_file_sweep(const sluice_dir_t *dir);

static inline void *
sluice_file_section(const sluice_file_t *file, unsigned i)
{
    return file->map + file->header.section[i].offset;
}


/* locks of this file's open description; false: somebody else is in the way */
bool sluice_file_lock(const sluice_file_t *file, off_t byte, bool exclusive);
void sluice_file_unlock(const sluice_file_t *file, off_t byte);

/* whether anybody else holds the byte, shared or not */
bool sluice_file_locked(const sluice_file_t *file, off_t byte);

/*
 * The first of these for a file of any kind, open for reading and writing;
 * the lock is gone when the description's last descriptor is closed.
 */
bool sluice_file_lock_fd(int fd, off_t byte, bool exclusive);


/* 36 characters and NUL */
void sluice_uuid_format(const uint8_t uuid[16], char text[37]);

/* random bytes from the kernel; cannot fail once the system is up */
void sluice_random(void *data, size_t len);


#endif /* SLUICE_FILE_H */
