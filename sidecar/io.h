
/* what write(2) leaves to its callers */

#ifndef SLUICE_IO_H
#define SLUICE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>


/*
 * Writes all of it: at an offset in bytes, or where the file's own position
 * is if `at` is -1.  false: some of it may have been written; errno says why
 * not the rest.  Any thread.
 */
bool sluice_io_write(int fd, const void *data, size_t len, off_t at);


#endif /* SLUICE_IO_H */
