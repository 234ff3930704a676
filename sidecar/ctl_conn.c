
/* sluicectl status: what is in flight by key */

#define _GNU_SOURCE

#include "ctl.h"
#include "conn.h"

#include <stdlib.h>
#include <string.h>


#define SLUICE_CTL_CHUNK  2048          /* rows at a time: 1.1 MB            */


typedef struct {
    uint64_t  used;                     /* rows                              */
    uint64_t  in_flight;
} sluice_ctl_census_t;


static void sluice_ctl_conn(sluice_ctl_t *ctl, const char *name);
static bool sluice_ctl_conn_census(sluice_ctl_t *ctl,
    const sluice_file_t *file, sluice_ctl_census_t *census);


static const sluice_column_t  sluice_ctl_conn_columns[] = {
    { "zone", "CONN ZONE", 16, SLUICE_CELL_TEXT },
    { "number", "N", 3, SLUICE_CELL_NUMBER },
    { "use", "USE", 6, SLUICE_CELL_TEXT },
    { "size", "SIZE", 7, SLUICE_CELL_BYTES },
    { "rows", "ROWS", 8, SLUICE_CELL_NUMBER },
    { "used", "USED", 8, SLUICE_CELL_NUMBER },
    { "fill", "FILL", 6, SLUICE_CELL_PERCENT },
    { "in_flight", "IN-FLIGHT", 9, SLUICE_CELL_NUMBER },
    { "passed", "PASSED", 12, SLUICE_CELL_NUMBER },
    { "refused", "REFUSED", 10, SLUICE_CELL_NUMBER },
    { "full", "FULL", 8, SLUICE_CELL_NUMBER },
    { "contended", "CONTENDED", 9, SLUICE_CELL_NUMBER },
    { NULL, NULL, 0, 0 }
};


void
sluice_ctl_conns(sluice_ctl_t *ctl)
{
    sluice_ctl_files(ctl, "conn_zones", sluice_ctl_conn_columns,
                     SLUICE_CONN_PREFIX, sluice_ctl_conn);
}


static void
sluice_ctl_conn(sluice_ctl_t *ctl, const char *name)
{
    bool                   stale;
    bson_t                 row;
    size_t                 size;
    unsigned               i;
    uint64_t               rows;
    sluice_file_t          file;
    sluice_ctl_census_t    census;
    sluice_conn_column_t  *columns, sum;

    if (!sluice_ctl_open(ctl, name, SLUICE_FILE_CONN, &file, &stale)) {
        return;
    }

    size = SLUICE_SLOTS * sizeof(sluice_conn_column_t);
    columns = malloc(size);

    if (!sluice_conn_possible(&file.header)) {
        sluice_ctl_skip(ctl, name, "it has an impossible geometry");
        goto done;
    }

    if (columns == NULL
        || !sluice_ctl_read(ctl, &file, 1, 0, columns, size)
        || !sluice_ctl_conn_census(ctl, &file, &census))
    {
        goto done;
    }

    /* nobody of before the boot is in any more */

    if (stale) {
        memset(&census, 0, sizeof(census));
    }

    memset(&sum, 0, sizeof(sum));

    for (i = 0; i < SLUICE_SLOTS; i++) {
        sum.passed += columns[i].passed;
        sum.refused += columns[i].refused;
        sum.full += columns[i].full;
        sum.contended += columns[i].contended;
        sum.inserted += columns[i].inserted;
    }

    rows = file.header.geometry[0] * SLUICE_CONN_BUCKET;

    bson_init(&row);

    sluice_ctl_named(&row, "zone", name, SLUICE_CONN_PREFIX);

    BSON_APPEND_UTF8(&row, "use", sluice_ctl_use(&file));
    sluice_ctl_number(&row, "size", file.header.size);
    sluice_ctl_number(&row, "rows", rows);
    sluice_ctl_number(&row, "used", census.used);
    BSON_APPEND_DOUBLE(&row, "fill",
                       (double) census.used * 100 / (double) rows);
    sluice_ctl_number(&row, "in_flight", census.in_flight);
    sluice_ctl_number(&row, "passed", sum.passed);
    sluice_ctl_number(&row, "refused", sum.refused);
    sluice_ctl_number(&row, "full", sum.full);
    sluice_ctl_number(&row, "contended", sum.contended);
    sluice_ctl_number(&row, "inserted", sum.inserted);

    sluice_ctl_row(ctl, &row);
    bson_destroy(&row);

done:

    free(columns);
    sluice_file_close(&ctl->dir, &file);
}


/* of the copied rows; the dead's are among them until they are reclaimed */

static bool
sluice_ctl_conn_census(sluice_ctl_t *ctl, const sluice_file_t *file,
    sluice_ctl_census_t *census)
{
    size_t              n, i;
    uint32_t            in_flight;
    uint64_t            at, rows;
    sluice_conn_row_t  *copy;

    memset(census, 0, sizeof(sluice_ctl_census_t));

    copy = aligned_alloc(_Alignof(sluice_conn_row_t),
                         SLUICE_CTL_CHUNK * sizeof(sluice_conn_row_t));
    if (copy == NULL) {
        sluice_ctl_skip(ctl, file->name, "no memory");
        return false;
    }

    rows = file->header.geometry[0] * SLUICE_CONN_BUCKET;

    for (at = 0; at < rows; at += n) {

        n = (rows - at < SLUICE_CTL_CHUNK) ? (size_t) (rows - at)
                                           : SLUICE_CTL_CHUNK;

        if (!sluice_ctl_read(ctl, file, 2, at * sizeof(sluice_conn_row_t),
                             copy, n * sizeof(sluice_conn_row_t)))
        {
            free(copy);
            return false;
        }

        for (i = 0; i < n; i++) {
            in_flight = sluice_conn_in_flight(&copy[i]);
            census->used += (in_flight != 0);
            census->in_flight += in_flight;
        }
    }

    free(copy);

    return true;
}
