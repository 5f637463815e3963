/* Addresses to listen on:
 *
 *   127.0.0.1:7700   [::1]:7700   localhost:7700   unix:/run/mneme.sock
 *
 * Port 0 lets the system choose. Threads: any. */
#ifndef MNEME_CONFIG_ADDRESS_H
#define MNEME_CONFIG_ADDRESS_H

#include <stdbool.h>

#define ADDRESS_HOST_MAX 254 /* bytes of a host, with its NUL */
#define ADDRESS_PATH_MAX 107 /* bytes of a socket's path: what sockaddr_un holds */

typedef enum address_kind {
  ADDRESS_UNIX,
  ADDRESS_LOOPBACK, /* an IP address that other machines cannot reach */
  ADDRESS_IP,       /* any other, 0.0.0.0 and [::] too */
  ADDRESS_NAME
} address_kind;

typedef struct address {
  address_kind kind;
  char host[ADDRESS_HOST_MAX]; /* without brackets; empty for a socket */
  int port;
} address;

/* Syntax only. false = ret_problem says what is wrong. */
bool address_parse(const char *text, address *ret_address, const char **ret_problem);

/* Whether only this machine can reach it. A name is resolved, which may block; one
 * that cannot be resolved counts as reachable. */
bool address_is_local(const address *a);

#endif
