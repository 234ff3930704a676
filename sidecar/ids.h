
/*
 * The _ids of the records that stand in a file of JSON lines.  One thread at
 * a time.
 */

#ifndef SLUICE_IDS_H
#define SLUICE_IDS_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


#define SLUICE_LINE_MAX  (64 * 1024)        /* longer than any line of ours  */


typedef struct {
    uint8_t   uuid[16];                     /* of the lane                   */
    uint64_t  sequence;
} sluice_id_t;


/* zeroed at first */
typedef struct {
    sluice_id_t  *list;                     /* sorted                        */
    size_t        count;
    size_t        room;
} sluice_ids_t;


/*
 * Adds those of the whole lines from `offset` on, in bytes; a line that has
 * none is passed over.  `*end` is where the last whole line ends, `path` is
 * for the error's text.  FAILED: no memory, or the file cannot be read.
 */
sluice_status_t sluice_ids_read(sluice_ids_t *ids, int fd, const char *path,
    uint64_t offset, uint64_t *end, sluice_error_t *error);

bool sluice_ids_has(const sluice_ids_t *ids, const uint8_t uuid[16],
    uint64_t sequence);

/* forgets them all, and gives their memory back */
void sluice_ids_clear(sluice_ids_t *ids);


#endif /* SLUICE_IDS_H */
