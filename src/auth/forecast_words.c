#include "auth/forecast_inside.h"
#include "base/buf.h"

enum { REASON_MAX = 120 };

/* What failing mail has to fear. pct= leaves the rest to the next milder policy (RFC 7489 6.6.4). */
static const char *fate(enum dmarc_policy policy, unsigned percent) {
    if (percent == 0 && policy != DMARC_POLICY_NONE)
        policy--, percent = 100;
    if (policy == DMARC_POLICY_REJECT)
        return percent == 100 ? "the mail will likely be refused" : "the mail may be refused";
    return policy == DMARC_POLICY_QUARANTINE && percent == 100 ? "the mail will likely be taken for junk"
                                                               : "the mail may be taken for junk";
}

static const struct forecast_signature *passing(const struct forecast *f) {
    for (size_t i = 0; i < f->count; i++)
        if (f->signatures[i].result == DKIM_PASS && !f->signatures[i].weak)
            return &f->signatures[i];
    return NULL;
}

static void say_spf(struct buf *out, const struct forecast *f, const struct dmarc_discovery *d,
                    const struct ip *source) {
    char ip[IP_TEXT_SIZE];
    buf_printf(out, "a receiver will see SPF %s", spf_result_text(f->spf.result));
    if (f->spf_domain.len)
        buf_printf(out, " for %.*s", STR_FMT(f->spf_domain));
    buf_printf(out, " from %s", ip_is_none(source) ? "an unknown address" : ip_text(source, ip));
    if (f->spf.result == SPF_TEMPERROR || f->spf.result == SPF_PERMERROR)
        buf_printf(out, " (%.*s)", STR_FMT(str_head(f->spf.reason, REASON_MAX)));
    else if (f->spf_domain.len && d->from_domain.len && !f->spf_aligned)
        buf_printf(out, " (not aligned with %.*s)", STR_FMT(d->from_domain));
}

static void say_dkim(struct buf *out, const struct forecast *f, const struct dmarc_discovery *d,
                     const struct dmarc_verdict *v) {
    const struct forecast_signature *s = v->signature >= 0 ? &f->signatures[v->signature] : passing(f);
    if (v->signature < 0 && d->from_domain.len)
        buf_printf(out, " and no aligned DKIM signature");
    else if (s)
        buf_printf(out, " and %s DKIM signature of %.*s", v->signature >= 0 ? "an aligned" : "a",
                   STR_FMT(s->domain));
    else
        buf_printf(out, " and no DKIM signature that passes");
}

static void say_policy(struct buf *out, const struct dmarc_discovery *d) {
    buf_printf(out, "DMARC of %.*s says %s", STR_FMT(d->domain), dmarc_policy_name(d->policy));
    if (d->record.percent < 100 && d->policy != DMARC_POLICY_NONE)
        buf_printf(out, " for %u %% of such mail", d->record.percent);
}

static void say_dmarc(struct buf *out, const struct forecast *f, const struct dmarc_discovery *d) {
    bool vouched = passing(f) || f->spf.result == SPF_PASS || f->spf.result == SPF_TEMPERROR;
    buf_printf(out, "; ");
    if (f->dmarc == DMARC_FAIL) {
        say_policy(out, d);
        buf_printf(out, ": %s", fate(d->policy, d->record.percent));
    } else if (f->dmarc == DMARC_PASS) {
        buf_printf(out, "DMARC of %.*s passes all the same", STR_FMT(d->from_domain));
    } else if (f->dmarc == DMARC_TEMPERROR && d->result == DMARC_PASS) {
        say_policy(out, d);
        buf_printf(out, ", and whether it will pass is not known now");
    } else if (f->dmarc == DMARC_TEMPERROR) {
        buf_printf(out, "what DMARC says is not known (%.*s)", STR_FMT(d->why));
    } else if (f->dmarc == DMARC_PERMERROR) {
        buf_printf(out, "DMARC does not help (%.*s)", STR_FMT(d->why));
    } else if (!d->from_domain.len) {
        buf_printf(out, "From has no domain that DMARC could be asked of");
    } else {
        buf_printf(out, "%.*s has no DMARC record", STR_FMT(d->from_domain));
    }
    if ((f->dmarc == DMARC_NONE || f->dmarc == DMARC_PERMERROR) && !vouched)
        buf_printf(out, ": nothing vouches for the mail, receivers may refuse it");
}

/* A fault of our key is always said; a DNS that was silent, or a key in test mode, only where that may be why
 * the mail is not believed. */
static void say_ours(struct buf *out, const struct forecast *f, bool unproven) {
    for (size_t i = 0; i < f->count; i++) {
        const struct forecast_signature *s = &f->signatures[i];
        bool passes = s->result == DKIM_PASS, unknown = s->result == DKIM_TEMPERROR;
        if (!s->ours || (passes && !s->weak) || ((passes || unknown) && !unproven))
            continue;
        buf_printf(out, "%sour signature d=%.*s s=%.*s %s: %.*s", out->len ? "; " : "", STR_FMT(s->domain),
                   STR_FMT(s->selector),
                   passes    ? "need not be believed"
                   : unknown ? "could not be checked"
                             : "will not verify",
                   STR_FMT(s->why));
    }
}

struct str forecast_warning(const struct forecast *f, const struct forecast_identity *identity,
                            const struct dmarc_verdict *v, const struct ip *source, struct arena *arena) {
    const struct dmarc_discovery *d = &identity->dmarc;
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    bool proven = v->signature >= 0 || (f->spf_aligned && f->spf.result == SPF_PASS);
    if (f->spf.result != SPF_PASS || (!proven && f->dmarc != DMARC_NONE)) {
        say_spf(&out, f, d, source);
        say_dkim(&out, f, d, v);
        say_dmarc(&out, f, d);
    }
    say_ours(&out, f, out.len && !proven);
    return out.len ? dmarc_plain(arena, buf_view(&out)) : STR("");
}
