/* One sending address. */
#include "auth/align.h"
#include "identity/survey_inside.h"

/* ---- its names ---- */

static struct str put_name(struct survey *a, const struct source *s, bool reverse, struct arena *arena) {
    return plan_names_of(a->index, arena, &s->ip, reverse);
}

static void check_organisation(struct survey *a, size_t order, const struct source *s,
                               const struct fcrdns *names, struct str ehlo, struct arena *arena) {
    char text[IP_TEXT_SIZE];
    if (!align_same_organisation(names->name, ehlo))
        survey_say(a, order, SURVEY_OTHER_ORGANISATION, str_of(ip_text(&s->ip, text)),
                   str_printf(arena, "its name %.*s and its EHLO name %.*s share no organisational domain",
                              STR_FMT(names->name), STR_FMT(ehlo)),
                   put_name(a, s, true, arena));
}

static void check_names(struct survey *a, size_t order, const struct source *s, struct arena *arena) {
    struct fcrdns names;
    char text[IP_TEXT_SIZE];
    struct str subject = str_of(ip_text(&s->ip, text));
    fcrdns_ask(&a->resolver, &s->ip, a->in->timeout_ms, arena, &names);
    bool says_ptr = s->ptr && (a->in->planned->ptr_ehlo || s->ehlo == s->ptr);
    switch (names.state) {
    case FCRDNS_UNASKED:
        return;
    case FCRDNS_NO_PTR:
        survey_say(a, order, SURVEY_NO_PTR, subject, names.why, put_name(a, s, true, arena));
        return;
    case FCRDNS_NOT_CONFIRMED: {
        bool planned = s->ptr && str_eq_nocase(names.name, str_of(s->ptr));
        survey_say(a, order, SURVEY_NOT_CONFIRMED, subject, names.why, put_name(a, s, !planned, arena));
        return;
    }
    case FCRDNS_RIGHT:
        break;
    }
    if (names.alias.len)
        survey_say(a, order, SURVEY_PTR_ALIAS, subject,
                   str_printf(arena,
                              "its PTR name %.*s is a CNAME of %.*s, which strict receivers don't follow",
                              STR_FMT(names.name), STR_FMT(names.alias)),
                   put_name(a, s, true, arena));
    if (name_is_generic(arena, names.name))
        survey_say(
            a, order, SURVEY_GENERIC_NAME, subject,
            str_printf(arena, "its PTR name %.*s looks like that of a customer's line", STR_FMT(names.name)),
            put_name(a, s, true, arena));
    if (says_ptr && !str_eq_nocase(names.name, str_of(s->ptr)))
        survey_say(
            a, order, SURVEY_PTR_NOT_EHLO, subject,
            str_printf(arena, "it says %s in EHLO, and its PTR name is %.*s", s->ptr, STR_FMT(names.name)),
            put_name(a, s, true, arena));
    if (s->ehlo != s->ptr)
        check_organisation(a, order, s, &names, str_of(s->ehlo), arena);
}

/* ---- SPF ---- */

static void check_ehlo_spf(struct survey *a, size_t order, const struct source *s, struct str ehlo,
                           struct arena *arena) {
    struct spf_check check;
    survey_spf(a, &s->ip, ehlo, true, arena, &check);
    if (check.result != SPF_PASS && check.result != SPF_TEMPERROR)
        survey_count(a, order, SURVEY_EHLO_SPF, ehlo, &s->ip,
                     check.result == SPF_NONE
                         ? STR("the EHLO name has no SPF record")
                         : str_printf(arena, "%s%s%.*s", spf_result_text(check.result),
                                      check.mechanism.len ? " by " : "", STR_FMT(check.mechanism)));
}

static void check_include(struct survey *a, size_t order, const struct source *s, bool published,
                          struct str name, struct arena *arena) {
    struct spf_check check;
    survey_spf(a, &s->ip, name, false, arena, &check);
    if (check.result == SPF_TEMPERROR || (check.result == SPF_PASS) == published)
        return;
    struct str reason = check.result == SPF_NONE
                            ? STR("there is no such record")
                            : str_printf(arena, "%s%s%.*s", spf_result_text(check.result),
                                         check.mechanism.len ? " by " : "", STR_FMT(check.mechanism));
    survey_count(a, order, published ? SURVEY_INCLUDE_MISSES : SURVEY_INCLUDE_LEAKS, name, &s->ip, reason);
}

void survey_address(struct survey *a, size_t order, const struct source *s, struct arena *arena) {
    const struct plan_input *in = a->in->planned;
    const struct pool *pool = &in->pools->pools[s->pool];
    check_names(a, order, s, arena);
    if (!pool->spf_hidden) {
        struct str site = in->pools->sites[pool->site].ehlo;
        check_ehlo_spf(a, order, s, str_of(s->ehlo), arena);
        if (in->ptr_ehlo && s->ptr && s->ehlo != s->ptr)
            check_ehlo_spf(a, order, s, str_of(s->ptr), arena);
        if (in->site_ehlo && !str_eq_nocase(site, str_of(s->ehlo)))
            check_ehlo_spf(a, order, s, site, arena);
        for (size_t i = 0; i < in->ehlo_name_count; i++)
            if (!str_eq_nocase(in->ehlo_names[i], str_of(s->ehlo)))
                check_ehlo_spf(a, order, s, in->ehlo_names[i], arena);
    }
    check_include(a, order, s, pool->spf_published, a->include, arena);
    struct str own = str_printf(arena, "%.*s.%.*s", STR_FMT(pool->name), STR_FMT(a->include));
    if (pool->spf_published && survey_put(a, arena, "TXT", own).len)
        check_include(a, order, s, true, own, arena);
}
