
/* takes everything, keeps nothing: for measurements */

#include "sink.h"

#include <stdlib.h>


static sluice_sink_answer_t sluice_sink_null_check(sluice_sink_t *sink,
    sluice_error_t *error);
static void *sluice_sink_null_writer_create(sluice_sink_t *sink);
static void sluice_sink_null_writer_destroy(sluice_sink_t *sink,
    void *writer);
static sluice_sink_answer_t sluice_sink_null_write(sluice_sink_t *sink,
    void *writer, sluice_batch_t *batch, sluice_error_t *error);
static void sluice_sink_null_destroy(sluice_sink_t *sink);


sluice_sink_t *
sluice_sink_null_create(sluice_error_t *error)
{
    sluice_sink_t  *sink;

    sink = calloc(1, sizeof(sluice_sink_t));

    if (sink == NULL) {
        sluice_error(error, SLUICE_FAILED, "no memory");
        return NULL;
    }

    sink->name = "null";
    sink->keeps_nothing = true;
    sink->check = sluice_sink_null_check;
    sink->writer_create = sluice_sink_null_writer_create;
    sink->writer_destroy = sluice_sink_null_writer_destroy;
    sink->write = sluice_sink_null_write;
    sink->destroy = sluice_sink_null_destroy;

    return sink;
}


static sluice_sink_answer_t
sluice_sink_null_check(sluice_sink_t *sink, sluice_error_t *error)
{
    (void) sink;
    (void) error;

    return SLUICE_SINK_DONE;
}


static void *
sluice_sink_null_writer_create(sluice_sink_t *sink)
{
    return sink;
}


static void
sluice_sink_null_writer_destroy(sluice_sink_t *sink, void *writer)
{
    (void) sink;
    (void) writer;
}


static sluice_sink_answer_t
sluice_sink_null_write(sluice_sink_t *sink, void *writer,
    sluice_batch_t *batch, sluice_error_t *error)
{
    (void) sink;
    (void) writer;
    (void) batch;
    (void) error;

    return SLUICE_SINK_DONE;
}


static void
sluice_sink_null_destroy(sluice_sink_t *sink)
{
    free(sink);
}
