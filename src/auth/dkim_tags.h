/* dkim_tags.h - the tag=value lists of signatures and key records (RFC 6376 3.2), and base64 as they have it.
 */
#pragma once
#include "base/str.h"

enum { DKIM_TAGS_MAX = 64 };

struct dkim_tag {
    struct str name;
    struct str value; /* without the blanks and folds around it; those inside stay */
    struct str hole;  /* all between '=' and ';' */
};

struct dkim_tags {
    struct dkim_tag items[DKIM_TAGS_MAX];
    size_t count;
};

/* Views look at `list`. False: a tag without a name or '=', a name twice, an octet that no value has, too
 * many tags. A last ';' is fine, with blanks after it too, as many write it. UTF-8 is let through (RFC 8616).
 */
bool dkim_tags_parse(struct str list, struct dkim_tags *ret);
/* NULL when absent. Names have their case. */
const struct dkim_tag *dkim_tag_find(const struct dkim_tags *, const char *name);
/* The value, or the NULL view. */
struct str dkim_tag_value(const struct dkim_tags *, const char *name);
/* Takes the next part of a list with `separator` off *rest, blanks and folds around it removed. */
bool dkim_list_next(struct str *rest, char separator, struct str *ret_part);

/* dkim-quoted-printable (RFC 6376 2.11), blanks and folds dropped. Total: what is no =XX stays. The result
 * may hold any octet. */
struct str dkim_quoted_read(struct arena *, struct str text);
/* Base64 with blanks and folds anywhere in it. False when it is none. */
bool dkim_base64_read(struct arena *, struct str text, struct str *ret_bytes);
/* Without line breaks. */
struct str dkim_base64_write(struct arena *, struct str bytes);
