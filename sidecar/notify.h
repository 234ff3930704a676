
/* tells the service manager, if there is one that listens (sd_notify(3)) */

#ifndef SLUICE_NOTIFY_H
#define SLUICE_NOTIFY_H


/* "READY=1"; any thread; failures are nobody's business */
void sluice_notify(const char *state);


#endif /* SLUICE_NOTIFY_H */
