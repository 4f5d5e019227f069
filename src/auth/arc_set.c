#include "auth/arc_set.h"
#include "auth/dkim_tags.h"

static unsigned instance_of(struct str digits) {
    uint64_t i = 0;
    return str_to_u64(digits, &i) && i <= ARC_INSTANCES_MAX ? (unsigned)i : 0;
}

unsigned arc_results_instance(struct str value, struct str *ret_rest) {
    struct str first, name;
    if (!str_cut(&value, ';', &first) || !value.at || !str_cut(&first, '=', &name) || !first.at ||
        !str_eq(str_trim(name), STR("i")))
        return 0;
    *ret_rest = str_trim(value);
    return instance_of(str_trim(first));
}

static unsigned tagged_instance(struct str value) {
    struct dkim_tags tags;
    return dkim_tags_parse(value, &tags) ? instance_of(dkim_tag_value(&tags, "i")) : 0;
}

/* Where the field belongs; NULL when it is not of ARC or has no instance. */
static const struct header_field **place_of(struct arc_sets *sets, const struct header_field *field,
                                            bool *ret_arc) {
    static const struct str names[] = {
        {"ARC-Authentication-Results", 26}, {"ARC-Message-Signature", 21}, {"ARC-Seal", 8}};
    size_t kind = 0;
    struct str rest;
    while (kind < 3 && !str_eq_nocase(field->name, names[kind]))
        kind++;
    *ret_arc = kind < 3;
    if (!*ret_arc)
        return NULL;
    unsigned i = kind == 0 ? arc_results_instance(field->value, &rest) : tagged_instance(field->value);
    if (!i)
        return NULL;
    if (i > sets->highest)
        sets->highest = i;
    return kind == 0 ? &sets->at[i].results : kind == 1 ? &sets->at[i].message : &sets->at[i].seal;
}

struct str arc_sets_of(const struct header *header, struct arc_sets *ret) {
    struct str fault = STR_NULL;
    *ret = (struct arc_sets){0};
    for (size_t i = 0; i < header->count; i++) {
        bool arc;
        const struct header_field **place = place_of(ret, &header->fields[i], &arc);
        if (arc && !place)
            fault = STR("an ARC field is malformed or has no instance");
        else if (place && *place)
            fault = STR("an ARC field is there twice for one instance");
        else if (place)
            *place = &header->fields[i];
    }
    for (unsigned i = 1; i <= ret->highest && !fault.at; i++)
        if (!ret->at[i].results || !ret->at[i].message || !ret->at[i].seal)
            fault = STR("an ARC set is not complete");
    return fault;
}
