
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>


sluice_status_t
sluice_error(sluice_error_t *error, sluice_status_t status, const char *fmt,
    ...)
{
    va_list  args;

    va_start(args, fmt);
    vsnprintf(error->text, sizeof(error->text), fmt, args);
    va_end(args);

    return status;
}


sluice_status_t
sluice_error_errno(sluice_error_t *error, sluice_status_t status,
    const char *fmt, ...)
{
    int      n, err;
    va_list  args;

    err = errno;

    va_start(args, fmt);
    n = vsnprintf(error->text, sizeof(error->text), fmt, args);
    va_end(args);

    if (n >= 0 && (size_t) n < sizeof(error->text)) {
        snprintf(error->text + n, sizeof(error->text) - (size_t) n,
                 " (%d: %s)", err, strerror(err));
    }

    return status;
}
