
/* what MongoDB's error codes mean to who sends it records */

#ifndef SLUICE_CODES_H
#define SLUICE_CODES_H

#include <stdint.h>


typedef enum {
    SLUICE_CODE_TRANSIENT,              /* it will be over                   */
    SLUICE_CODE_REJECTED,               /* of the document, for good         */
    SLUICE_CODE_OTHER                   /* rights, and what we do not know   */
} sluice_code_t;


/* a duplicate key is OTHER: it depends on the index (insert.h) */
sluice_code_t sluice_code_class(int32_t code);


#endif /* SLUICE_CODES_H */
