#include "acceptance/content.h"

#include "acceptance/accept.h"
#include "auth/results.h"
#include "base/error.h"

enum { FIELDS_OF_OURS = 64 }; /* room for what we add: it is read again then */

struct content *content_new(struct flow *flow, struct arena *arena, const struct content_settings *settings) {
    struct content *c = arena_new_of(arena, struct content);
    c->settings = *settings;
    c->arena = arena;
    c->body = flow->spool ? spool_body_new(flow->spool) : NULL; /* explain keeps nothing */
    c->copy = settings->scan ? scan_copy_new(settings->scan) : NULL;
    return c;
}

static int store(struct content *c, struct str bytes) {
    if (!c->error && bytes.len && c->copy)
        c->error = scan_copy_add(c->copy, bytes);
    if (!c->error && bytes.len && c->body)
        c->error = accept_body_add(c->body, bytes);
    return c->error;
}

static int add_body(struct content *c, struct str bytes) {
    if (c->arrival)
        arrival_body(c->arrival, bytes);
    if (c->hash)
        body_hash_feed(c->hash, bytes);
    return store(c, bytes);
}

/* The header without the fields that claim to be ours. */
static struct str cleaned(struct content *c, const struct header *header) {
    struct buf kept __attribute__((cleanup(buf_free))) = {0};
    size_t from = 0; /* of the fields that are not copied yet */
    for (size_t i = 0; i < header->count; i++) {
        const struct header_field *f = &header->fields[i];
        if (!results_claims(c->arena, f, c->settings.authserv_id))
            continue;
        size_t at = (size_t)(f->whole.at - header->whole.at);
        buf_add(&kept, header->whole.at + from, at - from);
        from = at + f->whole.len;
        c->forged++;
    }
    if (!c->forged)
        return header->whole;
    buf_add(&kept, header->whole.at + from, header->whole.len - from);
    return str_copy(c->arena, buf_view(&kept));
}

static int too_long(struct content *c) {
    c->header_too_long = true;
    return c->error = SLUICE_ETOOBIG;
}

/* The empty line after the header. A body without a header gets one: our fields must not run into it. */
static struct str between(const struct content *c, struct str head) {
    if (!c->header.count && !c->original.separated)
        return STR("\r\n");
    return str_from(head.at + c->original.whole.len, c->original.body_at - c->original.whole.len);
}

/* The header's end is known: it goes on its way, with what of the body came along. */
static int header_is_whole(struct content *c) {
    struct header *came = &c->original;
    c->whole = true;
    struct str head = str_copy(c->arena, buf_view(&c->head)); /* what is found in it outlives the content */
    buf_free(&c->head);
    c->head_len = head.len;
    if (header_parse(c->arena, head, 0, came) != 0 || came->count > HEADER_FIELDS_MAX - FIELDS_OF_OURS)
        return too_long(c);
    struct str clean = c->settings.trusted ? came->whole : cleaned(c, came);
    c->header = *came;
    if (c->forged) {
        if (header_parse(c->arena, clean, 0, &c->header) != 0)
            return too_long(c);
        c->header.separated = came->separated;
    }
    if (c->settings.verify)
        c->arrival = arrival_new(c->arena, came, c->settings.now);
    if (c->settings.digest)
        c->hash = body_hash_new();
    store(c, clean);
    store(c, between(c, head));
    c->body_at = clean.len + between(c, head).len;
    return add_body(c, str_from_index(head, came->body_at));
}

int content_add(struct content *c, struct str bytes) {
    if (c->error)
        return c->error;
    gtube_feed(&c->gtube, bytes);
    eicar_feed(&c->eicar, bytes);
    if (c->whole)
        return add_body(c, bytes);
    buf_str(&c->head, bytes);
    if (header_end_feed(&c->head_end, bytes))
        return header_is_whole(c);
    return c->head.len > HEADER_BYTES_MAX ? too_long(c) : 0;
}

int content_end(struct content *c) {
    if (!c->error && !c->whole) {
        header_end_finish(&c->head_end);
        header_is_whole(c);
    }
    return c->error;
}

void content_digest(struct content *c, uint8_t out[DKIM_DIGEST_SIZE]) { body_hash_end(c->hash, out); }

struct spool_body *content_take(struct content *c) {
    struct spool_body *body = c->body;
    c->body = NULL;
    return body;
}

struct content *content_free(struct content *c) {
    if (!c)
        return NULL;
    spool_body_abort(c->body);
    c->body = NULL;
    c->copy = scan_copy_free(c->copy);
    c->arrival = arrival_free(c->arrival);
    c->hash = body_hash_free(c->hash);
    buf_free(&c->head);
    return NULL;
}
