/* mime.h - what a message's MIME fields say (RFC 2045, 2046, 2231).
 */
#pragma once
#include "mail/header.h"

struct mime_parameter {
    struct str name; /* as written */
    struct str
        value; /* unquoted; RFC 2231 continuations joined, charset and percent forms left as they are */
};

struct content_type {
    struct str type;    /* lower case; "text" when the field is absent or malformed (RFC 2045 5.2) */
    struct str subtype; /* lower case; "plain" likewise */
    struct mime_parameter *parameters;
    size_t parameter_count;
};

/* Total: what can't be read gives text/plain, and parameters up to the damage. At most 64 parameters. */
void content_type_parse(struct arena *, struct str value, struct content_type *ret);
/* ASCII case ignored; the NULL view when absent. */
struct str content_type_parameter(const struct content_type *, const char *name);
bool content_type_is(const struct content_type *, const char *type, const char *subtype);

enum mime_encoding { MIME_7BIT, MIME_8BIT, MIME_BINARY, MIME_QP, MIME_BASE64, MIME_OTHER_ENCODING };
/* Of a Content-Transfer-Encoding value; an empty one is 7bit. */
enum mime_encoding mime_encoding_parse(struct str value);

/* What the top header tells. */
struct mime_facts {
    bool delivery_report; /* multipart/report with report-type=delivery-status (RFC 6522, 3464) */
    bool is_signed;       /* a change of the body breaks a signature: DKIM, multipart/signed, S/MIME */
    bool header_8bit;     /* raw bytes over 127 in the header (RFC 6532) */
};
void mime_facts_of(struct arena *, const struct header *, struct mime_facts *ret);

/* Some byte over 127? */
bool bytes_8bit(struct str);
/* UTF-8 without overlong forms, surrogates and code points over 10FFFF (RFC 3629). */
bool bytes_utf8(struct str);
/* `s`, with each byte that is no part of UTF-8 as '?'. */
struct str utf8_clean(struct arena *, struct str s);
