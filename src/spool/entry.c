#include "spool/inside.h"

#include "base/crc32c.h"
#include <stdlib.h>

void entry_add(struct entry_list *list, struct entry *e) {
    if (!list->first)
        list->last = &list->first;
    e->next = NULL;
    *list->last = e;
    list->last = &e->next;
}

struct entry *entry_take(struct entry_list *list) {
    struct entry *e = list->first;
    if (e)
        list->first = e->next;
    return e;
}

void entry_join(struct entry_list *to, struct entry_list *from) {
    if (!from->first)
        return;
    if (!to->first)
        to->last = &to->first;
    *to->last = from->first;
    to->last = from->last;
    from->first = NULL;
}

struct entry *entry_new(enum entry_kind kind) {
    static const unsigned char no_header[SPOOL_HEADER];
    struct entry *e = xcalloc(1, sizeof *e);
    e->kind = kind;
    buf_add(&e->head, no_header, sizeof no_header);
    return e;
}

struct entry *entry_free(struct entry *e) {
    if (e) {
        buf_free(&e->head);
        buf_free(&e->content);
        free(e);
    }
    return NULL;
}

static void pad(struct buf *b) {
    static const unsigned char zeros[8];
    buf_add(b, zeros, (size_t)(spool_align(b->len, 8) - b->len));
}

void entry_finish(struct entry *e) {
    e->head_len = (uint32_t)(e->head.len - SPOOL_HEADER);
    e->head_crc = crc32c(0, e->head.at + SPOOL_HEADER, e->head_len);
    pad(&e->head);
    e->content_len = (uint32_t)e->content.len;
    e->body_crc = crc32c(0, e->content.at, e->content_len);
    pad(&e->content);
}

uint64_t entry_size(const struct entry *e) { return e->head.len + e->content.len; }
