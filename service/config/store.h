/* The backend of a config that names none, and the defaults of options. */
#ifndef MNEME_CONFIG_STORE_H
#define MNEME_CONFIG_STORE_H

#include "config/reader.h"

#define STORE_URL_VARIABLE "MEMORY_DB_URL"
#define STORE_DATA_VARIABLE "MNEME_DATA_DIR"

/* The value of an option that is not given. false = an error was reported. */
bool store_option_default(reader *r, const mneme_option *option, mneme_option_value *ret_value);

/* One backend named "default": what MEMORY_DB_URL names, else the first built-in
 * type that needs to be told nothing. */
void store_default_backend(reader *r, config *c);

#endif
