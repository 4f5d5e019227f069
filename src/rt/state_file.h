/* state_file.h - a file of our own below `state` that is there whole, or as it was before. Blocks: for
 * offload threads, the start and the end.
 */
#pragma once
#include "base/buf.h"

/* Appends all of it. NOTFOUND; CORRUPT: no ordinary file, or over `most` octets; else an error of reading. */
[[nodiscard]] int state_file_read(const char *path, uint64_t most, struct buf *out);
/* In place of what stood there (0640), and on disk with its name when this returns 0. Through "PATH.new". */
[[nodiscard]] int state_file_write(const char *path, struct str bytes);
/* The lower half of it: all the bytes, synced. errno tells. */
[[nodiscard]] bool state_file_fill(int fd, struct str bytes);
