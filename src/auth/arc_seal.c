#include "auth/arc_set.h"
#include "auth/dkim_signature.h"
#include "base/error.h"

#include <stdlib.h>

enum { SIGNATURES_SIGNED_MAX = 16, LIST_LINE = 50 };

struct arc_seal {
    struct arena *arena;
    struct dkim_signer signer;
    int64_t now_s;
    unsigned instance;
    const char *cv;
    struct str list;                   /* h= */
    struct buf fields;                 /* what it names, canonical */
    struct buf sets;                   /* the sets before, canonical */
    struct buf results, message, seal; /* the whole new fields */
    uint8_t body[DKIM_DIGEST_SIZE];
};

struct str arc_results_of(struct arena *arena, const struct header *header, struct str authserv_id) {
    struct buf all __attribute__((cleanup(buf_free))) = {0};
    for (const struct header_field *f = NULL; (f = header_find(header, STR("Authentication-Results"), f));) {
        struct str rest = header_unfold(arena, f->value), id, version;
        if (!str_cut(&rest, ';', &id))
            continue;
        version = str_trim(id);
        str_cut(&version, ' ', &id);
        rest = str_trim(rest);
        if (!str_eq_nocase(str_trim(id), authserv_id) || !rest.len)
            continue;
        if (str_ends(rest, STR(";")))
            rest = str_trim(str_head(rest, rest.len - 1));
        if (!all.len)
            buf_str(&all, authserv_id);
        buf_str(&all, STR("; "));
        buf_str(&all, rest);
    }
    return str_copy(arena, buf_view(&all));
}

/* The list with a blank here and there, where a line can be folded. */
static struct str with_blanks(struct arena *arena, struct str list) {
    char *out = arena_alloc(arena, 2 * list.len);
    size_t len = 0;
    for (size_t i = 0, line = 0; i < list.len; i++, line++) {
        out[len++] = list.at[i];
        if (list.at[i] == ':' && line > LIST_LINE) {
            out[len++] = ' ';
            line = 0;
        }
    }
    return str_from(out, len);
}

/* h=: the default names, and the DKIM signatures too, which say who vouched for the message when it came (RFC
 * 8617 4.1.2); or just what the caller wants. */
static struct str sealed_list(struct arena *arena, const struct header *header,
                              const struct arc_seal_settings *settings) {
    struct buf list __attribute__((cleanup(buf_free))) = {0};
    const char *const *names = settings->headers ? settings->headers : dkim_sign_headers;
    for (size_t i = 0; settings->only_headers && names[i]; i++)
        buf_printf(&list, "%s%s", i ? ":" : "", names[i]);
    if (!settings->only_headers) {
        size_t count = header_count(header, STR("DKIM-Signature")), room = SIGNATURES_SIGNED_MAX;
        dkim_sign_list(header, names, &list);
        for (size_t i = 0; i < count && i < room; i++)
            buf_str(&list, STR(":DKIM-Signature"));
    }
    return with_blanks(arena, buf_view(&list));
}

/* A seal that says fail covers its own set only (5.1.2). */
static void canon_sets(struct arc_seal *seal, const struct header *header) {
    struct arc_sets sets;
    if (arc_sets_of(header, &sets).at)
        return;
    for (unsigned i = 1; i <= sets.highest; i++) {
        canon_field(&seal->sets, CANON_RELAXED, sets.at[i].results);
        canon_field(&seal->sets, CANON_RELAXED, sets.at[i].message);
        canon_field(&seal->sets, CANON_RELAXED, sets.at[i].seal);
    }
}

struct arc_seal *arc_seal_new(const struct header *header, const uint8_t body[DKIM_DIGEST_SIZE],
                              const struct arc_verdict *verdict, const struct arc_seal_settings *settings) {
    if (verdict->ended || verdict->instances >= ARC_INSTANCES_MAX)
        return NULL;
    struct arc_seal *seal = xcalloc(1, sizeof *seal);
    seal->arena = arena_new(0);
    seal->signer = settings->signer;
    seal->now_s = settings->now_s;
    seal->instance = verdict->instances + 1;
    seal->cv = arc_result_name(verdict->result);
    seal->list = sealed_list(seal->arena, header, settings);
    struct dkim_fields fields = dkim_fields_of(seal->arena, header);
    dkim_fields_canon(&fields, seal->list, CANON_RELAXED, &seal->fields);
    if (verdict->result == ARC_PASS)
        canon_sets(seal, header);
    header_write(&seal->results, STR("ARC-Authentication-Results"),
                 str_printf(seal->arena, "i=%u; %.*s", seal->instance, STR_FMT(settings->results)));
    memcpy(seal->body, body, DKIM_DIGEST_SIZE);
    return seal;
}

/* Appends the canonical form of a field that we wrote. */
static int canon_own(struct arc_seal *seal, struct str written, struct buf *out) {
    struct header parsed;
    if (header_parse(seal->arena, written, 0, &parsed) != 0 || parsed.count != 1)
        return SLUICE_EINVALID;
    canon_field(out, CANON_RELAXED, &parsed.fields[0]);
    return 0;
}

/* Signs `covered` and the field that `before` and `after` make around the value of b=, and writes that field.
 */
static int sign_field(struct arc_seal *seal, struct str name, struct str covered, struct str before,
                      struct str after, struct buf *out) {
    struct buf text __attribute__((cleanup(buf_free))) = {0}, bare __attribute__((cleanup(buf_free))) = {0};
    uint8_t digest[DKIM_DIGEST_SIZE], signature[DKIM_SIGNATURE_SIZE];
    size_t len;
    header_write(&bare, name, str_printf(seal->arena, "%.*s%.*s", STR_FMT(before), STR_FMT(after)));
    buf_str(&text, covered);
    int error = canon_own(seal, buf_view(&bare), &text);
    if (error)
        return error;
    dkim_sha256(str_head(buf_view(&text), text.len - 2), digest);
    error = dkim_key_sign(seal->signer.key, digest, signature, &len);
    if (error)
        return error;
    /* Folded between tags only: the blanks of a fold inside b= would be signed by the seals to come. */
    struct str b = dkim_base64_write(seal->arena, str_from(signature, len));
    header_write(out, name,
                 str_printf(seal->arena, "%.*s%.*s%.*s", STR_FMT(before), STR_FMT(b), STR_FMT(after)));
    return 0;
}

static int sign_message(struct arc_seal *seal) {
    const char *algorithm = dkim_algorithm_name(dkim_key_algorithm(seal->signer.key));
    struct str bh = dkim_base64_write(seal->arena, str_from(seal->body, DKIM_DIGEST_SIZE)),
               before = str_printf(seal->arena, "a=%s; b=", algorithm),
               after = str_printf(seal->arena,
                                  "; bh=%.*s; c=relaxed/relaxed; d=%.*s; h=%.*s; i=%u; s=%.*s; t=%lld",
                                  STR_FMT(bh), STR_FMT(seal->signer.domain), STR_FMT(seal->list),
                                  seal->instance, STR_FMT(seal->signer.selector), (long long)seal->now_s);
    return sign_field(seal, STR("ARC-Message-Signature"), buf_view(&seal->fields), before, after,
                      &seal->message);
}

int arc_seal_run(struct arc_seal *seal) {
    struct buf covered __attribute__((cleanup(buf_free))) = {0};
    const char *algorithm = dkim_algorithm_name(dkim_key_algorithm(seal->signer.key));
    int error = sign_message(seal);
    buf_str(&covered, buf_view(&seal->sets));
    if (!error)
        error = canon_own(seal, buf_view(&seal->results), &covered);
    if (!error)
        error = canon_own(seal, buf_view(&seal->message), &covered);
    if (error)
        return error;
    struct str before = str_printf(seal->arena, "a=%s; b=", algorithm),
               after = str_printf(seal->arena, "; cv=%s; d=%.*s; i=%u; s=%.*s; t=%lld", seal->cv,
                                  STR_FMT(seal->signer.domain), seal->instance,
                                  STR_FMT(seal->signer.selector), (long long)seal->now_s);
    return sign_field(seal, STR("ARC-Seal"), buf_view(&covered), before, after, &seal->seal);
}

void arc_seal_write(const struct arc_seal *seal, struct buf *out) {
    buf_str(out, buf_view(&seal->seal));
    buf_str(out, buf_view(&seal->message));
    buf_str(out, buf_view(&seal->results));
}

struct arc_seal *arc_seal_free(struct arc_seal *seal) {
    if (!seal)
        return NULL;
    buf_free(&seal->fields);
    buf_free(&seal->sets);
    buf_free(&seal->results);
    buf_free(&seal->message);
    buf_free(&seal->seal);
    arena_free(seal->arena);
    free(seal);
    return NULL;
}
