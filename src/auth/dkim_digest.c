/* What a signature's digests are made of: fields of the header, the body, and the key that checks them. */
#include "auth/dkim_signature.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

struct dkim_fields dkim_fields_of(struct arena *arena, const struct header *header) {
    struct dkim_fields fields = {header, arena_array(arena, uint64_t, header->count),
                                 arena_alloc(arena, header->count)};
    for (size_t i = 0; i < header->count; i++)
        fields.hashes[i] = str_hash_nocase(header->fields[i].name, 0);
    return fields;
}

void dkim_fields_reset(struct dkim_fields *fields) { memset(fields->used, 0, fields->header->count); }

const struct header_field *dkim_fields_take(struct dkim_fields *fields, struct str name) {
    uint64_t hash = str_hash_nocase(name, 0);
    for (size_t i = fields->header->count; i-- > 0;) {
        const struct header_field *field = &fields->header->fields[i];
        if (fields->hashes[i] == hash && !fields->used[i] && str_eq_nocase(field->name, name)) {
            fields->used[i] = 1;
            return field;
        }
    }
    return NULL;
}

void dkim_fields_canon(struct dkim_fields *fields, struct str list, enum canon mode, struct buf *out) {
    dkim_fields_reset(fields);
    for (struct str name; dkim_list_next(&list, ':', &name);) {
        const struct header_field *field = dkim_fields_take(fields, name);
        if (field)
            canon_field(out, mode, field);
    }
}

/* Without SHA-256 nothing here can go on; the configuration of OpenSSL is then broken. */
static void must(bool done) {
    if (!done) {
        fputs("OpenSSL has no SHA-256\n", stderr);
        abort();
    }
}

void dkim_sha256(struct str bytes, uint8_t out[DKIM_DIGEST_SIZE]) {
    must(EVP_Digest(bytes.at ? bytes.at : "", bytes.len, out, NULL, EVP_sha256(), NULL) > 0);
}

static void hash_bytes(void *to, struct str bytes) {
    struct dkim_body_hash *hash = to;
    uint64_t room = hash->total < hash->limit ? hash->limit - hash->total : 0;
    size_t len = hash->limited && bytes.len > room ? (size_t)room : bytes.len;
    hash->total += bytes.len;
    must(EVP_DigestUpdate(hash->context, bytes.at, len) > 0);
}

void dkim_body_hash_start(struct dkim_body_hash *hash, enum canon mode, bool limited, uint64_t limit) {
    *hash = (struct dkim_body_hash){.context = EVP_MD_CTX_new(), .limited = limited, .limit = limit};
    hash->canon = (struct canon_body){.mode = mode, .sink = hash_bytes, .to = hash};
    must(hash->context && EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) > 0);
}

void dkim_body_hash_feed(struct dkim_body_hash *hash, struct str chunk) {
    canon_body_feed(&hash->canon, chunk);
}

void dkim_body_hash_end(struct dkim_body_hash *hash, uint8_t out[DKIM_DIGEST_SIZE]) {
    canon_body_end(&hash->canon);
    must(EVP_DigestFinal_ex(hash->context, out, NULL) > 0);
}

void dkim_body_hash_free(struct dkim_body_hash *hash) {
    EVP_MD_CTX_free(hash->context);
    hash->context = NULL;
}

/* The first of the answer's texts that is a key record; without one, what is wrong with the first. */
static void read_answer(struct dkim_lookups *lookups, const struct dns_answer *answer,
                        struct dkim_lookup *lookup) {
    if (answer->status == DNS_FAILED) {
        lookup->result = DKIM_TEMPERROR;
        lookup->why = str_printf(lookups->arena, "the DNS did not answer for %.*s: %.*s",
                                 STR_FMT(lookup->name), STR_FMT(answer->why));
        return;
    }
    lookup->result = DKIM_PERMERROR;
    lookup->why = str_printf(lookups->arena, "no key at %.*s", STR_FMT(lookup->name));
    for (size_t i = 0; answer->status == DNS_RECORDS && i < answer->count && i < DKIM_VERIFY_MAX; i++) {
        struct str why;
        if (dkim_record_parse(lookups->arena, answer->records[i].text, &why, &lookup->record) == 0) {
            lookup->result = DKIM_PASS;
            return;
        }
        if (i == 0)
            lookup->why = why;
    }
}

const struct dkim_lookup *dkim_lookup_key(struct dkim_lookups *lookups, const struct dkim_signature *s) {
    struct str name =
        str_printf(lookups->arena, "%.*s._domainkey.%.*s", STR_FMT(s->selector), STR_FMT(s->domain));
    struct dns_answer answer = {0};
    for (size_t i = 0; i < lookups->count; i++)
        if (str_eq(lookups->items[i].name, name))
            return &lookups->items[i];
    if (lookups->count == lookups->cap) {
        lookups->cap = lookups->cap ? 2 * lookups->cap : 4;
        lookups->items = xrealloc(lookups->items, lookups->cap * sizeof *lookups->items);
    }
    struct dkim_lookup *lookup = &lookups->items[lookups->count++];
    *lookup = (struct dkim_lookup){.name = name};
    if (name.len > 253) {
        lookup->result = DKIM_PERMERROR;
        lookup->why = STR("s= and d= make a name that is too long");
        return lookup;
    }
    resolver_lookup(lookups->resolver, name, DNS_TXT, lookups->deadline, lookups->arena, &answer);
    read_answer(lookups, &answer, lookup);
    return lookup;
}

void dkim_lookups_free(struct dkim_lookups *lookups) {
    for (size_t i = 0; i < lookups->count; i++)
        dkim_record_free(&lookups->items[i].record);
    free(lookups->items);
    lookups->items = NULL;
    lookups->count = lookups->cap = 0;
}

enum dkim_result dkim_key_allowed(const struct dkim_record *record, const struct dkim_signature *s,
                                  struct str *ret_why) {
    struct str identity_domain = str_from_index(s->identity, (size_t)(str_rindex(s->identity, '@') + 1));
    enum dkim_result result = DKIM_PERMERROR;
    if (record->revoked)
        *ret_why = STR("the key is revoked");
    else if (record->algorithm != s->algorithm)
        *ret_why = STR("the key is of another type than a= says");
    else if (!record->sha256)
        *ret_why = STR("the key does not allow sha256");
    else if (!record->email)
        *ret_why = STR("the key is not for mail");
    else if (record->strict && s->kind == DKIM_MESSAGE && !str_eq_nocase(identity_domain, s->domain))
        *ret_why = STR("i= is below d=, which the key forbids");
    else if (record->algorithm == DKIM_RSA && record->bits < DKIM_RSA_MIN)
        result = DKIM_POLICY, *ret_why = STR("the key is shorter than 1024 bits");
    else if (record->algorithm == DKIM_RSA && record->bits > DKIM_RSA_MAX)
        result = DKIM_POLICY, *ret_why = STR("the key is longer than 4096 bits");
    else
        result = DKIM_PASS;
    return result;
}
