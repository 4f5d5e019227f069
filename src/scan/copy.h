/* copy.h - the message as a scanner must see it, kept while it streams in.
 *
 * It holds the same bytes that go to the spool: header and body as they came, without the fields that claim
 * to be ours, and without our Received field, as Sendmail and Postfix show a message to a milter. Who wants
 * our Received in front (a scanner by its own protocol) sends it first.
 *
 * The first SCAN_COPY_MEMORY bytes stay in memory; what is longer goes, all of it, to an unlinked file below
 * the spool's folder, written and read on offload threads. A worker's copies hold at most SCAN_COPY_WORKER
 * bytes in memory: beyond that, a message goes to its file from 16 KiB on. A crash leaves nothing behind. How
 * long a message may be is the listener's business: the copy has no bound of its own.
 */
#pragma once
#include "base/str.h"

enum {
    SCAN_COPY_MEMORY = 256 * 1024,
    SCAN_COPY_WORKER = 32 * 1024 * 1024,
    SCAN_COPY_CHUNK = 64 * 1024,
};

/* Where copies go. It must outlive them. */
struct scan_copy_place {
    const char *folder; /* absolute, on this machine's disk; NULL: everything stays in memory */
    uint64_t min_free;  /* bytes that must stay free on that disk: below it FULL */
    size_t *held;       /* bytes in memory of all copies of this worker, counted by them; NULL: not counted */
};

struct scan_copy;

/* Never NULL. */
struct scan_copy *scan_copy_new(const struct scan_copy_place *);
/* Accepts NULL, returns NULL. */
struct scan_copy *scan_copy_free(struct scan_copy *);

/* In order; from a fiber (it may wait for the disk). FULL: the disk is (452 4.3.1); IO: it fails (451 4.3.0).
 * An error stays. */
[[nodiscard]] int scan_copy_add(struct scan_copy *, struct str bytes);

uint64_t scan_copy_size(const struct scan_copy *);

/* The bytes from offset `at` on, SCAN_COPY_CHUNK at most; empty at the end. Valid until the next call for
 * this copy. From a fiber; one reader at a time, any number of times. IO. */
[[nodiscard]] int scan_copy_read(struct scan_copy *, uint64_t at, struct str *ret);

/* Is it in a file? */
bool scan_copy_in_file(const struct scan_copy *);
