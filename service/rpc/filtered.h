/* A filter on the memories of the routed backend: what the engine decides, and
 * what is left to be judged here on each record that comes back. */
#ifndef MNEME_RPC_FILTERED_H
#define MNEME_RPC_FILTERED_H

#include "filter/filter.h"
#include "rpc/op.h"

typedef struct filtered {
  const mneme_filter *whole;  /* NULL = everything matches */
  const mneme_filter *pushed; /* for mneme_read.filter */
  const mneme_filter *rest;   /* for filter_match */
} filtered;

/* Parses a text and divides it for the op's backend; false = o->error is set. */
bool filtered_parse(op *o, mneme_bytes text, int64_t now_us, filtered *ret);
/* The same for a tree that is there already: NULL, of filter_parse, or built. */
bool filtered_split(op *o, const mneme_filter *whole, filtered *ret);

#endif
