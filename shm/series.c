
/*
 * Opening and ending tables that follow each other.
 */

#define _GNU_SOURCE

#include "series.h"

#include <sys/stat.h>
#include <unistd.h>


static bool
sluice_series_linked(const sluice_file_t *file)
{
    struct stat  st;

    return fstat(file->fd, &st) == 0 && st.st_nlink != 0;
}


bool
sluice_series_primary(const sluice_file_t *file)
{
    return sluice_file_lock(file, SLUICE_LOCK_PRIMARY, false)
           && sluice_series_linked(file);
}


bool
sluice_series_unused(const sluice_file_t *file)
{
    return sluice_file_lock(file, SLUICE_LOCK_PRIMARY, true);
}


unsigned
sluice_series_last(unsigned last, const uint64_t *over)
{
    uint64_t  seen;

    seen = __atomic_load_n(over, __ATOMIC_RELAXED);

    return (seen > last && seen < SLUICE_NUMBER_MAX) ? (unsigned) seen : last;
}


void
sluice_series_end(const sluice_dir_t *dir, const sluice_file_t *file,
    unsigned number, uint64_t *over)
{
    uint64_t  seen;

    seen = (over != NULL) ? __atomic_load_n(over, __ATOMIC_RELAXED)
                          : number;

    while (seen < number
           && !__atomic_compare_exchange_n(over, &seen, number, false,
                                           __ATOMIC_RELEASE,
                                           __ATOMIC_RELAXED))
    {
        /* somebody else ended an older or the same one */
    }

    /* its name may be another one's by now */

    if (sluice_series_linked(file)) {
        unlinkat(dir->fd, file->name, 0);
    }
}
