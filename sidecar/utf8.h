
/*
 * Text that came from outside: made valid UTF-8 (RFC 3629), without NUL, as
 * MongoDB and JSON want it.  Pure functions; any thread.
 */

#ifndef SLUICE_UTF8_H
#define SLUICE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


/* the room that `len` bytes may take once they are repaired, with NUL */
#define SLUICE_UTF8_ROOM(len)  ((len) * 3 + 1)


/*
 * Copies the text and ends it with a NUL; each byte that is not part of a
 * character, and each NUL, becomes U+FFFD.  `to` has SLUICE_UTF8_ROOM(len)
 * bytes.  Returns the length; *repaired is set to true if it is not the same
 * text, else left alone.
 */
size_t sluice_utf8_repair(char *to, const void *from, size_t len,
    bool *repaired);

/* the length without a character that was begun at the end and then cut */
size_t sluice_utf8_whole(const void *text, size_t len);


#endif /* SLUICE_UTF8_H */
