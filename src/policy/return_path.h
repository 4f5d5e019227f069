/* return_path.h - the reverse-path that a copy leaves with: as it came, or rewritten (SRS). Pure.
 *
 * Rewritten is the foreign reverse-path of a verified sender, for mail of the classes normal and high-risk,
 * where the tenant has `srs`. Never: the null path, the tenant's own domains, relay classes, and what goes to
 * a connector's `deliver` unless that connector says `srs = true`. A form whose local part gets too long for
 * a strict receiver (64 octets) becomes bounces+SRS=, as Microsoft does it: SPF passes and the mail arrives,
 * but a later bounce ends here. Where not even that fits the path stays.
 */
#pragma once
#include "base/mail_class.h"
#include "policy/tenant.h"

/* `forwarder`: of the target (policy/recipient.h); "" none. `deliver_to`: the connector to whose `deliver`
 * the copy goes, or NULL. `verified`: of the decision (policy/classify.h). 0: *ret_path is set, and *ret_why
 * is a sentence for trace and explain, also when nothing is rewritten. SLUICE_EINVALID: the tenant's SRS
 * settings can't be used; *ret_path is then the path as it came. */
[[nodiscard]] int return_path_for(const struct tenant *, struct str reverse_path, struct str forwarder,
                                  const struct connector *deliver_to, bool verified, enum mail_class,
                                  int64_t now_wall_ms, struct arena *, struct str *ret_path,
                                  struct str *ret_why);
