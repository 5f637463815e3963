/* The running server: registry, pool, transport and sweeper, from start to drain. */
#ifndef MNEME_SERVER_H
#define MNEME_SERVER_H

#include "config/config.h"

/* Serves until SIGTERM, SIGINT or SIGHUP and drains then. Returns the exit
 * status: 0, or 1 when something could not be opened (and was logged). Call once,
 * from the main thread, with logging set up; c must live until it returns. */
int server_run(const config *c);

#endif
