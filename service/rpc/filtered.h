/* A filter on the memories of the routed backend: what the engine decides, and
 * what is left to be judged here on each record that comes back; and what a record
 * takes along into the store so that the engine can. */
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

/* Sets metadata_json of a record whose body is final, for the routed backend: the
 * metadata's canonical JSON with MNEME_CAP_FILTER, else empty. false = o->error is
 * set. */
bool filtered_store(op *o, mneme_record *r);

#endif
