
#include "sink.h"

#include <string.h>


sluice_sink_t *
sluice_sink_create(const sluice_options_t *options, sluice_error_t *error)
{
    const char  *name;

    name = options->sink;

    if (name == NULL) {
        sluice_error(error, SLUICE_FAILED, "no sink: give --sink, or a URI "
                     "in SLUICE_MONGODB_URI");
        return NULL;
    }

    if (strncmp(name, "mongodb://", 10) == 0
        || strncmp(name, "mongodb+srv://", 14) == 0)
    {
        return sluice_sink_mongodb_create(options, error);
    }

    if (strncmp(name, "file:", 5) == 0) {
        return sluice_sink_file_create(name + 5, error);
    }

    if (strcmp(name, "null:") == 0) {
        return sluice_sink_null_create(error);
    }

    /* not the name itself: it may be a URI with a password and a slip */

    sluice_error(error, SLUICE_FAILED, "the sink is none of mongodb://..., "
                 "mongodb+srv://..., file:/path, null:");

    return NULL;
}
