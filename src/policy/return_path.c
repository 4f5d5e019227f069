#include "policy/return_path.h"
#include "auth/srs.h"
#include "base/error.h"
#include "mail/address.h"

static bool is_own(const struct tenant *t, struct str domain) {
    for (size_t i = 0; i < t->domain_count; i++)
        if (domain_same(t->domains[i], domain))
            return true;
    return false;
}

/* Why the path stays as it came; NULL: it does not. */
static const char *why_unchanged(const struct tenant *t, struct str path, const struct connector *deliver_to,
                                 bool verified, enum mail_class class) {
    if (!path.len)
        return "a null reverse-path is never rewritten";
    if (!t)
        return "the reverse-path stays: the mail is no tenant's";
    if (is_own(t, address_split(path).domain))
        return "the reverse-path is in the tenant's own domains";
    if (class == CLASS_RELAY || class == CLASS_HIGH_RISK_RELAY)
        return "the reverse-path of relayed mail is never rewritten";
    if (!verified)
        return "the reverse-path stays: its sender was not verified";
    if (deliver_to && !deliver_to->srs)
        return "the reverse-path stays on the way to the tenant's own servers";
    if (!t->srs)
        return "the reverse-path stays: the tenant has no srs";
    return NULL;
}

/* The form in the tenant's style; where it is too long for a strict receiver, the one that always fits. */
static int rewrite(const struct srs_settings *srs, struct str path, struct str forwarder, int64_t now,
                   struct arena *arena, struct srs_rewritten *ret) {
    int error = srs_forward(srs, path, forwarder, now, arena, ret);
    if (error || ret->fits)
        return error;
    struct srs_settings shortest = *srs;
    shortest.style = SRS_STYLE_MICROSOFT;
    return srs_forward(&shortest, path, STR(""), now, arena, ret);
}

int return_path_for(const struct tenant *t, struct str reverse_path, struct str forwarder,
                    const struct connector *deliver_to, bool verified, enum mail_class class,
                    int64_t now_wall_ms, struct arena *arena, struct str *ret_path, struct str *ret_why) {
    const char *unchanged = why_unchanged(t, reverse_path, deliver_to, verified, class);
    struct srs_rewritten made;
    *ret_path = reverse_path;
    *ret_why = str_of(unchanged);
    if (unchanged)
        return 0;
    struct str path =
        address_normal(arena, reverse_path); /* A-labels: the copy needs no SMTPUTF8 for its domain */
    int error = rewrite(t->srs, path.at ? path : reverse_path, forwarder, now_wall_ms, arena, &made);
    if (error) {
        *ret_why = STR("the reverse-path stays: it has no form that SRS can rewrite");
        return error == SLUICE_ESYNTAX ? 0 : SLUICE_EINVALID;
    }
    if (made.form == SRS_UNCHANGED) {
        *ret_why = STR("the reverse-path is in the domain of rewritten addresses");
        return 0;
    }
    if (!made.fits) {
        *ret_why = STR("the reverse-path stays: rewritten it would be too long for strict receivers");
        return 0;
    }
    *ret_path = made.address;
    *ret_why =
        made.form == SRS_BOUNCES
            ? STR("the sender is verified, so the reverse-path is rewritten (SRS, in the form without the "
                  "sender: later bounces end here)")
            : STR("the sender is verified, so the reverse-path is rewritten (SRS)");
    return 0;
}
