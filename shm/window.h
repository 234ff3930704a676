
/*
 * A sliding window in one 16-byte slot: {tag:48, window index:32, previous:24,
 * current:24}.  The count at `elapsed` into a window is
 * previous * (1 - elapsed / window) + current, compared in integers, without
 * rounding.  Every transition is one 16-byte compare-and-swap.
 *
 * A limit table has many, found by the tag (limit.h); a pool's member has a
 * few of its own (member.h).
 */

#ifndef SLUICE_WINDOW_H
#define SLUICE_WINDOW_H

#include "cas16.h"

#include <stdbool.h>
#include <stdint.h>


/* a slot as of a moment: enough for Retry-After, remaining, and a refund */
typedef struct {
    uint32_t  index;            /* the window                                */
    uint32_t  previous;         /* units                                     */
    uint32_t  current;          /* units                                     */
    uint32_t  elapsed;          /* ms of the window                          */
} sluice_window_t;


#endif /* SLUICE_WINDOW_H */
