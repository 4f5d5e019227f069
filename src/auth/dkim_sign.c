#include "auth/dkim_signature.h"
#include "base/error.h"

#include <stdlib.h>

enum { FOLD_COLUMN = 76 };

const char *const dkim_sign_headers[] = {"From",
                                         "Sender",
                                         "Reply-To",
                                         "To",
                                         "Cc",
                                         "Subject",
                                         "Date",
                                         "Message-ID",
                                         "In-Reply-To",
                                         "References",
                                         "MIME-Version",
                                         "Content-Type",
                                         "Content-ID",
                                         "Content-Transfer-Encoding",
                                         "Content-Description",
                                         "Resent-From",
                                         "Resent-Sender",
                                         "Resent-To",
                                         "Resent-Cc",
                                         "Resent-Date",
                                         "Resent-Message-ID",
                                         "List-Id",
                                         "List-Help",
                                         "List-Subscribe",
                                         "List-Unsubscribe",
                                         "List-Unsubscribe-Post",
                                         "List-Owner",
                                         "List-Archive",
                                         "List-Post",
                                         "Feedback-ID",
                                         NULL};

/* One signer's field as it comes into being. */
struct one {
    struct dkim_signer signer;
    struct buf field; /* whole, once it is signed */
};

struct dkim_sign {
    struct one signers[DKIM_SIGN_MAX];
    size_t count;
    int64_t now_s, expire_s;
    struct buf list;   /* h= */
    struct buf fields; /* canonical */
    uint8_t body[DKIM_DIGEST_SIZE];
};

static size_t list_name(const struct header *header, struct str name, size_t room, struct buf *out) {
    size_t count = header_count(header, name) + str_eq_nocase(name, STR("From"));
    if (count > room)
        count = room;
    for (size_t i = 0; i < count; i++) {
        if (out->len)
            buf_char(out, ':');
        buf_str(out, name);
    }
    return count;
}

void dkim_sign_list(const struct header *header, const char *const *names, struct buf *out) {
    size_t room = DKIM_HEADERS_MAX;
    bool from = false;
    for (size_t i = 0; names[i]; i++)
        from |= str_eq_nocase(str_of(names[i]), STR("From"));
    if (!from)
        room -= list_name(header, STR("From"), room, out);
    for (size_t i = 0; names[i]; i++)
        room -= list_name(header, str_of(names[i]), room, out);
}

struct dkim_sign *dkim_sign_new(const struct header *header, const uint8_t body[DKIM_DIGEST_SIZE],
                                const struct dkim_sign_settings *settings) {
    struct dkim_sign *sign = xcalloc(1, sizeof *sign);
    struct arena *arena = arena_new(0);
    struct dkim_fields fields = dkim_fields_of(arena, header);
    sign->count = settings->signer_count < DKIM_SIGN_MAX ? settings->signer_count : DKIM_SIGN_MAX;
    for (size_t i = 0; i < sign->count; i++)
        sign->signers[i].signer = settings->signers[i];
    sign->now_s = settings->now_s;
    sign->expire_s = settings->expire_s;
    dkim_sign_list(header, settings->headers ? settings->headers : dkim_sign_headers, &sign->list);
    dkim_fields_canon(&fields, buf_view(&sign->list), CANON_RELAXED, &sign->fields);
    memcpy(sign->body, body, DKIM_DIGEST_SIZE);
    arena_free(arena);
    return sign;
}

/* Adds a word, on the next line when it does not fit; `blank` stands before it otherwise. */
static void put(struct buf *out, size_t *column, struct str word, bool blank) {
    if (*column + blank + word.len > FOLD_COLUMN) {
        buf_str(out, STR("\r\n "));
        *column = 1;
    } else if (blank) {
        buf_char(out, ' ');
        ++*column;
    }
    buf_str(out, word);
    *column += word.len;
}

/* dkim-quoted-printable (2.11). */
static struct str quoted(struct arena *arena, struct str text) {
    char *out = arena_alloc(arena, 3 * text.len);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c > 32 && c < 127 && c != ';' && c != '=')
            out[len++] = (char)c;
        else
            out[len++] = '=', out[len++] = "0123456789ABCDEF"[c >> 4],
            out[len++] = "0123456789ABCDEF"[c & 15];
    }
    return str_from(out, len);
}

/* All of the field up to the value of b=. */
static void put_tags(const struct dkim_sign *sign, const struct dkim_signer *signer, struct str body_hash,
                     struct arena *arena, struct buf *out, size_t *column) {
    struct str rest = buf_view(&sign->list), name;
    const char *algorithm = dkim_algorithm_name(dkim_key_algorithm(signer->key));
    *column = 0;
    put(out, column, STR("DKIM-Signature:"), false);
    put(out, column, STR("v=1;"), true);
    put(out, column, str_printf(arena, "a=%s;", algorithm), true);
    put(out, column, STR("c=relaxed/relaxed;"), true);
    put(out, column, str_printf(arena, "d=%.*s;", STR_FMT(signer->domain)), true);
    put(out, column, str_printf(arena, "s=%.*s;", STR_FMT(signer->selector)), true);
    if (signer->identity.len)
        put(out, column, str_printf(arena, "i=%.*s;", STR_FMT(quoted(arena, signer->identity))), true);
    put(out, column, str_printf(arena, "t=%lld;", (long long)sign->now_s), true);
    if (sign->expire_s > 0)
        put(out, column, str_printf(arena, "x=%lld;", (long long)(sign->now_s + sign->expire_s)), true);
    put(out, column, STR("h="), true);
    while (str_cut(&rest, ':', &name))
        put(out, column, str_printf(arena, "%.*s%c", STR_FMT(name), rest.at ? ':' : ';'), false);
    put(out, column, str_printf(arena, "bh=%.*s;", STR_FMT(dkim_base64_write(arena, body_hash))), true);
    put(out, column, STR("b="), true);
}

static int sign_one(const struct dkim_sign *sign, struct one *one, struct str body_hash,
                    struct arena *arena) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    uint8_t digest[DKIM_DIGEST_SIZE], signature[DKIM_SIGNATURE_SIZE];
    size_t len, column;
    struct header parsed;
    put_tags(sign, &one->signer, body_hash, arena, &one->field, &column);
    int error = header_parse(arena, buf_view(&one->field), 0, &parsed);
    if (error || parsed.count != 1)
        return SLUICE_EINVALID;
    const struct header_field *field = &parsed.fields[0];
    buf_str(&text, buf_view(&sign->fields));
    canon_signature_field(&text, CANON_RELAXED, field, str_from_index(field->value, field->value.len));
    dkim_sha256(buf_view(&text), digest);
    error = dkim_key_sign(one->signer.key, digest, signature, &len);
    if (error)
        return error;
    struct str b = dkim_base64_write(arena, str_from(signature, len));
    while (b.len) {
        struct str part = str_head(b, column < FOLD_COLUMN ? FOLD_COLUMN - column : FOLD_COLUMN);
        put(&one->field, &column, part, false);
        b = str_from_index(b, part.len);
        if (b.len) {
            buf_str(&one->field, STR("\r\n "));
            column = 1;
        }
    }
    buf_str(&one->field, STR("\r\n"));
    return 0;
}

int dkim_sign_run(struct dkim_sign *sign) {
    struct arena *arena = arena_new(0);
    int error = 0;
    for (size_t i = 0; i < sign->count && !error; i++)
        error = sign_one(sign, &sign->signers[i], str_from(sign->body, DKIM_DIGEST_SIZE), arena);
    arena_free(arena);
    return error;
}

void dkim_sign_write(const struct dkim_sign *sign, struct buf *out) {
    for (size_t i = 0; i < sign->count; i++)
        buf_str(out, buf_view(&sign->signers[i].field));
}

struct dkim_sign *dkim_sign_free(struct dkim_sign *sign) {
    if (!sign)
        return NULL;
    for (size_t i = 0; i < sign->count; i++)
        buf_free(&sign->signers[i].field);
    buf_free(&sign->list);
    buf_free(&sign->fields);
    free(sign);
    return NULL;
}
