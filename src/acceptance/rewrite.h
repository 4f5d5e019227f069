/* rewrite.h - step 6: the reverse-path of each copy, our signatures and seal, the fields on top.
 */
#pragma once
#include "acceptance/accept.h"

/* A copy's reverse-path as it leaves, and why (policy/return_path.h). */
[[nodiscard]] int rewrite_path(const struct acceptance *, const struct decision *,
                               const struct envelope_copy *, struct str *ret_path, struct str *ret_why);

/* The keys that sign it. What is not verified keeps out of our name: a relay class is only sealed, which says
 * what we saw, and so is what comes from outside with a null reverse-path, and mail of others whose From is
 * in the name that would sign, or not clear, unless its author was verified on arrival: SPF or DKIM passed,
 * aligned with From. */
size_t rewrite_signers(const struct acceptance *, const struct decision *,
                       struct dkim_signer ret[DKIM_SIGN_MAX]);

/* From a fiber. The copies that leave, in groups that share reverse-path and header; class, pool, rule and
 * reason are the decision's. 0, or an error of the keys: nothing may leave unsigned. In the arena. */
[[nodiscard]] int rewrite_groups(const struct acceptance *, const struct decision *, const struct pool *,
                                 struct spool_group **ret, size_t *ret_count);

/* How many bytes of its header prefix our signatures and seal are. */
size_t rewrite_vouched(const struct spool_group *);
/* Is there a signature among them, beside the seal? */
bool rewrite_signed(const struct spool_group *, struct arena *);

/* From a fiber: signs what was changed on its way out, as the tenant (NULL: nobody) does now for mail of the
 * From address `sender`. *ret_fields in the arena, "" when there is no key. */
[[nodiscard]] int rewrite_sign_again(const struct tenant *, struct str sender, struct str header,
                                     const uint8_t digest[DKIM_DIGEST_SIZE], struct arena *,
                                     struct str *ret_fields);
