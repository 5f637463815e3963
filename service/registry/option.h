/* Options: from the text of a config to a value and back. Backends' tables and
 * the server's own settings share this, so a duration is written alike anywhere.
 *
 *   INT       64, -1
 *   BOOL      true, false
 *   DURATION  500ms, 30s, 1h30m, 7d; units us, ms, s, m, h, d; 0 needs none
 *   SIZE      4096, 64KiB, 1MiB; units B, KiB, MiB, GiB, TiB
 *
 * Threads: any; nothing is kept. */
#ifndef MNEME_REGISTRY_OPTION_H
#define MNEME_REGISTRY_OPTION_H

#include "mneme/backend.h"

#define OPTIONS_MAX 64         /* in one table */
#define OPTION_TEXT_MAX 64     /* of any value but a string, with its NUL */
#define OPTION_PROBLEM_MAX 256 /* bytes of an error text, with its NUL */

size_t option_count(const mneme_option *options); /* at most OPTIONS_MAX; NULL = 0 */

/* Whether its values are texts: STRING and PATH. */
bool option_is_text(const mneme_option *option);

/* text ends in NUL; a text value borrows it. false = error says what was found
 * and what was expected; ret_value is untouched then. */
bool option_parse(const mneme_option *option, const char *text, mneme_option_value *ret_value,
                  char *error, size_t size);

/* The shortest text that option_parse reads as the same value: "90s" is written
 * "90s", 3600 seconds "1h". A text is copied as far as it fits. */
void option_format(const mneme_option *option, const mneme_option_value *value, char *out,
                   size_t size);

/* "integer from 1 to 64", "duration of at least 1s", "true or false". */
void option_describe(const mneme_option *option, char *out, size_t size);

/* Whether the table can be used at all: known types, defaults that parse. */
bool option_check_table(const mneme_option *options, char *error, size_t size);

#endif
