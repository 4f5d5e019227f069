#include "spool/scan.h"

#include "base/crc32c.h"
#include <stdlib.h>

struct walk {
    const unsigned char *bytes;
    uint64_t limit;
    uint64_t generation, key;
};

static bool record_at(const struct walk *w, uint64_t offset, struct record_header *ret) {
    struct record_header h;
    if (offset + SPOOL_HEADER > w->limit || !record_header_decode(w->bytes + offset, &h))
        return false;
    if (h.generation != w->generation || h.key != w->key || (uint64_t)h.place * 8 != offset ||
        h.start > h.place || (uint64_t)h.start * 8 < SPOOL_DATA ||
        offset + record_size(h.head, h.body) > w->limit)
        return false;
    *ret = h;
    return true;
}

/* The first record at or behind `from`, or the limit. */
static uint64_t resync(const struct walk *w, uint64_t from, struct record_header *ret) {
    unsigned char magic[8];
    for (int i = 0; i < 8; i++)
        magic[i] = (unsigned char)(SPOOL_RECORD_MAGIC >> (8 * i));
    for (uint64_t at = spool_align(from, 8); at + SPOOL_HEADER <= w->limit; at += 8)
        if (memcmp(w->bytes + at, magic, sizeof magic) == 0 && record_at(w, at, ret))
            return at;
    return w->limit;
}

static struct scan_item *add(struct scan *s) {
    if (s->count == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 64;
        s->items = xrealloc(s->items, s->cap * sizeof *s->items);
    }
    s->items[s->count] = (struct scan_item){0};
    return &s->items[s->count++];
}

static void add_gap(struct scan *s, uint64_t from, uint64_t to) {
    *add(s) = (struct scan_item){.offset = from, .length = to - from, .gap = true};
}

static void add_record(struct scan *s, const struct walk *w, uint64_t offset, const struct record_header *h) {
    const unsigned char *head = w->bytes + offset + SPOOL_HEADER;
    const unsigned char *body = head + spool_align(h->head, 8);
    *add(s) = (struct scan_item){.offset = offset,
                                 .length = record_size(h->head, h->body),
                                 .header = *h,
                                 .head_ok = crc32c(0, head, h->head) == h->head_crc,
                                 .body_ok = crc32c(0, body, h->body) == h->body_crc};
}

static void note(struct scan *s, const struct record_header *h) {
    uint64_t start = (uint64_t)h->start * 8;
    s->any = true;
    if (start > s->proven)
        s->proven = start;
    if (h->commit > s->commit)
        s->commit = h->commit;
}

static void walk(struct scan *s, const struct walk *w) {
    uint64_t expected = SPOOL_DATA, from = expected;
    for (;;) {
        struct record_header h;
        uint64_t at = resync(w, from, &h);
        if (at >= w->limit)
            break;
        note(s, &h);
        if (h.type == RECORD_SEAL) {
            /* The next commit is written over a seal, so behind one there is nothing, or something is wrong.
             */
            s->closed = at == expected && (h.flags & RECORD_CLOSED);
            from = at + SPOOL_HEADER;
            continue;
        }
        s->closed = false;
        if (at > expected)
            add_gap(s, expected, at);
        add_record(s, w, at, &h);
        expected = at + record_size(h.head, h.body);
        if (h.flags & RECORD_LAST)
            expected = spool_align(expected, SPOOL_BLOCK);
        from = expected;
    }
    if (expected < s->proven)
        add_gap(s, expected, s->proven);
    s->end = expected;
}

/* The last commit counts when it is whole: at most one stands behind what is proven. */
static void judge_last(struct scan *s) {
    uint32_t first = s->count;
    while (first > 0 && s->items[first - 1].offset >= s->proven)
        first--;
    s->usable = first;
    if (first == s->count)
        return;
    bool whole = s->items[first].offset == s->proven && (s->items[s->count - 1].header.flags & RECORD_LAST);
    for (uint32_t i = first; i < s->count && whole; i++)
        whole = !s->items[i].gap && s->items[i].head_ok && s->items[i].body_ok &&
                (uint64_t)s->items[i].header.start * 8 == s->proven;
    if (whole) {
        s->usable = s->count;
        s->unproven = true;
    } else {
        s->end = s->proven;
        s->closed = false;
    }
}

void scan_segment(const unsigned char *bytes, uint64_t size, uint64_t generation, uint64_t key,
                  uint64_t known_end, struct scan *ret) {
    struct walk w = {.bytes = bytes, .limit = size, .generation = generation, .key = key};
    *ret = (struct scan){.proven = SPOOL_DATA};
    if (known_end) {
        w.limit = known_end < size ? known_end : size;
        ret->proven = w.limit > SPOOL_DATA ? w.limit : SPOOL_DATA;
    }
    walk(ret, &w);
    judge_last(ret);
    if (ret->end < ret->proven)
        ret->end = ret->proven;
}

void scan_free(struct scan *s) {
    free(s->items);
    *s = (struct scan){0};
}
