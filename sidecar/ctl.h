
/*
 * What the commands of sluicectl share: careful reading and two ways to
 * print.  Files are opened to look: no lock, no map, nothing written; bytes
 * are copied to private memory and checked there.  The one that writes, as it
 * is told to, is ctl_key.c.
 */

#ifndef SLUICE_CTL_H
#define SLUICE_CTL_H

#include "cas16.h"
#include "file.h"
#include "pool.h"

#include <bson/bson.h>


typedef enum {
    SLUICE_CELL_TEXT,
    SLUICE_CELL_NUMBER,
    SLUICE_CELL_BYTES,          /* 8.0M                                      */
    SLUICE_CELL_AGE,            /* seconds, as 3m20s                         */
    SLUICE_CELL_PERCENT,
    SLUICE_CELL_YES             /* yes or no                                 */
} sluice_cell_t;


/*
 * A column is a member of the rows, "a.b" one of a member; what has none stands
 * in JSON only.
 */
typedef struct {
    const char     *key;
    const char     *title;
    int             width;
    sluice_cell_t   cell;
} sluice_column_t;


/* a kind of pools, as commands call it */
typedef struct {
    const char             *one;        /* "key"                             */
    const char             *all;        /* "keys"                            */
    const char             *pool;       /* "pool"                            */
    const char             *title;      /* of a column that has its id       */
    const sluice_column_t  *columns;    /* of the command that tells all     */
    unsigned                answers;    /* bits: the classes that it has     */
    bool                    windows;    /* whether it may have some          */
} sluice_ctl_kind_t;

extern const sluice_ctl_kind_t  sluice_ctl_kinds[SLUICE_POOL_KINDS];


typedef struct {
    char  *file;
    char  *reason;
} sluice_skipped_t;


typedef struct {
    sluice_dir_t             dir;
    bool                     json;
    bool                     all;           /* former members, too           */
    uint64_t                 top;           /* keys of a zone                */
    uint64_t                 duration;      /* ms; 0: not said               */
    const char              *key;           /* files of master keys; NULL:   */
    const char              *new_key;       /* not said                      */
    uint64_t                 now;           /* wall clock, microseconds      */

    const char             **words;         /* the command and what it is of */
    unsigned                 nwords;
    void                    *data;          /* the command's own             */
    int                      code;          /* to exit with                  */

    const sluice_column_t   *columns;       /* of the table under way        */
    unsigned                 rows;
    unsigned                 members;       /* printed in the JSON object    */

    sluice_skipped_t        *skipped;
    unsigned                 nskipped;
} sluice_ctl_t;


/* commands */
void sluice_ctl_status(sluice_ctl_t *ctl);
void sluice_ctl_requests(sluice_ctl_t *ctl);
void sluice_ctl_hottest(sluice_ctl_t *ctl);
void sluice_ctl_keys(sluice_ctl_t *ctl);
void sluice_ctl_key(sluice_ctl_t *ctl);
void sluice_ctl_proxies(sluice_ctl_t *ctl);
void sluice_ctl_proxy(sluice_ctl_t *ctl);
void sluice_ctl_seal(sluice_ctl_t *ctl);


/* ctl_conn.c, ctl_keys.c: parts of status */
void sluice_ctl_conns(sluice_ctl_t *ctl);
void sluice_ctl_pools(sluice_ctl_t *ctl);

/*
 * What a member's state word says at `now`, in monotonic ms; SLUICE_NEVER: it
 * is from before the last boot.
 */
void sluice_ctl_state(sluice_ctl_t *ctl, bson_t *row, sluice_u128_t word,
    uint64_t now);


/* ctl_read.c */

/*
 * Opens a file; one from before the last boot is fine, *stale tells.  false:
 * it is noted as skipped, unless it has gone in the meantime.
 */
bool sluice_ctl_open(sluice_ctl_t *ctl, const char *name, uint32_t kind,
    sluice_file_t *file, bool *stale);

/* reads from a section; false: noted as skipped */
bool sluice_ctl_read(sluice_ctl_t *ctl, const sluice_file_t *file,
    unsigned section, uint64_t offset, void *to, size_t len);

/* every slot of a zone's table, copied; false: noted as skipped */
bool sluice_ctl_each_slot(sluice_ctl_t *ctl, const sluice_file_t *file,
    void (*visit)(sluice_u128_t slot, void *data), void *data);

/*
 * What a table of a series is: "newest" in some configuration that is in use,
 * "former" if it is only charged along with one, or "unused".
 */
const char *sluice_ctl_use(const sluice_file_t *file);

/* what a zone's table counts; "" is no unit of this version */
const char *sluice_ctl_unit(const sluice_file_t *file);

void sluice_ctl_skip(sluice_ctl_t *ctl, const char *file, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));


/* whether a file is the subject's: zone.rpm.1 of rpm */
bool sluice_ctl_is(const char *file, const char *prefix, const char *subject);

/* says why a command did not do what it was told, and what to exit with */
void sluice_ctl_fail(sluice_ctl_t *ctl, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));


/* ctl_out.c */

void sluice_ctl_begin(sluice_ctl_t *ctl);
void sluice_ctl_end(sluice_ctl_t *ctl);

/* rows of the same columns; the last column has the key NULL */
void sluice_ctl_table(sluice_ctl_t *ctl, const char *name,
    const sluice_column_t *columns);
void sluice_ctl_row(sluice_ctl_t *ctl, const bson_t *row);
void sluice_ctl_table_end(sluice_ctl_t *ctl);

typedef void (*sluice_ctl_visit_pt)(sluice_ctl_t *ctl, const char *name);

/* each file with that prefix, in the order of the names */
void sluice_ctl_each_file(sluice_ctl_t *ctl, const char *prefix,
    sluice_ctl_visit_pt visit);

/* such a table with what `visit` makes of each of them */
void sluice_ctl_files(sluice_ctl_t *ctl, const char *table,
    const sluice_column_t *columns, const char *prefix,
    sluice_ctl_visit_pt visit);

/* names and numbers; `text` explains a name in the table, may be NULL */
void sluice_ctl_object(sluice_ctl_t *ctl, const char *name,
    const bson_t *object, const char *(*text)(unsigned i));

/* members of a row */
void sluice_ctl_number(bson_t *row, const char *key, uint64_t value);
void sluice_ctl_text(bson_t *row, const char *key, const char *text,
    size_t size);

/* what a file is of, under that key, and its number: of zone.rpm.1 */
void sluice_ctl_named(bson_t *row, const char *key, const char *file,
    const char *prefix);

/* a wall clock time in microseconds; none if it is 0 or in no year */
bool sluice_ctl_time(bson_t *row, const char *key, uint64_t time);

/* "since" and "age_s" of such a time */
void sluice_ctl_since(const sluice_ctl_t *ctl, bson_t *row, uint64_t time);

/* text of somebody else's for a terminal: "?" for each control character */
void sluice_ctl_plain(const char *text, char *buf, size_t size);

/* 3m20s */
void sluice_ctl_age(double seconds, char *buf, size_t size);


#endif /* SLUICE_CTL_H */
