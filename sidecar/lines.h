
/*
 * A file of JSON lines, and two that stand beside it: PATH.lock, held by the
 * one process that writes lines, and PATH.state, replaced as a whole, with
 * {device, inode, offset}.  What the offset promises: sink_file.c.
 *
 * At start the file of the state is looked for by its inode and by what it
 * holds, as whoever rotates files may have renamed it in its directory; the
 * _ids of its lines behind the offset are read, and a torn last line is cut
 * off.
 *
 * One thread at a time.
 */

#ifndef SLUICE_LINES_H
#define SLUICE_LINES_H

#include "error.h"
#include "ids.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>


typedef struct {
    uint64_t  device;
    uint64_t  inode;
    uint64_t  offset;
} sluice_lines_state_t;


/* not to be moved: it points into itself */
typedef struct {
    char                  path[PATH_MAX];
    const char           *base;             /* the path's last component     */
    int                   dir;
    int                   fd;
    int                   lock;             /* PATH.lock                     */

    uint64_t              end;              /* of the last whole batch       */
    sluice_lines_state_t  state;            /* as stored                     */
    sluice_ids_t          ids;              /* found behind the offset       */
} sluice_lines_t;


/*
 * Opens the directory, and nothing else yet.  The path names a file and is
 * shorter than PATH_MAX.  Whatever it returns, the caller closes.
 */
sluice_status_t sluice_lines_init(sluice_lines_t *lines, const char *path,
    sluice_error_t *error);
void sluice_lines_close(sluice_lines_t *lines);

/* takes the lock, for as long as it is open; BUSY: another process has it */
sluice_status_t sluice_lines_lock(sluice_lines_t *lines,
    sluice_error_t *error);

/*
 * Opens what the path names now, and makes it if it is missing; a file that
 * was open is closed, unless this fails.
 */
sluice_status_t sluice_lines_open(sluice_lines_t *lines,
    sluice_error_t *error);

/*
 * Once, after the first open: goes on where a former process has ended.
 * *rotated: that is in a file that the path does not name any more.
 */
sluice_status_t sluice_lines_recover(sluice_lines_t *lines, bool *rotated,
    sluice_error_t *error);

/* the state, with this offset in the file that is open */
sluice_status_t sluice_lines_store(sluice_lines_t *lines, uint64_t offset,
    sluice_error_t *error);


#endif /* SLUICE_LINES_H */
