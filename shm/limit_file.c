
/*
 * Zones' files: which table a configuration uses, and for how long a table
 * of a former geometry goes on to count.
 */

#define _GNU_SOURCE

#include "limit.h"
#include "clock.h"
#include "series.h"

#include <stdio.h>
#include <string.h>


#define SLUICE_LIMIT_SERIES  16


static void sluice_limit_spec(const char *name,
    const sluice_limit_conf_t *conf, sluice_file_spec_t *spec);
static sluice_status_t sluice_limit_open_file(const sluice_dir_t *dir,
    const char *name, unsigned number, sluice_limit_t *limit,
    sluice_error_t *error);
static sluice_status_t sluice_limit_make(const sluice_dir_t *dir,
    const char *name, const sluice_limit_conf_t *conf, unsigned number,
    sluice_limit_t *limit, sluice_error_t *error);
static bool sluice_limit_ended(const sluice_limit_t *limit, unsigned number);
static sluice_status_t sluice_limit_drop(const sluice_dir_t *dir,
    sluice_limit_t *unused, const sluice_limit_t *before);
static bool sluice_limit_primary(sluice_limit_t *limit);
static sluice_status_t sluice_limit_try(const sluice_dir_t *dir,
    const char *name, const sluice_limit_conf_t *conf, sluice_limit_t *limit,
    sluice_limit_t *former, sluice_error_t *error);


uint64_t
sluice_limit_buckets(uint64_t size)
{
    uint64_t  n;

    n = size / sizeof(sluice_limit_bucket_t);

    return (n < SLUICE_LIMIT_BUCKETS_MIN || n > SLUICE_LIMIT_BUCKETS_MAX)
           ? 0 : n;
}


static void
sluice_limit_spec(const char *name, const sluice_limit_conf_t *conf,
    sluice_file_spec_t *spec)
{
    memset(spec, 0, sizeof(sluice_file_spec_t));

    spec->kind = SLUICE_FILE_ZONE;
    spec->subject = name;
    spec->geometry[0] = sluice_limit_buckets(conf->size);
    spec->geometry[1] = conf->window;
    spec->geometry[2] = conf->scale;
    spec->geometry[3] = SLUICE_LIMIT_BUCKET;
    spec->geometry[4] = conf->unit;
    spec->section[0] = sizeof(sluice_limit_control_t);
    spec->section[1] = SLUICE_SLOTS * sizeof(sluice_limit_column_t);
    spec->section[2] = spec->geometry[0] * sizeof(sluice_limit_bucket_t);
}


static void
sluice_limit_attach(sluice_limit_t *limit, unsigned number)
{
    limit->control = sluice_file_section(&limit->file, 0);
    limit->columns = sluice_file_section(&limit->file, 1);
    limit->buckets = sluice_file_section(&limit->file, 2);
    limit->nbuckets = limit->file.header.geometry[0];
    limit->window = (uint32_t) limit->file.header.geometry[1];
    limit->scale = (uint32_t) limit->file.header.geometry[2];
    limit->unit = (uint32_t) limit->file.header.geometry[4];
    limit->number = number;
    limit->opened = __atomic_load_n(&limit->control->opened,
                                    __ATOMIC_SEQ_CST);
    limit->own = NULL;
    limit->nonce = 0;
    limit->clock = sluice_clock_ms;
}


static sluice_status_t
sluice_limit_open_file(const sluice_dir_t *dir, const char *name,
    unsigned number, sluice_limit_t *limit, sluice_error_t *error)
{
    char                         file[SLUICE_FILE_NAME_MAX];
    sluice_status_t              status;
    const sluice_file_header_t  *h;

    snprintf(file, sizeof(file), SLUICE_LIMIT_PREFIX "%s.%u", name, number);

    status = sluice_file_open(dir, file, SLUICE_FILE_ZONE, SLUICE_OPEN_WRITE,
                              &limit->file, error);

    if (status != SLUICE_OK) {
        return status;
    }

    h = &limit->file.header;

    if (h->geometry[0] < SLUICE_LIMIT_BUCKETS_MIN
        || h->geometry[0] > SLUICE_LIMIT_BUCKETS_MAX
        || h->geometry[1] < SLUICE_LIMIT_WINDOW_MIN
        || h->geometry[1] > SLUICE_LIMIT_WINDOW_MAX
        || h->geometry[2] == 0 || h->geometry[2] > SLUICE_LIMIT_SCALE_MAX
        || h->geometry[3] != SLUICE_LIMIT_BUCKET
        || h->section[0].size != sizeof(sluice_limit_control_t)
        || h->section[1].size != SLUICE_SLOTS * sizeof(sluice_limit_column_t)
        || h->section[2].size
           != h->geometry[0] * sizeof(sluice_limit_bucket_t))
    {
        sluice_file_close(dir, &limit->file);

        return sluice_error(error, SLUICE_CORRUPT, "\"%s/%s\" has an "
                            "impossible geometry", dir->path, file);
    }

    sluice_limit_attach(limit, number);

    return SLUICE_OK;
}


static sluice_status_t
sluice_limit_make(const sluice_dir_t *dir, const char *name,
    const sluice_limit_conf_t *conf, unsigned number, sluice_limit_t *limit,
    sluice_error_t *error)
{
    char                file[SLUICE_FILE_NAME_MAX];
    sluice_status_t     status;
    sluice_file_spec_t  spec;

    sluice_limit_spec(name, conf, &spec);

    status = sluice_file_create(dir, &spec, &limit->file, error);
    if (status != SLUICE_OK) {
        return status;
    }

    sluice_limit_attach(limit, number);

    /* before anybody can see it: a table without a primary user is former */

    (void) sluice_file_lock(&limit->file, SLUICE_LOCK_PRIMARY, false);

    snprintf(file, sizeof(file), SLUICE_LIMIT_PREFIX "%s.%u", name, number);

    status = sluice_file_publish(dir, &limit->file, file, error);

    if (status != SLUICE_OK) {
        sluice_file_close(dir, &limit->file);
    }

    return status;
}


sluice_status_t
sluice_limit_open(const sluice_dir_t *dir, const char *name,
    const sluice_limit_conf_t *conf, sluice_limit_t *limit,
    sluice_limit_t *former, sluice_error_t *error)
{
    unsigned         tries;
    sluice_status_t  status;

    /* EXISTS, ABSENT: another master made or removed one meanwhile */

    status = SLUICE_BUSY;

    for (tries = 0; tries < 8; tries++) {
        status = sluice_limit_try(dir, name, conf, limit, former, error);

        if (status != SLUICE_EXISTS && status != SLUICE_ABSENT) {
            return status;
        }
    }

    return status;
}


/* whether table `number` has ended for the users of that one, if it is one */

static bool
sluice_limit_ended(const sluice_limit_t *limit, unsigned number)
{
    return limit->file.fd != -1
           && __atomic_load_n(&limit->control->former_over, __ATOMIC_SEQ_CST)
              >= number;
}


/*
 * While a former table counts it has every charge of the one after it, too.
 * So one that nobody uses any more (an upgrade that was taken back, a stop
 * soon after a change of size) is dropped for the one before it, not that one
 * for it.  BUSY: somebody uses it; ABSENT: it alone counts now.
 */

static sluice_status_t
sluice_limit_drop(const sluice_dir_t *dir, sluice_limit_t *unused,
    const sluice_limit_t *before)
{
    sluice_status_t  status;

    /* nobody ends the one before until it is unlocked */

    if (!sluice_series_primary(&before->file)) {
        return SLUICE_ABSENT;
    }

    status = sluice_limit_ended(unused, before->number)
             ? SLUICE_ABSENT : sluice_file_retire(dir, &unused->file);

    sluice_file_unlock(&before->file, SLUICE_LOCK_PRIMARY);

    return status;
}


/* who waits for its end sees that it was used, however soon it is closed */

static bool
sluice_limit_primary(sluice_limit_t *limit)
{
    if (!sluice_series_primary(&limit->file)) {
        return false;
    }

    (void) __atomic_add_fetch(&limit->control->opened, 1, __ATOMIC_SEQ_CST);

    return true;
}


static sluice_status_t
sluice_limit_try(const sluice_dir_t *dir, const char *name,
    const sluice_limit_conf_t *conf, sluice_limit_t *limit,
    sluice_limit_t *former, sluice_error_t *error)
{
    unsigned            i, n, last, numbers[SLUICE_LIMIT_SERIES];
    sluice_limit_t      other;
    sluice_status_t     status;
    sluice_file_spec_t  spec;

    memset(limit, 0, sizeof(sluice_limit_t));
    memset(former, 0, sizeof(sluice_limit_t));
    limit->file.fd = -1;
    former->file.fd = -1;

    sluice_limit_spec(name, conf, &spec);

    n = sluice_dir_series(dir, SLUICE_LIMIT_PREFIX, name, numbers,
                          SLUICE_LIMIT_SERIES);
    if (n > SLUICE_LIMIT_SERIES) {
        n = SLUICE_LIMIT_SERIES;
    }

    last = (n != 0) ? numbers[0] : 0;

    for (i = 0; i < n; i++) {

        status = sluice_limit_open_file(dir, name, numbers[i], &other, error);

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
         * The newest one; or one that lacks nothing, as those who have a newer
         * one charge it, too: a change that is taken back at once.
         */

        if (limit->file.fd == -1 && sluice_file_fits(&other.file, &spec)) {

            if (!sluice_limit_primary(&other)) {

                /* somebody is about to end it, or to find that he must not */

                sluice_file_close(dir, &other.file);
                status = sluice_error(error, SLUICE_ABSENT, "\"%s/%s\" was "
                                      "removed", dir->path, other.file.name);
                goto failed;
            }

            /* looked at now: whoever ends it has to have it for himself */

            if (!sluice_limit_ended(former, numbers[i])) {
                *limit = other;

                if (former->file.fd != -1
                    && sluice_file_retire(dir, &former->file) == SLUICE_OK)
                {
                    sluice_limit_close(dir, former);
                }

                continue;
            }

            sluice_file_unlock(&other.file, SLUICE_LOCK_PRIMARY);
        }

        /* another window or unit is another limit: gone with its last user */

        if (other.window != conf->window || other.unit != conf->unit) {
            (void) sluice_file_retire(dir, &other.file);
            sluice_file_close(dir, &other.file);
            continue;
        }

        /* the process that ended it died before it unlinked it */

        if (sluice_limit_ended(limit, numbers[i])
            || sluice_limit_ended(former, numbers[i]))
        {
            if (sluice_series_unused(&other.file)) {
                sluice_series_end(dir, &other.file, numbers[i], NULL);
            }

            sluice_file_close(dir, &other.file);
            continue;
        }

        if (former->file.fd == -1) {
            *former = other;
            continue;
        }

        /* one of the two is too many */

        if (limit->file.fd == -1) {
            status = sluice_limit_drop(dir, former, &other);

            if (status == SLUICE_OK) {
                sluice_limit_close(dir, former);
                *former = other;
                continue;
            }

        } else {
            status = sluice_file_retire(dir, &other.file);
        }

        sluice_file_close(dir, &other.file);

        if (status == SLUICE_ABSENT) {
            status = sluice_error(error, SLUICE_ABSENT, "zone \"%s\" has lost "
                                  "a table of a former size meanwhile", name);
            goto failed;
        }

        if (status == SLUICE_BUSY) {
            status = sluice_error(error, SLUICE_BUSY,
                              "zone \"%s\" has two tables of former sizes in "
                              "use: wait until the workers of the earlier "
                              "configurations are gone, and two windows more",
                              name);
            goto failed;
        }
    }

    if (limit->file.fd == -1) {
        status = sluice_limit_make(dir, name, conf, last + 1, limit,
                                   error);

        if (status != SLUICE_OK) {
            goto failed;
        }
    }

    return SLUICE_OK;

failed:

    sluice_limit_close(dir, limit);
    sluice_limit_close(dir, former);

    return status;
}


void
sluice_limit_close(const sluice_dir_t *dir, sluice_limit_t *limit)
{
    sluice_file_close(dir, &limit->file);
    limit->buckets = NULL;
}


bool
sluice_limit_former_used(sluice_limit_t *former)
{
    uint64_t  opened;

    opened = __atomic_load_n(&former->control->opened, __ATOMIC_SEQ_CST);

    if (opened != former->opened) {
        former->opened = opened;
        return true;
    }

    return sluice_file_locked(&former->file, SLUICE_LOCK_PRIMARY);
}


bool
sluice_limit_former_end(const sluice_dir_t *dir, sluice_limit_t *limit,
    const sluice_limit_t *former)
{
    bool             ended;
    sluice_file_t    own;
    sluice_error_t   error;
    sluice_status_t  status;

    /*
     * By a description of our own: what is locked by one that was inherited is
     * as good as locked by all who inherited it, and unlocked by any of them.
     */

    status = sluice_file_open(dir, former->file.name, SLUICE_FILE_ZONE,
                              SLUICE_OPEN_READ, &own, &error);

    if (status == SLUICE_OK
        && memcmp(own.header.uuid, former->file.header.uuid, 16) == 0)
    {
        ended = sluice_series_unused(&own)
                && (former->number > limit->number
                    || __atomic_load_n(&former->control->opened,
                                       __ATOMIC_SEQ_CST)
                       == former->opened);

    } else {

        /* removed: nobody comes to it any more */

        ended = (status == SLUICE_OK || status == SLUICE_ABSENT)
                && !sluice_file_locked(&former->file, SLUICE_LOCK_PRIMARY);
    }

    if (ended) {
        sluice_series_end(dir, &former->file, former->number,
                          &limit->control->former_over);
    }

    sluice_file_close(dir, &own);

    return ended;
}
