/* What a signature's digests are made of: fields of the header, and the key that checks them. */
#include "auth/dkim_check.h"
#include "mail/address.h"
#include "rt/fiber.h"

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

void dkim_must(bool done) {
    if (!done) {
        fputs("OpenSSL has no SHA-256\n", stderr);
        abort();
    }
}

void dkim_sha256(struct str bytes, uint8_t out[DKIM_DIGEST_SIZE]) {
    dkim_must(EVP_Digest(bytes.at ? bytes.at : "", bytes.len, out, NULL, EVP_sha256(), NULL) > 0);
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
    else if (record->strict && s->kind == DKIM_MESSAGE && !domain_same(identity_domain, s->domain))
        *ret_why = STR("i= is below d=, which the key forbids");
    else if (record->algorithm == DKIM_RSA && record->bits < DKIM_RSA_MIN)
        result = DKIM_POLICY, *ret_why = STR("the key is shorter than 1024 bits");
    else if (record->algorithm == DKIM_RSA && record->bits > DKIM_RSA_MAX)
        result = DKIM_POLICY, *ret_why = STR("the key is longer than 4096 bits");
    else
        result = DKIM_PASS;
    return result;
}

struct fitting {
    struct dkim_fields *fields;
    const struct dkim_signature *signature;
    const struct dkim_record *record;
    bool fits;
};

static void compute(void *arg) {
    struct fitting *fitting = arg;
    const struct dkim_signature *s = fitting->signature;
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    uint8_t digest[DKIM_DIGEST_SIZE];
    dkim_fields_canon(fitting->fields, s->headers, s->header_mode, &text);
    canon_signature_field(&text, s->header_mode, s->field, s->b_hole);
    dkim_sha256(buf_view(&text), digest);
    fitting->fits = dkim_record_verify(fitting->record, digest, s->b);
}

bool dkim_signature_fits(struct dkim_fields *fields, const struct dkim_signature *signature,
                         const struct dkim_record *record) {
    struct fitting fitting = {fields, signature, record, false};
    offload(compute, &fitting);
    return fitting.fits;
}
