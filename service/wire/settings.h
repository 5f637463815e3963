/* Settings between this room's files. */
#ifndef MNEME_WIRE_SETTINGS_H
#define MNEME_WIRE_SETTINGS_H

#include "wire/internal.h"

/* Sorted, without repeated keys; keys[i] and values[i] end in NUL. */
bool wire_labels_in(char *const *keys, char *const *values, size_t count, arena *a,
                    const wire_label **ret_labels, size_t *ret_count, error *e);
/* The stored bytes as a Session with policy, labels and metadata only; NULL = no
 * memory, or damaged, which *ret_damaged tells. */
Mneme__V1__Session *wire_open_settings(mneme_bytes bytes, arena *a, bool *ret_damaged);

#endif
