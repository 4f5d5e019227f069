/* rotation.h - the change from one DKIM key to the next, as a small file below state/keys.
 *
 * DOMAIN.rotation is one JSON object; docs/operations.md describes it. It wins over the selectors of the
 * configuration as long as those are among the ones that it knows.
 */
#pragma once
#include "base/buf.h"
#include "policy/signing.h"

enum rotation_phase {
    ROTATION_PENDING,  /* the old keys sign, the new record has to be published */
    ROTATION_SWITCHED, /* the new keys sign, the old record has to stay for mail under way */
    ROTATION_OVER,     /* the old record may go */
};

/* A key as the file names it: `key` is relative to `state`, or absolute. */
struct rotation_key {
    struct str selector, key;
};

struct rotation_keys {
    struct rotation_key keys[SIGNING_SET_MAX];
    size_t count;
};

struct rotation {
    struct str domain;                      /* normalised */
    int64_t started_ms, switch_ms, keep_ms; /* wall clock; the old record is kept until the last */
    struct str configured[SIGNING_SET_MAX]; /* the selectors of the section when it began */
    size_t configured_count;
    struct rotation_keys old, next; /* `old` is empty once it is finished */
};

enum rotation_phase rotation_phase(const struct rotation *, int64_t now_wall_ms);
/* Does the rotation know all selectors of that set? If not, the section was written anew, and wins. */
bool rotation_knows(const struct rotation *, const struct signing_set *);

/* "KEYS_DIR/DOMAIN.rotation" */
const char *rotation_path(struct arena *, const char *keys_dir, struct str domain);
/* SLUICE_ENOTFOUND: there is none. SLUICE_EIO, SLUICE_ESYNTAX with *ret_why. All in the arena. */
[[nodiscard]] int rotation_load(struct arena *, const char *path, struct str *ret_why, struct rotation *ret);
[[nodiscard]] int rotation_parse(struct arena *, struct str text, struct str *ret_why, struct rotation *ret);
void rotation_write(const struct rotation *, struct buf *out);

/* 1 to 63 letters, digits and hyphens a label, dots between: what may stand in s= (RFC 6376 3.1). */
bool selector_valid(struct str);
