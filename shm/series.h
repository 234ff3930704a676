
/*
 * Tables of one name, each made after the other: NAME.1, NAME.2...  Who has
 * one as his newest holds its PRIMARY lock, shared; who ends it has to have
 * that for himself.  Limits and conn tables have this alike; when a former
 * one is over, and what is missing where, is theirs.
 */

#ifndef SLUICE_SERIES_H
#define SLUICE_SERIES_H

#include "file.h"


/* as the newest from now on; false: somebody has just ended it */
bool sluice_series_primary(const sluice_file_t *file);

/*
 * Whether it is nobody's newest: nor will it be, until the caller has closed
 * it or unlocked PRIMARY.  The caller must not have it as his own.
 */
bool sluice_series_unused(const sluice_file_t *file);

/*
 * The last number that was given out, by what a table knows of ended ones.
 * Files are unlinked by their names: no number comes twice.  A word that
 * somebody has spoilt is not believed.
 */
unsigned sluice_series_last(unsigned last, const uint64_t *over);

/*
 * Under that lock: raises the word that tells up to which number tables no
 * longer count, NULL if nobody is to be told, and unlinks the file.  Those
 * who have it mapped lose nothing by it.  Safe to do twice.
 */
void sluice_series_end(const sluice_dir_t *dir, const sluice_file_t *file,
    unsigned number, uint64_t *over);


#endif /* SLUICE_SERIES_H */
