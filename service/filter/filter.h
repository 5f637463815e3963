/* The filter language: from a request's text to a typed tree (mneme/filter.h),
 * its evaluation on records and sessions, and its division between an engine and
 * the host. One meaning everywhere; whatever could be read in two ways is
 * refused, because the same text also deletes.
 *
 *   filter     = [ expression ] ;                     (* blank: everything *)
 *   expression = term , ( { "AND" , term } | { "OR" , term } ) ;
 *   term       = { "NOT" } , ( "(" , expression , ")" | comparison ) ;
 *   comparison = field , ( "=" | "!=" ) , value
 *              | field , ( "<" | "<=" | ">" | ">=" ) , scalar
 *              | field , "IN" , "(" , value , { "," , value } , ")"
 *              | field , ":" , value               (* has *)
 *              | field , ":" , "*"                 (* is there *)
 *              | field , "~" , string              (* contains, ignoring case *)
 *              | "age" , "(" , field , ")" , ( "<" | "<=" | ">" | ">=" ) , duration ;
 *   field      = name , { "." , ( name | string ) } ; (* no white space inside *)
 *   name       = ( letter | digit | "_" ) , { letter | digit | "_" | "-" } ;
 *                (* the first one begins with no digit and has no "-" *)
 *   value      = scalar | "null" | list | object ;
 *   scalar     = string | number | "true" | "false" | time | tier ;
 *   list       = "[" , [ value , { "," , value } ] , "]" ;
 *   object     = "{" , [ string , ":" , value , { "," , string , ":" , value } ] , "}" ;
 *   string     = '"' , { character | escape } , '"' | "'" , { character | escape } , "'" ;
 *   escape     = "\" , ( '"' | "'" | "\" | "/" | "b" | "f" | "n" | "r" | "t" | "u" , 4 * hex ) ;
 *   number     = as in JSON ;
 *   time       = as in RFC 3339, also in quotes ;
 *   duration   = digits , unit , { digits , unit } ; (* d h m s ms us *)
 *   tier       = [ "TIER_" ] , ( "SENSORY" | "SHORT_TERM" | "LONG_TERM" ) ; (* also in quotes *)
 *
 * Words are written as above, in capitals. NOT binds tighter than AND and OR;
 * those two stand side by side only in parentheses.
 *
 * Meaning, in addition to mneme/filter.h: a != b is NOT a = b. field IN (..) is
 * equality with one of them. `:` on a string is a substring by bytes, on a list
 * of metadata an element; `~` is a substring after Unicode simple folding of both.
 * age(t) is now - t in microseconds, so a time that is missing has no age and
 * every comparison of it is false. An integer that no double holds is refused, and
 * so is a number with a point or an exponent that its double does not print again.
 *
 * Limits: below. A term is a comparison; an IN is one. Depth counts the
 * parentheses and NOTs that a comparison stands in; lists and objects nest as
 * deep again.
 *
 * Ownership: a tree lies in the arena of its parse and borrows from its text.
 * Threads: a tree is never written again, so any may evaluate it. The stack that
 * parsing and evaluating take is bounded by the depth. */
#ifndef MNEME_FILTER_FILTER_H
#define MNEME_FILTER_FILTER_H

#include "error/error.h"
#include "mneme/backend.h"
#include "wire/messages.h"

#define FILTER_BYTES_MAX 4096      /* of a filter without IN */
#define FILTER_IN_BYTES_MAX 65536  /* of one with IN; limits.def has the same number */
#define FILTER_TERMS_MAX 64
#define FILTER_IN_MAX 1000 /* values of an IN */
#define FILTER_DEPTH_MAX 16
#define FILTER_NUMBER_MAX 64    /* characters of a number */
#define FILTER_AGE_MAX_DAYS 3652500 /* 10,000 years */

/* What a filter may ask for: of memories id, key, kind, role, author, source,
 * tier, importance, pinned, sequence, token_count, access_count, create_time,
 * update_time, last_access_time, expire_time, event_time, content and
 * metadata.path; of sessions id, labels.key, metadata.path, create_time,
 * update_time and expire_time. */
typedef struct filter_fields filter_fields;
extern const filter_fields filter_of_memories;
extern const filter_fields filter_of_sessions;

/* Parses and types a text, whose bytes are valid UTF-8 and outlive the tree.
 * now_us is what age() counts from. A blank text gives NULL, which matches
 * everything: who deletes must refuse it.
 *
 * false = e says what is wrong, at which byte (from 1, also as "position" in the
 * details) and what to write instead: INVALID_ARGUMENT with the field "filter",
 * TOO_LARGE for a limit, else FILTER_INVALID; or there is no memory. */
bool filter_parse(arena *a, mneme_bytes text, const filter_fields *fields, int64_t now_us,
                  const mneme_filter **ret_filter, error *e);

/* All of them; NULLs among them are left out, and NULL is what is left when all
 * are. At most FILTER_TERMS_MAX. false = no memory. For conditions that do not
 * come as text: a leaf is a plain struct. */
bool filter_all(arena *a, const mneme_filter *const *parts, size_t count,
                const mneme_filter **ret_filter);

/* Whether a memory matches; f may be NULL. MNEME_CORRUPT when that cannot be told
 * because the record does not match its checksum (which is only looked at when f
 * asks for its body). Takes no memory. */
mneme_status filter_match(const mneme_filter *f, const mneme_record *r, bool *ret_match);
/* The same for a session and its settings, as wire_read_settings gave them. */
bool filter_match_session(const mneme_filter *f, const mneme_header *h,
                          const wire_settings *settings);

/* Divides a filter on memories: whatever matches f matches *ret_pushed, and what
 * matches both *ret_pushed and *ret_rest matches f. Typed fields and metadata are
 * pushed; content and `~` are the rest. Either may be NULL: ret_pushed when an
 * engine can decide nothing, ret_rest when it decides all. With a rest the engine
 * gets no record limit: the host counts what matches. false = no memory.
 *
 * Only for engines with MNEME_CAP_FILTER: for the others f itself is the rest. */
bool filter_split(arena *a, const mneme_filter *f, const mneme_filter **ret_pushed,
                  const mneme_filter **ret_rest);

#endif
