#include "rpc/filtered.h"

#include "record/record.h"
#include "wire/stored.h"

static bool decides(const op *o) {
  return (o->route.backend->type->caps & MNEME_CAP_FILTER) != 0;
}

bool filtered_split(op *o, const mneme_filter *whole, filtered *ret) {
  *ret = (filtered){.whole = whole, .rest = whole};
  if (!decides(o))
    return true;
  return filter_split(o->arena, whole, &ret->pushed, &ret->rest) || error_no_memory(&o->error);
}

bool filtered_parse(op *o, mneme_bytes text, int64_t now_us, filtered *ret) {
  const mneme_filter *whole;
  return filter_parse(o->arena, text, &filter_of_memories, now_us, &whole, &o->error) &&
         filtered_split(o, whole, ret);
}

bool filtered_store(op *o, mneme_record *r) {
  mneme_bytes body = {r->body.data + RECORD_PREFIX, r->body.size - RECORD_PREFIX}, metadata;
  r->metadata_json = mneme_bytes_of(NULL, 0);
  return !decides(o) || !stored_metadata(body, &metadata) ||
         stored_json(metadata, o->arena, &r->metadata_json) || error_no_memory(&o->error);
}
