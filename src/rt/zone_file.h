/* zone_file.h - DNS data from a file: absolute names, one record a line, `;` comments.
 *
 *   name [ttl] [IN] TYPE data
 * Types: A AAAA MX TXT PTR CNAME NS SOA TLSA. No $ directives, no wildcards, no
 * continued lines. Each owner's domain - its last two labels; for reverse names
 * the /24 or /64 - is then answered from the file alone.
 */
#pragma once
#include "base/error.h"
#include "rt/resolver.h"

struct zone_file;

/* Reads the text; `file` stands for it in messages. On SYNTAX *ret_why is "file:line: what", in `arena`. */
[[nodiscard]] int zone_parse(struct str text, const char *file, struct arena *arena, struct str *ret_why,
                             struct zone_file **ret);
/* The same from disk. */
[[nodiscard]] int zone_load(const char *path, struct arena *arena, struct str *ret_why,
                            struct zone_file **ret);
/* Accepts NULL, returns NULL. */
struct zone_file *zone_free(struct zone_file *);

/* Is this normal name (dns_wire.h) answered from the file alone? */
bool zone_covers(const struct zone_file *, struct str name);

/* The answer for a covered name. Follows CNAMEs while they are covered; *ret_elsewhere is where one leads
 * that isn't (then *ret is only NONE yet), empty otherwise. Records look into the zone; copies are the
 * caller's part. */
void zone_answer(const struct zone_file *, struct str name, enum dns_type, struct dns_answer *ret,
                 struct str *ret_elsewhere);
