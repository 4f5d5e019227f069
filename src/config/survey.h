/* survey.h - the pass before libConfuse: shape, names, lines and includes. Not for other rooms.
 *
 * libConfuse stops at its first error, overwrites doubled options, closes sections at the end of the file by
 * itself, skips characters that it doesn't know, and is left in the middle of a string by a failed parse. So
 * the survey reads the tokens first and reports all that is wrong with their shape; what it lets through is
 * one token per line, which libConfuse reads without surprises (escapes, ${NAME} and lists are libConfuse's).
 */
#pragma once
#include "config/node.h"

enum { CONFIG_INCLUDES_DEEP = 8, CONFIG_FILE_MAX = 16 << 20 };

struct survey {
    struct arena *arena;
    struct config_errors *errors;
    struct buf flat;             /* the tokens, one per line: input of libConfuse */
    struct config_place *places; /* of each line of `flat` */
    size_t place_count, place_cap;
    bool failed;
};

/* Reads the file (text.at == NULL) or the text under that name. The tree has its sections and the places of
 * its options, but no values. NULL when something was reported. */
struct config_node *survey_read(struct survey *, const char *file, struct str text,
                                const struct config_option *options);
