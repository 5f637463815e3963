#include "rpc/filtered.h"

bool filtered_split(op *o, const mneme_filter *whole, filtered *ret) {
  *ret = (filtered){.whole = whole, .rest = whole};
  if ((o->route.backend->type->caps & MNEME_CAP_FILTER) == 0)
    return true;
  return filter_split(o->arena, whole, &ret->pushed, &ret->rest) || error_no_memory(&o->error);
}

bool filtered_parse(op *o, mneme_bytes text, int64_t now_us, filtered *ret) {
  const mneme_filter *whole;
  return filter_parse(o->arena, text, &filter_of_memories, now_us, &whole, &o->error) &&
         filtered_split(o, whole, ret);
}
