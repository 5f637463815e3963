/* Strict on purpose: inet_pton(3) takes no short forms such as "127.1" or
 * "0x7f.1", which other parsers read as addresses, so nothing here is taken for
 * a loopback address that the transport would read otherwise. */
#include "config/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

static bool ipv4_is_loopback(const struct in_addr *a) {
  return ntohl(a->s_addr) >> 24 == 127;
}

static bool ipv6_is_loopback(const struct in6_addr *a) {
  return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

static bool parse_port(const char *text, int *ret_port) {
  size_t digits = strspn(text, "0123456789");
  if (digits == 0 || digits > 5 || text[digits] != '\0')
    return false;
  *ret_port = atoi(text);
  return *ret_port <= 65535;
}

static bool parse_unix(const char *path, address *ret_address, const char **ret_problem) {
  if (strncmp(path, "//", 2) == 0)
    path += 2; /* unix:///run/x is another way to write unix:/run/x */
  if (*path == '\0' || strlen(path) > ADDRESS_PATH_MAX) {
    *ret_problem = "the path of a unix socket has 1 to 107 bytes";
    return false;
  }
  *ret_address = (address){.kind = ADDRESS_UNIX};
  return true;
}

/* host is filled in already. */
static bool classify(address *a, bool bracketed, const char **ret_problem) {
  if (bracketed) {
    char bare[ADDRESS_HOST_MAX];
    strcpy(bare, a->host);
    bare[strcspn(bare, "%")] = '\0'; /* a zone, as in fe80::1%eth0 */
    struct in6_addr v6;
    if (inet_pton(AF_INET6, bare, &v6) != 1) {
      *ret_problem = "what stands in the brackets is no IPv6 address";
      return false;
    }
    a->kind = ipv6_is_loopback(&v6) ? ADDRESS_LOOPBACK : ADDRESS_IP;
    return true;
  }
  struct in_addr v4;
  if (inet_pton(AF_INET, a->host, &v4) == 1) {
    a->kind = ipv4_is_loopback(&v4) ? ADDRESS_LOOPBACK : ADDRESS_IP;
    return true;
  }
  a->kind = ADDRESS_NAME;
  size_t size = strlen(a->host);
  bool numeric = strspn(a->host, "0123456789.") == size ||
                 strncasecmp(a->host, "0x", 2) == 0; /* would be read as an odd IPv4 address */
  bool name = strspn(a->host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "0123456789.-_") == size;
  if (numeric || !name || a->host[0] == '-' || a->host[0] == '.')
    *ret_problem = "the host is neither an IP address nor a name";
  return *ret_problem == NULL;
}

bool address_parse(const char *text, address *ret_address, const char **ret_problem) {
  *ret_problem = NULL;
  if (strncmp(text, "unix:", 5) == 0)
    return parse_unix(text + 5, ret_address, ret_problem);

  address a = {0};
  const char *host = text;
  const char *colon = strrchr(text, ':');
  bool bracketed = text[0] == '[';
  size_t size;
  if (colon == NULL) {
    *ret_problem = "there is no port";
    return false;
  }
  if (bracketed) {
    host++;
    if (colon - text < 2 || colon[-1] != ']') {
      *ret_problem = "there is no \"]:\" before the port";
      return false;
    }
    size = (size_t)(colon - 1 - host);
  } else {
    size = (size_t)(colon - host);
    if (memchr(host, ':', size) != NULL) {
      *ret_problem = "an IPv6 address stands in brackets";
      return false;
    }
  }
  if (!parse_port(colon + 1, &a.port)) {
    *ret_problem = "the port is not a number from 0 to 65535";
    return false;
  }
  if (size == 0 || size >= sizeof a.host) {
    *ret_problem = "the host is empty or too long";
    return false;
  }
  memcpy(a.host, host, size);
  if (!classify(&a, bracketed, ret_problem))
    return false;
  *ret_address = a;
  return true;
}

static bool all_loopback(const struct addrinfo *list) {
  for (const struct addrinfo *i = list; i != NULL; i = i->ai_next) {
    if (i->ai_family == AF_INET) {
      if (!ipv4_is_loopback(&((const struct sockaddr_in *)(const void *)i->ai_addr)->sin_addr))
        return false;
    } else if (i->ai_family == AF_INET6) {
      if (!ipv6_is_loopback(&((const struct sockaddr_in6 *)(const void *)i->ai_addr)->sin6_addr))
        return false;
    } else {
      return false;
    }
  }
  return list != NULL;
}

bool address_is_local(const address *a) {
  if (a->kind != ADDRESS_NAME)
    return a->kind != ADDRESS_IP;
  if (strcasecmp(a->host, "localhost") == 0)
    return true; /* RFC 6761 */
  const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  struct addrinfo *list = NULL;
  if (getaddrinfo(a->host, NULL, &hints, &list) != 0)
    return false;
  bool local = all_loopback(list);
  freeaddrinfo(list);
  return local;
}
