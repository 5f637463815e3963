/* The backend under test: found among the built-in ones or in a plugin, with its
 * options from a config file. */
#ifndef CONFORM_SUBJECT_H
#define CONFORM_SUBJECT_H

#include "mneme/backend.h"

/* The type behind a plugin's entry, or the built-in of this name (the build
 * writes their list, builtin.h). The table is copied as a host copies it: the
 * smaller size, the rest NULL. NULL and a text in error when it can't be had. */
const mneme_backend_type *cf_subject(const char *plugin, const char *builtin, char *error,
                                     size_t size);

/* Reads `name: value` lines into values (one per option of the type), with the
 * defaults for what is not named; path NULL = all defaults. In a STRING, "{dir}"
 * stands for dir. Returns false with a text in error. */
bool cf_config(const mneme_backend_type *type, const char *path, const char *dir,
               mneme_option_value *values, char *error, size_t size);

/* Parses one option's value as written in a config. */
bool cf_option_parse(const mneme_option *option, const char *text, const char *dir,
                     mneme_option_value *ret_value, char *error, size_t size);

#endif
