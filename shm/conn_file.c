
/*
 * Conn tables' files: which one a configuration uses, how long one of another
 * size goes on to count, and what a dead process held in any of them.
 *
 * Nothing here outlives a process: a table that nobody has as his newest
 * holds nothing, or nothing that is not in his newest as well.  That is told
 * by an exclusive PRIMARY lock on it, under which it is unlinked, so that no
 * other master can take it for the newest one meanwhile.
 */

#define _GNU_SOURCE

#include "conn.h"
#include "clock.h"
#include "series.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>


#define SLUICE_CONN_SERIES  16


static void sluice_conn_spec(const char *name, uint64_t buckets,
    sluice_file_spec_t *spec);
static void sluice_conn_attach(sluice_conn_t *conn, unsigned number);
static sluice_status_t sluice_conn_open_file(const sluice_dir_t *dir,
    const char *file, unsigned number, sluice_conn_t *conn,
    sluice_error_t *error);
static sluice_status_t sluice_conn_make(const sluice_dir_t *dir,
    const char *name, const sluice_file_spec_t *spec, unsigned number,
    sluice_conn_t *conn, sluice_error_t *error);
static sluice_status_t sluice_conn_try(const sluice_dir_t *dir,
    const char *name, uint64_t size, sluice_conn_t *conn,
    sluice_conn_t *former, sluice_error_t *error);
static void sluice_conn_forget_one(sluice_file_t *file, void *data);


uint64_t
sluice_conn_buckets(uint64_t size)
{
    uint64_t  n;

    n = size / (SLUICE_CONN_BUCKET * sizeof(sluice_conn_row_t));

    return (n < SLUICE_CONN_BUCKETS_MIN || n > SLUICE_CONN_BUCKETS_MAX)
           ? 0 : n;
}


static void
sluice_conn_spec(const char *name, uint64_t buckets, sluice_file_spec_t *spec)
{
    memset(spec, 0, sizeof(sluice_file_spec_t));

    spec->kind = SLUICE_FILE_CONN;
    spec->subject = name;
    spec->geometry[0] = buckets;
    spec->geometry[1] = SLUICE_SLOTS;
    spec->geometry[2] = sizeof(sluice_conn_row_t);
    spec->geometry[3] = SLUICE_CONN_BUCKET;
    spec->section[0] = sizeof(sluice_conn_control_t);
    spec->section[1] = SLUICE_SLOTS * sizeof(sluice_conn_column_t);
    spec->section[2] = buckets * SLUICE_CONN_BUCKET
                       * sizeof(sluice_conn_row_t);
}


bool
sluice_conn_possible(const sluice_file_header_t *header)
{
    unsigned             i;
    sluice_file_spec_t   spec;

    if (header->geometry[0] < SLUICE_CONN_BUCKETS_MIN
        || header->geometry[0] > SLUICE_CONN_BUCKETS_MAX)
    {
        return false;
    }

    sluice_conn_spec("", header->geometry[0], &spec);

    for (i = 0; i < SLUICE_FILE_SECTIONS; i++) {
        if (header->section[i].size != spec.section[i]) {
            return false;
        }
    }

    return memcmp(header->geometry, spec.geometry, sizeof(spec.geometry))
           == 0;
}


static void
sluice_conn_attach(sluice_conn_t *conn, unsigned number)
{
    conn->control = sluice_file_section(&conn->file, 0);
    conn->columns = sluice_file_section(&conn->file, 1);
    conn->rows = sluice_file_section(&conn->file, 2);
    conn->nbuckets = conn->file.header.geometry[0];
    conn->number = number;
    conn->nonce = 0;
    conn->clock = sluice_clock_ms;
}


/* STALE leaves it open, with nothing of it attached */

static sluice_status_t
sluice_conn_open_file(const sluice_dir_t *dir, const char *file,
    unsigned number, sluice_conn_t *conn, sluice_error_t *error)
{
    sluice_status_t  status;

    status = sluice_file_open(dir, file, SLUICE_FILE_CONN, SLUICE_OPEN_WRITE,
                              &conn->file, error);

    if (status != SLUICE_OK) {
        return status;
    }

    if (!sluice_conn_possible(&conn->file.header)) {
        sluice_file_close(dir, &conn->file);

        return sluice_error(error, SLUICE_CORRUPT, "\"%s/%s\" has an "
                            "impossible geometry", dir->path, file);
    }

    sluice_conn_attach(conn, number);

    return SLUICE_OK;
}


static sluice_status_t
sluice_conn_make(const sluice_dir_t *dir, const char *name,
    const sluice_file_spec_t *spec, unsigned number, sluice_conn_t *conn,
    sluice_error_t *error)
{
    char             file[SLUICE_FILE_NAME_MAX];
    sluice_status_t  status;

    status = sluice_file_create(dir, spec, &conn->file, error);
    if (status != SLUICE_OK) {
        return status;
    }

    sluice_conn_attach(conn, number);

    /* before anybody can see it: a table without a primary user is over */

    (void) sluice_file_lock(&conn->file, SLUICE_LOCK_PRIMARY, false);

    snprintf(file, sizeof(file), SLUICE_CONN_PREFIX "%s.%u", name, number);

    status = sluice_file_publish(dir, &conn->file, file, error);

    if (status != SLUICE_OK) {
        sluice_file_close(dir, &conn->file);
    }

    return status;
}


sluice_status_t
sluice_conn_open(const sluice_dir_t *dir, const char *name, uint64_t size,
    sluice_conn_t *conn, sluice_conn_t *former, sluice_error_t *error)
{
    unsigned         tries;
    sluice_status_t  status;

    /* EXISTS, ABSENT: another master made or removed one meanwhile */

    status = SLUICE_BUSY;

    for (tries = 0; tries < 8; tries++) {
        status = sluice_conn_try(dir, name, size, conn, former, error);

        if (status != SLUICE_EXISTS && status != SLUICE_ABSENT) {
            return status;
        }
    }

    return status;
}


static sluice_status_t
sluice_conn_try(const sluice_dir_t *dir, const char *name, uint64_t size,
    sluice_conn_t *conn, sluice_conn_t *former, sluice_error_t *error)
{
    char                file[SLUICE_FILE_NAME_MAX];
    unsigned            i, n, last, numbers[SLUICE_CONN_SERIES];
    sluice_conn_t       other;
    sluice_status_t     status;
    sluice_file_spec_t  spec;

    memset(conn, 0, sizeof(sluice_conn_t));
    memset(former, 0, sizeof(sluice_conn_t));
    conn->file.fd = -1;
    former->file.fd = -1;

    sluice_conn_spec(name, sluice_conn_buckets(size), &spec);

    if (spec.geometry[0] == 0) {
        return sluice_error(error, SLUICE_FAILED, "connection zone \"%s\" is "
                            "too small or too large", name);
    }

    n = sluice_dir_series(dir, SLUICE_CONN_PREFIX, name, numbers,
                          SLUICE_CONN_SERIES);
    if (n > SLUICE_CONN_SERIES) {
        n = SLUICE_CONN_SERIES;
    }

    last = (n != 0) ? numbers[0] : 0;

    for (i = 0; i < n; i++) {

        snprintf(file, sizeof(file), SLUICE_CONN_PREFIX "%s.%u", name,
                 numbers[i]);

        status = sluice_conn_open_file(dir, file, numbers[i], &other, error);

        if (status == SLUICE_ABSENT || status == SLUICE_BUSY) {
            continue;
        }

        if (status == SLUICE_STALE) {
            (void) sluice_file_retire(dir, &other.file);
            sluice_file_close(dir, &other.file);
            continue;
        }

        if (status != SLUICE_OK) {
            goto failed;
        }

        last = sluice_series_last(last, &other.control->former_over);

        /*
         * The newest of those that somebody uses, or that nobody does: one
         * that was made after it and is nobody's has gone by now, as after an
         * upgrade that was taken back.  Or one that lacks nothing, as those
         * who have a newer one take from it, too.
         */

        if (conn->rows == NULL && sluice_file_fits(&other.file, &spec)) {

            if (!sluice_series_primary(&other.file)) {
                sluice_file_close(dir, &other.file);
                status = sluice_error(error, SLUICE_ABSENT, "\"%s/%s\" was "
                                      "removed", dir->path, file);
                goto failed;
            }

            /* looked at now: whoever ends it has to have it for himself */

            if (former->rows == NULL
                || __atomic_load_n(&former->control->former_over,
                                   __ATOMIC_SEQ_CST) < numbers[i])
            {
                *conn = other;
                continue;
            }

            sluice_file_unlock(&other.file, SLUICE_LOCK_PRIMARY);
        }

        if (sluice_series_unused(&other.file)) {

            sluice_series_end(dir, &other.file, other.number,
                              (conn->rows != NULL)
                              ? &conn->control->former_over : NULL);
            sluice_file_close(dir, &other.file);
            continue;
        }

        if (former->rows == NULL) {
            *former = other;
            continue;
        }

        sluice_file_close(dir, &other.file);

        status = sluice_error(error, SLUICE_BUSY,
                              "connection zone \"%s\" has two tables of "
                              "former sizes in use: wait until the workers "
                              "of the earlier configurations are gone", name);
        goto failed;
    }

    if (conn->rows == NULL) {
        status = sluice_conn_make(dir, name, &spec, last + 1, conn,
                                  error);

        if (status != SLUICE_OK) {
            goto failed;
        }
    }

    return SLUICE_OK;

failed:

    sluice_conn_close(dir, conn);
    sluice_conn_close(dir, former);

    return status;
}


void
sluice_conn_close(const sluice_dir_t *dir, sluice_conn_t *conn)
{
    sluice_file_close(dir, &conn->file);
    conn->rows = NULL;
}


bool
sluice_conn_former_end(const sluice_dir_t *dir, sluice_conn_t *conn,
    const sluice_conn_t *former)
{
    if (!sluice_series_unused(&former->file)) {
        return false;
    }

    sluice_series_end(dir, &former->file, former->number,
                      &conn->control->former_over);

    return true;
}


static void
sluice_conn_forget_one(sluice_file_t *file, void *data)
{
    unsigned *slot = data;

    uint64_t        i;
    uint16_t       *column;
    sluice_conn_t   conn;

    if (!sluice_conn_possible(&file->header)) {
        return;
    }

    conn.file = *file;
    sluice_conn_attach(&conn, 0);

    for (i = 0; i < conn.nbuckets * SLUICE_CONN_BUCKET; i++) {
        column = &conn.rows[i].in_flight[*slot];

        /* rows that it was never in stay clean */

        if (__atomic_load_n(column, __ATOMIC_RELAXED) != 0) {
            __atomic_store_n(column, 0, __ATOMIC_SEQ_CST);
        }
    }
}


bool
sluice_conn_forget_slot(const sluice_dir_t *dir, unsigned slot)
{
    return sluice_file_each(dir, SLUICE_CONN_PREFIX, SLUICE_FILE_CONN,
                            sluice_conn_forget_one, &slot);
}
