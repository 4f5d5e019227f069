/* state_file.h - a small file below `state` that is there whole or as it was before. Blocks. */
#pragma once
#include "base/str.h"

/* All of it, in the arena. NOTFOUND; CORRUPT: no ordinary file, or far too large; IO, DENIED. *ret_why names
 * the file. */
[[nodiscard]] int state_file_read(const char *path, struct arena *, struct str *ret_why, struct str *ret);
/* In place of what stood there, and on disk with its name when this returns 0. */
[[nodiscard]] int state_file_write(const char *path, struct str text, struct arena *, struct str *ret_why);
