/* A parsed filter, as a backend with MNEME_CAP_FILTER gets it: the part of the
 * caller's filter that any engine can decide by itself.
 *
 * The host parses, types and splits a filter; what an engine sees has been
 * checked. It holds typed fields of mneme_record and paths into the canonical
 * metadata JSON, and nothing that would need the body: predicates on content and
 * the `~` of the language stay with the host, which evaluates them on what comes
 * back. The part is never narrower than the whole, and may be NULL.
 *
 * Meaning. Every node is true or false; there is no third value. A comparison
 * with a field or path that is missing, or holds another type than the value, is
 * false, so its NOT is true. Strings compare by bytes, false < true, times as
 * microseconds, numbers as what they are: SEQUENCE, TOKEN_COUNT and ACCESS_COUNT
 * are integers and compare exactly with the value's double, above 2^53 too; all
 * others are doubles. -0 equals 0. An engine either decides exactly this, or does
 * not claim MNEME_CAP_FILTER [C-48].
 *
 * Which fields may be missing: KEY, KIND, ROLE, AUTHOR and SOURCE when empty,
 * TIER when 0, IMPORTANCE without has_importance, ACCESS_TIME and EXPIRE_TIME
 * when 0, EVENT_TIME when MNEME_NO_EVENT. The rest is always there.
 *
 * Ownership: the tree and all that it points to belong to the host and live
 * until the operation's done has returned. */
#ifndef MNEME_FILTER_H
#define MNEME_FILTER_H

#include "mneme/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Limits of a tree. Every value of an IN counts as a value, not as a node. */
#define MNEME_FILTER_DEPTH_MAX 32   /* nodes from the root to a leaf */
#define MNEME_FILTER_NODES_MAX 512
#define MNEME_FILTER_VALUES_MAX 1000 /* of one node; below 20,000 in all */
#define MNEME_FILTER_PATH_MAX 16     /* segments of a metadata path: its levels */

typedef enum mneme_filter_op {
  MNEME_FILTER_AND = 1, /* all of children; at least two */
  MNEME_FILTER_OR = 2,  /* one of children; at least two */
  MNEME_FILTER_NOT = 3, /* not children[0] */
  /* Leaves, on `field`. */
  MNEME_FILTER_EQ = 4,      /* equals one of values; IN has several, each once, in
                               ascending order of type and value */
  MNEME_FILTER_LT = 5,      /* values[0]: STRING, NUMBER, BOOL or TIME */
  MNEME_FILTER_LE = 6,
  MNEME_FILTER_GT = 7,
  MNEME_FILTER_GE = 8,
  MNEME_FILTER_HAS = 9,     /* a list that has the element values[0]; a string that
                               has values[0] (a STRING) as a substring, by bytes */
  MNEME_FILTER_PRESENT = 10, /* the field or path is there; a JSON null is there */
  /* Only in the host; never in what an engine gets. */
  MNEME_FILTER_LIKE = 64     /* a string that has values[0] in it, ignoring case */
} mneme_filter_op;

typedef enum mneme_filter_field {
  MNEME_FIELD_ID = 1,        /* string, and so the next five */
  MNEME_FIELD_KEY = 2,
  MNEME_FIELD_KIND = 3,
  MNEME_FIELD_ROLE = 4,
  MNEME_FIELD_AUTHOR = 5,
  MNEME_FIELD_SOURCE = 6,
  MNEME_FIELD_TIER = 7,      /* number: the enum's, compared with EQ only */
  MNEME_FIELD_IMPORTANCE = 8,
  MNEME_FIELD_PINNED = 9,    /* bool */
  MNEME_FIELD_SEQUENCE = 10, /* number */
  MNEME_FIELD_TOKEN_COUNT = 11,
  MNEME_FIELD_ACCESS_COUNT = 12,
  MNEME_FIELD_CREATE_TIME = 13, /* time, and so the next four */
  MNEME_FIELD_UPDATE_TIME = 14,
  MNEME_FIELD_ACCESS_TIME = 15,
  MNEME_FIELD_EXPIRE_TIME = 16,
  MNEME_FIELD_EVENT_TIME = 17,
  MNEME_FIELD_METADATA = 18, /* by path */
  /* Only in the host; never in what an engine gets. */
  MNEME_FIELD_CONTENT = 64,
  MNEME_FIELD_LABELS = 65
} mneme_filter_field;

typedef enum mneme_filter_type {
  MNEME_VALUE_STRING = 1, /* text */
  MNEME_VALUE_NUMBER = 2, /* number: finite */
  MNEME_VALUE_BOOL = 3,   /* boolean */
  MNEME_VALUE_TIME = 4,   /* time_us; of typed fields only */
  MNEME_VALUE_NULL = 5,   /* equals a JSON null, of metadata only */
  MNEME_VALUE_JSON = 6    /* text: canonical JSON of a list or object */
} mneme_filter_type;

typedef struct mneme_filter_value {
  mneme_filter_type type;
  mneme_bytes text;
  double number;
  bool boolean;
  int64_t time_us;
} mneme_filter_value;

typedef struct mneme_filter mneme_filter;
struct mneme_filter {
  mneme_filter_op op;
  mneme_filter_field field;  /* leaves */
  const mneme_bytes *path;   /* METADATA: keys from the top; at least one */
  size_t path_count;
  const mneme_filter_value *values;
  size_t value_count;        /* PRESENT: 0 */
  const mneme_filter *const *children;
  size_t child_count;
  uint32_t position;         /* byte in the caller's text where it begins, from 0 */
  const void *host;          /* the host's own; NULL in what an engine gets */
};

/* Canonical metadata JSON, as mneme_record.metadata_json holds it: an object, no
 * white space, keys in ascending order of bytes and each once, strings with no
 * escapes but \" \\ and \u00XX for control characters (non-ASCII raw), numbers as
 * printf's %.15g, %.16g or %.17g, the first that strtod reads back, integral ones
 * below 2^53 without point and exponent, and -0 as 0. Equal values have equal
 * bytes. The empty object is {}; a record without metadata has no bytes. */

#ifdef __cplusplus
}
#endif

#endif
