
/*
 * What a function of this library could not do, in words for an operator.
 *
 * A function that takes a sluice_error_t sets it once, where the failure is
 * known best, and returns something other than SLUICE_OK; its callers pass
 * both on and print the text once.
 */

#ifndef SLUICE_ERROR_H
#define SLUICE_ERROR_H


typedef enum {
    SLUICE_OK = 0,
    SLUICE_FAILED,      /* the system said no: the text has its reason       */
    SLUICE_ABSENT,      /* there is no such file                             */
    SLUICE_EXISTS,      /* somebody published that name first                */
    SLUICE_BUSY,        /* somebody else holds it                            */
    SLUICE_FULL,        /* no slot, no line, no space is left                */
    SLUICE_STALE,       /* whole, but from before the last boot              */
    SLUICE_CORRUPT,     /* not one of ours, truncated or damaged             */
    SLUICE_VERSION      /* written by another version of Sluice              */
} sluice_status_t;


typedef struct {
    char    text[768];
} sluice_error_t;


/*
 * Sets the text and returns the status, so that a failure is one statement.
 * The second form adds the text of errno.
 */
sluice_status_t sluice_error(sluice_error_t *error, sluice_status_t status,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
sluice_status_t sluice_error_errno(sluice_error_t *error,
    sluice_status_t status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));


#endif /* SLUICE_ERROR_H */
