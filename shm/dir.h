
/*
 * The directory of the shared files: who may have it, what it holds, and the
 * names in it, of which some are numbered: PREFIX NAME.N.  What is in a file,
 * and its locks: file.h.
 *
 * Nothing here is for the request path.
 */

#ifndef SLUICE_DIR_H
#define SLUICE_DIR_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


#define SLUICE_NAME_MAX        48   /* of a zone, pool or member, with NUL   */
#define SLUICE_FILE_NAME_MAX   96   /* of a file, with NUL                   */
#define SLUICE_NUMBER_MAX      999999999        /* of a "zone.NAME.N"        */

/* as a gid: the group that the directory and its files have already */
#define SLUICE_GROUP_KEEP      ((gid_t) -1)


typedef struct {
    int       fd;                       /* O_DIRECTORY                       */
    uid_t     uid;                      /* who owns the files                */
    gid_t     gid;
    uint8_t   boot_id[16];
    char      path[512];
} sluice_dir_t;


/*
 * Opens the directory.  With create, its last component is made if missing
 * and given mode 02770 and the owner, as is one of root's that is empty;
 * without it nothing is changed.  Refuses any other that is not uid's, and one
 * that everybody may write.  Who is not root can give it to a group that he is
 * in, and is refused another one.
 */
sluice_status_t sluice_dir_open(sluice_dir_t *dir, const char *path, uid_t uid,
    gid_t gid, bool create, sluice_error_t *error);

/* opens it to read, whoever owns it: for sluiced and sluicectl */
sluice_status_t sluice_dir_open_reader(sluice_dir_t *dir, const char *path,
    sluice_error_t *error);

void sluice_dir_close(sluice_dir_t *dir);

/* true if the directory is on tmpfs: elsewhere writeback stalls workers */
bool sluice_dir_is_tmpfs(const sluice_dir_t *dir);

/* calls back for each file name; a negative answer of visit ends the walk */
typedef int (*sluice_dir_visit_pt)(const char *name, void *data);
sluice_status_t sluice_dir_walk(const sluice_dir_t *dir,
    sluice_dir_visit_pt visit, void *data, sluice_error_t *error);

/*
 * The numbers N of the files PREFIX NAME.N, newest first.  Returns how many
 * of them there are; no more than max are told.
 */
unsigned sluice_dir_series(const sluice_dir_t *dir, const char *prefix,
    const char *subject, unsigned *numbers, unsigned max);


/* "zone.NAME.N": what is after the prefix and before the last dot, and N */
bool sluice_name_parse(const char *file, const char *prefix, char *subject,
    size_t size, unsigned *n);

/* letters, digits, '_' and '-', 1 to SLUICE_NAME_MAX - 1 of them */
bool sluice_name_valid(const char *name, size_t len);


#endif /* SLUICE_DIR_H */
