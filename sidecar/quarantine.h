
/*
 * Where things lie that cannot be delivered: bytes of a lane that are no
 * record ("damaged.jsonl") and documents that the sink will never take
 * ("dead-letters.jsonl").  Both are lines of canonical extended JSON, and
 * are on the disk before a lane's tail moves over what they hold.  A kill in
 * between writes a line again: position and _id tell it from another one.
 * What fails half way is cut off again.
 */

#ifndef SLUICE_QUARANTINE_H
#define SLUICE_QUARANTINE_H

#include "batch.h"
#include "error.h"

#include <pthread.h>
#include <sys/types.h>
#include <stdint.h>


typedef struct {
    const char  *name;
    int          fd;            /* -1: not open                              */
    off_t        size;          /* before what is being written              */
    bool         abandoned;     /* its disk failed: the next has a new name  */
} sluice_quarantine_file_t;


typedef struct {
    int                       dir;          /* -1: nothing is kept           */
    char                      path[512];
    pthread_mutex_t           mutex;
    sluice_quarantine_file_t  damaged;
    sluice_quarantine_file_t  rejected;
} sluice_quarantine_t;


/*
 * Opens the directory, making its last component if it is missing, and sees
 * that files can be made in it.  path NULL: everything is dropped.
 */
sluice_status_t sluice_quarantine_open(sluice_quarantine_t *quarantine,
    const char *path, sluice_error_t *error);
void sluice_quarantine_close(sluice_quarantine_t *quarantine);

/* any thread; OK: it is on the disk */
sluice_status_t sluice_quarantine_damage(sluice_quarantine_t *quarantine,
    const uint8_t lane[16], uint64_t position, const char *reason,
    const void *bytes, size_t len, sluice_error_t *error);

/* the batch's rejects, all of them or none; any thread; OK: on the disk */
sluice_status_t sluice_quarantine_rejects(sluice_quarantine_t *quarantine,
    const sluice_batch_t *batch, sluice_error_t *error);


#endif /* SLUICE_QUARANTINE_H */
