
/*
 * The _ids of a file's lines: each whole line counts, whatever stands between
 * them, and what is no whole line is told apart.
 */

#include "ids.c"


#define TEST_FOREIGN  (SLUICE_LINE_MAX + 7000)


static sluice_error_t  test_ids_error;


/* as the file sink writes it, with its newline; its length */

static size_t
test_ids_line(char *line, size_t size, uint64_t sequence)
{
    char         *json;
    bson_t        document;
    size_t        len;
    test_room_t   room;

    sluice_record_init(&room.record, sequence, 1700000000123456);

    bson_init(&document);
    sluice_document_make(&document, &room.record, test_uuid, "host");
    json = bson_as_relaxed_extended_json(&document, &len);
    bson_destroy(&document);

    assert_true(len + 2 < size);
    memcpy(line, json, len);
    memcpy(line + len, "\n", 2);
    bson_free(json);

    return len + 1;
}


static size_t
test_ids_put(int fd, uint64_t sequence)
{
    char    line[4096];
    size_t  len;

    len = test_ids_line(line, sizeof(line), sequence);
    assert_int_equal(write(fd, line, len), len);

    return len;
}


/* `len` bytes that are nobody's record, and no newline */

static void
test_ids_put_foreign(int fd, size_t len)
{
    char  *text;

    text = malloc(len);
    assert_non_null(text);
    memset(text, 'x', len);
    assert_int_equal(write(fd, text, len), len);
    free(text);
}


static int
test_ids_file(void)
{
    FILE  *file;

    file = tmpfile();
    assert_non_null(file);

    return fileno(file);
}


static uint64_t
test_ids_read(sluice_ids_t *ids, int fd)
{
    uint64_t  end;

    memset(ids, 0, sizeof(sluice_ids_t));
    assert_int_equal(sluice_ids_read(ids, fd, "a file", 0, &end,
                                     &test_ids_error), SLUICE_OK);

    return end;
}


static void
test_ids_empty(void **state)
{
    int           fd;
    sluice_ids_t  ids;

    (void) state;

    fd = test_ids_file();

    assert_int_equal(test_ids_read(&ids, fd), 0);
    assert_int_equal(ids.count, 0);
    assert_false(sluice_ids_has(&ids, test_uuid, 1));

    sluice_ids_clear(&ids);
    close(fd);
}


static void
test_ids_found(void **state)
{
    int           fd;
    uint64_t      sequence, size;
    sluice_ids_t  ids;

    (void) state;

    fd = test_ids_file();
    size = 0;

    for (sequence = 3000; sequence > 0; sequence--) {
        size += test_ids_put(fd, sequence);
    }

    test_ids_put_foreign(fd, 20);

    assert_int_equal(test_ids_read(&ids, fd), size);
    assert_int_equal(ids.count, 3000);
    assert_true(sluice_ids_has(&ids, test_uuid, 1));
    assert_true(sluice_ids_has(&ids, test_uuid, 3000));
    assert_false(sluice_ids_has(&ids, test_uuid, 3001));

    sluice_ids_clear(&ids);
    close(fd);
}


/* a long line of somebody else's: before ours, with one in it, at the end */

static void
test_ids_foreign(void **state)
{
    int           fd;
    size_t        len;
    uint64_t      size;
    sluice_ids_t  ids;

    (void) state;

    for (len = SLUICE_LINE_MAX - 2; len <= SLUICE_LINE_MAX + 2; len++) {
        fd = test_ids_file();

        size = test_ids_put(fd, 1);
        test_ids_put_foreign(fd, len);
        size += len + test_ids_put(fd, 2);
        size += test_ids_put(fd, 3);

        assert_int_equal(test_ids_read(&ids, fd), size);
        assert_true(sluice_ids_has(&ids, test_uuid, 1));
        assert_false(sluice_ids_has(&ids, test_uuid, 2));
        assert_true(sluice_ids_has(&ids, test_uuid, 3));
        sluice_ids_clear(&ids);

        test_ids_put_foreign(fd, 2 * len);
        assert_int_equal(test_ids_read(&ids, fd), size);
        assert_int_equal(ids.count, 2);

        sluice_ids_clear(&ids);
        close(fd);
    }
}
