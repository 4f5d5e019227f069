/* scan.h - what stands in one segment: its records, and where there should be some and aren't.
 *
 * Pure: works on the segment's bytes. A record names the start of its commit, and
 * a commit is written only after the one before it was synced; so everything
 * before the start of any commit seen, before a seal, and before the end that a
 * later segment's state record tells was acknowledged ("proven"). What is wrong
 * there is damage. Behind it stands at most one commit: the last, whole or cut.
 */
#pragma once
#include "spool/format.h"

struct scan_item {
    uint64_t offset, length;
    struct record_header header;
    bool gap; /* no record where one should be */
    bool head_ok, body_ok;
};

struct scan {
    struct scan_item *items; /* by offset; malloc'ed */
    uint32_t count, cap;
    uint32_t usable; /* of the items: those that count; the rest are of a commit that was cut */
    uint64_t proven; /* offset: everything before was acknowledged */
    uint64_t end;    /* behind the last commit that counts */
    uint64_t commit; /* the highest number seen, in cut commits too; 0: none */
    bool unproven;   /* the last commit counts, but nothing shows that it was acknowledged */
    bool any;        /* a record of this generation was seen */
    bool closed;     /* sealed at its end by spool_close */
};

/* `size` bytes of a segment. `known_end`: from the state record of a later segment, or 0. */
void scan_segment(const unsigned char *bytes, uint64_t size, uint64_t generation, uint64_t key,
                  uint64_t known_end, struct scan *ret);
void scan_free(struct scan *);
