
/*
 * One description, two forms: each row is a document; JSON prints it whole,
 * a table those members that have a column.
 */

#define _GNU_SOURCE

#include "ctl.h"
#include "document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>


static void sluice_ctl_member(sluice_ctl_t *ctl, const char *name);
static void sluice_ctl_cell(const sluice_column_t *column,
    const bson_t *row, bool last);
static void sluice_ctl_format(const sluice_column_t *column,
    const bson_iter_t *value, char *buf, size_t size);
static void sluice_ctl_bytes(double n, char *buf, size_t size);
static void sluice_ctl_json(const bson_t *document);


void
sluice_ctl_begin(sluice_ctl_t *ctl)
{
    if (ctl->json) {
        printf("{");
        sluice_ctl_member(ctl, "v");
        printf("1");
    }
}


void
sluice_ctl_end(sluice_ctl_t *ctl)
{
    bson_t             row;
    unsigned           i;
    sluice_skipped_t  *s;

    if (ctl->json) {
        sluice_ctl_member(ctl, "skipped");
        printf("[");

        for (i = 0; i < ctl->nskipped; i++) {
            s = &ctl->skipped[i];

            bson_init(&row);
            sluice_ctl_text(&row, "file", s->file, strlen(s->file));
            sluice_ctl_text(&row, "reason", s->reason, strlen(s->reason));

            printf("%s", i != 0 ? "," : "");
            sluice_ctl_json(&row);
            bson_destroy(&row);
        }

        printf("]}\n");
    }

    for (i = 0; i < ctl->nskipped; i++) {
        free(ctl->skipped[i].file);
        free(ctl->skipped[i].reason);
    }

    free(ctl->skipped);
    ctl->skipped = NULL;
    ctl->nskipped = 0;
}


static void
sluice_ctl_member(sluice_ctl_t *ctl, const char *name)
{
    printf("%s\"%s\":", ctl->members++ != 0 ? "," : "", name);
}


void
sluice_ctl_table(sluice_ctl_t *ctl, const char *name,
    const sluice_column_t *columns)
{
    const sluice_column_t  *c;

    ctl->columns = columns;
    ctl->rows = 0;

    if (ctl->json) {
        sluice_ctl_member(ctl, name);
        printf("[");
        return;
    }

    printf("%s%s\n", ctl->members++ != 0 ? "\n" : "", name);

    for (c = columns; c->key != NULL; c++) {
        printf("  %*s", c->cell == SLUICE_CELL_TEXT ? -c->width : c->width,
               c->title);
    }

    printf("\n");
}


void
sluice_ctl_row(sluice_ctl_t *ctl, const bson_t *row)
{
    const sluice_column_t  *c;

    if (ctl->json) {
        printf("%s", ctl->rows++ != 0 ? "," : "");
        sluice_ctl_json(row);
        return;
    }

    ctl->rows++;

    for (c = ctl->columns; c->key != NULL; c++) {
        sluice_ctl_cell(c, row, c[1].key == NULL);
    }

    printf("\n");
}


void
sluice_ctl_table_end(sluice_ctl_t *ctl)
{
    if (ctl->json) {
        printf("]");
        return;
    }

    if (ctl->rows == 0) {
        printf("  none\n");
    }
}


void
sluice_ctl_object(sluice_ctl_t *ctl, const char *name, const bson_t *object,
    const char *(*text)(unsigned i))
{
    unsigned      i;
    bson_iter_t   iter;

    if (ctl->json) {
        sluice_ctl_member(ctl, name);
        sluice_ctl_json(object);
        return;
    }

    printf("%s%s\n", ctl->members++ != 0 ? "\n" : "", name);

    if (!bson_iter_init(&iter, object)) {
        return;
    }

    for (i = 0; bson_iter_next(&iter); i++) {
        printf("  %-16s %12lld  %s\n", bson_iter_key(&iter),
               (long long) bson_iter_as_int64(&iter),
               text != NULL ? text(i) : "");
    }
}


static void
sluice_ctl_cell(const sluice_column_t *column, const bson_t *row, bool last)
{
    char          buf[256];
    int           width;
    bson_iter_t   iter, value;

    strcpy(buf, "-");

    if (bson_iter_init(&iter, row)
        && bson_iter_find_descendant(&iter, column->key, &value))
    {
        sluice_ctl_format(column, &value, buf, sizeof(buf));
    }

    width = column->width;

    if (column->cell == SLUICE_CELL_TEXT) {
        width = last ? 0 : -width;
    }

    printf("  %*s", width, buf);
}


static void
sluice_ctl_format(const sluice_column_t *column, const bson_iter_t *value,
    char *buf, size_t size)
{
    switch (column->cell) {

    case SLUICE_CELL_TEXT:
        if (BSON_ITER_HOLDS_UTF8(value)) {
            sluice_ctl_plain(bson_iter_utf8(value, NULL), buf, size);
        }
        break;

    case SLUICE_CELL_NUMBER:
        snprintf(buf, size, "%lld", (long long) bson_iter_as_int64(value));
        break;

    case SLUICE_CELL_BYTES:
        sluice_ctl_bytes((double) bson_iter_as_int64(value), buf, size);
        break;

    case SLUICE_CELL_AGE:
        sluice_ctl_age(BSON_ITER_HOLDS_DOUBLE(value)
                       ? bson_iter_double(value)
                       : (double) bson_iter_as_int64(value), buf, size);
        break;

    case SLUICE_CELL_PERCENT:
        snprintf(buf, size, "%.1f%%", BSON_ITER_HOLDS_DOUBLE(value)
                                      ? bson_iter_double(value) : 0.0);
        break;

    case SLUICE_CELL_YES:
        snprintf(buf, size, "%s", bson_iter_as_bool(value) ? "yes" : "no");
        break;
    }
}


static void
sluice_ctl_bytes(double n, char *buf, size_t size)
{
    unsigned  i;

    static const char  units[] = "\0KMGTPE";

    for (i = 0; n >= 1024 && i < 6; i++) {
        n /= 1024;
    }

    if (i == 0) {
        snprintf(buf, size, "%.0f", n);

    } else {
        snprintf(buf, size, "%.1f%c", n, units[i]);
    }
}


void
sluice_ctl_age(double seconds, char *buf, size_t size)
{
    long long  s;

    s = (long long) seconds;

    if (seconds < 10) {
        snprintf(buf, size, "%.3fs", seconds);

    } else if (s < 60) {
        snprintf(buf, size, "%llds", s);

    } else if (s < 3600) {
        snprintf(buf, size, "%lldm%02llds", s / 60, s % 60);

    } else if (s < 86400) {
        snprintf(buf, size, "%lldh%02lldm", s / 3600, s / 60 % 60);

    } else {
        snprintf(buf, size, "%lldd%02lldh", s / 86400, s / 3600 % 24);
    }
}


/* a URI must not move the operator's cursor; C1 controls begin with 0xc2 */

void
sluice_ctl_plain(const char *text, char *buf, size_t size)
{
    size_t                i;
    const unsigned char  *p;

    p = (const unsigned char *) text;

    for (i = 0; p[i] != '\0' && i + 1 < size; i++) {
        buf[i] = (p[i] < ' ' || p[i] == 0x7f
                  || (p[i] == 0xc2 && p[i + 1] < 0xa0)
                  || (i != 0 && p[i - 1] == 0xc2 && p[i] < 0xa0
                      && p[i] >= 0x80))
                 ? '?' : (char) p[i];
    }

    buf[i] = '\0';
}


static void
sluice_ctl_json(const bson_t *document)
{
    char  *json;

    json = bson_as_relaxed_extended_json(document, NULL);
    printf("%s", json != NULL ? json : "null");
    bson_free(json);
}


void
sluice_ctl_number(bson_t *row, const char *key, uint64_t value)
{
    BSON_APPEND_INT64(row, key, value > INT64_MAX ? INT64_MAX
                                                  : (int64_t) value);
}


/* size: of the room the text has, in which it may or may not end */

void
sluice_ctl_text(bson_t *row, const char *key, const char *text, size_t size)
{
    size_t  len;

    len = strnlen(text, size);

    if (len != 0) {
        (void) sluice_document_text(row, key, text, len);
    }
}


void
sluice_ctl_named(bson_t *row, const char *key, const char *file,
    const char *prefix)
{
    char      subject[SLUICE_NAME_MAX];
    unsigned  number;

    if (sluice_name_parse(file, prefix, subject, sizeof(subject), &number)) {
        bson_append_utf8(row, key, -1, subject, -1);
        sluice_ctl_number(row, "number", number);
    }
}


bool
sluice_ctl_time(bson_t *row, const char *key, uint64_t time)
{
    char       text[64];
    size_t     len;
    time_t     seconds;
    struct tm  tm;

    seconds = (time_t) (time / 1000000);

    if (time == 0 || gmtime_r(&seconds, &tm) == NULL
        || tm.tm_year > 9999 - 1900)
    {
        return false;
    }

    len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, sizeof(text) - len, ".%06uZ",
             (unsigned) (time % 1000000));

    return BSON_APPEND_UTF8(row, key, text);
}


void
sluice_ctl_since(const sluice_ctl_t *ctl, bson_t *row, uint64_t time)
{
    if (sluice_ctl_time(row, "since", time)) {
        BSON_APPEND_DOUBLE(row, "age_s", ctl->now > time
                           ? (double) (ctl->now - time) / 1e6 : 0.0);
    }
}
