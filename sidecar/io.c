
/* all of it, or an error */

#include "io.h"

#include <errno.h>
#include <unistd.h>


bool
sluice_io_write(int fd, const void *data, size_t len, off_t at)
{
    size_t       done;
    ssize_t      n;
    const char  *p = data;

    for (done = 0; done < len; done += (size_t) n) {

        if (at == -1) {
            n = write(fd, p + done, len - done);

        } else {
            n = pwrite(fd, p + done, len - done, at + (off_t) done);
        }

        if (n == -1 && errno == EINTR) {
            n = 0;

        } else if (n <= 0) {
            errno = (n == 0) ? ENOSPC : errno;
            return false;
        }
    }

    return true;
}
