
#include "utf8.h"

#include <string.h>


static unsigned sluice_utf8_expect(uint8_t lead);
static unsigned sluice_utf8_char(const uint8_t *p, size_t len);


size_t
sluice_utf8_repair(char *to, const void *from, size_t len, bool *repaired)
{
    char           *start;
    unsigned        n;
    const uint8_t  *p, *end;

    start = to;
    p = from;
    end = p + len;

    while (p < end) {

        if (*p >= ' ' && *p < 0x80) {
            *to++ = (char) *p++;
            continue;
        }

        n = sluice_utf8_char(p, (size_t) (end - p));

        if (n == 0) {
            memcpy(to, "\xef\xbf\xbd", 3);
            to += 3;
            p++;
            *repaired = true;
            continue;
        }

        memcpy(to, p, n);
        to += n;
        p += n;
    }

    *to = '\0';

    return (size_t) (to - start);
}


size_t
sluice_utf8_whole(const void *text, size_t len)
{
    size_t          i;
    unsigned        n;
    const uint8_t  *p;

    p = text;

    for (i = 1; i <= 3 && i <= len; i++) {

        if ((p[len - i] & 0xc0) == 0x80) {
            continue;
        }

        n = sluice_utf8_expect(p[len - i]);

        return (n > i) ? len - i : len;
    }

    return len;
}


/* the length that a lead byte tells, 0: it leads nothing */

static unsigned
sluice_utf8_expect(uint8_t lead)
{
    if (lead < 0x80) {
        return 1;
    }

    if (lead >= 0xc2 && lead <= 0xdf) {
        return 2;
    }

    if (lead >= 0xe0 && lead <= 0xef) {
        return 3;
    }

    return (lead >= 0xf0 && lead <= 0xf4) ? 4 : 0;
}


/* the length of the character at p, 0: there is none */

static unsigned
sluice_utf8_char(const uint8_t *p, size_t len)
{
    unsigned  i, n;

    if (p[0] == '\0') {
        return 0;
    }

    n = sluice_utf8_expect(p[0]);

    if (n > len) {
        return 0;
    }

    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    /* overlong forms, surrogates, past U+10FFFF */

    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)
        || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
    {
        return 0;
    }

    return n;
}
