
/* two lists of MongoDB's error codes; what is in none is for an operator */

#include "codes.h"


/* a primary that is going, or not there yet; a network; an end in sight */
static const int32_t  sluice_codes_transient[] = {
    6,          /* HostUnreachable                     */
    7,          /* HostNotFound                        */
    24,         /* LockTimeout                         */
    50,         /* MaxTimeMSExpired                    */
    64,         /* WriteConcernFailed: wtimeout        */
    89,         /* NetworkTimeout                      */
    91,         /* ShutdownInProgress                  */
    112,        /* WriteConflict                       */
    133,        /* FailedToSatisfyReadPreference       */
    134,        /* ReadConcernMajorityNotAvailableYet  */
    189,        /* PrimarySteppedDown                  */
    202,        /* NetworkInterfaceExceededTimeLimit   */
    262,        /* ExceededTimeLimit                   */
    317,        /* ConnectionPoolExpired               */
    462,        /* IngressRequestRateLimitExceeded     */
    9001,       /* SocketException                     */
    10058,      /* NotWritablePrimary, as it was       */
    10107,      /* NotWritablePrimary                  */
    11600,      /* InterruptedAtShutdown               */
    11601,      /* Interrupted                         */
    11602,      /* InterruptedDueToReplStateChange     */
    13388,      /* StaleConfig                         */
    13435,      /* NotPrimaryNoSecondaryOk             */
    13436       /* NotPrimaryOrSecondary               */
};


/* it is the document, and it will be the same tomorrow */
static const int32_t  sluice_codes_rejected[] = {
    22,         /* InvalidBSON                         */
    121,        /* DocumentValidationFailure           */
    10334,      /* BSONObjectTooLarge                  */
    17280       /* KeyTooLong: before MongoDB 4.2      */
};


sluice_code_t
sluice_code_class(int32_t code)
{
    unsigned  i;

    for (i = 0;
         i < sizeof(sluice_codes_transient)
             / sizeof(sluice_codes_transient[0]);
         i++)
    {
        if (sluice_codes_transient[i] == code) {
            return SLUICE_CODE_TRANSIENT;
        }
    }

    for (i = 0;
         i < sizeof(sluice_codes_rejected)
             / sizeof(sluice_codes_rejected[0]);
         i++)
    {
        if (sluice_codes_rejected[i] == code) {
            return SLUICE_CODE_REJECTED;
        }
    }

    return SLUICE_CODE_OTHER;
}
