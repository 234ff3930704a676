
/*
 * sluicectl hottest: the keys of each zone that count most now.  A zone holds
 * no key, only 48 bits of its keyed hash: enough to see whether one key is
 * what fills it, or refuses, and whether it is the same one as before.
 */

#define _GNU_SOURCE

#include "clock.h"
#include "ctl.h"
#include "limit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


typedef struct {
    uint64_t  fingerprint;
    uint64_t  used;             /* units                                     */
    uint64_t  reset;            /* ms                                        */
} sluice_ctl_hot_t;


/* the hottest so far, in no order: they are few */
typedef struct {
    sluice_ctl_hot_t  *hot;
    unsigned           n;
    unsigned           size;
    uint64_t           now;     /* monotonic ms                              */
    uint32_t           window;
} sluice_ctl_hottest_t;


static void sluice_ctl_zone_hottest(sluice_ctl_t *ctl, const char *name);
static void sluice_ctl_hottest_slot(sluice_u128_t slot, void *data);
static int sluice_ctl_hotter(const void *one, const void *two);


static const sluice_column_t  sluice_ctl_hottest_columns[] = {
    { "zone", "ZONE", 16, SLUICE_CELL_TEXT },
    { "number", "N", 3, SLUICE_CELL_NUMBER },
    { "key", "KEY", 12, SLUICE_CELL_TEXT },
    { "used", "USED", 12, SLUICE_CELL_NUMBER },
    { "reset_s", "RESET", 8, SLUICE_CELL_AGE },
    { "unit", "UNIT", 8, SLUICE_CELL_TEXT },
    { "use", "USE", 6, SLUICE_CELL_TEXT },
    { NULL, NULL, 0, 0 }
};


void
sluice_ctl_hottest(sluice_ctl_t *ctl)
{
    sluice_ctl_files(ctl, "hottest", sluice_ctl_hottest_columns,
                     SLUICE_LIMIT_PREFIX, sluice_ctl_zone_hottest);
}


static void
sluice_ctl_zone_hottest(sluice_ctl_t *ctl, const char *name)
{
    bool                   stale;
    char                   key[16];
    bson_t                 row;
    unsigned               i;
    sluice_file_t          file;
    sluice_ctl_hottest_t   hottest;

    if (!sluice_ctl_open(ctl, name, SLUICE_FILE_ZONE, &file, &stale)) {
        return;
    }

    hottest.n = 0;
    hottest.size = (unsigned) ctl->top;
    hottest.now = sluice_clock_ms();
    hottest.window = (uint32_t) file.header.geometry[1];
    hottest.hot = calloc(hottest.size, sizeof(sluice_ctl_hot_t));

    if (hottest.hot == NULL) {
        sluice_ctl_skip(ctl, name, "no memory");
        sluice_file_close(&ctl->dir, &file);
        return;
    }

    /* after a boot no window of it is live */

    if (!stale) {
        (void) sluice_ctl_each_slot(ctl, &file, sluice_ctl_hottest_slot,
                                    &hottest);
    }

    if (hottest.n > 1) {
        qsort(hottest.hot, hottest.n, sizeof(sluice_ctl_hot_t),
              sluice_ctl_hotter);
    }

    for (i = 0; i < hottest.n; i++) {
        bson_init(&row);

        sluice_ctl_named(&row, "zone", name, SLUICE_LIMIT_PREFIX);

        snprintf(key, sizeof(key), "%012" PRIx64, hottest.hot[i].fingerprint);

        BSON_APPEND_UTF8(&row, "key", key);
        sluice_ctl_number(&row, "used",
                          hottest.hot[i].used * file.header.geometry[2]);
        BSON_APPEND_DOUBLE(&row, "reset_s",
                           (double) hottest.hot[i].reset / 1e3);
        BSON_APPEND_UTF8(&row, "unit", sluice_ctl_unit(&file));
        BSON_APPEND_UTF8(&row, "use", sluice_ctl_use(&file));

        sluice_ctl_row(ctl, &row);
        bson_destroy(&row);
    }

    free(hottest.hot);
    sluice_file_close(&ctl->dir, &file);
}


static void
sluice_ctl_hottest_slot(sluice_u128_t slot, void *data)
{
    sluice_ctl_hottest_t  *hottest = data;

    unsigned               i, least;
    sluice_ctl_hot_t       hot;
    sluice_limit_state_t   state;

    if (!sluice_limit_slot_state(slot, hottest->now, hottest->window,
                                 &hot.fingerprint, &state))
    {
        return;
    }

    hot.used = sluice_limit_used(hottest->window, &state);
    hot.reset = sluice_limit_reset(hottest->window, &state);

    if (hot.used == 0) {
        return;
    }

    if (hottest->n < hottest->size) {
        hottest->hot[hottest->n++] = hot;
        return;
    }

    least = 0;

    for (i = 1; i < hottest->n; i++) {
        if (hottest->hot[i].used < hottest->hot[least].used) {
            least = i;
        }
    }

    if (hot.used > hottest->hot[least].used) {
        hottest->hot[least] = hot;
    }
}


static int
sluice_ctl_hotter(const void *one, const void *two)
{
    const sluice_ctl_hot_t  *a = one, *b = two;

    if (a->used != b->used) {
        return (a->used < b->used) ? 1 : -1;
    }

    return (a->fingerprint > b->fingerprint)
           - (a->fingerprint < b->fingerprint);
}
