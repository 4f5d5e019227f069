/* vectors.h - the public test vectors, JSON lines beside the checkout. */
#pragma once
#include "base/buf.h"
#include <stdio.h>
#include <stdlib.h>

/* Opens a file of the vectors; VECTORS comes from meson. NULL: they are not here, which only CI takes as a
 * failure. */
static inline FILE *vectors_open(const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", VECTORS, name);
    FILE *file = fopen(path, "r");
    const char *ci = getenv("CI");
    if (!file && ci && strcmp(ci, "true") == 0) {
        fprintf(stderr, "%s is missing, in CI\n", path);
        abort();
    }
    if (!file)
        printf("skipped: no %s\n", path);
    return file;
}

/* The value of a string field that holds no escapes, as these do. False: not there. */
static inline bool vectors_field(const char *line, const char *name, struct str *ret) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\": \"", name);
    const char *at = strstr(line, key);
    if (!at)
        return false;
    at += strlen(key);
    *ret = str_from(at, (size_t)(strchr(at, '"') - at));
    return true;
}

static inline void vectors_hex(struct buf *out, struct str hex) {
    for (size_t i = 0; i + 1 < hex.len; i += 2) {
        char two[3] = {hex.at[i], hex.at[i + 1], 0};
        buf_char(out, (char)strtol(two, NULL, 16));
    }
}
